"""`evaluate`: a whole evaluation, from a dataset to its figures."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from jina_rag.bench.progress import BenchProgress, BenchProgressCallback
from jina_rag.embedder import Embedder
from jina_rag.errors import EvaluationError
from jina_rag.evaluation.answers import evaluate_answers, evaluate_highlights
from jina_rag.evaluation.corpus import corpus_index
from jina_rag.evaluation.datasets import Dataset
from jina_rag.evaluation.evaluating import DEFAULT_K, Method, evaluate_search, find_misplaced
from jina_rag.evaluation.results import AnswersResult, Evaluation
from jina_rag.evaluation.vector_cache import CachingBackend, caching
from jina_rag.formatting import counted
from jina_rag.machine import cache_root
from jina_rag.rag.answering.factory import make_generator
from jina_rag.rag.answering.judging import make_judge
from jina_rag.rag.answering.pipeline import RagPipeline
from jina_rag.rag.indexing.candidates import Mode
from jina_rag.rag.indexing.index import DocumentIndex
from jina_rag.rag.retrieval.rerank import Reranker, make_reranker
from jina_rag.rag.retrieval.retriever import Retriever
from jina_rag.rag.retrieval.search import SearchOptions

MODES: tuple[Mode, ...] = ("dense", "lexical", "hybrid")
_ANSWER_PASSAGES = 5


def evaluate(
    dataset: Dataset,
    embedder: Embedder,
    *,
    index: Path | str | None = None,
    k: int = DEFAULT_K,
    modes: Sequence[Mode] = MODES,
    reranker: str | None = None,
    llm: str | None = None,
    judge: str | None = None,
    cache: Path | None = None,
    on_progress: BenchProgressCallback = lambda _: None,
) -> Evaluation:
    """Measure how well the passages of questions are found, and how good answers are.

    An interrupted evaluation goes on where it was, because vectors and answers are kept in this user's cache.

    Args:
        dataset: Questions, with the texts to search or without.
        embedder: The model; for an index, its own.
        index: The index to search, if the dataset has no texts.
        k: How many passages to find for each question.
        modes: Ways to search.
        reranker: Adds hybrid search in the order of this reranker, as for `make_reranker`.
        llm: Lets this language model answer the questions too, as for `make_generator`; "none" measures the sentences
            that are highlighted without one, and None neither.
        judge: What reads the citations of its answers, as for `make_judge`.
        cache: Where vectors and answers are kept; None for this user's cache.
        on_progress: Called as it goes on.

    Raises:
        EvaluationError: there is nothing to search, or no question has an answer.
        IndexFolderError: there is no index, or it is damaged.
        JinaRagError: otherwise as `Retriever.retrieve`, `make_generator` and `make_judge`.
    """
    began = perf_counter()
    if not any(question.is_answerable for question in dataset.questions) and llm is None:
        raise EvaluationError(f"No question of {dataset.name} has an expected passage, so there is nothing to measure.")
    cached, engine = caching(embedder, cache)
    with ExitStack() as opened:
        opened.callback(engine.close_file)
        searched = opened.enter_context(_searched(dataset, cached, index, on_progress))
        ordering = opened.enter_context(closing(make_reranker(reranker))) if reranker else None
        methods = evaluate_search(dataset, searched, _methods(modes, ordering, k), on_progress)
        answers = None
        if llm is not None:
            file = (cache or cache_root() / "evaluation") / "answers.jsonl"
            answers = _answers(dataset, Retriever(searched, ordering), llm, judge, file, on_progress)
        return Evaluation(
            dataset=dataset.name,
            digest=dataset.digest,
            model=embedder.spec.name,
            quantization=embedder.quantization,
            dimensions=embedder.dimensions,
            k=k,
            n_texts=searched.count_chunks(),
            questions={question.id: question.text for question in dataset.questions if question.is_answerable},
            methods=methods,
            answers=answers,
            notes=tuple(_notes(dataset, searched, engine)),
            embedding_s=engine.seconds,
            total_s=perf_counter() - began,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )


@contextmanager
def _searched(
    dataset: Dataset, embedder: Embedder, folder: Path | str | None, on_progress: BenchProgressCallback
) -> Iterator[DocumentIndex]:
    """The index that is searched: one of the dataset's texts, or the one in a folder."""
    if dataset.texts is None:
        if folder is None:
            raise EvaluationError(f"{dataset.name} has questions without texts. Name the index to search.")
        with DocumentIndex.open(folder, embedder) as index:
            yield index
        return
    total, done = sum(bool(text.strip()) for text in dataset.texts.values()), 0

    def count(n_more: int) -> None:
        nonlocal done
        done += n_more
        on_progress(BenchProgress("Embedding the texts", done, total))

    with corpus_index(dataset.texts, embedder, count) as index:
        yield index


def _methods(modes: Sequence[Mode], reranker: Reranker | None, k: int) -> list[Method]:
    methods = [Method(SearchOptions(k=k, mode=mode)) for mode in modes]
    return [*methods, Method(SearchOptions(k=k), reranker)] if reranker else methods


def _answers(
    dataset: Dataset,
    retriever: Retriever,
    llm: str,
    judge: str | None,
    journal: Path,
    on_progress: BenchProgressCallback,
) -> AnswersResult:
    options, generator = SearchOptions(k=_ANSWER_PASSAGES), make_generator(llm)
    if generator is None:
        return evaluate_highlights(dataset, RagPipeline(retriever, None, options=options), on_progress)
    with ExitStack() as opened:
        opened.enter_context(closing(generator))
        reader = make_judge(judge, generator)
        if reader:
            opened.enter_context(closing(reader))
        pipeline = RagPipeline(retriever, generator, judge=reader, options=options)
        return evaluate_answers(dataset, pipeline, journal, on_progress)


def _notes(dataset: Dataset, index: DocumentIndex, engine: CachingBackend) -> Iterator[str]:
    without = sum(not question.is_answerable for question in dataset.questions)
    if without:
        yield f"{counted(without, 'question')} without an expected file: only answers to them are measured (--llm)."
    if engine.n_cut:
        yield f"Longer than the model reads, so that only the beginning was embedded: {counted(engine.n_cut, 'text')}."
    if dataset.texts is None:
        yield from find_misplaced(dataset, index)
        return
    missing = sum(one.file not in dataset.texts for question in dataset.questions for one in question.expected)
    if missing:
        yield f"Not among the texts, so that no search could find them: {counted(missing, 'expected passage')}."
