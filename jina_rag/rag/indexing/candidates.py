"""What a search may choose from, and what gives it that."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from jina_rag.embedder import Embedder
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.store.filters import Filters
from jina_rag.vectors import FloatArray

Mode = Literal["hybrid", "dense", "lexical"]
"""By meaning and words, by meaning (cosine similarity of vectors), or by words (BM25)."""


@dataclass(frozen=True)
class Rank:
    """Where one side of a search puts a passage.

    Attributes:
        rank: Its place, from 1.
        score: The side's own score: cosine similarity, or BM25.
    """

    rank: int
    score: float


@dataclass(frozen=True, eq=False)
class Candidate:
    """A chunk that one side of a search has found.

    Attributes:
        chunk: The chunk.
        vector: Its vector, float32 of shape (d,).
        similarity: Cosine similarity of the query's vector and its own.
        dense: Rank and cosine similarity among those found by meaning; None if it was not one of them.
        lexical: Rank and BM25 score among those found by words; None if it was not one of them.
        coverage: How much of the query its words cover, between 0 and 1; see `fulltext.Hit`.
    """

    chunk: Chunk
    vector: FloatArray
    similarity: float
    dense: Rank | None
    lexical: Rank | None
    coverage: float


class SearchIndex(Protocol):
    """What can be searched: an index folder (`DocumentIndex`) or a vector store (`StoreIndex`)."""

    @property
    def embedder(self) -> Embedder:
        """The model that its vectors are made with, loaded by now."""

    def candidates(
        self, query: str, vector: FloatArray, n: int, *, mode: Mode = "hybrid", filters: Filters | None = None
    ) -> list[Candidate]:
        """The chunks that are nearest to a query's vector and those that have its words, `n` of each side at most."""

    def windows(self, chunks: Sequence[Chunk], n: int) -> list[list[Chunk]]:
        """For each chunk at most `n` chunks before and `n` after it in its document, in order, without itself."""

    def check_names(self, filters: Filters) -> None:
        """Raise DocumentError where there is nothing that a name in the filters means."""

    def count_chunks(self) -> int:
        """How many chunks can be found."""
