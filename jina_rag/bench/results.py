"""What a measurement found: figures with their spread, and what follows from them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# What an index takes on disk, with passages of about 840 bytes under vectors of 64 and 1,024 numbers: text and words in
# SQLite and in Chroma, and Chroma's graph of vectors. Measured with `tests/benchmarks/index_size.py`, 700 passages.
INDEX_BYTES = 700_000
INDEX_BYTES_PER_CHUNK = 10_300
INDEX_BYTES_PER_VECTOR_BYTE = 2.2
CHUNK_TOKENS = 200


@dataclass(frozen=True)
class Spread:
    """A figure over several rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Median, least and greatest."""
        return cls(statistics.median(values), min(values), max(values))

    @property
    def width(self) -> float:
        """How far the rounds lie apart, as a share of the median."""
        return (self.high - self.low) / self.median


@dataclass(frozen=True, kw_only=True)
class LengthResult:
    """Speed with texts of one length.

    Attributes:
        name: "short", "passage" or "long".
        tokens: Tokens of one such text, on average.
        tokens_per_s: Tokens embedded a second.
        texts_per_s: Texts embedded a second, the median.
    """

    name: str
    tokens: float
    tokens_per_s: Spread
    texts_per_s: float


@dataclass(frozen=True, kw_only=True)
class CorpusCost:
    """What embedding a library of documents would cost.

    Attributes:
        documents: How many documents.
        tokens_per_document: Tokens of each; a thousand are about 750 English words.
        chunks: Passages that they are cut into.
        seconds: Time to embed them.
        memory_bytes: Most memory while they are embedded, and their vectors in memory as a search needs them.
        index_bytes: The index on disk: vectors, text and word index.
    """

    documents: int
    tokens_per_document: int
    chunks: int
    seconds: float
    memory_bytes: int | None
    index_bytes: int


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """What `measure` found.

    Attributes:
        model: Name of the model's row, or of the file.
        quantization: How the weights are stored; empty if the file's name doesn't say.
        engine: What ran it, as a backend is named.
        dimensions: Width of the vectors.
        path: The model's file.
        file_bytes: Its size.
        cores: How many the process may use.
        rounds: How often each figure was taken.
        load_s: From nothing loaded to the first vector, with the file in the system's cache.
        tokens_per_s: Tokens embedded a second, in a mix of short and long texts.
        texts_per_s: Texts of that mix a second.
        by_length: The same by length of text.
        query_median_s: Time for one question.
        query_p95_s: What 95 of 100 questions stay under.
        peak_bytes: Most memory that the process held, the mapped weights included; None where that can't be read.
        warnings: Why the figures may be off, a sentence each.
    """

    model: str
    quantization: str
    engine: str
    dimensions: int
    path: str
    file_bytes: int
    cores: int
    rounds: int
    load_s: float
    tokens_per_s: Spread
    texts_per_s: Spread
    by_length: tuple[LengthResult, ...]
    query_median_s: float
    query_p95_s: float
    peak_bytes: int | None
    warnings: tuple[str, ...]

    def corpus(self, documents: int, tokens_per_document: int = 1000) -> CorpusCost:
        """What so many documents would cost, cut into passages as `jina-rag add` cuts them."""
        passages = next(length for length in self.by_length if length.name == "passage")
        tokens = documents * tokens_per_document
        chunks = documents * -(-tokens_per_document // CHUNK_TOKENS)
        vector_bytes = 4 * self.dimensions * chunks
        index_bytes = INDEX_BYTES + INDEX_BYTES_PER_CHUNK * chunks + INDEX_BYTES_PER_VECTOR_BYTE * vector_bytes
        return CorpusCost(
            documents=documents,
            tokens_per_document=tokens_per_document,
            chunks=chunks,
            seconds=tokens / passages.tokens_per_s.median,
            memory_bytes=None if self.peak_bytes is None else self.peak_bytes + vector_bytes,
            index_bytes=round(index_bytes),
        )
