import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jina_rag.vectors import (
    FloatArray,
    binary_similarity,
    cosine_similarity,
    int8_similarity,
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


def test_quantisation_keeps_directions() -> None:
    vectors = normalize(np.random.default_rng(0).standard_normal((20, 256), dtype=np.float32))
    restored = quantize_int8(vectors).astype(np.float32)
    assert np.diagonal(cosine_similarity(vectors, restored)).min() > 0.99
    packed = quantize_binary(vectors)
    assert (packed.shape, str(packed.dtype)) == ((20, 32), "uint8")
    np.testing.assert_array_equal(np.unpackbits(packed, axis=-1), vectors > 0)


@pytest.mark.parametrize("shapes", [((3, 256), (5, 256)), ((256,), (5, 256)), ((3, 256), (256,)), ((256,), (256,))])
def test_similarities_of_quantised_vectors_have_the_shape_of_the_cosine_and_come_near_it(
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    random = np.random.default_rng(1)
    a, b = (random.standard_normal(shape, dtype=np.float32) for shape in shapes)
    cosine = cosine_similarity(a, b)
    near = int8_similarity(quantize_int8(a), quantize_int8(b))
    shares = binary_similarity(quantize_binary(a), quantize_binary(b))
    assert near.shape == shares.shape == cosine.shape
    assert near.dtype == shares.dtype == np.float32
    np.testing.assert_allclose(near, cosine, atol=0.02)
    # The angle between two vectors is, in expectation, the share of the bits in which they differ.
    np.testing.assert_allclose(np.cos(np.pi * (1 - shares)), cosine, atol=0.3)


def test_binary_similarity_counts_equal_bits() -> None:
    a = quantize_binary(np.array([[1.0, 1, 1, 1, -1, -1, -1, -1]], np.float32))
    b = quantize_binary(np.array([[1.0, 1, 1, 1, -1, -1, -1, -1], [1, -1, 1, 1, -1, -1, -1, 1], [-1] * 4 + [1] * 4]))
    np.testing.assert_allclose(binary_similarity(a, b), [[1, 0.75, 0]])
