from dataclasses import replace
from pathlib import Path

import pytest

from jina_rag import get_model_spec
from jina_rag.errors import ModelLoadError, UnknownBackendError
from jina_rag.model_files import ensure_model_file
from jina_rag.models import ModelSpec, Pooling, Prompts
from jina_rag.testing import (
    END_OF_TEXT,
    TINY_SHAPE,
    TINY_SPEC,
    Qwen3Shape,
    tiny_merges,
    tiny_vocabulary,
    tiny_weights,
    write_qwen3_gguf,
)
from jina_rag.verification import REFERENCES, Check, ModelReference, tolerance_of, verify

SPEC = replace(TINY_SPEC, closing_token=END_OF_TEXT)


def write(
    path: Path,
    *,
    shape: Qwen3Shape = TINY_SHAPE,
    vocabulary: list[str] | None = None,
    pooling: Pooling = "last",
    add_eos: bool = True,
    seed: int = 0,
) -> Path:
    tokens = vocabulary or tiny_vocabulary()
    weights = tiny_weights(vocabulary_size=len(tokens), seed=seed)
    return write_qwen3_gguf(path, shape, weights, tokens, tiny_merges(), add_eos=add_eos, pooling=pooling)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> ModelReference:
    """What the tiny model is known to give: its own figures."""
    found = verify(write(tmp_path_factory.mktemp("right") / "tiny.gguf"), SPEC)
    assert found.outcome == "unknown"
    return ModelReference(
        similarities=found.similarities,
        prompts=SPEC.prompts,
        architecture="qwen3",
        pooling="last",
        adds_closing_token=True,
        rope_base=TINY_SHAPE.rope_theta,
        vocabulary_size=len(tiny_vocabulary()),
        vocabulary_sha256=found.vocabulary_sha256,
        source="this test",
    )


def swapped() -> list[str]:
    tokens = tiny_vocabulary()
    place, other = tokens.index("a"), tokens.index("e")
    tokens[place], tokens[other] = tokens[other], tokens[place]
    return tokens


def test_a_right_file_is_right(tmp_path: Path, reference: ModelReference) -> None:
    found = verify(write(tmp_path / "tiny.gguf"), SPEC, reference=reference)
    assert found.outcome == "right"
    assert {check.name: check.outcome for check in found.checks} == {
        "checksum": "unknown",
        **dict.fromkeys(
            ("architecture", "pooling", "closing token", "rope base", "vocabulary", "query prompt", "document prompt"),
            "right",
        ),
        "similarities": "right",
        "batches": "right",
    }


@pytest.mark.parametrize(
    ("changes", "spec", "name", "reason"),
    [
        ({"pooling": "mean"}, SPEC, "pooling", "'mean', and the model has 'last'"),
        ({"shape": replace(TINY_SHAPE, rope_theta=10_000.0)}, SPEC, "rope base", "10,000, and the model has 1,000,000"),
        ({"vocabulary": swapped()}, SPEC, "vocabulary", "it reads other words than the text's"),
        ({"add_eos": False}, SPEC, "closing token", "no, and the model has yes"),
        ({"seed": 1}, SPEC, "similarities", "These are not the model's vectors"),
        ({}, replace(SPEC, prompts=Prompts(document="Document: ")), "query prompt", "'', and the model has 'Query: '"),
        ({}, replace(SPEC, closing_token="[SEP]"), "loading", "no token '[SEP]'"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, reference: ModelReference, changes: dict[str, object], spec: ModelSpec, name: str, reason: str
) -> None:
    found = verify(write(tmp_path / "tiny.gguf", **changes), spec, reference=reference)  # type: ignore[arg-type]
    assert found.outcome == "wrong"
    wrong: dict[str, Check] = {check.name: check for check in found.checks if check.outcome == "wrong"}
    assert reason in wrong[name].detail
    assert wrong.keys() <= {name, "similarities"}


def test_checksums_are_those_that_are_published(tmp_path: Path) -> None:
    path = write(tmp_path / "tiny-F32.gguf")
    found = verify(path, SPEC).checks[0].detail.split()[1].rstrip(";")
    file = get_model_spec("jina-v5-small").file("Q8_0")
    right = replace(SPEC, files=(replace(file, quantization="F32", filename=path.name, sha256=found),))
    assert verify(path, right).checks[0].outcome == "right"
    wrong = replace(SPEC, files=(replace(file, quantization="F32", filename=path.name, sha256="0" * 64),))
    assert "download the file again" in verify(path, wrong).checks[0].detail


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelLoadError):
        verify(tmp_path / "none.gguf", SPEC)


@pytest.mark.parametrize(
    ("quantization", "backend", "tolerance"),
    [("F32", None, 0.005), ("Q8_0", None, 0.005), ("F32", "onnx", 0.005), ("F32", "onnx?precision=int8", 0.01)],
)
def test_the_bundled_model_and_this_build_are_right(quantization: str, backend: str | None, tolerance: float) -> None:
    spec = get_model_spec("all-MiniLM-L6-v2")
    found = verify(ensure_model_file(spec, quantization), spec, backend=backend)
    assert found.outcome == "right", found.checks
    published = REFERENCES[spec.name].similarities
    assert max(abs(a - b) for a, b in zip(found.similarities, published, strict=True)) < tolerance


def test_an_engine_that_is_not_there_says_nothing_about_the_file() -> None:
    spec = get_model_spec("all-MiniLM-L6-v2")
    with pytest.raises(UnknownBackendError, match="runs no GGUF file of this machine"):
        verify(ensure_model_file(spec), spec, backend="jina")


def test_every_quantisation_has_a_tolerance_and_every_reference_a_row() -> None:
    tolerances = [tolerance_of(name) for name in ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K", "IQ1_S")]
    assert tolerances == sorted(tolerances)
    for name, reference in REFERENCES.items():
        spec = get_model_spec(name)
        assert (spec.prompts, spec.pooling) == (reference.prompts, reference.pooling)
        assert len(reference.similarities) == 4
