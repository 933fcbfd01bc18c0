"""The sample documents can be read."""

from pathlib import Path

import pytest

from jina_rag.rag.documents import find_documents, read_document
from tests.questions import SAMPLES

DOCUMENTS = find_documents([SAMPLES])


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
