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


def int8_ranges(vectors: FloatArray) -> FloatArray:
    """The least and the greatest value of each dimension, for `quantize_int8`: shape (n, d) gives (2, d).

    Take them from many vectors of documents, hundreds at least, and keep them beside the codes.
    """
    return np.vstack((vectors.min(axis=0), vectors.max(axis=0)))


def quantize_int8(vectors: FloatArray, ranges: FloatArray) -> NDArray[np.int8]:
    """Scalar quantisation: the range of each dimension in 256 equal steps, -128 the first; a quarter of the memory.

    A value out of its range gets the nearest code. These are the bytes of `quantize_embeddings(vectors, "int8",
    ranges=ranges)` of sentence-transformers 6 (sentence_transformers/util/quantization.py); older ones cut towards 0.

    Args:
        vectors: Of shape (d,) or (n, d).
        ranges: Of `int8_ranges`, shape (2, d); the same for documents and queries.
    """
    starts, steps = ranges[0], (ranges[1] - ranges[0]) / 255
    steps = np.where(steps == 0, 1, steps)
    return np.asarray(np.clip(np.floor((vectors - starts) / steps), 0, 255) - 128, dtype=np.int8)


def dequantize_int8(codes: NDArray[np.int8], ranges: FloatArray) -> FloatArray:
    """The middle of the values that each code stands for, to be compared with a query's float32 vector."""
    steps = (ranges[1] - ranges[0]) / 255
    middles = ranges[0] + (codes.astype(np.float32) + np.float32(128.5)) * steps
    return np.asarray(np.minimum(middles, ranges[1]), dtype=np.float32)  # the last code is the greatest value alone


def quantize_binary(vectors: FloatArray) -> NDArray[np.uint8]:
    """One bit for each dimension, 1 where it is above zero, packed eight to a byte with the first in the highest bit.

    Shape (n, d) gives (n, ceil(d / 8)). This is sentence-transformers' `ubinary`; its `binary` is the same less 128, as
    int8: `(quantize_binary(vectors) ^ 128).view("int8")`.
    """
    return np.packbits(vectors > 0, axis=-1)


def binary_similarity(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> FloatArray:
    """The share of equal bits of every vector of `a` with every vector of `b`, both from `quantize_binary`.

    It is from 0 to 1 and its order is that of the Hamming distance; shapes as `cosine_similarity`. The bits that
    fill up a last byte are equal in all vectors.
    """
    different = np.bitwise_count(a[..., :, None, :] ^ b) if a.ndim > 1 and b.ndim > 1 else np.bitwise_count(a ^ b)
    return np.asarray(1 - different.sum(axis=-1, dtype=np.int64) / (8 * a.shape[-1]), dtype=np.float32)
