"""What a measurement found: figures with their spread, and what follows from them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

SweepParameter: TypeAlias = Literal["quantization", "batch", "threads"]

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


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How near a file's vectors come to those of the most exact file at hand. It is not how well they find.

    Attributes:
        reference: The quantisation compared with.
        cosine: Mean cosine of the two vectors of a passage.
        least_cosine: The least of them.
        top_10: Share of the ten nearest passages of a question that both agree on, on average.
    """

    reference: str
    cosine: float
    least_cosine: float
    top_10: float


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """One configuration of a sweep.

    Attributes:
        name: What was changed, such as "Q8_0" or "512".
        tokens_per_s: Tokens embedded a second.
        query_s: Time for one question, the median.
        against_best: Its time over that of the quickest, in the same round: 1.2 takes a fifth longer.
        is_level: Whether its rounds and those of the quickest overlap, so that neither is surely quicker.
        peak_bytes: Most memory of its process, the mapped weights included.
        file_bytes: Size of the model's file.
        fidelity: Only in a sweep over quantisations.
    """

    name: str
    tokens_per_s: Spread
    query_s: float
    against_best: Spread
    is_level: bool
    peak_bytes: int | None
    file_bytes: int
    fidelity: Fidelity | None = None


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """What `sweep` found.

    Attributes:
        parameter: What was changed.
        model: Name of the model's row, or of the file.
        rounds: How often each configuration was measured.
        rows: The configurations, in the order of the sweep.
        best: Name of the quickest.
        warnings: Why the figures may be off, a sentence each.
    """

    parameter: SweepParameter
    model: str
    rounds: int
    rows: tuple[SweepRow, ...]
    best: str
    warnings: tuple[str, ...]

    @property
    def level_with_best(self) -> tuple[str, ...]:
        """Names of those that are as quick, as far as these rounds can tell."""
        return tuple(row.name for row in self.rows if row.is_level and row.name != self.best)

    @property
    def advised(self) -> str:
        """Name of the one to take, of those that are level: the most exact file, or else what takes least.

        Exactness is compared to four digits; among files that are equal in that, the smallest.
        """
        level = [row for row in self.rows if row.is_level]
        if self.parameter != "quantization":
            return level[0].name  # the smallest batch, the fewest threads
        return max(level, key=lambda row: (round(row.fidelity.cosine if row.fidelity else 0, 4), -row.file_bytes)).name
