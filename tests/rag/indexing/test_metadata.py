"""What a file says about itself, from its reader to filters, exports and Chroma."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from jina_rag.rag import DocumentIndex, Filters
from jina_rag.rag.documents import close_workers, read_document
from jina_rag.rag.documents.types import MAX_METADATA, MAX_METADATA_VALUE
from tests.index_files import chroma_collection

# Python runs this in the child before anything else: text files whose content is metadata in JSON.
READER = """
import json
from jina_rag.rag.documents.formats import READERS
from jina_rag.rag.documents.types import Document, Page

def read(file):
    text = file.data.decode()
    return Document(str(file.path), "T", (Page(None, text),), metadata=json.loads(text))

READERS[".txt"] = read
"""
BOOKS = {
    "mars.txt": {"author": "Ann Lee", "created": "2024-03-01T10:00:00", "status": "draft"},
    "venus.txt": {"author": "Bob", "created": "2023-12-31"},
    "saturn.txt": {"status": "100%"},
}


@pytest.fixture
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(READER)
    monkeypatch.syspath_prepend(tmp_path / "site")
    (tmp_path / "books").mkdir()
    for name, metadata in BOOKS.items():
        (tmp_path / "books" / name).write_text(json.dumps(metadata))
    close_workers()
    yield tmp_path / "books"
    close_workers()


def test_metadata_is_stored_and_found_by(index: DocumentIndex, books: Path) -> None:
    index.add([books])
    assert {Path(each.source).name: each.metadata for each in index.documents()} == BOOKS

    def found(*where: str) -> set[str]:
        vector = index.embedder.embed_query("author")
        chunks = index.candidates("author", vector, 9, filters=Filters(where=where))
        return {Path(each.chunk.source).stem for each in chunks}

    assert found("author=ann lee") == found("author = *LEE") == found("created>=2024") == {"mars"}
    assert found("created<2024", "author=b*") == {"venus"}
    assert found("author!=bob") == {"mars", "saturn"}
    assert found("status=100%") == {"saturn"}
    assert found("status=1_0*") == found("title=T") == set()
    with pytest.raises(ValueError, match="'author' is no condition"):
        Filters(where=["author"])

    stream = io.StringIO()
    index.export(stream, filters=Filters(where=["author=bob"]))
    assert [json.loads(line)["metadata"] for line in stream.getvalue().splitlines()] == [BOOKS["venus.txt"]]
    with chroma_collection(index.folder) as vectors:
        stored, *others = vectors.get(where={"author": "Ann Lee"})["metadatas"] or []
    assert not others
    assert stored["created"] == "2024-03-01T10:00:00"
    assert "status" not in stored


def test_metadata_is_bounded(books: Path) -> None:
    (books / "long.txt").write_text(json.dumps({"0": "x" * 9999, **{str(n): "y" for n in range(1, 99)}}))
    document = read_document(books / "long.txt")
    assert len(document.metadata) == MAX_METADATA
    assert document.metadata["0"] == "x" * MAX_METADATA_VALUE
    assert document.notes == ("Of 99 metadata entries at most 32 are kept, each with at most 500 characters.",)
