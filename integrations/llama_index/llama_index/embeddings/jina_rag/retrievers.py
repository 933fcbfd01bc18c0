"""`JinaRagRetriever`: an index made by `jina-rag add` as LlamaIndex knows retrievers."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.constants import DEFAULT_SIMILARITY_TOP_K
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

if TYPE_CHECKING:
    from jina_rag.rag import SearchOptions, SearchResult


class JinaRagRetriever(BaseRetriever):
    """Finds passages in an index, with the model that the index was made with. Needs `jina-rag[rag]`.

    Each node's metadata has the `source`, `title`, `position`, `start` and `end` of the passage, its `page` and
    `heading` where it has them, and its `similarity` (cosine); the node's score orders the passages of one search.

    Examples:
        `JinaRagRetriever(".jina-rag/index", similarity_top_k=3, file_types=[".pdf"]).retrieve("Which planet is red?")`
    """

    _is_made = False

    def __init__(
        self,
        index: Path | str,
        *,
        similarity_top_k: int = DEFAULT_SIMILARITY_TOP_K,
        mode: Literal["hybrid", "dense", "lexical"] = "hybrid",
        mmr_lambda: float = 1.0,
        sources: Sequence[str] = (),
        file_types: Sequence[str] = (),
        collections: Sequence[str] = (),
        modified_after: datetime | None = None,
        modified_before: datetime | None = None,
        where: Sequence[str] = (),
        reranker: str | None = None,
        backend: str | None = None,
        callback_manager: CallbackManager | None = None,
        verbose: bool = False,
    ) -> None:
        """Open nothing yet. All settings but `index`, `reranker` and `backend` may be changed later.

        Args:
            index: The folder that `jina-rag add` filled, or the address of a vector store that `jina-rag index` filled.
            similarity_top_k: How many passages to find.
            mode: By meaning and words, by meaning alone, or by words alone.
            mmr_lambda: Lambda of maximal marginal relevance: 1 orders by relevance alone, 0 by diversity alone.
            sources: Only these files, folders with all below them, or patterns such as `reports/*.pdf`.
            file_types: Only files with these endings, such as `.pdf`.
            collections: Only these collections.
            modified_after: Only files that were last changed then or later; local time without a time zone.
            modified_before: Only files that were last changed before then.
            where: Only documents whose metadata says so, such as `author=*lee*` or `created>=2024-03`.
            reranker: What puts the passages in order: a reranking model's GGUF file, or the address of a server with
                one; see `jina_rag.rag.make_reranker`.
            backend: Where the model of the index runs, as for `Embedder.from_pretrained`; None is this process.
            callback_manager: LlamaIndex's.
            verbose: Whether LlamaIndex prints what it finds.
        """
        from jina_rag.rag import Retriever

        super().__init__(callback_manager, verbose=verbose)
        self.similarity_top_k = similarity_top_k
        self.mode = mode
        self.mmr_lambda = mmr_lambda
        self.sources = sources
        self.file_types = file_types
        self.collections = collections
        self.modified_after = modified_after
        self.modified_before = modified_before
        self.where = where
        self._retriever = Retriever.open(index, backend=backend, reranker=reranker)
        self._search_options()  # refuses what can't be meant
        self._is_made = True

    def __setattr__(self, name: str, value: object) -> None:
        """Change a setting for the next search; what is opened stays as it is.

        Raises:
            AttributeError: there is no such setting, or it says what is opened.
        """
        if self._is_made and not hasattr(self, name):
            raise AttributeError(f"{name!r} is no setting of a retriever that can be changed. Make another retriever.")
        super().__setattr__(name, value)

    def _search_options(self) -> "SearchOptions":
        from jina_rag.rag import Filters, SearchOptions

        filters = Filters(
            self.sources, self.file_types, self.collections, self.modified_after, self.modified_before, self.where
        )
        return SearchOptions(self.similarity_top_k, self.mode, filters, self.mmr_lambda)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """The passages that answer a query, best first. Raises as `jina_rag.rag.Retriever.retrieve` does."""
        return [_node(result) for result in self._retriever.retrieve(query_bundle.query_str, self._search_options())]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """The same in a thread, so that the event loop stays free."""
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _node(result: "SearchResult") -> NodeWithScore:
    chunk = result.chunk
    node = TextNode(id_=chunk.id, text=chunk.text, metadata={**chunk.metadata, "similarity": result.similarity})
    # A language model needs to know where a passage stands, and not where it begins.
    node.excluded_llm_metadata_keys = ["position", "start", "end", "similarity"]
    node.excluded_embed_metadata_keys = list(node.metadata)
    return NodeWithScore(node=node, score=result.score)
