import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jina_rag.vectors import (
    FloatArray,
    binary_similarity,
    cosine_similarity,
    dequantize_int8,
    int8_ranges,
    normalize,
    quantize_binary,
    quantize_int8,
    truncate_dimensions,
)

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
VECTORS = arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(1, 40)), elements=FLOATS)


@given(VECTORS)
def test_normalize_gives_unit_length_or_zeros(vectors: FloatArray) -> None:
    unit = normalize(vectors)
    assert unit.dtype == np.float32
    assert unit.shape == vectors.shape
    zero = ~vectors.any(axis=-1)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=-1), np.where(zero, 0, 1), atol=1e-5)


def test_normalize_leaves_its_input_alone() -> None:
    vectors = np.array([[3.0, 4.0]], np.float32)
    np.testing.assert_allclose(normalize(vectors), [[0.6, 0.8]])
    np.testing.assert_array_equal(vectors, [[3, 4]])


@given(VECTORS.filter(lambda vectors: vectors.shape[1] > 1), st.data())
def test_truncation_cuts_first_and_normalises_after(vectors: FloatArray, data: st.DataObject) -> None:
    dimensions = data.draw(st.integers(1, vectors.shape[1]))
    np.testing.assert_array_equal(truncate_dimensions(vectors, dimensions), normalize(vectors[:, :dimensions]))


@pytest.mark.parametrize("dimensions", [0, -1, 5])
def test_truncation_refuses_widths_that_are_not_there(dimensions: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 4"):
        truncate_dimensions(np.ones((2, 4), np.float32), dimensions)


def test_cosine_similarity_shapes_and_values() -> None:
    a, b = np.array([[2.0, 0], [0, 3], [1, 1]], np.float32), np.array([[1.0, 0], [-1, 0]], np.float32)
    half = 0.5**0.5
    expected = np.array([[1, -1], [0, 0], [half, -half]], np.float32)
    np.testing.assert_allclose(cosine_similarity(a, b), expected, atol=1e-6)
    np.testing.assert_allclose(cosine_similarity(a[2], b), expected[2], atol=1e-6)
    assert cosine_similarity(a[0], b[0]).shape == ()


# By sentence-transformers' quantize_embeddings (sentence_transformers/util/quantization.py).
VALUES = [[-0.5, 0.25, 0.125, -1, 0.75, 0, 0.5, -0.25], [0.5, -0.75, 0.875, 1, -0.75, 1, -0.5, 0.25]]
RANGES = [[-1.0] * 8, [1] * 8]
INT8 = [[-65, 31, 15, -128, 95, -1, 63, -33], [63, -97, 111, 126, -97, 126, -65, 31]]
UBINARY = [[0b01101010], [0b10110101]]
BINARY = [[-22], [53]]


def test_quantisation_gives_the_bytes_of_sentence_transformers() -> None:
    vectors, ranges = np.array(VALUES, np.float32), np.array(RANGES, np.float32)
    codes, bits = quantize_int8(vectors, ranges), quantize_binary(vectors)
    assert (str(codes.dtype), codes.tolist()) == ("int8", INT8)
    assert (str(bits.dtype), bits.tolist()) == ("uint8", UBINARY)
    assert (bits ^ 128).view("int8").tolist() == BINARY
    assert quantize_int8(vectors[0], ranges).tolist() == INT8[0]


def test_int8_is_the_documented_formula_on_its_own_ranges() -> None:
    vectors = normalize(np.random.default_rng(0).standard_normal((200, 384), dtype=np.float32))
    ranges = np.vstack((np.min(vectors, axis=0), np.max(vectors, axis=0)))
    expected = (np.floor((vectors - ranges[0, :]) / ((ranges[1, :] - ranges[0, :]) / 255)) - 128).astype(np.int8)
    np.testing.assert_array_equal(int8_ranges(vectors), ranges)
    np.testing.assert_array_equal(quantize_int8(vectors, ranges), expected)
    restored = dequantize_int8(expected, ranges)
    assert np.abs(restored - vectors).max() <= (ranges[1] - ranges[0]).max() / 255
    assert np.diagonal(cosine_similarity(vectors, restored)).min() > 0.999


def test_int8_beyond_its_ranges_takes_the_nearest_code() -> None:
    ranges = np.array([[-1, 0.5], [1, 0.5]], np.float32)
    assert quantize_int8(np.array([[9, 9], [-9, 0.5]], np.float32), ranges).tolist() == [[127, -120], [-128, -128]]


@pytest.mark.parametrize("shapes", [((3, 256), (5, 256)), ((256,), (5, 256)), ((3, 256), (256,)), ((256,), (256,))])
def test_binary_similarity_has_the_shape_of_the_cosine_and_comes_near_it(
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    random = np.random.default_rng(1)
    a, b = (random.standard_normal(shape, dtype=np.float32) for shape in shapes)
    cosine, shares = cosine_similarity(a, b), binary_similarity(quantize_binary(a), quantize_binary(b))
    assert (shares.shape, str(shares.dtype)) == (cosine.shape, "float32")
    # The angle between two vectors is, in expectation, the share of the bits in which they differ.
    np.testing.assert_allclose(np.cos(np.pi * (1 - shares)), cosine, atol=0.3)


def test_binary_similarity_counts_equal_bits() -> None:
    a = quantize_binary(np.array([[1.0, 1, 1, 1, -1, -1, -1, -1]], np.float32))
    b = quantize_binary(np.array([[1.0, 1, 1, 1, -1, -1, -1, -1], [1, -1, 1, 1, -1, -1, -1, 1], [-1] * 4 + [1] * 4]))
    np.testing.assert_allclose(binary_similarity(a, b), [[1, 0.75, 0]])
