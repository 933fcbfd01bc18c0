"""What needs only what the index holds works where the model is not, and costs nothing of it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from jina_rag import Embedder
from jina_rag.errors import ModelNotFoundError
from jina_rag.rag import DocumentIndex
from jina_rag.rag.indexing.contents import IndexContents
from jina_rag.testing import fake_embedder
from tests.cli.conftest import Run
from tests.index_files import chroma_collection, database


@pytest.fixture
def modelless(index: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command on an index whose model's weights are nowhere."""

    def from_pretrained(*_: object, **__: object) -> NoReturn:
        raise ModelNotFoundError("The weights are not here.")

    monkeypatch.setattr(Embedder, "from_pretrained", from_pretrained)
    return index


def test_what_is_there_is_told_without_a_model(modelless: Run, notes: Path) -> None:
    assert json.loads(modelless("status", "--json").stdout)["documents"] == 2
    assert len(modelless("export").stdout.splitlines()) == 2
    assert modelless("doctor").exit_code == 0
    assert modelless("rm", str(notes / "mars.md"), "--yes").stdout.startswith("1 removed.")
    assert modelless("doctor").exit_code == 0
    assert json.loads(modelless("status", "--json").stdout)["chunks"] == 1


def test_what_needs_the_model_says_that_it_is_not_there(modelless: Run, notes: Path) -> None:
    (notes / "new.txt").write_text("Venus is hot.")
    for command in (["search", "ice"], ["sync"]):
        result = modelless(*command)
        assert result.exit_code == 1
        assert "The weights are not here." in result.stderr


@pytest.mark.parametrize("command", [["sync"], ["add", "notes"]])
def test_where_nothing_has_changed_no_model_is_loaded(modelless: Run, command: list[str]) -> None:
    assert modelless(*command).stdout.startswith("2 unchanged.")


def test_a_kill_is_mended_without_a_model(modelless: Run, tmp_path: Path) -> None:
    """Vectors that Chroma lacks or has too many are made to agree by those in SQLite."""
    with DocumentIndex.open(tmp_path / ".jina-rag" / "index") as index:
        (mars, saturn) = (document.source for document in index.documents())
        lost = [chunk.id for chunk in index.chunks_of(saturn)]
    with chroma_collection(index.folder) as vectors, database(index.folder) as connection:
        vectors.delete(lost)
        connection.execute("INSERT INTO dirty SELECT id FROM chunks")
    assert modelless("rm", mars, "--yes").exit_code == 0
    assert modelless("doctor").exit_code == 0


def test_status_and_export_load_neither_the_model_nor_chroma(index: Run, tmp_path: Path) -> None:
    code = """
import sys
from jina_rag.cli import app
for command in (["status", "--documents"], ["export", "--vectors", "vectors.npy"]):
    app(command, standalone_mode=False)
print([name for name in ("chromadb", "llama_cpp", "torch") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert np.load(tmp_path / "vectors.npy").shape == (2, 64)
    assert index("status").exit_code == 0


def test_contents_can_be_read_where_the_vectors_are_lost(index: Run, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / ".jina-rag" / "index" / "chroma")
    assert index("status").exit_code == 0
    with IndexContents.open(tmp_path / ".jina-rag" / "index") as contents:
        assert [document.title for document in contents.documents()] == ["Mars", "saturn"]
        assert contents.export(tmp_path / "all.jsonl", vectors=tmp_path / "all.npy") == 2


def test_a_model_is_loaded_once_and_belongs_to_who_loaded_it(tmp_path: Path) -> None:
    closed: list[Embedder] = []

    class Closing(Embedder):
        def close(self) -> None:
            closed.append(self)

    fake = fake_embedder()
    loaded: list[Embedder] = []

    def load() -> Embedder:
        loaded.append(Closing(fake.backend, fake.spec))
        return loaded[-1]

    with DocumentIndex.create_or_open(tmp_path / "index", load) as index:
        assert len(loaded) == 1  # for the fingerprint
        assert index.embedder is index.embedder is loaded[0]
    assert closed == loaded
    with DocumentIndex.open(tmp_path / "index", load):
        assert len(loaded) == 1
    mine = load()
    with DocumentIndex.open(tmp_path / "index", mine) as index:
        assert index.embedder is mine
    assert mine not in closed
