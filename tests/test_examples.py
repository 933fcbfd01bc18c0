"""Every example in a README, in docs/ and in a docstring works, on the bundled model instead of Jina's.

Python and notebooks run; of a difference, the lines that are added; commands of jina-rag are parsed; TOML, JSON and
YAML are read.
"""

import doctest
import importlib
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chromadb.api.shared_system_client import SharedSystemClient
from typer import Context
from typer.main import get_group

from jina_rag import Embedder
from jina_rag.cli.app import app
from jina_rag.model_files import ensure_model_file
from jina_rag.rag import DocumentIndex
from jina_rag.rag.indexing.index import DEFAULT_INDEX_FOLDER

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("*/*/README.md"))]
NOTEBOOKS = [*ROOT.glob("docs/notebooks/*.ipynb"), *ROOT.glob("integrations/*/examples/*.ipynb")]
READERS: dict[str, Callable[[str], Any]] = {"toml": tomllib.loads, "json": json.loads, "yaml": yaml.safe_load}


def _blocks(*languages: str) -> Iterator[Any]:
    """The examples in these languages, each with the page and its number there."""
    for path in PAGES:
        for number, (language, block) in enumerate(re.findall(r"```(\w*)\n(.*?)```", path.read_text(), re.DOTALL), 1):
            if language in languages and not block.startswith("--8<--"):  # a file, which is tested itself
                yield pytest.param(language, block, id=f"{path.relative_to(ROOT)}-{number}")


def _commands() -> Iterator[Any]:
    """The lines that call jina-rag, without what a shell does around them."""
    for param in _blocks("", "console"):
        lines = str(param.values[1]).replace("\\\n", "").splitlines()
        for line in lines:
            if match := re.match(r"(?:\$ )?(?:\.venv/bin/)?jina-rag (.*)", line):
                yield pytest.param(re.sub(r" > .*", "", match[1]), id=f"{param.id}-{match[1]}")


MODULES = [
    "jina_rag",
    "jina_rag.embedder",
    "langchain_jina_rag.embeddings",
    "llama_index.embeddings.jina_rag.base",
]


def test_there_is_an_example_for_each_framework() -> None:
    text = "\n".join(param.values[1] for param in _blocks("python"))
    for name in ("Embedder.from_pretrained", "JinaRagEmbeddings(", "JinaRagEmbedding(", "open_collection("):
        assert name in text


@pytest.fixture
def folder_with_an_index(tmp_path: Path, minilm: Embedder, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mars.txt").write_text("Mars looks red because of rust.")
    with DocumentIndex.create_or_open(tmp_path / DEFAULT_INDEX_FOLDER, minilm) as index:
        index.add([tmp_path / "mars.txt"])
    for name in ("my-model-Q8_0.gguf", "v5-small-retrieval-Q4_K_M.gguf"):
        (tmp_path / name).symlink_to(ensure_model_file(minilm.spec))
    monkeypatch.chdir(tmp_path)
    # Chroma takes a relative path for the same folder wherever the process has moved to.
    SharedSystemClient.clear_system_cache()
    return tmp_path


@pytest.mark.usefixtures("folder_with_an_index")
@pytest.mark.parametrize(("language", "block"), [*_blocks("python", "diff")])
def test_python(language: str, block: str, capsys: pytest.CaptureFixture[str]) -> None:
    if language == "diff":
        block = "\n".join(line[1:] for line in block.splitlines() if line.startswith("+"))
    _run(block)
    printed = capsys.readouterr().out
    finds_nothing_here = "discover()" in block
    assert language == "diff" or re.search(r"Mars|mars|\(2, 384\)|/errors/#", printed) or finds_nothing_here


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib").use("agg")
    monkeypatch.chdir(path.parent)
    code = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["outputs"] for cell in code] == [[]] * len(code)  # they would be those of some machine
    _run("\n".join("".join(cell["source"]) for cell in code))
    assert capsys.readouterr().out


@pytest.mark.parametrize("line", [*_commands()])
def test_command(line: str) -> None:
    group = get_group(app)
    with Context(group) as context:
        name, command, arguments = group.resolve_command(context, shlex.split(line, comments=True))
        assert command is not None
        command.make_context(name, arguments)


def test_every_extra_that_is_named_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pages = "".join(page.read_text() for page in PAGES)
    named = {name for names in re.findall(r"(?:\.|jina-rag)\[([\w,-]+)\]", pages) for name in names.split(",")}
    assert {"server", "office", "chroma"} <= named <= extras.keys()


@pytest.mark.parametrize(("language", "block"), [*_blocks(*READERS)])
def test_data(language: str, block: str) -> None:
    assert READERS[language](block)


def _run(code: str) -> None:
    for name in ("jina-embeddings-v5-text-small-retrieval", "jina-v5-small"):
        code = code.replace(name, "all-MiniLM-L6-v2")
    exec(compile(code.replace("512", "384"), "example", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples(module: str) -> None:
    results = doctest.testmod(importlib.import_module(module))
    assert results.attempted > 0
    assert results.failed == 0
