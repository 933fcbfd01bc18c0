import pickle

import pytest

from jina_rag import InvalidDimensionsError, ModelSpec, UnknownModelError, get_model_spec, list_models
from jina_rag.models import QUANTIZATIONS, parse_model_name

JINA = [spec for spec in list_models() if spec.name.startswith("jina-")]
TASKS = ["retrieval", "text-matching", "classification", "clustering"]


def test_both_sizes_of_every_task_are_listed() -> None:
    expected = {f"jina-embeddings-v5-text-{size}-{task}" for size in ("small", "nano") for task in TASKS}
    assert {spec.name for spec in JINA} == expected


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
