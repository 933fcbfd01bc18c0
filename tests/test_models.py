import dataclasses
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from jina_rag import (
    Embedder,
    InvalidDimensionsError,
    KnownModelName,
    ModelNotFoundError,
    ModelSpec,
    UnknownModelError,
    get_model_spec,
    list_models,
    register_model,
)
from jina_rag.models import MODELS, QUANTIZATIONS, parse_model_name
from jina_rag.testing import TINY_SPEC

JINA = [spec for spec in list_models() if spec.name.startswith("jina-")]
TASKS = ["retrieval", "text-matching", "classification", "clustering"]


def test_both_sizes_of_every_task_are_listed() -> None:
    expected = {f"jina-embeddings-v5-text-{size}-{task}" for size in ("small", "nano") for task in TASKS}
    assert {spec.name for spec in JINA} == expected


def test_editors_know_the_same_names() -> None:
    assert get_args(KnownModelName) == tuple(spec.name for spec in MODELS)


@pytest.mark.parametrize("spec", JINA, ids=lambda spec: spec.name)
def test_jina_rows_follow_the_card(spec: ModelSpec) -> None:
    small = "small" in spec.name
    assert [file.quantization for file in spec.files] == list(QUANTIZATIONS)
    assert len(QUANTIZATIONS) == 14
    assert spec.dimensions == spec.matryoshka_dimensions[-1] == (1024 if small else 768)
    assert spec.matryoshka_dimensions[:6] == (32, 64, 128, 256, 512, 768)
    assert spec.max_input_tokens == (32_768 if small else 8_192)
    assert (spec.pooling, spec.license, spec.default_quantization) == ("last", "CC-BY-NC-4.0", "Q4_K_M")
    assert spec.prompts["document"] == "Document: "
    assert spec.prompts["query"] == ("Query: " if spec.task == "retrieval" else "Document: ")
    assert "non-commercial" in spec.license_notice
    size = "small" if small else "nano"
    assert spec.file("q8_0").filename == f"v5-{size}-{spec.task}-Q8_0.gguf"
    assert spec.repo_id == f"jinaai/{spec.name}-GGUF"


def test_published_checksums_belong_to_a_pinned_commit() -> None:
    for spec in JINA:
        pinned = [file for file in spec.files if file.sha256]
        assert bool(pinned) == bool(spec.revision)
        assert all(file.size_bytes for file in pinned)


@pytest.mark.parametrize(
    ("name", "model", "quantization"),
    [
        ("jina-v5-small", "jina-embeddings-v5-text-small-retrieval", None),
        ("jina-embeddings-v5-text-nano", "jina-embeddings-v5-text-nano-retrieval", None),
        ("jinaai/jina-embeddings-v5-text-small-retrieval:Q8_0", "jina-embeddings-v5-text-small-retrieval", "Q8_0"),
        ("jinaai/jina-embeddings-v5-text-nano-clustering-GGUF:f16", "jina-embeddings-v5-text-nano-clustering", "F16"),
        ("JINA-V5-SMALL-TEXT-MATCHING", "jina-embeddings-v5-text-small-text-matching", None),
        (" minilm ", "all-MiniLM-L6-v2", None),
        ("sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2", None),
    ],
)
def test_names_and_aliases(name: str, model: str, quantization: str | None) -> None:
    spec, named = parse_model_name(name)
    assert (spec.name, named) == (model, quantization)
    assert get_model_spec(name) is spec


def test_names_are_unambiguous() -> None:
    names = [name.lower() for spec in list_models() for name in (spec.name, *spec.aliases)]
    assert len(names) == len(set(names))


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UnknownModelError, match="jina-embeddings-v5-text-nano-retrieval"):
        get_model_spec("jina-v4")
    with pytest.raises(UnknownModelError, match=r"IQ3_M.*F16, Q8_0, Q6_K"):
        get_model_spec("jina-v5-small:IQ3_M")
    with pytest.raises(UnknownModelError, match="no published files"):
        ModelSpec(name="mine", dimensions=8, max_input_tokens=8, pooling="mean", license="MIT").file("F16")


@pytest.mark.parametrize("dimensions", [0, -1, 31, 300, 1024])
def test_untrained_dimensions_are_refused_with_the_trained_ones(dimensions: int) -> None:
    with pytest.raises(InvalidDimensionsError, match="32, 64, 128, 256, 512, 768"):
        get_model_spec("jina-v5-nano").check_dimensions(dimensions)


def test_a_model_without_matryoshka_has_one_width() -> None:
    spec = get_model_spec("minilm")
    assert spec.check_dimensions(None) == spec.check_dimensions(384) == 384
    with pytest.raises(InvalidDimensionsError, match="Choose one of: 384"):
        spec.check_dimensions(128)


def test_rows_are_values() -> None:
    for spec in list_models():
        assert pickle.loads(pickle.dumps(spec)) == spec
        assert hash(spec) == hash(pickle.loads(pickle.dumps(spec)))


def test_a_quantisation_is_named_once() -> None:
    assert parse_model_name("jina-v5-small:q8_0", "Q8_0")[1] == "Q8_0"
    with pytest.raises(UnknownModelError, match=r"'jina-v5-small:Q8_0' names Q8_0 and quantization='Q4_K_M' another"):
        Embedder.from_pretrained("jina-v5-small:Q8_0", quantization="Q4_K_M")


@pytest.fixture
def registered(tiny_gguf: Path) -> Iterator[ModelSpec]:
    yield register_model(dataclasses.replace(TINY_SPEC, name="Mine", aliases=("me/mine",)), tiny_gguf)
    register_model(dataclasses.replace(TINY_SPEC, name="Mine"))


def test_a_registered_row_is_found_by_its_names_and_loaded_from_its_file(registered: ModelSpec) -> None:
    assert registered.default_quantization == "F32"
    assert list_models()[-1] is get_model_spec("mine") is get_model_spec("ME/mine:F32") is registered
    with Embedder.from_pretrained("mine") as embedder:
        assert embedder.embed_query("x").shape == (64,)


def test_a_row_of_another_meaning_is_not_registered(tmp_path: Path) -> None:
    minilm = get_model_spec("minilm")
    for spec in (
        dataclasses.replace(TINY_SPEC, name="auto"),
        dataclasses.replace(TINY_SPEC, name="a:b"),
        dataclasses.replace(TINY_SPEC, name="Mine", aliases=("minilm",)),
        dataclasses.replace(minilm, pooling="cls"),
    ):
        with pytest.raises(ValueError, match="Choose another name"):
            register_model(spec)
    with pytest.raises(ModelNotFoundError):
        register_model(TINY_SPEC, tmp_path / "nothing.gguf")


def test_a_known_row_may_have_a_file_of_ones_own(tiny_gguf: Path) -> None:
    jina = get_model_spec("jina-v5-nano-clustering")
    try:
        assert register_model(jina, tiny_gguf).file("F32").path == tiny_gguf
        assert get_model_spec(jina.aliases[0]).file().path == tiny_gguf
        assert [spec.name for spec in list_models()].count(jina.name) == 1
    finally:
        assert register_model(jina) == jina


@pytest.mark.parametrize("changes", [{"name": ""}, {"dimensions": 0}, {"max_input_tokens": "512"}, {"pooling": "max"}])
def test_rows_that_can_not_be_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        dataclasses.replace(TINY_SPEC, **changes)


MODELS_FILE = """
[[models]]
name = "mine"
path = "{path}"
dimensions = 64
max_input_tokens = 4096
pooling = "last"
license = "MIT"
matryoshka_dimensions = [32, 64]
prompts = {{ query = "Q: ", document = "D: " }}

[[models]]
name = "all-MiniLM-L6-v2"
path = "{path}"

[[models]]
kind = "chat"
name = "my-chat"
path = "{path}"
max_input_tokens = 4096
license = "MIT"

[[models]]
kind = "reranker"
name = "my-reranker"
path = "{path}"
max_input_tokens = 512
license = "MIT"
aliases = ["reorder"]
"""
RERANK = "from jina_rag.rag import make_reranker; print(make_reranker('Reorder').name)"
EMBED = "from jina_rag import Embedder; print(Embedder.from_pretrained('mine').fingerprint.to_json())"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)


def test_a_file_of_rows_is_read_by_every_process(
    tmp_path: Path, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "models.toml"
    file.write_text(MODELS_FILE.format(path=tiny_gguf))
    monkeypatch.setenv("JINA_RAG_MODELS", str(file))
    assert '"query_prompt": "Q: "' in run("-c", EMBED).stdout
    assert run("-c", RERANK).stdout.strip() == tiny_gguf.stem
    listed = {row["name"]: row for row in json.loads(run("-m", "jina_rag.cli", "models", "--json").stdout)}
    for name, kind in {
        "all-MiniLM-L6-v2": "embedding",
        "mine": "embedding",
        "my-chat": "chat",
        "my-reranker": "reranker",
    }.items():
        row = listed[name]
        assert (row["kind"], row["quantization"], row["on_this_machine"]) == (kind, "F32", True)

    for damaged in (
        "[[models]]\nkind = 'x'\nname = 'y'",
        "[[models]]\nname = 1",
        "models = 1",
        "[[models]]\nname = 'mine'",
        "[[",
    ):
        file.write_text(damaged)
        refused = run("-m", "jina_rag.cli", "models")
        assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
        assert "models.toml, which JINA_RAG_MODELS names" in " ".join(refused.stderr.split())
