"""The sample documents can be read, and the sentences that answer the questions about them are highlighted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jina_rag import Embedder
from jina_rag.rag import DocumentIndex, RagPipeline, Retriever
from jina_rag.rag.documents import find_documents, read_document
from tests.apps.answers import Outcome, ask_group, shares
from tests.questions import SAMPLES

DOCUMENTS = find_documents([SAMPLES])


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


def test_documents_are_of_many_kinds() -> None:
    assert len(DOCUMENTS) >= 12
    assert {path.suffix for path in DOCUMENTS} == {".md", ".txt", ".html", ".pdf"}
    assert sum(len(read_document(path).pages) > 1 for path in DOCUMENTS) >= 3


# The expected phrase in the first highlight, among three. They notice when it gets worse.
FLOORS = {"seen": (0.68, 0.77), "fresh": (0.53, 0.60)}


@pytest.mark.parametrize("group", FLOORS)
def test_the_best_sentences_of_passages_are_highlighted(pipeline: RagPipeline, group: str) -> None:
    outcomes = ask_group(pipeline, group)
    found = shares([[Outcome.highlights(one, n) for one in outcomes] for n in (1, 3)])
    assert all(share >= floor for share, floor in zip(found, FLOORS[group], strict=True)), found
    assert not any(outcome.answer.text or outcome.answer.claims for outcome in outcomes)
