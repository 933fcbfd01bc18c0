"""What a terminal shows while something takes its time."""

import re

import pytest

from jina_rag.cli.progress import adding_bar, counting_bar, working
from jina_rag.rag.indexing.index import AddProgress
from tests.cli.conftest import Run

_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # by which rich takes any stream for a terminal
    monkeypatch.setenv("COLUMNS", "120")


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    return _CODES.sub("", captured.err)


@pytest.mark.usefixtures("terminal")
def test_adding_shows_the_file_the_rate_and_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with adding_bar() as show:
        show(
            AddProgress(
                source="/notes/a\x1b[31mred.md",
                documents_done=1_000,
                documents_total=4_000,
                chunks_done=300,
                bytes_done=250,
                bytes_total=1_000,
                seconds=100.0,
            )
        )
    told = shown(capsys)
    assert "1,000/4,000 files, 3.0 chunks/s, 5 min left" in told
    assert "a[31mred.md" in told  # what the name holds is no code


@pytest.mark.usefixtures("terminal")
def test_counting_shows_how_many_of_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    with counting_bar("Exporting", None, "chunks") as show:
        show(30, 120)
    told = shown(capsys)
    assert "Exporting" in told
    assert "30/120" in told
    assert "chunks/s" in told


@pytest.mark.usefixtures("terminal")
def test_what_cannot_tell_shows_that_it_lives(capsys: pytest.CaptureFixture[str]) -> None:
    with working("Loading the model"):
        pass
    assert "Loading the model 0:00:00" in shown(capsys)


def test_a_pipe_is_spared(capsys: pytest.CaptureFixture[str]) -> None:
    with counting_bar("Exporting", 10, "chunks") as show:
        show(5)
    assert shown(capsys) == ""


@pytest.mark.usefixtures("terminal", "notes")
def test_adding_documents_draws_the_bar(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    added = run("add", "notes")
    assert added.stdout.startswith("2 added.")
    assert "2/2 files" in _CODES.sub("", added.stderr)
