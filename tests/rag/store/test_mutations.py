"""An index of somebody else's with bytes changed at random is searched or refused, and nothing else happens.

`JINA_RAG_MUTATIONS=500 pytest tests/rag/store/test_mutations.py` tries more of them.
"""

import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from jina_rag import Embedder, JinaRagError
from jina_rag.rag import DocumentIndex, Retriever, SearchOptions
from jina_rag.rag.indexing.check import doctor
from jina_rag.rag.store.catalog import CATALOG
from jina_rag.rag.store.chroma_store import CHROMA_FOLDER, inspect_folder
from tests.index_files import whole_contents

N_MUTATIONS = int(os.environ.get("JINA_RAG_MUTATIONS", "5"))


@pytest.fixture
def whole(tmp_path: Path, embedder: Embedder) -> Path:
    """An index in a folder that holds its documents as well."""
    (tmp_path / "documents").mkdir()
    for number in range(40):
        (tmp_path / "documents" / f"{number}.txt").write_text(f"Moon {number} is covered in dust{number}. " * 20)
    with DocumentIndex.create_or_open(tmp_path / "index", embedder) as index:
        index.add([tmp_path / "documents"])
    return tmp_path / "index"


def _mutate(data: bytes, random: random.Random) -> bytes:
    """Some bytes changed, a piece overwritten or put elsewhere, or the end cut off."""
    changed, place = bytearray(data), random.randrange(len(data))
    match random.randrange(4):
        case 0:
            for _ in range(random.randrange(1, 40)):
                changed[random.randrange(len(changed))] = random.randrange(256)
        case 1:
            del changed[place:]
        case 2:
            piece = random.randbytes(min(random.randrange(1, 2000), len(changed) - place))
            changed[place : place + len(piece)] = piece
        case 3:
            length, source = random.randrange(1, 4096), random.randrange(len(changed))
            changed[place : place + length] = data[source : source + length]
    return bytes(changed)


@contextmanager
def _mutated(whole: Path, name: str, seed: str) -> Iterator[Path]:
    """A copy, which this machine has not written, with one file below `name` changed."""
    chosen, copy = random.Random(seed), whole.with_name(seed)
    shutil.copytree(whole, copy)
    files = sorted(path for path in [copy / name, *(copy / name).rglob("*")] if path.is_file() and path.stat().st_size)
    file = chosen.choice(files)
    file.write_bytes(_mutate(file.read_bytes(), chosen))
    yield copy
    shutil.rmtree(copy)


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.timeout(60 + 20 * N_MUTATIONS)
@pytest.mark.parametrize("name", [CATALOG, CHROMA_FOLDER])
def test_a_mutated_index_is_searched_or_refused(whole: Path, embedder: Embedder, name: str) -> None:
    expected = whole_contents(whole).keys()
    before = _files(whole.parent)
    for number in range(N_MUTATIONS):
        with _mutated(whole, name, f"{name}{number}") as copy:
            doctor(copy)
            if name == CHROMA_FOLDER:
                inspect_folder(copy / CHROMA_FOLDER)  # in a process of its own, which may end
                _use(copy, embedder)
                assert whole_contents(copy).keys() == expected
            else:
                with suppress(JinaRagError):
                    _use(copy, embedder)
    assert _files(whole.parent) == before


def _use(folder: Path, embedder: Embedder) -> None:
    with DocumentIndex.open(folder, embedder) as index:
        for options in (
            SearchOptions(),
            SearchOptions(mode="lexical", context_window=1),
            SearchOptions(mmr_lambda=0.5),
        ):
            Retriever(index).retrieve("Moon 33 dust33", options)
        index.documents()
        index.status()
        index.sync()
        Retriever(index).retrieve("Moon 33 dust33")
