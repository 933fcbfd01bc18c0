"""The sample documents can be read, and the questions about them find the right file and page."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jina_rag import Embedder
from jina_rag.rag import NO_ANSWER, DocumentIndex, RagPipeline, find_documents, make_generator, read_document
from tests.apps.conftest import SAMPLES, Question, load_questions

DOCUMENTS = find_documents([SAMPLES])
ANSWERED, UNANSWERED = load_questions()


@pytest.fixture(scope="module")
def pipeline(embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RagPipeline]:
    with DocumentIndex.create_or_open(tmp_path_factory.mktemp("samples"), embedder) as index:
        report = index.add([SAMPLES])
        assert not report.failed
        assert len(report.added) == len(DOCUMENTS)
        yield RagPipeline(index, make_generator(None, embedder))


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
def test_question_has_its_answer_where_it_says(question: Question) -> None:
    pages = read_document(SAMPLES / question.file).pages
    text = " ".join(page.text for page in pages if page.number == question.page)
    assert all(word in " ".join(text.split()) for word in question.words)


@pytest.mark.parametrize(
    "question",
    [question for question in ANSWERED if not question.multilingual],  # the bundled model knows English
    ids=lambda question: question.question,
)
def test_answer_cites_the_right_place(pipeline: RagPipeline, question: Question) -> None:
    answer = pipeline.ask(question.question)
    chunks = [citation.result.chunk for citation in answer.citations]
    assert (question.file, question.page) in [(Path(chunk.source).name, chunk.page) for chunk in chunks]
    assert all(citation.verified for citation in answer.citations)
    assert all(word in " ".join(answer.text.split()) for word in question.words)


@pytest.mark.parametrize("question", UNANSWERED)
def test_unanswered_question(pipeline: RagPipeline, question: str) -> None:
    answer = pipeline.ask(question)
    assert answer.text == NO_ANSWER
    assert not answer.answered
    assert not answer.citations
