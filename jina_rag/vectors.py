"""Arithmetic on embeddings: plain functions over float32 arrays, no state.

Arrays have shape (d,) for one vector or (n, d) for n of them; every function works along the last axis.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]


def normalize(vectors: FloatArray) -> FloatArray:
    """Scale each vector to unit length; a vector of zeros stays as it is.

    Vectors whose squares would overflow or vanish in float32 are scaled by their largest component first.
    """
    largest = np.abs(vectors).max(axis=-1, keepdims=True, initial=0.0)
    scaled: FloatArray = np.divide(vectors, largest, out=np.zeros_like(vectors), where=largest > 0)
    lengths = np.linalg.norm(scaled, axis=-1, keepdims=True)
    np.divide(scaled, lengths, out=scaled, where=lengths > 0)
    return scaled


def truncate_dimensions(vectors: FloatArray, dimensions: int) -> FloatArray:
    """Keep the first `dimensions` dimensions of each vector and make it unit length again.

    The order matters: a Matryoshka model is trained on vectors that are cut first and normalised after.

    Raises:
        ValueError: `dimensions` is not between 1 and the width of `vectors`.
    """
    width = vectors.shape[-1]
    if not 1 <= dimensions <= width:
        raise ValueError(f"dimensions must be between 1 and {width}, not {dimensions}.")
    return normalize(vectors[..., :dimensions])


def cosine_similarity(a: FloatArray, b: FloatArray) -> FloatArray:
    """The cosine of the angle between every vector of `a` and every vector of `b`.

    Shapes (m, d) and (n, d) give (m, n); a single vector on either side drops that axis, so (d,) and (d,) give ().
    """
    return np.asarray(normalize(a) @ normalize(b).T, dtype=np.float32)


def quantize_int8(vectors: FloatArray) -> NDArray[np.int8]:
    """Unit vectors as whole numbers from -127 to 127: a quarter of the memory, the same order of neighbours nearly.

    The scale is the same for every dimension (1.0 becomes 127), so rows need no calibration and stay comparable.
    """
    return np.round(normalize(vectors) * 127).astype(np.int8)


def quantize_binary(vectors: FloatArray) -> NDArray[np.uint8]:
    """One bit for each dimension, 1 where it is above zero, packed eight to a byte with the first in the highest bit.

    Shape (n, d) gives (n, ceil(d / 8)). This is sentence-transformers' `ubinary` layout.
    """
    return np.packbits(vectors > 0, axis=-1)


def int8_similarity(a: NDArray[np.int8], b: NDArray[np.int8]) -> FloatArray:
    """The cosine of every vector of `a` with every vector of `b`, both from `quantize_int8`.

    Shapes are those of `cosine_similarity`. The numbers are widened first: numpy has no product of bytes that doesn't
    overflow. That takes time and memory which a library with kernels for bytes does not need.
    """
    return cosine_similarity(a.astype(np.float32), b.astype(np.float32))


def binary_similarity(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> FloatArray:
    """The share of equal bits of every vector of `a` with every vector of `b`, both from `quantize_binary`.

    It is from 0 to 1 and its order is that of the Hamming distance; shapes as `cosine_similarity`. The bits that
    fill up a last byte are equal in all vectors.
    """
    different = np.bitwise_count(a[..., :, None, :] ^ b) if a.ndim > 1 and b.ndim > 1 else np.bitwise_count(a ^ b)
    return np.asarray(1 - different.sum(axis=-1, dtype=np.int64) / (8 * a.shape[-1]), dtype=np.float32)
