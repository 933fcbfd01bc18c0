"""A vector store with many rows: how long loading takes, what it takes on disk, how fast and how exact searches are.

    python -m tests.benchmarks.vector_store ADDRESS [ROWS] [DIMENSIONS]

No model embeds anything: vectors and questions are drawn around as many random centres as there are thousands of rows,
with as much noise as the centres are apart; texts have 60 words of 50,000 by Zipf's law. A search asks for 30 rows with
their vectors, as `Retriever` does; recall@10 is against the exact neighbours.
"""

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from jina_rag import Fingerprint
from jina_rag.rag.chunking import Chunk, chunk_id
from jina_rag.rag.store.filters import Filters
from jina_rag.rag.store.types import IndexedDocument
from jina_rag.rag.vector_stores import StoreAddress, VectorStore, open_store
from jina_rag.rag.vector_stores.rows import make_rows
from jina_rag.vectors import FloatArray, normalize
from tests.benchmarks.long_text import say

CHUNKS_PER_DOCUMENT = 20
WORDS = 60
QUESTIONS = 200
NEIGHBOURS = 10
WANTED = 30
_ROWS_AT_A_TIME = 10_000
_VOCABULARY = [f"word{number}" for number in range(50_000)]


def main(address: str, rows: int, dimensions: int) -> None:
    """Fill a new store and search it; print the figures."""
    fingerprint = Fingerprint(
        model="benchmark",
        quantization="",
        weights="benchmark",
        dimensions=dimensions,
        query_prompt="",
        document_prompt="",
        pooling="mean",
    )
    centres = np.random.default_rng(0).normal(size=(max(1, rows // 1000), dimensions)).astype(np.float32)
    questions = _vectors(np.random.default_rng(1), centres, QUESTIONS)
    best = _Nearest(questions)
    with open_store(address, fingerprint, create=True) as store:
        assert store.count() == 0, f"{address} is not empty"
        spent, cpu = 0.0, 0.0
        for start in range(0, rows, _ROWS_AT_A_TIME):
            n = min(_ROWS_AT_A_TIME, rows - start)
            rng = np.random.default_rng([2, start])
            vectors = _vectors(rng, centres, n)
            best.add(start, vectors)
            table = _table(rng, start, vectors, fingerprint)
            seconds, used = _timed(partial(store.upsert, table))
            spent, cpu = spent + seconds, cpu + used
        say(f"{rows:,} rows of {dimensions} dimensions: written in {spent:.0f} s ({cpu:.0f} s of CPU)")
        seconds, used = _timed(store.optimize)
        say(f"indexes: {seconds:.0f} s ({used:.0f} s of CPU)")
        _search(store, questions, best)
        store.optimize()  # the files of older versions go after a minute
        if folder := StoreAddress.parse(address).folder:
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            say(f"on disk: {size / 1e6:,.0f} MB, {size / rows:,.0f} bytes a row, {4 * dimensions} of them the vector")


def _search(store: VectorStore, questions: FloatArray, best: "_Nearest") -> None:
    rng = np.random.default_rng(3)
    words = [" ".join(_text(rng, 4)) for _ in questions]
    filters = Filters(collections=["tenth"])
    found: list[set[int]] = []
    times = _times(
        lambda at: found.append(_numbers(store.nearest(questions[at], WANTED, Filters())[:NEIGHBOURS])), len(questions)
    )
    share = np.mean([len(got & want) / NEIGHBOURS for got, want in zip(found, best.numbers(), strict=True)])
    say(f"by meaning: {times}, recall@{NEIGHBOURS} {share:.4f}")
    say(f"by meaning in a collection of a tenth: {_times(lambda at: store.nearest(questions[at], WANTED, filters))}")
    if store.has_words:
        say(f"by words, four of each question: {_times(lambda at: store.matching(words[at], WANTED, Filters()))}")


def _numbers(found: Sequence[Any]) -> set[int]:
    return {int(each.chunk.title) for each in found}


def _times(ask: Callable[[int], object], n: int = QUESTIONS) -> str:
    seconds = []
    for at in range(n):
        started = time.perf_counter()
        ask(at)
        seconds.append(1000 * (time.perf_counter() - started))
    return f"p50 {np.percentile(seconds, 50):.1f} ms, p95 {np.percentile(seconds, 95):.1f} ms"


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    started, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - used


def _vectors(rng: np.random.Generator, centres: FloatArray, n: int) -> FloatArray:
    noise = rng.standard_normal(size=(n, centres.shape[1]), dtype=np.float32)
    return normalize(centres[rng.integers(len(centres), size=n)] + noise)


def _text(rng: np.random.Generator, n: int) -> list[str]:
    return [_VOCABULARY[number % len(_VOCABULARY)] for number in rng.zipf(1.2, size=n)]


def _table(rng: np.random.Generator, first: int, vectors: FloatArray, fingerprint: Fingerprint) -> Any:
    """Rows of documents of some chunks."""
    import pyarrow as pa

    documents = []
    for start in range(0, len(vectors), CHUNKS_PER_DOCUMENT):
        part = vectors[start : start + CHUNKS_PER_DOCUMENT]
        number = (first + start) // CHUNKS_PER_DOCUMENT
        source, chunks = f"/documents/{number}.md", []
        for position in range(len(part)):
            text = " ".join(_text(rng, WORDS))
            id_ = chunk_id(source, position, text, fingerprint.digest)
            chunks.append(Chunk(id_, source, str(first + start + position), position, None, None, 0, len(text), text))
        group = "tenth" if number % 10 == 0 else "others"
        document = IndexedDocument(source, "", "0" * 64, 0, 0, len(part), "", (group,), ".md")
        documents.append(make_rows(document, chunks, part, fingerprint))
    return pa.concat_tables(documents)


class _Nearest:
    """The exact neighbours of the questions among vectors that come block by block."""

    def __init__(self, questions: FloatArray) -> None:
        self._questions = questions
        self._scores = np.full((len(questions), NEIGHBOURS), -np.inf, np.float32)
        self._numbers = np.full((len(questions), NEIGHBOURS), -1)

    def add(self, first: int, vectors: FloatArray) -> None:
        scores = np.hstack([self._scores, self._questions @ vectors.T])
        numbers = np.hstack([self._numbers, np.tile(np.arange(first, first + len(vectors)), (len(scores), 1))])
        best = np.argpartition(-scores, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        self._scores = np.take_along_axis(scores, best, axis=1)
        self._numbers = np.take_along_axis(numbers, best, axis=1)

    def numbers(self) -> list[set[int]]:
        return [set(row) for row in self._numbers.tolist()]


if __name__ == "__main__":
    rows, dimensions = (int(text) for text in (sys.argv[2:4] or ("1000000", "256")))
    main(sys.argv[1], rows, dimensions)
