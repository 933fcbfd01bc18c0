"""`JinaRagRetriever`: an index made by `jina-rag add` as LangChain knows retrievers."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field, PrivateAttr, model_validator

from jina_rag.config import refuse_unknown_settings

if TYPE_CHECKING:
    from jina_rag.rag import Retriever, SearchResult

_OPENING = Lock()


class JinaRagRetriever(BaseRetriever):
    """Finds passages in an index, with the model that the index was made with. Needs `jina-rag[rag]`.

    Each document's metadata has the `source`, `title`, `position`, `start` and `end` of the passage, its `page` and
    `heading` where it has them, its `similarity` (cosine) and the `score` that orders the passages of one search.

    Example:
        .. code-block:: python

            retriever = JinaRagRetriever(index=".jina-rag/index", k=3, file_types=[".pdf"])
            retriever.invoke("Which planet is red?")
    """

    # A misspelled filter would let everything through; a setting that is changed later is checked like a first one.
    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    index: Path | str
    """The folder that `jina-rag add` filled, or the address of a vector store that `jina-rag index` filled."""
    k: int = Field(default=4, ge=1)
    """How many passages to find."""
    mode: Literal["hybrid", "dense", "lexical"] = "hybrid"
    """By meaning and words, by meaning alone, or by words alone."""
    mmr_lambda: float = Field(default=1.0, ge=0.0, le=1.0)
    """Lambda of maximal marginal relevance: 1 orders by relevance alone, 0 by diversity alone."""
    sources: Sequence[str] = ()
    """Only these files, folders with all below them, or patterns such as `reports/*.pdf`; empty for all."""
    file_types: Sequence[str] = ()
    """Only files with these endings, such as `.pdf`; empty for all."""
    collections: Sequence[str] = ()
    """Only these collections; empty for all."""
    modified_after: datetime | None = None
    """Only files that were last changed then or later; local time without a time zone."""
    modified_before: datetime | None = None
    """Only files that were last changed before then."""
    where: Sequence[str] = ()
    """Only documents whose metadata says so, such as `author=*lee*` or `created>=2024-03`; empty for all."""
    reranker: str | None = None
    """What puts the passages in order: a reranking model's GGUF file, or the address of a server with one; see
    `jina_rag.rag.make_reranker`."""
    backend: str | None = None
    """Where the model of the index runs, as for `Embedder.from_pretrained`; None is this process."""

    _opened: "tuple[tuple[object, ...], Retriever] | None" = PrivateAttr(default=None)
    """What was opened, and the settings it was opened for: a copy may have others."""

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, settings: Any) -> Any:  # noqa: ANN401 - pydantic's signature
        if isinstance(settings, dict):
            refuse_unknown_settings(settings, cls.model_fields)
        return settings

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
            StoreError: the vector store can't be used, or can't search like this.
            BackendError: the model failed, or `reranker` names nothing.
            MissingDependencyError: `jina-rag[rag]` is not installed.
        """
        from jina_rag.rag import Filters, SearchOptions

        filters = Filters(
            self.sources, self.file_types, self.collections, self.modified_after, self.modified_before, self.where
        )
        options = SearchOptions(self.k if k is None else k, self.mode, filters, self.mmr_lambda)
        return [_document(result) for result in self._retriever().retrieve(query, options)]

    def _retriever(self) -> "Retriever":
        from jina_rag.rag import Retriever

        settings = (self.index, self.backend, self.reranker)
        with _OPENING:  # `batch` asks from many threads
            if self._opened is None or self._opened[0] != settings:
                self._opened = settings, Retriever.open(self.index, backend=self.backend, reranker=self.reranker)
            return self._opened[1]


def _document(result: "SearchResult") -> Document:
    chunk = result.chunk
    scores = {"similarity": result.similarity, "score": result.score}
    return Document(page_content=chunk.text, id=chunk.id, metadata={**chunk.metadata, **scores})
