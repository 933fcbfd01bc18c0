import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from jina_rag import Embedder, __version__, list_models
from jina_rag.cli import app
from jina_rag.errors import GenerationError
from jina_rag.rag.pipeline import RagPipeline
from jina_rag.testing import fake_embedder

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command in an empty folder, with a fake model behind every name; what has no sense is an error here too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JINA_RAG_INDEX", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def from_pretrained(_: str, *, quantization: str | None = None, dimensions: int | None = None) -> Embedder:
        assert quantization in (None, "")
        logging.getLogger("jina_rag").info("auto takes fake: it is a test.")
        logging.getLogger("jina_rag.llama_cpp").info("llama.cpp says a lot")
        return fake_embedder(dimensions)

    monkeypatch.setattr(Embedder, "from_pretrained", from_pretrained)

    def invoke(*args: str, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(app, args, input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "mars.md").write_text("# Mars\n\nMars looks red because of iron rust.")
    (folder / "saturn.txt").write_text("Saturn has rings made of ice.")
    return folder


@pytest.mark.usefixtures("notes")
def test_add_makes_an_index_and_brings_it_up_to_date(run: Run, tmp_path: Path) -> None:
    first = run("add", "notes")
    assert first.stdout == "2 added. The index .jina-rag/index has 2 chunks.\n"
    assert first.stderr == "auto takes fake: it is a test.\n"
    (tmp_path / "notes" / "mars.md").write_text("# Mars\n\nMars has two moons.")
    (tmp_path / "notes" / "bad.txt").write_bytes(b"\x00")
    second = run("add", "notes")
    assert second.exit_code == 1
    assert second.stdout == "1 updated, 1 unchanged, 1 failed. The index .jina-rag/index has 2 chunks.\n"
    assert "Failed: " in second.stderr
    assert "bad.txt is not a text file" in second.stderr


@pytest.mark.usefixtures("notes")
def test_search_shows_passages_with_their_places(run: Run) -> None:
    run("add", "notes")
    result = run("search", "rings of ice", "-k", "1")
    assert result.stdout.startswith("[1] notes/saturn.txt  (0.")
    assert "    Saturn has rings made of ice.\n" in result.stdout
    found = json.loads(run("search", "rings of ice", "--json").stdout)
    assert [entry["title"] for entry in found] == ["saturn", "Mars"]
    assert found[0]["text"] == "Saturn has rings made of ice."
    assert found[0]["score"] > found[1]["score"]


@pytest.mark.usefixtures("notes")
def test_ask_answers_and_cites(run: Run) -> None:
    run("add", "notes")
    result = run("ask", "Is it iron rust that makes Mars look red?")
    assert result.stdout.startswith("Mars looks red because of iron rust. [1]\n\n[1] notes/mars.md, Mars\n    # Mars")
    answer = json.loads(run("ask", "Is it iron rust that makes Mars look red?", "--json").stdout)
    assert answer["answer"] == "Mars looks red because of iron rust. [1]"
    assert answer["answered"] is True
    assert [(citation["number"], citation["verified"]) for citation in answer["citations"]] == [(1, True)]
    assert len(answer["passages"]) == 2


@pytest.mark.usefixtures("notes")
def test_ask_says_when_the_documents_do_not(run: Run) -> None:
    run("add", "notes")
    result = run("ask", "Who won the football cup?")
    assert (result.exit_code, result.stdout) == (0, "The documents don't say.\n")
    assert "jina-rag search" in result.stderr
    assert json.loads(run("ask", "Who won the football cup?", "--json").stdout)["answered"] is False


@pytest.mark.usefixtures("notes")
def test_ask_warns_of_citations_that_do_not_hold(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("add", "notes")
    for answer, warning in (
        ("Mars is made of cheese [1].", "(not all of it stands there)"),
        ("Mars is red [9].", "[9] is no passage"),
        ("Mars is red.", "cites no passage, so check it yourself"),
    ):
        monkeypatch.setattr(RagPipeline, "stream", lambda *_, answer=answer: iter([answer]))
        assert warning in run("ask", "Why is Mars red?").stdout


def test_control_codes_of_a_document_do_not_reach_the_terminal(run: Run, tmp_path: Path) -> None:
    (tmp_path / "evil.txt").write_text("Mars \x1b[2J is \u202e red planet.")
    run("add", "evil.txt")
    for command in ("search", "ask"):
        stdout = run(command, "Mars is red planet").stdout
        assert "red planet" in stdout
        assert "\x1b[2J" not in stdout
        assert "\u202e" not in stdout


def test_an_existing_index_keeps_its_model(run: Run, notes: Path) -> None:
    run("add", "notes", "--dimensions", "32")
    assert "2 unchanged" in run("add", str(notes), "--model", "auto").stdout
    assert run("search", "ice").exit_code == 0
    for option, value in (("--model", "minilm"), ("--dimensions", "64"), ("--quantization", "Q8_0")):
        result = run("add", "notes", option, value)
        assert result.exit_code == 1
        assert f"leave {option} out" in result.stderr


@pytest.mark.usefixtures("notes")
def test_the_index_can_be_named_by_option_and_environment(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("add", "notes/mars.md", "--index", "one")
    monkeypatch.setenv("JINA_RAG_INDEX", str(tmp_path / "two"))
    run("add", "notes/saturn.txt")
    assert len(json.loads(run("search", "planet", "--json").stdout)) == 1
    assert json.loads(run("search", "planet", "--json", "--index", "one").stdout)[0]["title"] == "Mars"
    assert not (tmp_path / ".jina-rag").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["search", "x"], "No index at .jina-rag/index: make one with `jina-rag add PATH`."),
        (["ask", "x"], "No index at .jina-rag/index: make one with `jina-rag add PATH`."),
        (["add", "nowhere"], "There is no file or folder nowhere."),
        (["add", "."], "There are no documents in . (these kinds are read: .htm,"),
        (["download", "nosuch"], "There is no model 'nosuch'. Choose one of:\n  jina-embeddings"),
    ],
)
def test_errors_are_told_in_words(run: Run, args: list[str], message: str) -> None:
    result = run(*args)
    assert result.exit_code == 1
    assert f"Error: {message}" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.usefixtures("notes")
def test_an_error_in_the_middle_of_an_answer_is_told_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise GenerationError("The model is gone.")

    run("add", "notes")
    monkeypatch.setattr(RagPipeline, "stream", fail)
    assert "Error: The model is gone." in run("ask", "Why?").stderr
    assert "question is empty" in run("ask", " ").stderr
    assert "names no way to answer" in run("ask", "Why?", "--llm", "gpt").stderr


def test_ctrl_c_ends_quietly(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Embedder, "from_pretrained", interrupt)
    result = run("embed", "x")
    assert (result.exit_code, result.stderr) == (130, "Stopped.\n")


@pytest.mark.parametrize("args", [["nosuch"], ["search"], ["search", "x", "-k", "0"], ["embed", "--dimensions", "x"]])
def test_wrong_usage_exits_with_2(run: Run, args: list[str]) -> None:
    assert run(*args).exit_code == 2


def test_embed_prints_vectors(run: Run) -> None:
    embedder = fake_embedder(32)
    shown = run("embed", "Mars is red", "--dimensions", "32").stdout.splitlines()
    assert shown[0].startswith("1 x 32 numbers, from fake")
    assert shown[1].endswith("...  Mars is red")
    lines = run("embed", "--json", stdin="Mars is red\nVenus, é\n").stdout.splitlines()
    vectors = np.array([json.loads(line) for line in lines])
    np.testing.assert_allclose(vectors, fake_embedder().embed_documents(["Mars is red", "Venus, é"]), atol=1e-6)
    query = json.loads(run("embed", "--query", "--json", "Mars is red", "--dimensions", "32").stdout)
    np.testing.assert_allclose(query, embedder.embed_query("Mars is red"), atol=1e-6)


def test_models_are_listed(run: Run) -> None:
    lines = run("models").stdout.splitlines()
    assert len(lines) == 1 + len(list_models())
    assert lines[0].split() == ["MODEL", "QUANTISATION", "DIMENSIONS", "TOKENS", "LICENCE", "ON", "THIS", "MACHINE"]
    assert lines[1].split()[:5] == [
        "jina-embeddings-v5-text-small-retrieval",
        "Q4_K_M",
        "1024",
        "32768",
        "CC-BY-NC-4.0",
    ]
    rows = json.loads(run("models", "--json").stdout)
    assert [row["name"] for row in rows] == [spec.name for spec in list_models()]
    assert rows[-1]["on_this_machine"] is True


def test_download_prints_where_the_file_is(run: Run) -> None:
    path = Path(run("download", "minilm").stdout.strip())
    assert path.is_file()
    assert path.suffix == ".gguf"


def test_version_and_help(run: Run) -> None:
    assert run("--version").stdout == f"jina-rag {__version__}\n"
    root = run("--help").stdout
    for command in ("models", "download", "embed", "add", "search", "ask"):
        assert f" {command} " in root
        assert run(command, "--help").exit_code == 0


def test_the_installed_command_with_a_real_model(tmp_path: Path, notes: Path) -> None:
    def jina_rag(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jina_rag.cli", *args],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )

    added = jina_rag("add", str(notes), "--model", "minilm")
    assert (added.returncode, added.stdout) == (0, "2 added. The index .jina-rag/index has 2 chunks.\n")
    assert added.stderr == ""
    asked = jina_rag("ask", "What are Saturn's rings made of?", "--json")
    assert asked.stderr == ""
    assert json.loads(asked.stdout)["answer"] == "Saturn has rings made of ice. [1]"
    failed = jina_rag("search", "x", "--index", "none")
    assert failed.returncode == 1
    assert failed.stderr == "Error: No index at none: make one with `jina-rag add PATH`.\n"
