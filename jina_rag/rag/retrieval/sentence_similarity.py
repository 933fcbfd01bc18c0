"""How similar the sentences of texts are to a question, by the model that found the texts."""

from collections.abc import Sequence
from itertools import islice
from threading import Lock
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from jina_rag.embedder import Embedder
from jina_rag.rag.text.sentences import find_sentences
from jina_rag.vectors import FloatArray

_MAX_CACHED = 8192
"""Vectors, the latest: 32 MB at 1,024 dimensions. The same passages are found again and again."""

_CACHE: WeakKeyDictionary[Embedder, dict[str, FloatArray]] = WeakKeyDictionary()
_CACHE_LOCK = Lock()


class ScoredSentence(NamedTuple):
    """A sentence of a text: where it begins and ends in characters, and the cosine of its vector and a question's."""

    start: int
    end: int
    similarity: float


def most_similar_sentences(question: str, texts: Sequence[str], embedder: Embedder) -> list[ScoredSentence | None]:
    """The sentence of each text that is most similar to a question; None for a text without sentences.

    Sentences are embedded as documents, rows of tables behind the names of their columns; headings are not sentences.
    The latest vectors are cached. A question that is longer than the model reads counts by its beginning.

    Raises:
        InvalidTextError: the question or a text cannot be written as UTF-8.
        BackendError: the model failed.
        MissingDependencyError: the package sentencex is not installed.
    """
    sentences = [[each for each in find_sentences(text) if each.kind in ("sentence", "row")] for text in texts]
    lines = [sentence.text for own in sentences for sentence in own]
    if not lines:
        return [None] * len(texts)
    asking = Embedder(embedder.backend, embedder.spec, dimensions=embedder.dimensions, truncate=True)
    similarities = iter((_vectors(lines, embedder) @ asking.embed_query(question)).tolist())
    scored = [[ScoredSentence(each.start, each.end, next(similarities)) for each in own] for own in sentences]
    return [max(own, key=lambda sentence: sentence.similarity, default=None) for own in scored]


def _vectors(texts: Sequence[str], embedder: Embedder) -> FloatArray:
    """Vectors of shape (texts, dimensions), from the cache as far as it has them."""
    with _CACHE_LOCK:
        cache = _CACHE.setdefault(embedder, {})
        known = {text: cache[text] for text in texts if text in cache}
    if new := [text for text in dict.fromkeys(texts) if text not in known]:
        known.update(zip(new, embedder.embed_documents(new), strict=True))
    with _CACHE_LOCK:
        cache.update(known)
        for text in list(islice(cache, max(0, len(cache) - _MAX_CACHED))):
            del cache[text]
    return np.stack([known[text] for text in texts])
