"""The SQLite file itself: threads, forks, replaced files."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from jina_rag.errors import IndexFolderError
from jina_rag.rag import DocumentIndex
from jina_rag.rag.indexing.contents import IndexContents
from tests.index_files import stored_vectors


def test_vectors_come_back_as_they_were(index: DocumentIndex, notes: Path) -> None:
    index.add([notes])
    ids = [chunk.id for chunk in index.sample(3)]
    texts = [chunk.text for chunk in index.sample(3)]
    np.testing.assert_array_equal(stored_vectors(index.folder, ids), index.embedder.embed_documents(texts))


def test_many_threads_read_at_once(index: DocumentIndex, notes: Path) -> None:
    index.add([notes])
    with ThreadPoolExecutor(16) as threads:
        assert set(threads.map(lambda _: len(index.documents()), range(400))) == {3}


def test_a_forked_child_opens_its_own_connections(index: DocumentIndex, notes: Path) -> None:
    index.add([notes])
    assert len(index.documents()) == 3
    child = os.fork()
    if not child:
        os._exit(len(index.documents()))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 3
    assert len(index.documents()) == 3


def test_a_file_that_was_replaced_is_noticed(tmp_path: Path, index: DocumentIndex, notes: Path) -> None:
    with IndexContents.open(index.folder) as contents:
        assert contents.documents() == []
        index.add([notes])
        index.close()
        assert len(contents.documents()) == 3
        with DocumentIndex.create_or_open(tmp_path / "other", index.embedder) as other:
            other.add([notes / "mars.md"])
        for file in index.folder.glob("index.sqlite3*"):
            file.unlink()
        with pytest.raises(IndexFolderError, match="can't be used"):
            contents.documents()
        shutil.copy(tmp_path / "other" / "index.sqlite3", index.folder)
        assert len(contents.documents()) == 1
