"""The original weights with torch against the GGUF file of the same weights: run where sentence-transformers is.

The project's own environment has no torch; `make test-reference` makes one that has.
"""

import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jina_rag import BackendError, Embedder, InputTooLongError, MissingDependencyError, ModelLoadError
from jina_rag.agreement import vectors_agree
from jina_rag.backends.registry import make_backend
from jina_rag.models import InputType
from jina_rag.testing import TINY_SHAPE, TINY_SPEC, tiny_merges, tiny_vocabulary, tiny_weights, write_qwen3_gguf
from tests.conftest import ONE_THREAD
from tests.reference.texts import TEXTS

try:
    import sentence_transformers  # noqa: F401
except ImportError:
    INSTALLED = False
else:
    INSTALLED = True

needs_torch = pytest.mark.skipif(not INSTALLED, reason="sentence-transformers is not installed")


@pytest.mark.skipif(INSTALLED, reason="sentence-transformers is installed")
def test_a_missing_package_names_its_cure() -> None:
    with pytest.raises(MissingDependencyError, match=r"pip install 'jina-rag\[sentence-transformers\]'"):
        Embedder.from_pretrained("minilm", backend="sentence-transformers")


class FullModel:
    """As far as it is asked before the device's memory runs out."""

    max_seq_length = 0

    def tokenizer(self, texts: list[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[1, 2] for _ in texts]}

    def encode(self, *_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_what_torch_cannot_compute_is_told_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = SimpleNamespace(dtype=str, float32="float32", cuda=SimpleNamespace(is_available=lambda: False))
    library = SimpleNamespace(SentenceTransformer=lambda *_, **__: FullModel())
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    backend = make_backend("sentence-transformers?model=full", TINY_SPEC)
    with pytest.raises(BackendError, match=r"out of memory.*sentence-transformers\?device=cpu"):
        backend.embed(["a"], max_tokens=10)


def tiny_pair(folder: Path, *, bidirectional: bool) -> tuple[Embedder, Embedder]:
    """A tiny model as a repository has it, with a prompt by default, and as a GGUF file."""
    from tests.reference.make_tiny import write_folder

    repository = write_folder(folder, bidirectional=bidirectional)
    vocabulary = tiny_vocabulary()
    weights = tiny_weights(vocabulary_size=len(vocabulary))
    file = write_qwen3_gguf(
        folder / "tiny.gguf", TINY_SHAPE, weights, vocabulary, tiny_merges(), bidirectional=bidirectional
    )
    torch = make_backend(f"sentence-transformers?model={repository}&device=cpu&dtype=float32", TINY_SPEC)
    return Embedder(torch, TINY_SPEC), Embedder.from_file(file, TINY_SPEC, options=ONE_THREAD)


@pytest.fixture(scope="module", params=["tiny Qwen3", "tiny EuroBERT", "all-MiniLM-L6-v2"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Embedder, Embedder]:
    """The same weights with torch and with llama.cpp."""
    if not INSTALLED:
        pytest.skip("sentence-transformers is not installed")
    if request.param == "all-MiniLM-L6-v2":
        setting = "sentence-transformers?device=cpu&dtype=float32"
        return Embedder.from_pretrained("minilm", backend=setting), request.getfixturevalue("minilm")
    return tiny_pair(tmp_path_factory.mktemp("tiny"), bidirectional=request.param == "tiny EuroBERT")


def test_vectors_and_counts_are_those_of_the_gguf_file(pair: tuple[Embedder, Embedder]) -> None:
    torch, llama = pair
    texts = [text for name, text in TEXTS.items() if name != "long"]
    input_types: tuple[InputType, ...] = ("query", "document")
    for input_type in input_types:
        there, here = torch.embed(texts, input_type), llama.embed(texts, input_type)
        assert np.sum(there.vectors * here.vectors, axis=1).min() >= 0.9999
        assert there.token_counts == here.token_counts
    assert vectors_agree(torch, llama) >= 0.9999
    assert torch.with_fingerprint_of(llama).fingerprint == llama.fingerprint


def test_long_texts_are_refused_or_cut_and_said_to_be(pair: tuple[Embedder, Embedder]) -> None:
    torch, llama = pair
    long = "word " * (llama.max_input_tokens + 5)
    with pytest.raises(InputTooLongError, match="Text 1 "):
        torch.embed_documents(["short", long])
    there, here = (
        Embedder(embedder.backend, llama.spec, truncate=True).embed(["short", long], "document") for embedder in pair
    )
    assert (there.truncated, there.token_counts) == (here.truncated, here.token_counts)
    assert np.sum(there.vectors * here.vectors, axis=1).min() >= 0.999


def test_it_pickles_closes_and_reports_progress(pair: tuple[Embedder, Embedder]) -> None:
    torch, _ = pair
    before = torch.embed_query("hello")
    again = pickle.loads(pickle.dumps(torch))
    np.testing.assert_allclose(again.embed_query("hello"), before, atol=1e-6)
    assert again.fingerprint == torch.fingerprint
    again.close()
    steps: list[int] = []
    again.embed(["a"] * 600, "document", on_progress=steps.append)
    assert sum(steps) == 600


def test_widths_are_cut_here(pair: tuple[Embedder, Embedder]) -> None:
    torch, llama = pair
    for dimensions in llama.spec.matryoshka_dimensions:
        there, here = (Embedder(embedder.backend, llama.spec, dimensions=dimensions) for embedder in pair)
        assert vectors_agree(there, here) >= 0.9999
    assert torch.embed([], "document").vectors.shape == (0, torch.dimensions)


@needs_torch
def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"sentence-transformers\?model=/path"):
        make_backend(f"sentence-transformers?model={tmp_path}", TINY_SPEC).server_info  # noqa: B018
    with pytest.raises(BackendError, match="torch has no type 'float7'"):
        make_backend("sentence-transformers?dtype=float7", TINY_SPEC).server_info  # noqa: B018
    with pytest.raises(BackendError, match="in no repository"):
        make_backend("sentence-transformers", TINY_SPEC).server_info  # noqa: B018
