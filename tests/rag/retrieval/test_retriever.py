from pathlib import Path

from jina_rag import Embedder
from jina_rag.rag import DocumentIndex, IndexSearcher, SearchOptions


def test_it_opens_when_it_is_needed_and_again_after_it_was_closed(
    tmp_path: Path, notes: Path, minilm: Embedder
) -> None:
    searcher = IndexSearcher(tmp_path / "index", SearchOptions(k=2))
    searcher.close()  # nothing was opened
    with DocumentIndex.create_or_open(tmp_path / "index", minilm) as index:
        index.add([notes])
    for _ in range(2):
        found = searcher.search("What are the rings made of?")
        assert len(found) == 2
        assert found[:1] == searcher.search("What are the rings made of?", k=1)
        searcher.close()
