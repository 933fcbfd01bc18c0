import subprocess
import sys
from pathlib import Path

import pytest

import jina_rag.rag
from jina_rag import Embedder
from jina_rag.errors import GenerationError, IndexFolderError
from jina_rag.rag import NO_ANSWER, DocumentIndex, ExtractiveGenerator, RagPipeline
from tests.rag.pdf import write_pdf


@pytest.fixture
def pipeline(index: DocumentIndex, notes: Path, embedder: Embedder) -> RagPipeline:
    write_pdf(notes / "manual.pdf", ["Nothing here.", "Jupiter has a great storm."])
    index.add([notes])
    return RagPipeline(index, ExtractiveGenerator(embedder), k=2)


def test_an_answer_cites_the_passage_it_comes_from(pipeline: RagPipeline, notes: Path) -> None:
    answer = pipeline.ask("Why does Mars look red, is it because of rust?")
    assert answer.text == "Mars looks red because of iron rust. [1]"
    assert answer.answered
    (citation,) = answer.citations
    assert citation.verified
    assert citation.result is answer.passages[0]
    assert citation.result.chunk.source == str(notes / "mars.md")
    assert len(answer.passages) == 2
    assert answer.unknown_numbers == ()


def test_an_answer_from_a_pdf_names_the_page(pipeline: RagPipeline) -> None:
    (citation,) = pipeline.ask("Has Jupiter a great storm?").citations
    assert citation.result.chunk.page == 2


def test_a_question_that_the_documents_do_not_answer(pipeline: RagPipeline) -> None:
    answer = pipeline.ask("Who won the football cup?")
    assert (answer.text, answer.answered, answer.citations) == (NO_ANSWER, False, ())


def test_streaming_gives_the_same_answer(pipeline: RagPipeline) -> None:
    question = "Why does Mars look red, is it because of rust?"
    passages = pipeline.search(question)
    text = "".join(pipeline.stream(question, passages))
    assert pipeline.finish(question, text, passages) == pipeline.ask(question)


@pytest.mark.parametrize("question", ["", " \n"])
def test_a_blank_question_is_refused(pipeline: RagPipeline, question: str) -> None:
    with pytest.raises(GenerationError, match="question is empty"):
        pipeline.ask(question)


def test_a_folder_opens_with_its_own_model(tmp_path: Path, notes: Path, minilm: Embedder) -> None:
    with pytest.raises(IndexFolderError):
        RagPipeline.open(tmp_path / "index")
    with DocumentIndex.create_or_open(tmp_path / "index", minilm) as index:
        index.add([notes])
    pipeline = RagPipeline.open(tmp_path / "index")
    with pipeline.index:
        assert pipeline.ask("What are Saturn's rings made of?").text == "Saturn has rings made of ice. [1]"


def test_public_names_exist_and_are_cheap() -> None:
    assert all(getattr(jina_rag.rag, name) is not None for name in jina_rag.rag.__all__)
    heavy = {"numpy", "chromadb", "openai", "rich.table"}
    code = f"import sys, jina_rag.rag, jina_rag.cli; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
