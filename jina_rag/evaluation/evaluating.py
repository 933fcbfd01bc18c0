"""Questions asked through `Retriever`, and their rankings measured."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from time import perf_counter

from jina_rag.bench.progress import BenchProgress, BenchProgressCallback
from jina_rag.evaluation.datasets import Dataset, ExpectedPassage, Question
from jina_rag.evaluation.measures import estimates, measure
from jina_rag.evaluation.results import MethodResult
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.indexing.index import DocumentIndex
from jina_rag.rag.retrieval.rerank import Reranker
from jina_rag.rag.retrieval.retriever import Retriever
from jina_rag.rag.retrieval.search import SearchOptions

DEFAULT_K = 10


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
    results = []
    for method in methods:
        retriever = Retriever(index, method.reranker)
        found: dict[str, list[str]] = {}
        seconds = []
        for done, question in enumerate(questions, start=1):
            began = perf_counter()
            chunks = [result.chunk for result in retriever.retrieve(question.text, method.options)]
            seconds.append(perf_counter() - began)
            found[question.id] = ranked_items(question, chunks)
            on_progress(BenchProgress(f"Searching ({method.name})", done, len(questions)))
        values = measure(relevant, found, method.options.k)
        ranks = {question.id: _first_rank(relevant[question.id], found[question.id]) for question in questions}
        results.append(
            MethodResult(
                name=method.name,
                measures=estimates(values),
                values=values,
                ranks=ranks,
                search_s=statistics.median(seconds),
            )
        )
    return tuple(results)


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
