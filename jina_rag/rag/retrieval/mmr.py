"""Maximal marginal relevance (Carbonell and Goldstein, 1998)."""

import numpy as np

from jina_rag.vectors import FloatArray


def maximal_marginal_relevance(relevance: FloatArray, vectors: FloatArray, k: int, mmr_lambda: float) -> list[int]:
    """The places of at most `k` passages, each relevant and unlike those chosen before it, in the order of choice.

    Args:
        relevance: Of shape (n,), the most relevant passage first, of the same scale as cosine similarities.
        vectors: Of the passages, shape (n, d), unit length.
        k: How many to choose.
        mmr_lambda: 1 orders by relevance alone, 0 by diversity alone.
    """
    similarity = np.zeros(len(relevance))  # of each passage to the most similar one chosen
    chosen: list[int] = []
    for _ in range(min(k, len(relevance))):
        worth = mmr_lambda * relevance - (1 - mmr_lambda) * similarity
        worth[chosen] = -np.inf
        chosen.append(int(worth.argmax()))
        similarity = np.maximum(similarity, vectors @ vectors[chosen[-1]])
    return chosen
