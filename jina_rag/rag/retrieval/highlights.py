"""Highlights: the sentences of passages that are most similar to a question, by the model that found the passages."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np

from jina_rag.embedder import Embedder
from jina_rag.rag.retrieval.search import SearchResult
from jina_rag.rag.text.search_text import search_text
from jina_rag.rag.text.sentences import Sentence, find_sentences
from jina_rag.vectors import FloatArray

_MAX_CACHED = 8192
"""Vectors, the latest: 32 MB at 1,024 dimensions. The same passages are found again and again."""

_CACHE: WeakKeyDictionary[Embedder, dict[str, FloatArray]] = WeakKeyDictionary()
_CACHE_LOCK = Lock()


@dataclass(frozen=True)
class Highlight:
    """The sentence of a passage that is most similar to a question.

    Attributes:
        number: Of the passage among those that were found, counted from 1.
        start: Where the sentence begins in `chunk.text`, in characters.
        end: Where it ends.
        similarity: Cosine similarity of question and sentence, by the index's own model.
    """

    number: int
    start: int
    end: int
    similarity: float


def best_sentences(question: str, passages: Sequence[SearchResult], embedder: Embedder) -> list[Highlight]:
    """The sentence of each passage that is most similar to the question, the most similar first.

    Sentences are embedded as documents, rows of tables behind the names of their columns. Headings count only in a
    passage of nothing else. The latest vectors are cached.

    Args:
        question: What was asked. One that is longer than the model reads counts by its beginning.
        passages: What was found. All of them are read, which takes as long as adding them to an index does.
        embedder: The model that found them.

    Raises:
        InvalidTextError: the question cannot be written as UTF-8.
        BackendError: the model failed.
        MissingDependencyError: the package sentencex is not installed.
    """
    sentences = [
        (number, sentence)
        for number, passage in enumerate(passages, start=1)
        for sentence in _candidates(passage.chunk.text)
    ]
    if not sentences:
        return []
    asking = Embedder(embedder.backend, embedder.spec, dimensions=embedder.dimensions, truncate=True)
    similarities = _vectors([each.text for _, each in sentences], embedder) @ asking.embed_query(question)
    best: dict[int, Highlight] = {}
    for place in np.argsort(-similarities, kind="stable"):
        number, sentence = sentences[place]
        best.setdefault(number, Highlight(number, sentence.start, sentence.end, float(similarities[place])))
    return list(best.values())


def _candidates(passage: str) -> list[Sentence]:
    sentences = find_sentences(passage)
    return [sentence for sentence in sentences if sentence.kind in ("sentence", "row")] or sentences


def _vectors(texts: Sequence[str], embedder: Embedder) -> FloatArray:
    """Vectors of documents, shape (texts, dimensions), from the cache as far as it has them."""
    with _CACHE_LOCK:
        cache = _CACHE.setdefault(embedder, {})
        known = {text: cache[text] for text in texts if text in cache}
    if new := [text for text in dict.fromkeys(texts) if text not in known]:
        known.update(zip(new, embedder.embed_documents([search_text(text) for text in new]), strict=True))
    with _CACHE_LOCK:
        cache.update(known)
        for text in list(islice(cache, max(0, len(cache) - _MAX_CACHED))):
            del cache[text]
    return np.stack([known[text] for text in texts])
