"""The same search over the same vectors, kept whole, cut shorter and in fewer bits: what is lost, and what is saved."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import numpy as np

from jina_rag.vectors import (
    FloatArray,
    binary_similarity,
    dequantize_int8,
    int8_ranges,
    quantize_binary,
    quantize_int8,
    truncate_dimensions,
)

MOST_COMPARED = 10_000
"""Vectors that are compared at most: as many as a page can search in all these ways while its reader waits."""

_REPETITIONS = 5


@dataclass(frozen=True)
class Trial:
    """One way of keeping vectors, and what a search over them found.

    Attributes:
        name: "512 dimensions", "int8" or "binary".
        bytes_per_vector: What one vector takes, without text and without an index over it.
        ranking: Positions of the vectors that were found, best first.
        overlap: How many of them the search over whole vectors found too.
        seconds: One search over all vectors, the query at hand as a vector; the median of several.
    """

    name: str
    bytes_per_vector: int
    ranking: tuple[int, ...]
    overlap: int
    seconds: float


def trained_widths(widths: Sequence[int], dimensions: int) -> list[int]:
    """The widths that vectors of `dimensions` may be cut to, widest first, themselves included."""
    return sorted({width for width in widths if width < dimensions} | {dimensions}, reverse=True)


def compare(query: FloatArray, vectors: FloatArray, widths: Sequence[int], k: int = 10) -> list[Trial]:
    """Search in each way.

    Args:
        query: Of shape (d,), unit length.
        vectors: What to search, of shape (n, d), unit length.
        widths: What to cut vectors to; the first is the full width, with which all else is compared.
        k: How many to find; fewer where there are not so many.

    Returns:
        A trial for each width in float32, then int8 and binary at full width.
    """
    k = min(k, len(vectors))
    trials: list[Trial] = []
    for name, n_bytes, scores in _ways(query, vectors, widths):
        ranking, seconds = _timed_search(scores, k)
        exact = trials[0].ranking if trials else ranking
        trials.append(Trial(name, n_bytes, ranking, len(set(ranking) & set(exact)), seconds))
    return trials


def _ways(
    query: FloatArray, vectors: FloatArray, widths: Sequence[int]
) -> "list[tuple[str, int, Callable[[], FloatArray]]]":
    """Name, bytes of a vector, and what computes the scores of all vectors; the vectors are made ready beforehand."""
    ways: list[tuple[str, int, Callable[[], FloatArray]]] = []
    for width in widths:
        cut, cut_query = truncate_dimensions(vectors, width), truncate_dimensions(query, width)
        ways.append((f"{width:,} dimensions", 4 * width, partial(np.matmul, cut, cut_query)))
    ranges, bits = int8_ranges(vectors), quantize_binary(vectors)
    codes = quantize_int8(vectors, ranges)
    ways.append(("int8", codes.shape[1], lambda: dequantize_int8(codes, ranges) @ query))
    ways.append(("binary", bits.shape[1], partial(binary_similarity, bits, quantize_binary(query))))
    return ways


def _timed_search(scores: Callable[[], FloatArray], k: int) -> tuple[tuple[int, ...], float]:
    times = []
    for _ in range(_REPETITIONS):
        began = perf_counter()
        ranking = _best(scores(), k)
        times.append(perf_counter() - began)
    return ranking, statistics.median(times)


def _best(scores: FloatArray, k: int) -> tuple[int, ...]:
    """Positions of the `k` highest scores, best first; of equal ones the first. Bits give many that are equal."""
    found: list[int] = np.argsort(-scores, kind="stable")[:k].tolist()
    return tuple(found)


def rank_table(trials: Sequence[Trial]) -> list[dict[str, int | None]]:
    """For each of the best by whole vectors, in order: its rank in each way; None where it was not found."""
    rankings = {trial.name: {place: rank for rank, place in enumerate(trial.ranking, start=1)} for trial in trials}
    return [{name: ranks.get(place) for name, ranks in rankings.items()} for place in trials[0].ranking]
