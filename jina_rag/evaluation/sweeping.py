"""Quantisations of a model, dimensions and precisions of stored vectors: what each costs, and what is lost.

The search compares a question with every vector (numpy): what is lost is lost by the vectors and by nothing else.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from jina_rag.bench.files import FoundModel
from jina_rag.bench.progress import BenchProgress, BenchProgressCallback
from jina_rag.embedder import Embedder
from jina_rag.errors import EvaluationError
from jina_rag.evaluation.corpus import chunk_of_text
from jina_rag.evaluation.datasets import Dataset, Question
from jina_rag.evaluation.evaluating import ranked_items, relevance_of
from jina_rag.evaluation.measures import Estimate, compare, estimates, measure
from jina_rag.evaluation.vector_cache import caching
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.indexing.contents import IndexContents
from jina_rag.vectors import (
    FloatArray,
    binary_similarity,
    dequantize_int8,
    int8_ranges,
    quantize_binary,
    quantize_int8,
    truncate_dimensions,
)

K = 10

RESCORED = 4
"""Times as many candidates as are asked for are put in order again by their float32 vectors."""

MARGIN = 0.02
"""A setting counts as no worse than the best if its nDCG@10 is hardly more than this below it: the lower end of the 95%
interval of the difference, question by question (a test of non-inferiority)."""

_TIMED_TEXTS, _TIMED_QUESTIONS = 32, 10

Precision: TypeAlias = str
PRECISIONS = ("float32", "int8", "int8, rescored", "binary", "binary, rescored")

_Ranking: TypeAlias = "Callable[[FloatArray], NDArray[np.intp]]"
"""The positions of the `K` nearest vectors, best first, for a question's vector of unit length."""


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """One setting and what it is worth.

    Attributes:
        quantization: How the model's weights are stored.
        dimensions: Width of the vectors.
        precision: How they are kept; "rescored" searches the small codes, and orders the best by the float32 vectors.
        ndcg: nDCG@10 with its interval.
        recall: Recall@10.
        found_again: Share of the ten nearest by float32 at the same width and quantisation that are found.
        memory_bytes: Of a vector where it is searched.
        disk_bytes: Of a vector with what rescoring reads.
        index_bytes: Of all vectors, on disk.
        file_bytes: Of the model.
        texts_per_s: Texts embedded a second.
        question_s: Embedding a question and comparing it with all vectors.
        is_pareto: Whether none takes as little memory and is better.
        is_no_worse: Whether it is no worse than the best, by `MARGIN`.
    """

    quantization: str
    dimensions: int
    precision: Precision
    ndcg: Estimate
    recall: Estimate
    found_again: float
    memory_bytes: int
    disk_bytes: int
    index_bytes: int
    file_bytes: int
    texts_per_s: float
    question_s: float
    is_pareto: bool = False
    is_no_worse: bool = False

    @property
    def name(self) -> str:
        """All of the setting."""
        return f"{self.quantization}, {self.dimensions:,} dimensions, {self.precision}"


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a sweep found.

    Attributes:
        dataset: Its name.
        model: The model's row.
        n_questions: How many were asked.
        n_texts: How many vectors were searched.
        rows: The settings.
        advised: The one to take: of those that are no worse than the best, with the least memory for each vector, and
            of those the quickest to embed.
    """

    dataset: str
    model: str
    n_questions: int
    n_texts: int
    rows: tuple[SweepRow, ...]
    advised: SweepRow

    def as_dict(self) -> dict[str, Any]:
        """All of it in plain types, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Setting:
    row: SweepRow
    values: Mapping[str, float] = field(repr=False)  # nDCG@10 by question


def sweep(
    dataset: Dataset,
    files: Sequence[FoundModel],
    *,
    index: Path | str | None = None,
    cache: Path | None = None,
    on_progress: BenchProgressCallback = lambda _: None,
) -> Sweep:
    """Measure every setting on the same questions.

    Args:
        dataset: Questions, with the texts to search or without.
        files: Files of one model, in different quantisations.
        index: The index whose passages are embedded, if the dataset has no texts.
        cache: Where vectors are kept; None for this user's cache.
        on_progress: Called as it goes on.

    Raises:
        EvaluationError: there is nothing to search, or no question has an answer.
        Otherwise as `Embedder.from_file` does.
    """
    questions = [question for question in dataset.questions if question.is_answerable]
    chunks = _chunks(dataset, index)
    if not (questions and chunks):
        raise EvaluationError(f"{dataset.name} has no question with an expected passage, or nothing to search.")
    settings: list[_Setting] = []
    for found in files:
        settings += _settings_of(found, questions, chunks, cache, on_progress)
    rows = _judged(settings)
    advised = min((row for row in rows if row.is_no_worse), key=lambda row: (row.memory_bytes, -row.texts_per_s))
    return Sweep(
        dataset=dataset.name,
        model=files[0].spec.name,
        n_questions=len(questions),
        n_texts=len(chunks),
        rows=rows,
        advised=advised,
    )


def _chunks(dataset: Dataset, folder: Path | str | None) -> list[Chunk]:
    if dataset.texts is not None:
        return [chunk_of_text(name, text) for name, text in dataset.texts.items() if text.strip()]
    if folder is None:
        raise EvaluationError(f"{dataset.name} has questions without texts. Name the index to search.")
    with IndexContents.open(folder) as contents:
        return [chunk for document in contents.documents() for chunk in contents.chunks_of(document.source)]


def _settings_of(
    found: FoundModel,
    questions: Sequence[Question],
    chunks: Sequence[Chunk],
    cache: Path | None,
    on_progress: BenchProgressCallback,
) -> Iterator[_Setting]:
    """All dimensions and precisions of one file."""
    relevant = {question.id: relevance_of(question) for question in questions}
    with ExitStack() as opened:
        plain = opened.enter_context(Embedder.from_file(found.path, found.spec, truncate=True))
        embedder, engine = caching(plain, cache)
        opened.callback(engine.close_file)
        done = 0

        def count(n_more: int) -> None:
            nonlocal done
            done += n_more
            on_progress(BenchProgress(f"Embedding with {found.quantization}", done, len(chunks) + len(questions)))

        vectors = embedder.embed([chunk.text for chunk in chunks], "document", on_progress=count).vectors
        asked = embedder.embed([question.text for question in questions], "query", on_progress=count).vectors
        texts_per_s, embedding_s = _speed(plain, chunks, questions)
    for width in sorted({*found.spec.matryoshka_dimensions, found.spec.dimensions}, reverse=True):
        stored, queries = truncate_dimensions(vectors, width), truncate_dimensions(asked, width)
        exact = [set(_nearest(stored @ query).tolist()) for query in queries]
        for precision in PRECISIONS:
            ranking, memory_bytes, disk_bytes = _kept(stored, precision)
            found_places, seconds = _search(ranking, queries)
            items = {
                question.id: ranked_items(question, [chunks[place] for place in places])
                for question, places in zip(questions, found_places, strict=True)
            }
            values = measure(relevant, items, K)
            measures = estimates({name: values[name] for name in ("nDCG@10", "recall@10")})
            same = [len(best & set(places)) / len(best) for best, places in zip(exact, found_places, strict=True)]
            row = SweepRow(
                quantization=found.quantization,
                dimensions=width,
                precision=precision,
                ndcg=measures["nDCG@10"],
                recall=measures["recall@10"],
                found_again=statistics.fmean(same),
                memory_bytes=memory_bytes,
                disk_bytes=disk_bytes,
                index_bytes=disk_bytes * len(chunks),
                file_bytes=found.path.stat().st_size,
                texts_per_s=texts_per_s,
                question_s=embedding_s + seconds,
            )
            yield _Setting(row, values["nDCG@10"])


def _speed(embedder: Embedder, chunks: Sequence[Chunk], questions: Sequence[Question]) -> tuple[float, float]:
    """Texts a second, and seconds for one question, with nothing cached."""
    texts = [chunk.text for chunk in chunks[:: max(1, len(chunks) // _TIMED_TEXTS)]][:_TIMED_TEXTS]
    embedder.embed_query("warm")
    began = perf_counter()
    embedder.embed_documents(texts)
    per_s = len(texts) / (perf_counter() - began)
    seconds = []
    for question in questions[:_TIMED_QUESTIONS]:
        began = perf_counter()
        embedder.embed_query(question.text)
        seconds.append(perf_counter() - began)
    return per_s, statistics.median(seconds)


def _search(ranking: _Ranking, queries: FloatArray) -> tuple[list[list[int]], float]:
    """What is found for each question, and the median time of one search."""
    places, seconds = [], []
    for query in queries:
        began = perf_counter()
        places.append(ranking(query).tolist())
        seconds.append(perf_counter() - began)
    return places, statistics.median(seconds)


def _kept(vectors: FloatArray, precision: Precision) -> tuple[_Ranking, int, int]:
    """The search over vectors that are kept in a precision; bytes of one where it is searched, and on disk."""
    kind, _, rescored = precision.partition(", ")
    whole = vectors.shape[1] * 4
    scores, n_bytes = {"float32": _float32, "int8": _int8, "binary": _binary}[kind](vectors)
    if not rescored:
        return lambda query: _nearest(scores(query)), n_bytes, n_bytes

    def search(query: FloatArray) -> NDArray[np.intp]:
        candidates = _nearest(scores(query), RESCORED * K)
        return candidates[_nearest(vectors[candidates] @ query)]

    return search, n_bytes, n_bytes + whole


_Scores: TypeAlias = "tuple[Callable[[FloatArray], FloatArray], int]"


def _float32(vectors: FloatArray) -> _Scores:
    return lambda query: vectors @ query, 4 * vectors.shape[1]


def _int8(vectors: FloatArray) -> _Scores:
    ranges = int8_ranges(vectors)
    codes = quantize_int8(vectors, ranges)
    return lambda query: dequantize_int8(codes, ranges) @ query, codes.shape[1]


def _binary(vectors: FloatArray) -> _Scores:
    codes = quantize_binary(vectors)
    return lambda query: binary_similarity(codes, quantize_binary(query)), codes.shape[1]


def _nearest(scores: FloatArray, n: int = K) -> NDArray[np.intp]:
    return np.argsort(-scores, kind="stable")[:n]


def _judged(settings: Sequence[_Setting]) -> tuple[SweepRow, ...]:
    """The rows, with what follows from comparing them."""
    best = max(settings, key=lambda setting: setting.row.ndcg.mean)
    rows = []
    for setting in settings:
        row = setting.row
        beaten = any(_beats(other.row, row) for other in settings)
        no_worse = setting is best or compare(best.values, setting.values).low >= -MARGIN
        rows.append(SweepRow(**{**vars(row), "is_pareto": not beaten, "is_no_worse": no_worse}))
    return tuple(rows)


def _beats(one: SweepRow, other: SweepRow) -> bool:
    """Whether one setting takes no more memory and finds no less, and is better in one of both (Pareto dominance)."""
    ours, theirs = (one.memory_bytes, -one.ndcg.mean), (other.memory_bytes, -other.ndcg.mean)
    return ours != theirs and all(mine <= yours for mine, yours in zip(ours, theirs, strict=True))
