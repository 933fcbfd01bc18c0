"""Questions asked through `Retriever`, and their rankings measured."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from time import perf_counter

from jina_rag.bench.progress import BenchProgress, BenchProgressCallback
from jina_rag.embedder import Embedder
from jina_rag.evaluation.datasets import Dataset, ExpectedPassage, Question
from jina_rag.evaluation.measures import estimates, measure
from jina_rag.evaluation.results import MethodResult
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.indexing.candidates import Candidate, Mode, SearchIndex
from jina_rag.rag.indexing.index import DocumentIndex
from jina_rag.rag.retrieval.rerank import Reranker
from jina_rag.rag.retrieval.retriever import Retriever
from jina_rag.rag.retrieval.search import SearchOptions
from jina_rag.rag.store.filters import Filters
from jina_rag.vectors import FloatArray

DEFAULT_K = 10

_TIMED_QUESTIONS = 30
"""So many are searched in each way by itself; the time of one is their median."""


@dataclass(frozen=True)
class Method:
    """A way to search: its options, and a reranker or none."""

    options: SearchOptions
    reranker: Reranker | None = None

    @property
    def name(self) -> str:
        """What to call it."""
        return f"{self.options.mode}, {self.reranker.name}" if self.reranker else self.options.mode


def evaluate_search(
    dataset: Dataset,
    index: DocumentIndex,
    methods: Sequence[Method],
    on_progress: BenchProgressCallback = lambda _: None,
) -> tuple[MethodResult, ...]:
    """Ask every answerable question in every way.

    An expected passage counts once, at the first chunk that has it; further chunks that have it are skipped. So several
    small chunks that share a phrase are neither several answers nor wrong ones.

    Args:
        dataset: The questions.
        index: What to search.
        methods: How.
        on_progress: Called after each question.

    Raises:
        EvaluationError: no question has an answer.
        MissingDependencyError: ir-measures is not installed.
        JinaRagError: otherwise as `Retriever.retrieve`.
    """
    questions = [question for question in dataset.questions if question.is_answerable]
    relevant = {question.id: relevance_of(question) for question in questions}
    if questions and methods:
        index.embedder.embed([question.text for question in questions], "query")  # together, which is quicker
    shared: SearchIndex = _SharedCandidates(index) if len(methods) > 1 else index
    found: list[dict[str, list[str]]] = [{} for _ in methods]
    seconds: list[list[float]] = [[] for _ in methods]
    for done, question in enumerate(questions, start=1):
        is_timed = done <= _TIMED_QUESTIONS
        for place, method in enumerate(methods):
            retriever = Retriever(index if is_timed else shared, method.reranker)
            began = perf_counter()
            chunks = [result.chunk for result in retriever.retrieve(question.text, method.options)]
            if is_timed:
                seconds[place].append(perf_counter() - began)
            found[place][question.id] = ranked_items(question, chunks)
        on_progress(BenchProgress("Searching", done, len(questions)))
    results = []
    for method, items, times in zip(methods, found, seconds, strict=True):
        values = measure(relevant, items, method.options.k)
        results.append(
            MethodResult(
                name=method.name,
                measures=estimates(values),
                values=values,
                ranks={name: _first_rank(grades, items[name]) for name, grades in relevant.items()},
                search_s=statistics.median(times),
            )
        )
    return tuple(results)


class _SharedCandidates:
    """An index that searches once for all methods that ask the same question: hybrid search has both sides."""

    def __init__(self, index: SearchIndex) -> None:
        self._whole = index
        self._asked: tuple[str, int, Filters | None] | None = None
        self._found: list[Candidate] = []

    @property
    def embedder(self) -> Embedder:
        return self._whole.embedder

    def windows(self, chunks: Sequence[Chunk], n: int) -> list[list[Chunk]]:
        return self._whole.windows(chunks, n)

    def check_names(self, filters: Filters) -> None:
        self._whole.check_names(filters)

    def count_chunks(self) -> int:
        return self._whole.count_chunks()

    def candidates(
        self, query: str, vector: FloatArray, n: int, *, mode: Mode = "hybrid", filters: Filters | None = None
    ) -> list[Candidate]:
        if self._asked != (query, n, filters):
            self._found = self._whole.candidates(query, vector, n, filters=filters)
            self._asked = query, n, filters
        if mode == "hybrid":
            return self._found
        return [one for one in self._found if (one.dense if mode == "dense" else one.lexical)]


def find_misplaced(dataset: Dataset, index: DocumentIndex) -> list[str]:
    """What is expected where the index has nothing of the kind, a sentence each: no search could find it."""
    sources = [document.source for document in index.documents()]

    @cache
    def chunks_of(file: str) -> list[Chunk]:
        return [chunk for source in sources if is_file(source, file) for chunk in index.chunks_of(source)]

    notes = []
    for question in dataset.questions:
        for one in question.expected:
            chunks = chunks_of(one.file)
            if not chunks:
                notes.append(f"The index has no document {one.file}, which is expected for: {question.text}")
            elif not any(has_passage(chunk, one) for chunk in chunks):
                where = f"{one.file}, page {one.page}" if one.page else one.file
                notes.append(f"No single passage of {where} has {one.phrase!r}, which is expected for: {question.text}")
    return notes


def relevance_of(question: Question) -> dict[str, int]:
    """How relevant each expected passage is, by the names that `ranked_items` gives them."""
    return {_item(place): one.relevance for place, one in enumerate(question.expected)}


def ranked_items(question: Question, chunks: Sequence[Chunk]) -> list[str]:
    """What a ranking is worth: expected passages, each at its first chunk, and other chunks."""
    items: dict[str, None] = {}
    for chunk in chunks:
        places = [_item(place) for place, one in enumerate(question.expected) if has_passage(chunk, one)]
        items.update(dict.fromkeys(places or [chunk.id]))
    return list(items)


def has_passage(chunk: Chunk, expected: ExpectedPassage) -> bool:
    """Whether a chunk is an expected passage, or has it."""
    return (
        is_file(chunk.source, expected.file)
        and expected.page in (None, chunk.page)
        and " ".join(expected.phrase.split()) in " ".join(chunk.text.split())
    )


def is_file(source: str, file: str) -> bool:
    """Whether a document's source is a file, of which the end of the path may be given."""
    return source == file or source.replace("\\", "/").endswith("/" + file.replace("\\", "/"))


def _item(place: int) -> str:
    return f"expected {place}"


def _first_rank(relevant: dict[str, int], items: Sequence[str]) -> int | None:
    return next((rank for rank, item in enumerate(items, start=1) if relevant.get(item, 0) > 0), None)
