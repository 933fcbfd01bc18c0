"""The sample documents can be read, and the passages that answer the questions about them are found."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jina_rag import Embedder
from jina_rag.rag import DocumentIndex, RagPipeline, Retriever
from jina_rag.rag.documents import find_documents, read_document
from tests.apps.answers import GROUPS, SAMPLES, Question, ask_all, load_questions, one_line, share

DOCUMENTS = find_documents([SAMPLES])
ANSWERED, UNANSWERED = load_questions()


@pytest.fixture(scope="module")
def pipeline(embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RagPipeline]:
    with DocumentIndex.create_or_open(tmp_path_factory.mktemp("samples"), embedder) as index:
        report = index.add([SAMPLES])
        assert not report.failed
        assert len(report.added) == len(DOCUMENTS)
        yield RagPipeline(Retriever(index), None)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document_is_readable(path: Path) -> None:
    document = read_document(path)
    assert len("".join(page.text for page in document.pages)) > 300
    assert "window.basket" not in document.pages[0].text  # scripts are not text
    assert path.stat().st_size < 60_000


def test_documents_are_of_many_kinds_and_languages() -> None:
    assert len(DOCUMENTS) >= 12
    assert {path.suffix for path in DOCUMENTS} == {".md", ".txt", ".html", ".pdf"}
    assert {question.language for question in ANSWERED} >= {"en", "de", "fr", "es", "ja", "ar"}
    assert sum(len(read_document(path).pages) > 1 for path in DOCUMENTS) >= 3


@pytest.mark.parametrize("question", ANSWERED, ids=lambda question: question.question)
def test_question_has_its_answers_where_it_says(question: Question) -> None:
    for place in question.passages:
        pages = read_document(SAMPLES / place.file).pages
        text = " ".join(page.text for page in pages if page.number == place.page)
        assert one_line(place.phrase) in one_line(text)


def test_there_are_questions_enough() -> None:
    for splits in GROUPS.values():
        english = [question for question in ANSWERED if question.is_english and question.split in splits]
        assert len(english) >= 30
        assert sum(len(question.passages) > 1 for question in english) >= 4
        assert sum(question.language == "en" and question.split in splits for question in UNANSWERED) >= 16
    assert len({question.question for question in [*ANSWERED, *UNANSWERED]}) == len(ANSWERED) + len(UNANSWERED)
    assert {question.language for question in UNANSWERED} >= {"en", "de", "fr", "es", "ja"}


# Right passage first, among five; expected phrase in the first highlight, among three. They notice when it gets worse.
FLOORS = {"seen": (0.90, 0.98, 0.68, 0.77), "fresh": (0.65, 0.95, 0.57, 0.65)}


@pytest.mark.parametrize("group", FLOORS)
def test_passages_are_found_and_their_best_sentences_highlighted(pipeline: RagPipeline, group: str) -> None:
    asked = [question for question in ANSWERED if question.is_english and question.split in GROUPS[group]]
    outcomes = ask_all(pipeline, asked)
    shares = (
        share(outcome.finds(1) for outcome in outcomes),
        share(outcome.finds(5) for outcome in outcomes),
        share(outcome.highlights(1) for outcome in outcomes),
        share(outcome.highlights(3) for outcome in outcomes),
    )
    assert all(found >= floor for found, floor in zip(shares, FLOORS[group], strict=True)), shares
    assert not any(outcome.answer.text or outcome.answer.claims for outcome in outcomes)
