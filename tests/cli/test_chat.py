from pathlib import Path

import pytest

from tests.cli.conftest import LLM, Run, say

MARS = "Why does Mars look red?"
ANSWER = "Mars looks red because of iron rust. [1]"


def test_chat_answers_until_the_end_of_input(index: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, ANSWER)
    result = index("chat", *LLM, stdin=f"{MARS}\n\n{MARS}\n")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{ANSWER}\n")
    assert result.stdout.count("[1] notes/mars.md, Mars") == 2
    assert "Type /help" in result.stderr or "type /help" in result.stderr


def test_chat_without_a_language_model_shows_passages(index: Run) -> None:
    result = index("chat", stdin=f"{MARS}\nthanks!\n")
    assert result.stdout.count("No language model is connected") == 2
    assert "Mars looks red because of iron rust." in result.stdout


def test_chat_commands(index: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, ANSWER)
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
    result = index("chat", *LLM, stdin="\n".join(lines))
    assert result.stdout.count(f"{ANSWER}\n\n1 claim: 1 quoted") == 1
    assert "There is no answer yet." in result.stderr
    assert "[2] notes/saturn.txt" in result.stdout
    assert MARS in (tmp_path / "chat.md").read_text()
    assert "chat.md can't be written (File exists)" in result.stderr
    assert result.stderr.count("/save FILE") == 2
    assert "new conversation" in result.stderr


def test_chat_outlives_errors_and_ctrl_c(index: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        say(patch, "Mars looks ", error=KeyboardInterrupt())
        result = index("chat", *LLM, stdin=f"{MARS}\n{MARS}\n/quit\n")
    assert result.exit_code == 0
    assert result.stdout.count("Mars looks") == 2
    assert result.stderr.count("Stopped.") == 2
    say(monkeypatch, ANSWER)
    too_long = index("chat", *LLM, stdin="\x01\n" + "why " * 100_000 + f"\n{MARS}\n")
    assert too_long.exit_code == 0
    assert ANSWER in too_long.stdout
