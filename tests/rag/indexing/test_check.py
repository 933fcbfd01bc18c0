"""The doctor finds each kind of damage, and what it advises mends it."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from jina_rag import Embedder
from jina_rag.errors import IndexFolderError
from jina_rag.rag import DocumentIndex
from jina_rag.rag.indexing.check import doctor
from jina_rag.rag.indexing.chroma_side import ChromaSide
from jina_rag.rag.indexing.index import rebuild
from jina_rag.testing import fake_embedder
from tests.index_files import chroma_collection, copy_of_index, database, nearest, whole_contents

ADD = """
import sys
from jina_rag.rag import DocumentIndex
from jina_rag.testing import fake_embedder
with DocumentIndex.create_or_open(sys.argv[1], fake_embedder()) as index:
    index.add([sys.argv[2]])
"""


def _made_index(place: Path, n_documents: int) -> Path:
    """An index of small documents, made by another process."""
    (place / "moons").mkdir()
    for number in range(n_documents):
        (place / "moons" / f"{number}.txt").write_text(f"Moon {number} is covered in dust{number}.")
    subprocess.run([sys.executable, "-c", ADD, str(place / "index"), str(place / "moons")], check=True)
    return place / "index"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So many chunks that Chroma has saved its graph."""
    return _made_index(tmp_path_factory.mktemp("many"), 1200)


@pytest.fixture
def folder_of_many(many: Path, tmp_path: Path) -> Path:
    return copy_of_index(many, tmp_path / "index")


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So many chunks that a rebuild takes several steps."""
    return _made_index(tmp_path_factory.mktemp("some"), 400)


@pytest.fixture
def folder_of_some(some: Path, tmp_path: Path) -> Path:
    return copy_of_index(some, tmp_path / "index")


def _graph_file(folder: Path, name: str) -> Path:
    return next(folder.glob(f"chroma/*/{name}"))


def _truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _overwrite(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 3)
        file.write(b"\xa7" * (size // 3))


def _other_vectors(folder: Path) -> None:
    shutil.rmtree(folder / "chroma")
    (folder.parent / "1.txt").write_text("Another text.")
    with DocumentIndex.create_or_open(folder.parent / "other", fake_embedder(32)) as other:
        other.add([folder.parent / "1.txt"])
    shutil.copytree(folder.parent / "other" / "chroma", folder / "chroma")


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no folder": (lambda folder: shutil.rmtree(folder / "chroma"), "is not there"),
    "truncated database": (lambda folder: _truncate(folder / "chroma" / "chroma.sqlite3"), "can't be used"),
    "overwritten database": (lambda folder: _overwrite(folder / "chroma" / "chroma.sqlite3"), "can't be used"),
    "truncated graph": (lambda folder: _truncate(_graph_file(folder, "data_level0.bin")), "can't be used"),
    "overwritten graph": (lambda folder: _overwrite(_graph_file(folder, "data_level0.bin")), "can't be used"),
    "truncated header": (lambda folder: _truncate(_graph_file(folder, "header.bin")), "can't be used"),
    "no names": (lambda folder: _graph_file(folder, "index_metadata.pickle").unlink(), "can't be used"),
    "other vectors": (_other_vectors, "were not written on this machine"),
}

UNDECODABLE = (
    "UPDATE chunks SET id = CAST(x'c3ff' AS TEXT) WHERE number = 1",  # SQLite's own check does not find it
    "UPDATE sqlite_master SET name = CAST(x'c3ff' AS TEXT), sql = '?' WHERE name = 'meta'",  # is in its message
    "UPDATE sqlite_master SET sql = sql || ' --' || CAST(x'c3ff' AS TEXT) WHERE name = 'meta'",
)

FAULTS = {
    "DELETE FROM lexical WHERE rowid < 4": "3 chunks that can't be found",
    "INSERT INTO lexical (rowid, text) VALUES (9999, 'x')": "2 words of chunks that are gone",
    "DELETE FROM chunks WHERE number = 5": "1 documents whose chunks are not as many",
    "DELETE FROM documents WHERE source LIKE '%/77.txt'": "1 chunks without a document",
    "DELETE FROM vectors WHERE digest < x'10'": "whose vectors are not kept",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found(folder_of_many: Path, damage: str) -> None:
    harm, message = DAMAGES[damage]
    harm(folder_of_many)
    problems = doctor(folder_of_many)
    assert message in problems[0].what
    assert all(problem.why for problem in problems)
    assert {problem.remedy for problem in problems} == {f"jina-rag rebuild --index {folder_of_many}"}


@pytest.mark.parametrize("damage", ["no folder", "truncated graph", "other vectors"])
def test_damage_is_mended_by_what_the_doctor_says(folder_of_many: Path, embedder: Embedder, damage: str) -> None:
    DAMAGES[damage][0](folder_of_many)
    assert rebuild(folder_of_many, embedder) == 0
    _assert_whole(folder_of_many, embedder, 1200)


def test_rows_that_disagree_are_found_and_mended(folder_of_some: Path, embedder: Embedder) -> None:
    with DocumentIndex.open(folder_of_some, embedder) as index:
        sample = [chunk.id for chunk in index.sample(7)]
    with chroma_collection(folder_of_some) as vectors, database(folder_of_some) as connection:
        vectors.delete(sample)
        vectors.add(ids=["stranger"], embeddings=np.ones((1, 64), np.float32), documents=["?"])
        for statement in FAULTS:
            connection.execute(statement)
    found = "\n".join(problem.what for problem in doctor(folder_of_some))
    for message in (*FAULTS.values(), "chunks have no vector in Chroma", "vectors of chunks that the index does not"):
        assert message in found
    rebuild(folder_of_some, embedder)
    with DocumentIndex.open(folder_of_some, embedder) as index:
        assert index.count_chunks() == 398
        index.sync()
    _assert_whole(folder_of_some, embedder, 400)
    assert doctor(folder_of_some) == []


def _assert_whole(folder: Path, embedder: Embedder, n_chunks: int) -> None:
    with DocumentIndex.open(folder, embedder) as index:
        assert index.count_chunks() == n_chunks
        assert nearest(index, "Moon 321 dust321")[0].title == "321"
    whole_contents(folder)


def test_rebuilding_embeds_nothing_that_is_kept(
    folder_of_some: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(folder_of_some / "chroma")
    monkeypatch.setattr(embedder, "embed_documents", _die)
    seen: list[tuple[int, int]] = []
    assert rebuild(folder_of_some, embedder, lambda done, total: seen.append((done, total))) == 0
    assert seen[-1] == (400, 400)


def test_rebuilding_goes_on_where_it_was_stopped(folder_of_some: Path) -> None:
    narrow, n_asked = fake_embedder(32), 0

    def stop_soon() -> bool:
        nonlocal n_asked
        n_asked += 1
        return n_asked > 3

    with pytest.raises(IndexFolderError, match="was stopped, and the index is as it was"):
        rebuild(folder_of_some, narrow, should_stop=stop_soon)
    (problem,) = doctor(folder_of_some)
    assert problem.what == "A rebuild was interrupted."
    with DocumentIndex.open(folder_of_some, fake_embedder()) as index:
        assert index.count_chunks() == 400
    assert rebuild(folder_of_some, narrow) == 400 - 3 * 128
    assert doctor(folder_of_some) == []


def test_a_rebuild_that_dies_before_chroma_follows_has_the_new_model(
    folder_of_some: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = fake_embedder(32)
    with monkeypatch.context() as patch:
        patch.setattr(ChromaSide, "remake", _die)
        with pytest.raises(Killed):
            rebuild(folder_of_some, narrow)
    with DocumentIndex.open(folder_of_some, narrow) as index:
        assert nearest(index, "Moon 321 dust321")[0].title == "321"
        index.sync()
    whole_contents(folder_of_some)
    assert doctor(folder_of_some) == []


@pytest.mark.parametrize("damage", [None, *UNDECODABLE])
def test_a_damaged_catalog_is_found(index: DocumentIndex, notes: Path, damage: str | None) -> None:
    index.add([notes])
    index.close()
    if damage is None:
        _overwrite(index.folder / "index.sqlite3")
    else:
        with database(index.folder) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(damage)
    (problem,) = doctor(index.folder)
    assert "is damaged" in problem.what
    assert problem.remedy.startswith(f"mv {index.folder} {index.folder}.damaged")


def test_what_a_killed_process_left_is_found(index: DocumentIndex, notes: Path) -> None:
    index.add([notes])
    with database(index.folder) as connection:
        connection.execute("INSERT INTO dirty SELECT id FROM chunks LIMIT 1")
    (problem,) = doctor(index.folder)
    assert "1 vectors are to be written" in problem.what
    assert problem.remedy == f"jina-rag sync --index {index.folder}"
    index.sync()
    assert doctor(index.folder) == []


def test_no_index(tmp_path: Path) -> None:
    with pytest.raises(IndexFolderError, match="jina-rag add"):
        doctor(tmp_path)


class Killed(BaseException):
    """Stands for a process that ends here."""


def _die(*_: object, **__: object) -> NoReturn:
    raise Killed
