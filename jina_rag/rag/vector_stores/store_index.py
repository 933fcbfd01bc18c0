"""`StoreIndex`: a vector store as `Retriever` searches it."""

import logging
from collections.abc import Sequence

from jina_rag.closeable import Closeable
from jina_rag.embedder import Embedder
from jina_rag.errors import DocumentError, StoreError
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.indexing.candidates import Candidate, Mode, Rank
from jina_rag.rag.indexing.index_model import EmbedderLoader, IndexModel
from jina_rag.rag.store.filters import Filters
from jina_rag.rag.vector_stores.base import Found, VectorStore
from jina_rag.vectors import FloatArray

_logger = logging.getLogger("jina_rag")


class StoreIndex(Closeable):
    """The rows of a vector store to be searched. Safe to use from many threads; the store stays open."""

    def __init__(self, store: VectorStore, embedder: Embedder | EmbedderLoader | None = None) -> None:
        """Load nothing yet.

        Args:
            store: Opened.
            embedder: The model that its vectors were made with, or what loads it at the first need; None loads it by
                its name then.

        Raises:
            FingerprintMismatchError: `embedder` is a model, and another one.
        """
        self.store = store
        self._model = IndexModel(store.address, store.fingerprint, embedder)
        self._has_said = False

    @property
    def embedder(self) -> Embedder:
        """The model, which is loaded at the first use of this. Raises as `DocumentIndex.embedder` does."""
        return self._model.embedder

    def candidates(
        self, query: str, vector: FloatArray, n: int, *, mode: Mode = "hybrid", filters: Filters | None = None
    ) -> list[Candidate]:
        """As `DocumentIndex.candidates`.

        A passage's share of the query's words is its BM25 score as a part of the best one's, because a store doesn't
        say how rare a word is. Where it has no search by words, hybrid search is by meaning alone, and the log says so.

        Raises:
            StoreError: the store can't be used, or can't do what `mode` or `filters` say.
        """
        filters = filters or Filters()
        self._check_mode(mode)
        words = self.store.matching(query, n, filters) if mode != "dense" and self.store.has_words else []
        near = self.store.nearest(vector, n, filters) if mode != "lexical" else []
        dense = {found.chunk.id: Rank(place, found.score) for place, found in enumerate(near, start=1)}
        lexical = {found.chunk.id: Rank(place, found.score) for place, found in enumerate(words, start=1)}
        best = max((found.score for found in words), default=0.0)
        coverage = {found.chunk.id: found.score / best for found in words if best > 0}
        every: dict[str, Found] = {found.chunk.id: found for found in (*near, *words)}
        return [
            Candidate(
                chunk=found.chunk,
                vector=found.vector,
                similarity=float(found.vector @ vector),
                dense=dense.get(id_),
                lexical=lexical.get(id_),
                coverage=coverage.get(id_, 0.0),
            )
            for id_, found in every.items()
        ]

    def windows(self, chunks: Sequence[Chunk], n: int) -> list[list[Chunk]]:
        """For each chunk at most `n` chunks before and `n` after it in its document, in order, without itself."""
        return [self.store.around(chunk, n) for chunk in chunks]

    def check_names(self, filters: Filters) -> None:
        """Make sure that there is something in each collection and of each kind of file that filters name.

        Raises:
            DocumentError: there is not.
        """
        for what, name, one in (
            *(("collection", name, Filters(collections=[name])) for name in filters.collections),
            *(("file of the type", kind, Filters(file_types=[kind])) for kind in filters.file_types),
        ):
            if not self.store.has_document(one):
                raise DocumentError(f"There is no {what} {name} in {self.store.address}. Check its name.")

    def count_chunks(self) -> int:
        """How many chunks can be found."""
        return self.store.count()

    def close(self) -> None:
        """Give back a model that was loaded here."""
        self._model.close()

    def _check_mode(self, mode: Mode) -> None:
        if self.store.has_words or mode == "dense":
            return
        if mode == "lexical":
            raise StoreError(
                f"{self.store.address} can't be searched by words. Take the mode dense. {self.store.limits[0]}"
            )
        if not self._has_said:
            self._has_said = True
            _logger.warning(self.store.limits[0])
