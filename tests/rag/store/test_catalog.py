"""The SQLite file itself: versions, threads, forks, replaced files."""

import os
import shutil
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from jina_rag import Embedder
from jina_rag.errors import IndexFolderError
from jina_rag.rag import DocumentIndex, rebuild
from jina_rag.rag.store.catalog import VERSION, Manifest, TrackedPath

TABLES_OF_VERSION_1 = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE documents (
        source TEXT PRIMARY KEY, title TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL, n_chunks INTEGER NOT NULL, added_at TEXT NOT NULL
    )""",
    """CREATE TABLE chunks (
        id TEXT PRIMARY KEY, source TEXT NOT NULL, title TEXT NOT NULL, position INTEGER NOT NULL, page INTEGER,
        heading TEXT, start INTEGER NOT NULL, "end" INTEGER NOT NULL, text TEXT NOT NULL
    )""",
    "CREATE INDEX chunks_by_source ON chunks (source, position)",
    "CREATE TABLE unfinished (source TEXT PRIMARY KEY)",
    "PRAGMA user_version = 1",
)


def _make_version_1(index: DocumentIndex) -> Path:
    """Turn an index into what the first version would have made of the same documents, to the byte of its tables."""
    collection = index._store._collection
    ids = collection.get(include=[])["ids"]
    collection.update(ids=ids, metadatas=[{"collection": None, "kind": None}] * len(ids))
    index.close()
    path = index.folder / "index.sqlite3"
    with sqlite3.connect(path) as new:
        rows = {
            "meta": new.execute("SELECT key, value FROM meta").fetchall(),
            "documents": new.execute(
                "SELECT source, title, sha256, size, mtime_ns, n_chunks, added_at FROM documents"
            ).fetchall(),
            "chunks": new.execute(
                'SELECT id, source, title, position, page, heading, start, "end", text FROM chunks'
            ).fetchall(),
        }
    new.close()
    for file in index.folder.glob("index.sqlite3*"):
        file.unlink()
    with sqlite3.connect(path) as old:
        old.execute("PRAGMA journal_mode = WAL")
        for statement in TABLES_OF_VERSION_1:
            old.execute(statement)
        for table, values in rows.items():
            old.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values[0]))})", values)
    old.close()
    return index.folder


@pytest.fixture
def version_1(tmp_path: Path, notes: Path, embedder: Embedder) -> Path:
    index = DocumentIndex.create_or_open(tmp_path / "index", embedder)
    index.add([notes])
    return _make_version_1(index)


def test_an_index_of_version_1_is_brought_up_to_date(
    version_1: Path, notes: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "embed_documents", _die)
    with DocumentIndex.open(version_1, embedder) as index:
        assert index._manifest.version() == VERSION
        assert index.doctor() == []
        assert index.collections() == {"default": 3}
        assert [document.kind for document in index.documents()] == [".md", ".txt", ".txt"]
        assert [chunk.title for chunk, _ in index.matching("clouds", 3)] == ["venus"]
        assert index.nearest(embedder.embed_query("thick clouds"), 1)[0][0].title == "venus"
        stored = index._store._collection.get(where={"kind": ".md"})["metadatas"]
        assert stored is not None
        assert (stored[0]["title"], stored[0]["collection"]) == ("Mars", "default")
        assert len(index.add([notes]).unchanged) == 3
        assert index.status().tracked_paths == (TrackedPath(str(notes)),)


def test_a_migration_that_is_interrupted_changes_nothing(
    version_1: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("jina_rag.rag.store.fulltext.add", _die)
        with pytest.raises(Killed):
            DocumentIndex.open(version_1, embedder)
    with sqlite3.connect(version_1 / "index.sqlite3") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM chunks").fetchone() == (3,)
    connection.close()
    with DocumentIndex.open(version_1, embedder) as index:
        assert (index.count_chunks(), index.doctor()) == (3, [])


def test_version_1_without_usable_vectors_is_embedded_again(version_1: Path, embedder: Embedder) -> None:
    shutil.rmtree(version_1 / "chroma")
    with DocumentIndex.open(version_1, embedder) as index:
        assert len(index.doctor()) == 2
    assert rebuild(version_1, embedder) == 3
    with DocumentIndex.open(version_1, embedder) as index:
        assert index.doctor() == []
        assert index.nearest(embedder.embed_query("thick clouds"), 1)[0][0].title == "venus"


def test_vectors_come_back_as_they_were(index: DocumentIndex) -> None:
    vectors = {bytes([number]) * 16: np.random.default_rng(number).random(64, np.float32) for number in range(5)}
    index._manifest.begin((), vectors)
    found = index._manifest.vectors([*vectors, b"unknown"])
    assert found.keys() == vectors.keys()
    for digest, vector in vectors.items():
        np.testing.assert_array_equal(found[digest], vector)


def test_connections_are_kept_and_never_shared(index: DocumentIndex, notes: Path) -> None:
    index.add([notes])
    with ThreadPoolExecutor(16) as threads:
        counts = set(threads.map(lambda _: len(index.documents()), range(400)))
    assert counts == {3}
    assert 1 <= len(index._manifest._database._idle) <= 8
    index._manifest.close()
    assert index._manifest._database._idle == []
    assert len(index.documents()) == 3


def test_a_forked_child_opens_its_own_connections(index: DocumentIndex, notes: Path) -> None:
    index.add([notes])
    before = index._manifest._database._idle[0]
    child = os.fork()
    if not child:
        n = len(index.documents())
        os._exit(n if all(one is not before for one in index._manifest._database._idle) else 99)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 3
    assert len(index.documents()) == 3


def test_a_file_that_was_replaced_is_noticed(tmp_path: Path, index: DocumentIndex, notes: Path) -> None:
    manifest = Manifest(index._manifest.path)
    assert manifest.documents() == []
    index.add([notes])
    index.close()
    assert len(manifest.documents()) == 3
    with DocumentIndex.create_or_open(tmp_path / "other", index.embedder) as other:
        other.add([notes / "mars.md"])
    for file in index.folder.glob("index.sqlite3*"):
        file.unlink()
    with pytest.raises(IndexFolderError, match="can't be used"):
        manifest.documents()
    shutil.copy(tmp_path / "other" / "index.sqlite3", index.folder)
    assert len(manifest.documents()) == 1
    manifest.close()


class Killed(BaseException):
    """Stands for a process that ends here."""


def _die(*_: Sequence[object], **__: object) -> NoReturn:
    raise Killed
