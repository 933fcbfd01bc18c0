"""An index of somebody else's making: harmless to open, and said to be what it is."""

import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chromadb
import pytest
from chromadb.api.types import Documents, EmbeddingFunction, Embeddings

from jina_rag import Embedder
from jina_rag.errors import IndexFolderError
from jina_rag.rag import DocumentIndex, Filters
from jina_rag.rag.indexing.check import doctor
from jina_rag.rag.indexing.contents import IndexContents
from jina_rag.rag.indexing.index import rebuild
from jina_rag.rag.store import filters
from jina_rag.rag.store.sqlite import Database
from tests.index_files import database, nearest, whole_contents


@pytest.fixture
def folder(index: DocumentIndex, notes: Path) -> Path:
    index.add([notes])
    index.close()
    return index.folder


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON chunks BEGIN DELETE FROM chunks; END",
        "CREATE VIEW v AS SELECT 1",
        "ALTER TABLE documents RENAME TO others; CREATE VIEW documents AS SELECT * FROM others",
        "CREATE TABLE more (x)",
        "CREATE INDEX more ON meta (value)",
        "ALTER TABLE meta ADD COLUMN more CHECK (more IS NULL)",
        "CREATE VIRTUAL TABLE more USING fts5 (x)",
    ],
)
def test_a_database_with_more_than_our_tables_is_refused(folder: Path, statement: str) -> None:
    with database(folder) as connection:
        connection.executescript(statement)
    with pytest.raises(IndexFolderError, match="holds what jina-rag did not make"):
        IndexContents.open(folder)
    (problem,) = doctor(folder)
    assert "did not make" in problem.what


@pytest.mark.parametrize("name", ["index.sqlite3", "index.sqlite3-wal", ".lock", ".lock.json", "chroma", "chroma/x"])
def test_no_link_is_followed(folder: Path, embedder: Embedder, tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "letter.txt").write_text("Dear")
    link = folder / name
    target = precious if name.startswith("chroma") else precious / "letter.txt"
    if link.is_dir():
        shutil.rmtree(link)
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    for attempt in (
        lambda: DocumentIndex.open(folder, embedder),
        lambda: DocumentIndex.create_or_open(folder, embedder),
        lambda: rebuild(folder, embedder),
    ):
        with pytest.raises(IndexFolderError, match="is a link"):
            attempt()
    assert "is a link" in doctor(folder)[0].what
    assert [path.read_text() for path in precious.iterdir()] == ["Dear"]


def test_no_row_names_a_folder_to_delete(folder: Path, embedder: Embedder, notes: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    with database(folder) as connection:
        connection.execute("INSERT INTO meta VALUES ('chroma', ?)", [str(precious)])
        connection.execute("UPDATE meta SET value = ? WHERE key = 'seal'", [str(precious)])
    with DocumentIndex.open(folder, embedder) as index:
        for _ in range(2):
            assert nearest(index, "rings of ice")[0].title == "saturn"
        index.add([notes])
    rebuild(folder, embedder)
    assert precious.is_dir()


def test_vectors_from_another_machine_are_not_opened_but_made_again(
    folder: Path, embedder: Embedder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    for file in copy.glob("chroma/*/*.bin"):
        file.write_bytes(b"\xff" * file.stat().st_size)  # would end the process that reads it
    (problem,) = doctor(copy)
    assert "were not written on this machine" in problem.what
    with DocumentIndex.open(copy, embedder) as index:
        assert nearest(index, "rings of ice")[0].title == "saturn"
        assert nearest(index, "thick clouds")[0].title == "venus"
        assert caplog.text.count("was not written on this machine") == 1
        index.sync()
    whole_contents(copy)
    assert doctor(copy) == []


class Foreign(EmbeddingFunction[Documents]):
    """Of another program."""

    def __init__(self) -> None:
        """Take nothing."""

    def __call__(self, input: Documents) -> Embeddings:  # noqa: A002 - Chroma's name for it
        raise AssertionError(input)

    @staticmethod
    def name() -> str:
        return "foreign"

    def get_config(self) -> dict[str, Any]:
        return {}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> "Foreign":
        return Foreign(**config)


def test_another_embedding_function_in_chroma_is_refused(
    folder: Path, embedder: Embedder, notes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with chromadb.PersistentClient(f"{folder}/./chroma") as client:  # type: ignore[attr-defined]
        metadata = client.get_collection("documents", embedding_function=None).metadata
        client.delete_collection("documents")
        client.create_collection("documents", metadata=metadata, embedding_function=Foreign())
    with DocumentIndex.open(folder, embedder) as index:
        assert nearest(index, "rings of ice")[0].title == "saturn"
        assert "can't be used" in caplog.text
        with pytest.raises(IndexFolderError, match="jina-rag rebuild"):
            index.remove([notes])
    rebuild(folder, embedder)
    whole_contents(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights.")
def test_an_index_is_its_owners_alone(tmp_path: Path, notes: Path, embedder: Embedder) -> None:
    before = os.umask(0)
    try:
        with DocumentIndex.create_or_open(tmp_path / "index", embedder) as index:
            index.add([notes])
            nearest(index, "rings of ice")
            modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [index.folder, *index.folder.rglob("*")]}
    finally:
        os.umask(before)
    assert len(modes) > 4
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}


def test_an_index_that_its_owner_shared_stays_shared(folder: Path, notes: Path, embedder: Embedder) -> None:
    folder.chmod(0o755)
    (folder / "index.sqlite3").chmod(0o644)
    with DocumentIndex.open(folder, embedder) as index:
        index.remove([notes / "mars.md"])
    assert stat.S_IMODE((folder / "index.sqlite3").stat().st_mode) == 0o644


@pytest.mark.skipif(not hasattr(os, "fork"), reason="There is no fork.")
def test_a_forked_process_is_told_to_open_the_index_itself(index: DocumentIndex, notes: Path) -> None:
    index.add([notes])
    nearest(index, "rings of ice")

    def is_refused(ask: Callable[[], object]) -> bool:
        try:
            ask()
        except IndexFolderError as error:
            return "Open it after the fork" in str(error)
        return False

    child = os.fork()
    if not child:
        refused = is_refused(lambda: nearest(index, "rings of ice")) and is_refused(lambda: index.remove([notes]))
        index.close()
        os._exit(0 if refused else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert nearest(index, "rings of ice")[0].title == "saturn"


def test_a_connection_whose_file_was_replaced_meanwhile_is_not_used_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with Database(tmp_path / name).transaction(create=True) as connection:
            connection.execute("INSERT INTO meta VALUES ('name', ?)", [name])
    replaced = Database(tmp_path / "a")
    with replaced.transaction() as connection:
        assert connection.execute("SELECT value FROM meta").fetchall() == [("a",)]
        (tmp_path / "b").replace(tmp_path / "a")
    with replaced.transaction() as connection:
        assert connection.execute("SELECT value FROM meta").fetchall() == [("b",)]
    replaced.close()


def test_brackets_in_a_name_stand_for_themselves(index: DocumentIndex, notes: Path, embedder: Embedder) -> None:
    for name in ("notes [1].md", "notes 1.md"):
        (notes / name).write_text(f"{name} is about planets.")
    index.add([notes])

    def found(source: str) -> set[str]:
        candidates = index.candidates("planets", embedder.embed_query("x"), 9, filters=Filters(sources=[source]))
        return {Path(candidate.chunk.source).name for candidate in candidates}

    assert found("notes [1].md") == found("*[1].md") == {"notes [1].md"}
    assert found("notes ?.md") == {"notes 1.md"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("C:\\notes", True),
        ("C:/notes/", True),
        ("notes", True),
        ("notes/mars.md", True),
        ("*.md", True),
        ("otes", False),
        ("C:\\note", False),
    ],
)
def test_sources_are_found_with_the_separator_of_windows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, expected: bool
) -> None:
    monkeypatch.setattr(filters, "SEPARATOR", "\\")
    condition, parameters = Filters(sources=[source]).condition()
    with Database(tmp_path / "index.sqlite3").transaction(create=True) as connection:
        row = ["C:\\notes\\mars.md", "", "", 0, 0, 0, "", "", "", "[]", "{}", 0]
        connection.execute(f"INSERT INTO documents VALUES ({', '.join('?' * len(row))})", row)
        found = connection.execute(f"SELECT source FROM documents WHERE {condition}", parameters).fetchall()
    assert bool(found) == expected
