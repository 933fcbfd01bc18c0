"""A map of an index: its chunks as points of a plane, near each other where texts are alike. Nothing here draws."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jina_rag.rag import DocumentIndex
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.text.cleaning import remove_invisible
from jina_rag.vectors import FloatArray

MOST_POINTS = 2000
"""More would cover each other, and be slow in a browser."""

MOST_COLORS = 7
OTHERS = "Other documents"


@dataclass(frozen=True)
class Sample:
    """Chunks of an index and their vectors, float32 of shape (n, d)."""

    chunks: list[Chunk]
    vectors: FloatArray


def take_sample(index: DocumentIndex, n: int) -> Sample:
    """At most `n` chunks, spread evenly over the index; the same ones each time. Raises as `DocumentIndex.vectors`."""
    chunks = index.sample(n)
    return Sample(chunks, index.vectors([chunk.id for chunk in chunks]))


def index_version(index: DocumentIndex) -> str:
    """A digest that changes with an index's documents and model; while it stays, what was computed from them holds."""
    digest = hashlib.sha256(index.embedder.fingerprint.digest.encode())
    for document in index.documents():
        digest.update(f"{document.source}\0{document.sha256}\0{document.added_at}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


@dataclass(frozen=True)
class Plane:
    """The plane in which vectors differ most.

    Attributes:
        center: Their mean, of shape (d,).
        axes: Two directions of length one, of shape (2, d).
        share: How much of their differences can be seen in it, from 0 to 1.
    """

    center: FloatArray
    axes: FloatArray
    share: float

    def place(self, vectors: FloatArray) -> FloatArray:
        """Where vectors of shape (n, d) lie in the plane: (n, 2)."""
        return np.asarray((vectors - self.center) @ self.axes.T, np.float32)


def fit_plane(vectors: FloatArray) -> Plane:
    """Principal component analysis of vectors of shape (n, d); equal vectors give equal planes, signs included."""
    center = vectors.mean(axis=0)
    _, lengths, directions = np.linalg.svd(vectors - center, full_matrices=False)
    axes = np.zeros((2, vectors.shape[1]), np.float32)
    axes[: len(directions[:2])] = directions[:2]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1, keepdims=True), axis=1)
    axes[largest[:, 0] < 0] *= -1  # a direction and its opposite explain as much
    variances = lengths.astype(np.float64) ** 2
    return Plane(center, axes, float(variances[:2].sum() / variances.sum()) if variances.sum() else 1.0)


def map_points(chunks: Sequence[Chunk], places: FloatArray) -> list[dict[str, object]]:
    """A row for each chunk: where it is, and what a reader sees who points at it."""
    return [
        {
            "x": float(x),
            "y": float(y),
            "id": chunk.id,
            "document": remove_invisible(Path(chunk.source).name),
            "heading": remove_invisible(chunk.heading or "none"),
            "begins": first_words(chunk),
        }
        for chunk, (x, y) in zip(chunks, places, strict=True)
    ]


def colored_documents(chunks: Sequence[Chunk]) -> list[str]:
    """The names of the documents with the most chunks, as many as colours can be told apart, in the order of names."""
    counts: dict[str, int] = {}
    for chunk in chunks:
        name = remove_invisible(Path(chunk.source).name)
        counts[name] = counts.get(name, 0) + 1
    return sorted(sorted(counts, key=lambda name: (-counts[name], name))[:MOST_COLORS])


def first_words(chunk: Chunk, most: int = 120) -> str:
    """How a chunk begins, at most so many characters, in one line of harmless text."""
    text = " ".join(remove_invisible(chunk.text).split())
    return text if len(text) <= most else f"{text[:most]}…"


def chunk_label(chunk: Chunk) -> str:
    """A chunk in a list of choices: where it stands and how it begins."""
    return f"{remove_invisible(chunk.place)}: {first_words(chunk, 60)}"
