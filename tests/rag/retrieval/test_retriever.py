from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jina_rag import Embedder
from jina_rag.errors import IndexFolderError
from jina_rag.rag import DocumentIndex, Retriever, SearchOptions

QUESTION = "What are the rings made of?"


def test_it_opens_when_it_is_needed_and_again_after_it_was_closed(
    tmp_path: Path, notes: Path, minilm: Embedder
) -> None:
    retriever = Retriever.open(tmp_path / "index")
    retriever.close()  # nothing was opened
    with pytest.raises(IndexFolderError):
        retriever.retrieve(QUESTION)
    with DocumentIndex.create_or_open(tmp_path / "index", minilm) as index:
        index.add([notes])
    opened = []
    for _ in range(2):
        with retriever, ThreadPoolExecutor(3) as threads:
            found = list(threads.map(retriever.retrieve, [QUESTION] * 3, [SearchOptions(k=2)] * 3))
            assert [result.chunk.title for result in found[0]][:1] == ["saturn"]
            assert len(found[0]) == 2
            assert found[0] == found[1] == found[2]
            opened.append(retriever.index)
    assert opened[0] is not opened[1]


def test_the_options_alone_say_how_many(index: DocumentIndex, notes: Path) -> None:
    index.add([notes])
    retriever = Retriever(index)
    assert len(retriever.retrieve("moons rings clouds")) == 3
    assert len(retriever.retrieve("moons rings clouds", SearchOptions(k=1))) == 1


def test_parts_that_were_handed_over_stay_open(index: DocumentIndex, notes: Path) -> None:
    with Retriever(index) as retriever:
        assert retriever.index is index
    index.add([notes])
    assert retriever.retrieve(QUESTION)
