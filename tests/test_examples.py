"""Every Python example in a README, in docs/ and in a docstring runs, on the bundled model instead of Jina's."""

import doctest
import importlib
import re
from pathlib import Path

import pytest
from chromadb.api.shared_system_client import SharedSystemClient

from jina_rag import Embedder
from jina_rag.model_files import ensure_model_file
from jina_rag.rag import DocumentIndex
from jina_rag.rag.indexing.index import DEFAULT_INDEX_FOLDER

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("integrations/*/README.md"))]
BLOCKS = [
    pytest.param(block, id=f"{path.relative_to(ROOT)}-{number}")
    for path in PAGES
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL), 1)
]
MODULES = [
    "jina_rag",
    "jina_rag.embedder",
    "langchain_jina_rag.embeddings",
    "llama_index.embeddings.jina_rag.base",
]


def test_there_is_an_example_for_each_framework() -> None:
    text = "\n".join(param.values[0] for param in BLOCKS)  # type: ignore[misc]
    for name in ("Embedder.from_pretrained", "JinaRagEmbeddings(", "JinaRagEmbedding(", "open_collection("):
        assert name in text


@pytest.fixture
def folder_with_an_index(tmp_path: Path, minilm: Embedder, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mars.txt").write_text("Mars looks red because of rust.")
    with DocumentIndex.create_or_open(tmp_path / DEFAULT_INDEX_FOLDER, minilm) as index:
        index.add([tmp_path / "mars.txt"])
    (tmp_path / "my-model-Q8_0.gguf").symlink_to(ensure_model_file(minilm.spec))
    monkeypatch.chdir(tmp_path)
    # Chroma takes a relative path for the same folder wherever the process has moved to.
    SharedSystemClient.clear_system_cache()
    return tmp_path


@pytest.mark.usefixtures("folder_with_an_index")
@pytest.mark.parametrize("block", BLOCKS)
def test_readme_example(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    block = block.replace("jina-embeddings-v5-text-small-retrieval", "all-MiniLM-L6-v2").replace("512", "384")
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    finds_nothing_here = "discover()" in block
    assert "Mars" in printed or "mars" in printed or "(2, 384)" in printed or finds_nothing_here


@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples(module: str) -> None:
    results = doctest.testmod(importlib.import_module(module))
    assert results.attempted > 0
    assert results.failed == 0
