"""Rerankers: models that read a question and a passage together and say how well one answers the other."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from jina_rag.errors import BackendError
from jina_rag.rag.retrieval.sentence_scorer import SentenceScorer, split_passage
from jina_rag.rag.text.tokens import content_stems
from jina_rag.vectors import FloatArray

if TYPE_CHECKING:
    from jina_rag.rag.indexing.index import DocumentIndex

SENTENCES = "sentences"
"""The setting that names `SentenceReranker`."""

_NO_SENTENCE = -1.0  # less than any sentence gets


class Reranker(Protocol):
    """A reranking model. Safe to call from many threads; nothing is loaded or asked before the first call."""

    @property
    def name(self) -> str:
        """What to call it in front of people."""

    def score(self, query: str, texts: list[str]) -> FloatArray:
        """How well each text answers the query: float32 of shape (n,), higher is better.

        Scores are the model's own, some of them logits and some probabilities: only good for ordering the texts of one
        call. A text that is too long to be read together with the query is cut at its end, or refused; never the query.

        Raises:
            InvalidTextError: the query or a text cannot be written as UTF-8.
            BackendError: the query is too long, or the model failed.
        """

    def close(self) -> None:
        """Give back memory and connections; the next call takes them again."""


class SentenceReranker:
    """Puts passages in the order of their best sentences, scored by the model that found them. Needs no other model."""

    name = "the index's own model, sentence by sentence"

    def __init__(self, index: "DocumentIndex", *, most: int = 15) -> None:
        """Take the index that passages are found in.

        Args:
            index: Its model compares, and it knows which words are rare.
            most: How many passages are read, which takes as long as adding them would; the others come behind them.
        """
        self._index = index
        self._most = most
        self._scorer: SentenceScorer | None = None

    def score(self, query: str, texts: list[str]) -> FloatArray:
        """How much speaks for the best sentence of each text, which come best first; of shape (n,).

        A single word asks nothing, so for it the order stays: who looks for a rare name or a code has been served.

        Raises:
            InputTooLongError: the query is longer than the model reads.
            Otherwise as `Embedder.embed` does.
        """
        read = texts[: self._most] if len(content_stems(query)) > 1 else []
        if self._scorer is None:  # what it learns of the index stays
            self._scorer = SentenceScorer(self._index.embedder, self._index)
        sentences = [
            sentence
            for number, text in enumerate(read)
            for sentence in split_passage(number, text, "", frozenset(content_stems(text)))
        ]
        numbers = [sentence.number for sentence in sentences]
        scores = np.zeros(len(read), np.float32)
        for found in self._scorer.score(query, sentences) if sentences else ():
            best = np.full(len(read), _NO_SENTENCE, np.float32)
            np.maximum.at(best, numbers, found.evidence)
            scores += best
        behind = scores.min(initial=0) - 1 - np.arange(len(texts) - len(read), dtype=np.float32)
        return np.concatenate([scores, behind])

    def close(self) -> None:
        """Nothing: the model is the index's."""


def make_reranker(setting: str, index: "DocumentIndex | None" = None) -> Reranker:
    """The reranker that a setting names. It is loaded or asked only when it first scores.

    Args:
        setting: "sentences", the index's own model, which reads the passages sentence by sentence; the path of a
            reranking model, ending in .gguf; or the address of a server that has one, as
            `jina_rag.backends.remote.address` describes it: "http://localhost:8080", "tei+http://…", "jina?model=NAME".
        index: Where passages are found; "sentences" needs it.

    Raises:
        BackendError: the setting is none of these, or nothing there reranks.
        ModelNotFoundError: there is no such file.
        MissingDependencyError: a package for it is not installed.
    """
    if setting == SENTENCES:
        if index is None:
            raise BackendError(f'"{SENTENCES}" reranks with the model of an index, and there is none here.')
        return SentenceReranker(index)
    if setting.lower().endswith(".gguf"):
        from jina_rag.backends.llama_cpp.reranker import LlamaCppReranker

        return LlamaCppReranker(Path(setting).expanduser())
    from jina_rag.backends.remote.reranker import HttpReranker

    return HttpReranker(setting)
