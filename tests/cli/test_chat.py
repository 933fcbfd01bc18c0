from pathlib import Path

import pytest

from jina_rag.rag.answering.extractive import ExtractiveGenerator
from tests.cli.conftest import Run

MARS = "Why does Mars look red?"


def test_chat_answers_until_the_end_of_input(answers: Run) -> None:
    result = answers("chat", stdin=f"{MARS}\n\nWho won the football cup?\n")
    assert result.exit_code == 0
    assert result.stdout.startswith("Mars looks red because of iron rust. [1]\n")
    assert "[1] notes/mars.md, Mars" in result.stdout
    assert "The documents don't say.\n\nThe passages that come closest:\n[1] notes/" in result.stdout
    assert "Type /help" in result.stderr or "type /help" in result.stderr


def test_chat_commands(answers: Run, tmp_path: Path) -> None:
    lines = [
        "/sources",
        MARS,
        "/sources",
        "/save chat.md",
        "/save chat.md",
        "/help",
        "/nosuch",
        "/clear",
        "/quit",
        MARS,
    ]
    result = answers("chat", stdin="\n".join(lines))
    assert result.stdout.count("Mars looks red because of iron rust. [1]") == 1
    assert "There is no answer yet." in result.stderr
    assert "[2] notes/saturn.txt" in result.stdout
    assert MARS in (tmp_path / "chat.md").read_text()
    assert "chat.md can't be written (File exists)" in result.stderr
    assert result.stderr.count("/save FILE") == 2
    assert "new conversation" in result.stderr


def test_chat_outlives_errors_and_ctrl_c(answers: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> object:
        yield "Mars looks "
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ExtractiveGenerator, "stream", interrupted)
        result = answers("chat", stdin=f"{MARS}\n{MARS}\n/quit\n")
    assert result.exit_code == 0
    assert result.stdout.count("Mars looks") == 2
    assert result.stderr.count("Stopped.") == 2
    too_long = answers("chat", stdin="\x01\n" + "why " * 100_000 + f"\n{MARS}\n")
    assert too_long.exit_code == 0
    assert "iron rust. [1]" in too_long.stdout
