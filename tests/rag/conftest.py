from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from jina_rag import Embedder
from jina_rag.backends.base import Message, WaitCallback
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.citations.judges import JudgedPair
from jina_rag.rag.indexing.index import DocumentIndex
from jina_rag.rag.retrieval.retriever import Retriever
from jina_rag.rag.retrieval.search import SearchOptions, SearchResult
from jina_rag.testing import fake_embedder


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return fake_embedder()


@pytest.fixture
def index(tmp_path: Path, embedder: Embedder) -> Iterator[DocumentIndex]:
    with DocumentIndex.create_or_open(tmp_path / "index", embedder) as opened:
        yield opened


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder of three documents."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "mars.md").write_text(
        "# Mars\n\nMars looks red because of iron rust.\n\n## Moons\n\nIt has two small moons."
    )
    (folder / "venus.txt").write_text("Venus is covered in thick clouds.")
    (folder / "saturn.txt").write_text("Saturn has rings made of ice.")
    return folder


def passages(*texts: str) -> list[SearchResult]:
    """Search results with these texts, best first."""
    return [
        SearchResult(Chunk(f"{place}", f"/{place}.md", f"Title {place}", 0, None, None, 0, len(text), text), 0.9, 0.9)
        for place, text in enumerate(texts, start=1)
    ]


class FixedRetriever(Retriever):
    """Finds the same passages for every query."""

    def __init__(self, found: Sequence[SearchResult]) -> None:
        self.found = list(found)

    def retrieve(self, query: str, options: SearchOptions | None = None) -> list[SearchResult]:  # noqa: ARG002
        return list(self.found)


class FixedJudge:
    """A judge that finds every claim in the passages with certain words, and remembers what it was asked."""

    name = "fixed"
    threshold = 0.5

    def __init__(self, probabilities: Mapping[str, float]) -> None:
        self.probabilities = probabilities
        self.asked: list[JudgedPair] = []

    def judge(self, pairs: Sequence[JudgedPair]) -> list[float]:
        self.asked += pairs
        return [max([0.1, *(p for words, p in self.probabilities.items() if words in pair.passage)]) for pair in pairs]

    def close(self) -> None:
        pass


class ScriptedModel:
    """A chat model that gives a fixed answer, or a fixed probability of Yes, and remembers what it was asked."""

    name = "scripted"

    def __init__(self, *pieces: str, context: int = 10**6, yes: float = 0.0) -> None:
        self.pieces = pieces
        self.yes = yes
        self.context = context
        self.asked: list[Sequence[Message]] = []
        self.n_closed = 0

    def fits(self, messages: Sequence[Message]) -> bool:
        return sum(len(message["content"]) for message in messages) <= self.context

    def stream(self, messages: Sequence[Message], on_wait: WaitCallback | None = None) -> Iterator[str]:  # noqa: ARG002
        self.asked.append(messages)
        yield from self.pieces

    def yes_probability(self, messages: Sequence[Message]) -> float:
        self.asked.append(messages)
        return self.yes

    def close(self) -> None:
        self.n_closed += 1
