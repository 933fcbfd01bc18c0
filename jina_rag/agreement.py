"""Whether two embedders give the same vectors: the lowest cosine over a few texts that tell engines apart."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from jina_rag.errors import FingerprintMismatchError
from jina_rag.vectors import FloatArray

AGREEMENT = 0.9995
"""The cosine above which two engines run the same weights: both round as they compute, but not by more."""

PROBE_TEXTS = (
    "Which planet is known as the Red Planet?",
    "a",
    "  Spaces,\n\nlines and\ttabs stay as they are.  ",
    "Où était le phare? Cafe\u0301 au lait, s'il vous plai\u0302t.",
    "灯台守は毎朝、天気を日記に書いた。 😀",
    "def f(x): return {'a': x ** 2, 'b': [1, 2, 3]}",
    " ".join(f"On day {day} the wind had force {day % 9}." for day in range(12)),
)
"""What `vectors_agree` embeds: what prompts, pooling, normal forms and vocabularies get wrong."""


class TextEmbedder(Protocol):
    """What `vectors_agree` needs of an embedder."""

    @property
    def dimensions(self) -> int:
        """Width of the vectors."""

    def embed_query(self, text: str) -> FloatArray:
        """The unit vector of a query, shape (d,)."""

    def embed_documents(self, texts: Sequence[str]) -> FloatArray:
        """The unit vectors of documents, shape (n, d)."""


def vectors_agree(a: TextEmbedder, b: TextEmbedder) -> float:
    """The lowest cosine between the vectors that two embedders give to `PROBE_TEXTS`, 1.0 at best.

    Equal weights in two engines give 0.9995 and more; another quantisation less, another model or prompt far less.

    Raises:
        FingerprintMismatchError: their vectors have different dimensions, so no cosine exists.
    """
    if a.dimensions != b.dimensions:
        raise FingerprintMismatchError(
            f"{a!r} and {b!r} give vectors of different dimensions. Pass the same dimensions to both."
        )
    one, other = (
        np.vstack([*map(embedder.embed_query, PROBE_TEXTS), embedder.embed_documents(PROBE_TEXTS)])
        for embedder in (a, b)
    )
    return float(np.sum(one * other, axis=-1).min())
