"""`JinaRagRetriever`: an index made by `jina-rag add` as LangChain knows retrievers."""

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field, PrivateAttr

if TYPE_CHECKING:
    from jina_rag.rag import DocumentIndex, SearchResult

_OPENING = Lock()


class JinaRagRetriever(BaseRetriever):
    """Finds passages in an index folder, with the model that the index was made with. Needs `jina-rag[rag]`.

    Each document's metadata has the `source`, `title`, `position`, `start` and `end` of the passage, its `page` and
    `heading` where it has them, its `similarity` (cosine) and the `score` that orders the passages of one search.

    Example:
        .. code-block:: python

            retriever = JinaRagRetriever(index=".jina-rag/index", k=3)
            retriever.invoke("Which planet is red?")
    """

    index: Path
    """The folder that `jina-rag add` filled."""
    k: int = Field(default=4, ge=1)
    """How many passages to find."""

    _opened: "DocumentIndex | None" = PrivateAttr(default=None)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - LangChain passes it by name
        k: int | None = None,
    ) -> list[Document]:
        """The passages that answer `query` best, best first. `k` outranks the retriever's own.

        Raises:
            IndexFolderError: there is no index in the folder, or it is damaged.
            MissingDependencyError: `jina-rag[rag]` is not installed.
        """
        from jina_rag.rag import search

        return [_document(result) for result in search(self._open(), query, self.k if k is None else k)]

    def _open(self) -> "DocumentIndex":
        from jina_rag.rag import DocumentIndex

        with _OPENING:  # `batch` asks from many threads
            if self._opened is None:
                self._opened = DocumentIndex.open(self.index)
            return self._opened

    def __getstate__(self) -> dict[Any, Any]:
        """The settings: an open index stays in its process."""
        return {**super().__getstate__(), "__pydantic_private__": {"_opened": None}}


def _document(result: "SearchResult") -> Document:
    chunk = result.chunk
    scores = {"similarity": result.similarity, "score": result.score}
    return Document(page_content=chunk.text, id=chunk.id, metadata={**chunk.metadata, **scores})
