"""How much speaks for each sentence of some passages as the answer to a question.

Two things are evidence, and they are added up. How similar a sentence is to the question: on the scale of the model
and the index, where 0 is how similar a sentence is to passages that it has nothing to do with, and 1 how similar it is
to itself, because 0.5 is much for one model and little for another. And how many of the question's words its passage
has or means, since similarity alone takes a near miss for an answer ("Which shipyard built the ferry?" where only its
captain is named): the rarer a word is in the documents, the more it weighs.

Each sentence is scored by itself: words that stand here and there in several passages say nothing together. What asks
two things at once is two questions.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jina_rag.embedder import Embedder
from jina_rag.errors import InputTooLongError
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.text.sentences import split_sentences
from jina_rag.rag.text.tokens import NAME, WEAK_STEMS, content_stems, is_among, stem, words
from jina_rag.vectors import FloatArray

if TYPE_CHECKING:
    from jina_rag.rag.indexing.index import DocumentIndex

_WEIGHT_OF_WORDS = 0.6
_WRONG_KIND = 0.45
_IMPLIED = 0.3  # a word without which the question loses so much similarity is meant by the sentence
_WEIGHT_OF_FOCUS = 2.0
_LONGEST_CONTEXT = 300  # characters; more could be longer than the model reads
_SHORTEST_SENTENCE = 6  # words
_PRIOR_UNRELATED = 0.1  # of all-MiniLM-L6-v2, until an index is large enough to tell
_PRIOR_WEIGHT = 4
_REMEMBERED = 8192  # vectors: 32 MB at 1,024 dimensions
_SAMPLED_CHUNKS = 256
_SAMPLED_SENTENCES = 32
_SAMPLED_TWICE = 8  # enough to see whether questions and passages are embedded alike
_ASKS_HOW_MUCH = re.compile(
    r"\bhow (?:many|much|far|high|tall|deep|heavy|old|fast|wide|big)\b|\bwie (?:viele?|hoch|tief|schwer|alt|breit)\b"
    r"|\bcombien (?:de|d')|\bcu[áa]nt[oa]s?\b",
    re.IGNORECASE,
)
_ASKS_FOR_MONEY = re.compile(
    r"\b(?:what|how much)\b.*\b(?:costs?|price|fee|fare|pay|paid|charged?|rent|salary|earn)\b", re.IGNORECASE
)
_MONEY = re.compile(r"\b(?:pounds?|dollars?|euros?|yen|percent|free|livres?|pfund|libras?)\b")
_COUNTS_OR_PICKS = re.compile(
    r"\b(?:how many|which|wie viele|welche[rsnm]?|combien de|quels?|quelles?|cu[áa]nt[oa]s|qué)((?: [\w'’-]+){1,2})",
    re.IGNORECASE,
)
_ASKS_WHEN = re.compile(
    r"\bhow (?:often|long|soon|quickly|early|late)\b|^(?:and )?when\b"
    r"|\bwie (?:oft|lange)\b|^wann\b|^quand\b|^¿?cu[áa]ndo\b",
    re.IGNORECASE,
)
_AMOUNT = re.compile(
    r"\d|\b(?:free|no|none|never|nobody|every|each|all|half|third|quarter|fifth|dozen|hundred|thousand)\b"
)
_TIME = re.compile(
    rf"(?:{_AMOUNT.pattern})|\b(?:always|once|twice|until|after|before|during|daily|weekly|monthly|yearly|"
    r"january|february|march|april|may|june|july|august|september|october|november|december|spring|summer|autumn|winter|"
    r"mondays?|tuesdays?|wednesdays?|thursdays?|fridays?|saturdays?|sundays?)\b"
)

_ADDED = re.compile(r"\s\([^()]*\)$")  # by `rewrite_follow_up`
_PRONOUN = re.compile(
    r"(?:it|its|they|their|them|he|she|his|her|this|these|those|er|sie|es|il|elle|ils|elles|cela)\b", re.IGNORECASE
)
_NEXT_QUESTION = re.compile(
    r",?\s+(?:and|und|et|y)\s+(?=(?:how|what|when|where|who|whom|whose|which|why|on which)\b)", re.I
)


@dataclass(frozen=True)
class Sentence:
    """A sentence of a passage.

    Attributes:
        text: Word for word.
        number: The passage's.
        wordings: What to compare with the question: the sentence or, if it can't be understood alone, the sentence
            behind its heading and behind the sentence before it.
        begins_with_pronoun: Whether it begins with "it" or the like.
        stems: Of all words of the passage and of the headings above it.
    """

    text: str
    number: int
    wordings: tuple[str, ...]
    begins_with_pronoun: bool
    stems: frozenset[str]


@dataclass(frozen=True)
class SentenceScores:
    """What speaks for each sentence as the answer to one question.

    Attributes:
        evidence: Of shape (sentences,); at 1.6 a sentence repeats the question and all its words.
        word_matches: Which of the question's words it says itself, 1 or 0; of shape (words, sentences).
    """

    evidence: FloatArray
    word_matches: FloatArray


class SentenceScorer:
    """Scores sentences with the model that found them. Safe to use from many threads."""

    def __init__(self, embedder: Embedder, index: "DocumentIndex | None" = None) -> None:
        """Take the model that compares.

        Args:
            embedder: The one that found the passages.
            index: Where they were found. It tells how similar unrelated texts are, and which words are rare; without
                it the scale of all-MiniLM-L6-v2 is taken, and all words weigh the same.
        """
        self._embedder = embedder
        self._index = index
        self._corpus: _Corpus | None = None
        self._remembered: dict[str, FloatArray] = {}
        self._lock = Lock()

    def score(self, question: str, sentences: Sequence[Sentence]) -> list[SentenceScores]:
        """The scores for each thing that the question asks."""
        corpus = self._known_corpus()
        told = self._embed(sentences)
        return [self._score(part, sentences, told, corpus) for part in _questions_in(question)]

    def _score(
        self, question: str, sentences: Sequence[Sentence], told: "_Wordings", corpus: "_Corpus"
    ) -> SentenceScores:
        """How much speaks for each sentence.

        Similarity, words, and whether it is of the kind that is asked for. A sentence means a word that its passage
        doesn't have if the question without it is less similar to the sentence, as "heavy" is meant by "weighs 1.4
        tonnes".
        """
        words_asked = _asked_words(question)
        asked = self._embedder.embed([question, *(_without(question, word) for word in words_asked)], "query").vectors
        similar = corpus.on_scale(asked @ told.vectors.T)
        lost = told.largest(similar[:1] - similar[1:])
        implied = np.clip(lost / _IMPLIED, 0, 1)
        word_matches = _among(
            words_asked, [frozenset(content_stems(" ".join(sentence.wordings))) for sentence in sentences]
        )
        nearby = _among(words_asked, [sentence.stems for sentence in sentences])
        counted = np.isin(words_asked, list(_focus(question)))[:, None]  # "how many sails": in the sentence itself
        covered = np.maximum(np.where(counted, word_matches, nearby), implied)
        share = _weights(question, words_asked, corpus) @ covered if words_asked else 1.0
        evidence: FloatArray = told.largest(similar[:1])[0] + _WEIGHT_OF_WORDS * share
        return SentenceScores(evidence - _WRONG_KIND * (1 - _fit(question, sentences)), word_matches)

    def _embed(self, sentences: Sequence[Sentence]) -> "_Wordings":
        try:
            wordings = [sentence.wordings for sentence in sentences]
            told = self._vectors([text for group in wordings for text in group])
        except InputTooLongError:  # a heading in a script that takes many tokens; alone, each has been embedded before
            wordings = [(sentence.text,) for sentence in sentences]
            told = self._vectors([sentence.text for sentence in sentences])
        return _Wordings(told, np.cumsum([0, *(len(group) for group in wordings[:-1])]))

    def _vectors(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of shape (texts, dimensions). The latest are remembered: passages come up again and again."""
        with self._lock:
            known = {text: self._remembered[text] for text in texts if text in self._remembered}
        if new := [text for text in dict.fromkeys(texts) if text not in known]:
            known.update(zip(new, self._embedder.embed_documents(new), strict=True))
        with self._lock:
            self._remembered.update(known)
            for text in list(islice(self._remembered, max(0, len(self._remembered) - _REMEMBERED))):
                del self._remembered[text]
        return np.stack([known[text] for text in texts])

    def _known_corpus(self) -> "_Corpus":
        """What the index knows about its own texts; looked up again once it has grown or shrunk."""
        with self._lock:
            size = self._index.count_chunks() if self._index else 0
            if self._corpus is None or abs(size - self._corpus.size) > self._corpus.size // 10:
                self._corpus = _learn_corpus(self._embedder, self._index, size)
            return self._corpus


def split_passage(number: int, text: str, heading: str, stems: frozenset[str]) -> Iterator[Sentence]:
    """The sentences of a passage.

    Args:
        number: The passage's.
        text: Its text.
        heading: What it stands under; empty for nothing.
        stems: Of its words and of those above it.
    """
    before = ""
    for sentence in split_sentences(text):
        begins_with_pronoun = bool(_PRONOUN.match(sentence))
        contexts = [heading, before] if begins_with_pronoun else [heading] if _is_fragment(sentence) else []
        yield Sentence(sentence, number, _wordings(sentence, contexts), begins_with_pronoun and bool(before), stems)
        before = sentence


def stems_of(chunk: Chunk) -> list[str]:
    """The stems of all words of a passage and of the headings above it."""
    return content_stems(f"{chunk.title} {chunk.heading or ''} {chunk.text}")


@dataclass(frozen=True)
class _Wordings:
    """The vectors of all wordings of all sentences, and where those of each sentence begin."""

    vectors: FloatArray
    starts: NDArray[np.intp]

    def largest(self, rows: FloatArray) -> FloatArray:
        """For each sentence the largest value of its wordings: of shape (rows, wordings), (rows, sentences)."""
        largest: FloatArray = np.maximum.reduceat(rows, self.starts, axis=1)
        return largest


@dataclass(frozen=True)
class _Corpus:
    """What is usual in an index.

    Attributes:
        size: Its chunks when it was looked at.
        unrelated: Mean similarity of a sentence and passages that it doesn't stand in.
        same: Mean similarity of a sentence, asked as a question, and itself.
        n_sampled: How many chunks were looked at for words.
        frequencies: In how many of them each stem stands.
    """

    size: int
    unrelated: float
    same: float
    n_sampled: int
    frequencies: Counter[str]

    def on_scale(self, similarity: FloatArray) -> FloatArray:
        """Cosine similarities on the index's scale."""
        scaled: FloatArray = (similarity - self.unrelated) / max(self.same - self.unrelated, 0.05)
        return scaled

    def rarity(self, word: str) -> float:
        """How much a word of a question weighs."""
        return 0.1 + math.log((self.n_sampled + 2) / (self.frequencies[word] + 1))


def _learn_corpus(embedder: Embedder, index: "DocumentIndex | None", size: int) -> _Corpus:
    chunks = index.sample(_SAMPLED_CHUNKS) if index else []
    frequencies = Counter(word for chunk in chunks for word in set(stems_of(chunk)))
    step = max(1, len(chunks) // _SAMPLED_SENTENCES)
    picked = [(chunk, sentences) for chunk in chunks[::step] if (sentences := split_sentences(chunk.text))]
    if not index or len(picked) < 2:
        return _Corpus(size, _PRIOR_UNRELATED, 1.0, len(chunks), frequencies)
    texts = [sentences[len(sentences) // 2] for _, sentences in picked]
    asked = embedder.embed(texts, "query").vectors
    others = (asked @ index.vectors([chunk.id for chunk, _ in picked]).T)[~np.eye(len(picked), dtype=bool)]
    same = float((asked[:_SAMPLED_TWICE] * embedder.embed_documents(texts[:_SAMPLED_TWICE])).sum(axis=1).mean())
    return _Corpus(size, _shrunk(others, len(picked), _PRIOR_UNRELATED), same, len(chunks), frequencies)


def _shrunk(values: FloatArray, n_observed: int, prior: float) -> float:
    """The mean of what was observed, drawn towards a prior as long as that is little."""
    return (n_observed * float(values.mean()) + _PRIOR_WEIGHT * prior) / (n_observed + _PRIOR_WEIGHT)


def _wordings(text: str, contexts: Sequence[str]) -> tuple[str, ...]:
    if len(text) > _LONGEST_CONTEXT:
        return (text,)
    return tuple(f"{context[-_LONGEST_CONTEXT:]} {text}" for context in contexts if context) or (text,)


def _asked_words(question: str) -> list[str]:
    """What a question is about: its own words or, if it has none, those that were added to a follow-up."""
    own = _subject(_ADDED.sub("", question))
    return own or _subject(question)


def _focus(question: str) -> set[str]:
    """The stem of what a question counts or picks from: what follows "how many" and "which"."""
    return {stem for run in _COUNTS_OR_PICKS.findall(question) for stem in content_stems(run)[:1]}


def _subject(text: str) -> list[str]:
    return [word for word in content_stems(text) if word not in WEAK_STEMS]


def _weights(question: str, words_asked: Sequence[str], corpus: _Corpus) -> FloatArray:
    """What share of the question each of its words is, by rarity; the words of a name are one word together."""
    focus = _focus(question)
    weights = np.array([corpus.rarity(word) * (_WEIGHT_OF_FOCUS if word in focus else 1) for word in words_asked], "f4")
    for name in NAME.findall(question):
        own = np.isin(words_asked, content_stems(name))
        if own.any():
            weights[own] *= weights[own].max() / weights[own].sum()
    normalized: FloatArray = weights / weights.sum()
    return normalized


def _among(words_asked: Sequence[str], stems: "Sequence[frozenset[str]]") -> FloatArray:
    """1 for each word and sentence if the word is among the stems for that sentence; shape (words, sentences)."""
    rows = [[is_among(word, those) for those in stems] for word in words_asked]
    return np.array(rows, np.float32).reshape(len(words_asked), len(stems))


def _fit(question: str, sentences: Sequence[Sentence]) -> FloatArray:
    """1 for each sentence of the kind that is asked for: an amount for how many, money for a price, a time for when.

    Only English words for times and amounts are known; in other languages a number will do.
    """
    if _ASKS_FOR_MONEY.search(question):
        kind = _MONEY
    elif _ASKS_HOW_MUCH.search(question):
        kind = _AMOUNT
    elif _ASKS_WHEN.search(question):
        kind = _TIME
    else:
        return np.ones(len(sentences), np.float32)
    return np.array([bool(kind.search(" ".join(words(sentence.text)))) for sentence in sentences], np.float32)


def _is_fragment(text: str) -> bool:
    """Whether a piece is a row of a table or too short to be understood without its heading."""
    return text.startswith("|") or len(text.split()) < _SHORTEST_SENTENCE


def _questions_in(question: str) -> list[str]:
    """Each thing that a question asks for."""
    return [part for part in _NEXT_QUESTION.split(question) if part.strip()] or [question]


def _without(question: str, word: str) -> str:
    """The question without the words of a stem."""
    return " ".join(piece for piece in question.split() if word not in {stem(found) for found in words(piece)}) or " "
