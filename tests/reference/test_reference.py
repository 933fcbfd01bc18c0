"""Vectors, dimensions and precisions against those of sentence-transformers and transformers: `make test-reference`."""

import json
from pathlib import Path

import numpy as np
import pytest

from jina_rag.vectors import (
    FloatArray,
    int8_ranges,
    normalize,
    quantize_binary,
    quantize_int8,
    truncate_dimensions,
)

sentence_transformers = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")

FOLDER = Path(__file__).parent


@pytest.fixture(scope="module")
def vectors() -> FloatArray:
    """Vectors of the size that MiniLM gives."""
    return normalize(np.random.default_rng(0).standard_normal((500, 384), dtype=np.float32))


def test_the_golden_numbers_are_those_of_the_reference() -> None:
    from tests.reference import make_minilm, make_tiny

    minilm = json.loads((FOLDER / "minilm.json").read_text())["vectors"]
    for name, vector in make_minilm.vectors().items():
        np.testing.assert_allclose(vector, minilm[name], atol=2e-6)
    tiny = json.loads((FOLDER / "tiny_qwen3.json").read_text())["vectors"]
    for name, found in make_tiny.vectors().items():
        assert found["tokens"] == tiny[name]["tokens"]
        np.testing.assert_allclose(found["vector"], tiny[name]["vector"], atol=2e-6)


def test_int8_and_binary_are_bit_for_bit_those_of_quantize_embeddings(vectors: FloatArray) -> None:
    from sentence_transformers.util import quantize_embeddings

    ranges = int8_ranges(vectors)
    here = quantize_int8(vectors, ranges)
    np.testing.assert_array_equal(here, quantize_embeddings(vectors, "int8", ranges=ranges))
    np.testing.assert_array_equal(here, quantize_embeddings(vectors, "int8", calibration_embeddings=vectors))
    bits = quantize_binary(vectors)
    np.testing.assert_array_equal(bits, quantize_embeddings(vectors, "ubinary"))
    np.testing.assert_array_equal((bits ^ 128).view(np.int8), quantize_embeddings(vectors, "binary"))


def test_dimensions_are_cut_as_sentence_transformers_cuts_them(vectors: FloatArray) -> None:
    from sentence_transformers.util import truncate_embeddings

    for width in (32, 64, 128, 256):
        there = normalize(np.asarray(truncate_embeddings(vectors, width)))
        np.testing.assert_allclose(truncate_dimensions(vectors, width), there, atol=1e-6)
