"""File names that are not UTF-8: they are stored and shown escaped, and lead back to their files."""

import os
from pathlib import Path

import pytest

from jina_rag import Embedder
from jina_rag.errors import DocumentError
from jina_rag.rag import DocumentIndex, Filters
from jina_rag.rag.citations.source_context import read_source_context
from jina_rag.rag.documents import read_document
from jina_rag.rag.documents.sources import path_of, source_of
from jina_rag.rag.indexing.check import doctor
from tests.index_files import chroma_collection, nearest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX systems only")


def _path(folder: Path, name: bytes) -> Path:
    path = folder / os.fsdecode(name)
    try:
        path.mkdir()
        path.rmdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    return path


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder whose name and whose file's name are not UTF-8."""
    folder = _path(tmp_path, b"f\xfcr")
    folder.mkdir()
    (folder / os.fsdecode(b"m\xe9.txt")).write_text("Mars looks red.")
    (folder / "venus.txt").write_text("Venus is covered in clouds.")
    return folder


@pytest.mark.parametrize("name", [b"m\xe9.txt", b"m\\xe9.txt", b"m\\x5cxe9.txt", "mé.txt".encode(), b"\\x41\\ud800"])
def test_every_path_has_a_source_of_its_own(name: bytes) -> None:
    path = Path("/notes", os.fsdecode(name))
    assert path_of(source_of(path)) == path
    source_of(path).encode()


def test_such_files_are_indexed_found_and_removed_like_others(index: DocumentIndex, odd: Path) -> None:
    mars = odd / os.fsdecode(b"m\xe9.txt")
    source = source_of(mars)
    assert source.endswith("f\\xfcr/m\\xe9.txt")
    assert index.add([odd]).added == tuple(sorted([source, source_of(odd / "venus.txt")]))
    assert [document.title for document in index.documents()] == ["m\\xe9", "venus"]
    assert index.sync().added == ()
    (chunk,) = index.chunks_of(source)
    for name in (str(mars), source, "m\udce9.txt", "m\\xe9.txt", "f\\xfcr/m*"):
        filters = Filters(sources=[name])
        assert index.candidates("Mars", index.embedder.embed_query("Mars"), 9, filters=filters)[0].chunk == chunk
    with chroma_collection(index.folder) as vectors:
        assert vectors.get(where={"source": source})["documents"] == ["Mars looks red."]
    assert read_source_context(chunk).text == read_document(source).pages[0].text == chunk.text
    assert [document.source for document in index.documents_below([odd])] == [
        document.source for document in index.documents()
    ]

    mars.rename(odd / os.fsdecode(b"n\xe9.txt"))
    assert [now for _, now in index.sync().moved] == [source_of(odd / os.fsdecode(b"n\xe9.txt"))]
    assert index.remove([str(odd / os.fsdecode(b"n\xe9.txt"))]) == 1
    assert index.remove([source_of(odd / "venus.txt")]) == 1
    assert index.documents() == []


def test_the_folder_of_an_index_may_have_such_a_name(odd: Path, embedder: Embedder) -> None:
    folder = odd.with_name(os.fsdecode(b"ind\xe9x"))
    with DocumentIndex.create_or_open(folder, embedder) as index:
        index.add([odd])
    with DocumentIndex.open(folder, embedder) as index:
        assert nearest(index, "Mars looks red.")[0].text == "Mars looks red."
        assert doctor(folder) == []
        assert index.sync().removed == ()


def test_messages_show_such_names_escaped(index: DocumentIndex, odd: Path) -> None:
    (odd / os.fsdecode(b"br\xf6ken.pdf")).write_bytes(b"nothing")
    (failed,) = index.add([odd]).failed
    assert "br\\xf6ken.pdf" in failed.reason
    odd.rename(odd.with_name("away"))
    (lost,) = index.sync().failed
    assert "jina-rag rm" in lost.reason
    for reason in (failed.reason, lost.reason):
        reason.encode()
    with pytest.raises(DocumentError, match=r"no file or folder .*n\\xe9"):
        index.add([odd / os.fsdecode(b"n\xe9")])
