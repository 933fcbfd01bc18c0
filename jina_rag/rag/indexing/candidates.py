"""What a search may choose from."""

from dataclasses import dataclass
from typing import Literal

from jina_rag.rag.chunking import Chunk
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
