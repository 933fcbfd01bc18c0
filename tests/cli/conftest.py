"""The command in an empty folder, with a fake model behind every name."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from jina_rag import Embedder
from jina_rag.cli import app
from jina_rag.rag.answering.chat_generator import ChatGenerator
from jina_rag.testing import fake_embedder

Run = Callable[..., Result]


@pytest.fixture
def real_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command with real models; an error that it does not explain is an error here too."""
    monkeypatch.chdir(tmp_path)
    for name in ("JINA_RAG_INDEX", "JINA_RAG_BACKEND", "JINA_RAG_RERANKER", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*args: str, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(app, args, input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


@pytest.fixture
def run(real_run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command with a fake model."""

    def from_pretrained(
        name: str, *, quantization: str | None = None, dimensions: int | None = None, backend: str | None = None
    ) -> Embedder:
        assert quantization in (None, "")
        assert backend is None
        if name == "auto":
            logging.getLogger("jina_rag").info("auto takes fake: it is a test.")
        logging.getLogger("jina_rag.llama_cpp").info("llama.cpp says a lot")
        return fake_embedder(dimensions)

    monkeypatch.setattr(Embedder, "from_pretrained", from_pretrained)
    return real_run


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder of two short documents."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "mars.md").write_text("# Mars\n\nMars looks red because of iron rust.")
    (folder / "saturn.txt").write_text("Saturn has rings made of ice.")
    return folder


@pytest.fixture
def index(run: Run, notes: Path) -> Run:
    """The command in a folder whose index holds the notes."""
    assert run("add", str(notes)).exit_code == 0
    return run


LLM = ("--llm", "http://localhost:1/v1#model")
"""A language model that is not there; `say` lets it answer."""


def say(monkeypatch: pytest.MonkeyPatch, *pieces: str, error: BaseException | None = None) -> None:
    """Let every language model write these pieces and then fail, or be stopped."""

    def stream(*_: object) -> Iterator[str]:
        yield from pieces
        if error:
            raise error

    monkeypatch.setattr(ChatGenerator, "stream", stream)
    monkeypatch.setattr(ChatGenerator, "rewrite", lambda _, question, __: question)
