import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jina_rag import Embedder, __version__
from jina_rag.cli import app
from tests.cli.conftest import Run


def jina_rag(
    *args: str, cwd: Path | None = None, stdin: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jina_rag.cli", *args],
        capture_output=True,
        text=True,
        cwd=cwd,
        input=stdin,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
        check=False,
    )


def test_version_and_help(run: Run) -> None:
    assert run("--version").stdout == f"jina-rag {__version__}\n"
    root = run("--help").stdout
    assert "Exit codes: 0 done;" in root
    commands = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    assert {"add", "sync", "rm", "status", "doctor", "rebuild", "export", "search", "ask", "chat", "mcp"} < set(
        commands
    )
    for command in commands:
        assert f" {command} " in root
        shown = run(command, "--help")
        assert shown.exit_code == 0
        assert shown.stdout.count("\n") > 5


@pytest.mark.parametrize(
    "args",
    [
        ["nosuch"],
        ["search"],
        ["search", "x", "-k", "0"],
        ["search", "x", "--mode", "magic"],
        ["search", "x", "--since", "yesterday"],
        ["search", "x", "--mmr-lambda", "2"],
        ["embed", "--dimensions", "x"],
        ["rm"],
        ["rm", "x", "--collection", "y"],
    ],
)
def test_wrong_usage_exits_with_2(run: Run, args: list[str]) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Usage: " in result.stderr


def test_help_loads_nothing_heavy() -> None:
    heavy = {"numpy", "chromadb", "llama_cpp", "openai", "mcp", "pydantic", "uvicorn", "fastapi", "rich.progress"}
    code = f"import sys, jina_rag.cli; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_colours_are_for_terminals_that_want_them(index: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in index("search", "ice").output
    in_terminal = CliRunner().invoke(app, ["search", "ice"], color=True)
    assert "\x1b[1m[1]" in in_terminal.output
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in CliRunner().invoke(app, ["search", "ice"], color=True).output


def test_ctrl_c_ends_quietly(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Embedder, "from_pretrained", interrupt)
    result = run("embed", "x")
    assert (result.exit_code, result.stderr) == (130, "Stopped.\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_script_that_completes(shell: str) -> None:
    script = jina_rag("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert f"_JINA_RAG_COMPLETE=complete_{shell}" in script.stdout
    assert (script.returncode, script.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        ("re", ["rebuild"]),
        ("add --model all", ["all-MiniLM-L6-v2"]),
        ("search x --mode ", ["hybrid", "dense", "lexical"]),
        ("search --ex", ["--explain"]),
    ],
)
def test_the_tab_key_completes(words: str, completions: list[str]) -> None:
    typed = f"jina-rag {words}"
    n_words = len(typed.split(" ")) - 1
    asked = jina_rag(_JINA_RAG_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(n_words))
    assert asked.stdout.split() == completions


def test_a_pipe_that_closes_early_is_no_error(tmp_path: Path) -> None:
    """As with `| head -1`; what is left to write is more than a pipe holds."""
    notes = tmp_path / "notes"
    notes.mkdir()
    for number in range(40):
        (notes / f"{number}.txt").write_text("The planets are far away. " * 150)
    assert jina_rag("add", "notes", "--model", "minilm", cwd=tmp_path).returncode == 0
    command = [sys.executable, "-m", "jina_rag.cli", "export"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("{")
        process.stdout.close()
        assert process.stderr.read() == ""


def test_the_installed_command_with_a_real_model(tmp_path: Path, notes: Path) -> None:
    added = jina_rag("add", str(notes), "--model", "minilm", cwd=tmp_path)
    assert (added.returncode, added.stdout) == (0, "2 added. The index .jina-rag/index has 2 chunks.\n")
    assert added.stderr == ""
    asked = jina_rag("ask", "What are Saturn's rings made of?", cwd=tmp_path)
    assert asked.stdout.startswith("No language model is connected")
    assert asked.stdout.splitlines()[1].startswith("notes/saturn.txt")
    assert asked.stderr.startswith("Answer model: none (JINA_RAG_DISCOVER is 0, and none is downloaded")
    failed = jina_rag("search", "x", "--index", "none", cwd=tmp_path)
    assert failed.returncode == 1
    assert failed.stderr == (
        "Error: No index at none: make one with `jina-rag add PATH`, or name the folder of another one, with --index "
        "or in the environment variable JINA_RAG_INDEX.\n"
    )
