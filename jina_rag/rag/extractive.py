"""Answers without a language model: the sentences of the passages that answer the question, word for word.

How similar a question and its answer are depends on the embedding model and on the documents: 0.5 is much for one and
little for another. So similarities are put on the scale of the index itself, on which 0 is how similar a sentence is to
passages that it has nothing to do with, and 1 how similar it is to the one that it stands in. Similarity alone takes a
near miss for an answer ("Which shipyard built the ferry?" where only its captain is named). So the words of the
question count as well: the rarer one is in the documents, the more it weighs when the passages don't have it.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jina_rag.embedder import Embedder
from jina_rag.errors import InputTooLongError
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.citations import passage_text
from jina_rag.rag.conversation import Turn, rewrite_follow_up
from jina_rag.rag.generation import NO_ANSWER, WaitCallback, as_data
from jina_rag.rag.retrieval import SearchResult
from jina_rag.rag.sentences import split_sentences
from jina_rag.rag.words import WEAK_STEMS, content_stems, stem, words
from jina_rag.vectors import FloatArray

if TYPE_CHECKING:
    from jina_rag.rag.index import DocumentIndex

EVIDENCE_NEEDED = 2.1
"""Similarity on the index's scale, plus the weighted share of the question's words that are covered, from which a
sentence answers. Chosen on the development questions about the sample documents; `tests/apps/ANSWERS.md` tells how."""

NEARLY_AS_GOOD = 0.25
"""A sentence this much less similar than the best one, on the index's scale, still adds to it; others only pad."""

_COVERED_BY_MEANING = 0.28
_WEIGHT_OF_COVERAGE = 1.3  # by logistic regression on XQuAD: right passages, against those left when it is taken out
_WEIGHT_OF_MERITS = 0.5
_WRONG_KIND = 0.6
_WEIGHT_OF_FOCUS = 2.0
_COMMON_BEGINNING = 5  # letters
_LONGEST_CONTEXT = 300  # characters; more could be longer than the model reads
_SHORTEST_SENTENCE = 6  # words
_PRIOR_UNRELATED = 0.1  # of all-MiniLM-L6-v2, until an index is large enough to tell
_PRIOR_RELATED = 0.45  # from there on the way to 1, likewise
_SENTENCES_TO_RELATE = 3  # a sentence that is nearly all of its passage tells nothing about how related texts are
_PRIOR_WEIGHT = 4
_SAMPLED_CHUNKS = 256
_SAMPLED_SENTENCES = 32
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
_POINTS_BACK = re.compile(
    r"(?:it|its|they|their|them|he|she|his|her|this|these|those|er|sie|es|il|elle|ils|elles|cela)\b", re.IGNORECASE
)
_NEXT_QUESTION = re.compile(
    r",?\s+(?:and|und|et|y)\s+(?=(?:how|what|when|where|who|whom|whose|which|why|on which)\b)", re.I
)


class ExtractiveGenerator:
    """Answers with the sentences of the passages that are most similar to the question, word for word."""

    name = "extractive"

    def __init__(
        self,
        embedder: Embedder,
        index: "DocumentIndex | None" = None,
        *,
        evidence_needed: float = EVIDENCE_NEEDED,
        max_sentences: int = 3,
    ) -> None:
        """Take the model that compares.

        Args:
            embedder: The one that found the passages.
            index: Where they were found. It tells how similar unrelated texts are, and which words are rare; without
                it the scale of all-MiniLM-L6-v2 is taken, and all words weigh the same.
            evidence_needed: The least evidence for an answer; the default suits most. More declines more questions.
            max_sentences: The longest answer, not counting sentences that only say what "it" is.
        """
        self._embedder = embedder
        self._index = index
        self._evidence_needed = evidence_needed
        self._max_sentences = max_sentences
        self._corpus: _Corpus | None = None
        self._lock = Lock()

    def stream(
        self,
        question: str,
        passages: Sequence[SearchResult],
        history: Sequence[Turn] = (),  # noqa: ARG002 - the question has been rewritten
        on_wait: WaitCallback | None = None,  # noqa: ARG002 - nobody waits
    ) -> Iterator[str]:
        """One to `max_sentences` sentences in the order of the passages, each with its number; else `NO_ANSWER`."""
        chosen = self._choose(question, _sentences(passages))
        if not chosen:
            yield NO_ANSWER
        for place, sentence in enumerate(chosen):
            yield f"{' ' if place else ''}{as_data(sentence.text)} [{sentence.number}]"

    def rewrite(self, question: str, history: Sequence[Turn]) -> str | None:
        """The question with the words that it leaves out, by simple rules."""
        return rewrite_follow_up(question, history)

    def _choose(self, question: str, sentences: "list[_Sentence]") -> "list[_Sentence]":
        """The sentences that answer, in the order of the passages; none if there is not evidence enough."""
        if not sentences:
            return []
        corpus = self._known_corpus()
        asked = self._embedder.embed(_questions_in(question), "query").vectors
        told, owners = self._embed(sentences)
        similar = np.stack([_largest(row, owners) for row in corpus.on_scale(asked @ told.T)])
        fitting = _fit(question, sentences)
        best = self._best(similar, _overlaps(question, sentences, corpus) + fitting - _echoes(similar[0], sentences))
        evidence = float(similar[:, best].max())
        if evidence + _WEIGHT_OF_COVERAGE >= self._evidence_needed:  # else no coverage can help
            chosen = [sentences[place] for place in best]
            evidence += _WEIGHT_OF_COVERAGE * self._coverage(question, chosen, told[np.isin(owners, best)], corpus)
        if not fitting[best].any():
            evidence -= _WRONG_KIND
        if evidence < self._evidence_needed:
            return []
        return _with_antecedents(sentences, sorted(best))

    def _embed(self, sentences: "Sequence[_Sentence]") -> tuple[FloatArray, NDArray[np.intp]]:
        """The vectors of all wordings, and which sentence each belongs to."""
        try:
            wordings = [sentence.wordings for sentence in sentences]
            told = self._embedder.embed_documents([text for group in wordings for text in group])
        except InputTooLongError:  # a heading in a script that takes many tokens; alone, each has been embedded before
            wordings = [(sentence.text,) for sentence in sentences]
            told = self._embedder.embed_documents([sentence.text for sentence in sentences])
        return told, np.repeat(np.arange(len(sentences)), [len(group) for group in wordings])

    def _best(self, similar: FloatArray, merits: FloatArray) -> list[int]:
        """The best sentence for each part of the question, and what is nearly as good for the whole of it.

        Among similar sentences, such as the rows of one table, those with the question's own words are better, those
        of the kind that it asks for, and those that are not only similar because of the sentence before them.
        """
        good = similar + _WEIGHT_OF_MERITS * merits
        best_of_parts = [int(row.argmax()) for row in good[1:]]
        ranked = [int(place) for place in np.argsort(-good[0], kind="stable")]
        near = [place for place in ranked if good[0, place] >= good[0, ranked[0]] - NEARLY_AS_GOOD]
        return list(dict.fromkeys([*(best_of_parts or ranked[:1]), *near]))[: self._max_sentences]

    def _coverage(self, question: str, chosen: "Sequence[_Sentence]", told: FloatArray, corpus: "_Corpus") -> float:
        """The share of the question's words, by their rarity, that the chosen sentences' passages have or mean.

        A passage means a word that it doesn't have if the question without it is clearly less similar to the sentence,
        as "heavy" is meant by "weighs 1.4 tonnes". What is counted or picked ("how many sails") weighs more, and must
        stand in a sentence.
        """
        asked, focus = _asked_words(question), _focus(question)
        if not asked:
            return 1.0
        nearby = {word for sentence in chosen for word in sentence.stems}
        said = set(content_stems(" ".join(text for sentence in chosen for text in sentence.wordings)))
        missing = [word for word in asked if not _is_among(word, said if word in focus else nearby)]
        if missing:
            shortened = self._embedder.embed(
                [question, *(_without(question, word) for word in missing)], "query"
            ).vectors
            lost = corpus.on_scale(shortened[0] @ told.T) - corpus.on_scale(shortened[1:] @ told.T)
            missing = [word for word, row in zip(missing, lost, strict=True) if row.max() < _COVERED_BY_MEANING]
        weights = {word: corpus.rarity(word) * (_WEIGHT_OF_FOCUS if word in focus else 1) for word in asked}
        return 1.0 - sum(weights[word] for word in missing) / sum(weights.values())

    def _known_corpus(self) -> "_Corpus":
        """What the index knows about its own texts; looked up again once it has grown or shrunk."""
        with self._lock:
            size = self._index.count_chunks() if self._index else 0
            if self._corpus is None or abs(size - self._corpus.size) > self._corpus.size // 10:
                self._corpus = _learn_corpus(self._embedder, self._index, size)
            return self._corpus


@dataclass(frozen=True)
class _Sentence:
    """A sentence of a passage.

    Attributes:
        text: Word for word.
        number: The passage's.
        wordings: What to compare with the question: the sentence or, if it can't be understood alone, the sentence
            behind its heading and behind the sentence before it.
        points_back: Whether it begins with "it" or the like.
        stems: Of all words of the passage and of the headings above it.
    """

    text: str
    number: int
    wordings: tuple[str, ...]
    points_back: bool
    stems: frozenset[str]


@dataclass(frozen=True)
class _Corpus:
    """What is usual in an index.

    Attributes:
        size: Its chunks when it was looked at.
        unrelated: Mean similarity of a sentence and passages that it doesn't stand in.
        related: Mean similarity of a sentence and the passage that it stands in.
        n_sampled: How many chunks were looked at for words.
        frequencies: In how many of them each stem stands.
    """

    size: int
    unrelated: float
    related: float
    n_sampled: int
    frequencies: Counter[str]

    def on_scale(self, similarity: FloatArray) -> FloatArray:
        """Cosine similarities on the index's scale."""
        scaled: FloatArray = (similarity - self.unrelated) / max(self.related - self.unrelated, 0.05)
        return scaled

    def rarity(self, word: str) -> float:
        """How much a word of a question weighs."""
        return 0.1 + math.log((self.n_sampled + 2) / (self.frequencies[word] + 1))


def _learn_corpus(embedder: Embedder, index: "DocumentIndex | None", size: int) -> _Corpus:
    chunks = index.sample(_SAMPLED_CHUNKS) if index else []
    frequencies = Counter(word for chunk in chunks for word in set(_stems_of(chunk)))
    step = max(1, len(chunks) // _SAMPLED_SENTENCES)
    picked = [(chunk, sentences) for chunk in chunks[::step] if (sentences := split_sentences(chunk.text))]
    if not index or len(picked) < 2:
        related = _PRIOR_UNRELATED + _PRIOR_RELATED * (1 - _PRIOR_UNRELATED)
        return _Corpus(size, _PRIOR_UNRELATED, related, len(chunks), frequencies)
    asked = embedder.embed([sentences[len(sentences) // 2] for _, sentences in picked], "query").vectors
    similar = asked @ index.vectors([chunk.id for chunk, _ in picked]).T
    others = similar[~np.eye(len(picked), dtype=bool)]
    own = np.diagonal(similar)[[len(sentences) >= _SENTENCES_TO_RELATE for _, sentences in picked]]
    unrelated = _shrunk(others, len(picked), _PRIOR_UNRELATED)
    related = _shrunk(own, len(own), unrelated + _PRIOR_RELATED * (1 - unrelated))
    return _Corpus(size, unrelated, related, len(chunks), frequencies)


def _shrunk(values: FloatArray, n_observed: int, prior: float) -> float:
    """The mean of what was observed, drawn towards a prior as long as that is little."""
    observed = float(values.mean()) if len(values) else prior
    return (n_observed * observed + _PRIOR_WEIGHT * prior) / (n_observed + _PRIOR_WEIGHT)


def _sentences(passages: Sequence[SearchResult]) -> list[_Sentence]:
    """All sentences of the passages, each once even if passages overlap."""
    found: dict[str, _Sentence] = {}
    for number, passage in enumerate(passages, start=1):
        stems = frozenset(_stems_of(passage.chunk)).union(content_stems(passage_text(passage)))
        heading = (passage.chunk.heading or passage.chunk.title).rpartition(" > ")[2]
        before = ""
        for text in split_sentences(passage_text(passage)):
            points_back = bool(_POINTS_BACK.match(text))
            contexts = [heading, before] if points_back else [heading] if _is_fragment(text) else []
            sentence = _Sentence(text, number, _wordings(text, contexts), points_back and bool(before), stems)
            found.setdefault(text, sentence)
            before = text
    return list(found.values())


def _wordings(text: str, contexts: Sequence[str]) -> tuple[str, ...]:
    if len(text) > _LONGEST_CONTEXT:
        return (text,)
    return tuple(f"{context[-_LONGEST_CONTEXT:]} {text}" for context in contexts if context) or (text,)


def _largest(row: FloatArray, owners: NDArray[np.intp]) -> FloatArray:
    """The largest value of each owner; owners stand in ascending order."""
    largest: FloatArray = np.maximum.reduceat(row, np.unique(owners, return_index=True)[1])
    return largest


def _asked_words(question: str) -> list[str]:
    """What a question is about: its own words or, if it has none, those that were added to a follow-up."""
    own = _subject(_ADDED.sub("", question))
    return own or _subject(question)


def _focus(question: str) -> set[str]:
    """The stem of what a question counts or picks from: what follows "how many" and "which"."""
    return {stem for run in _COUNTS_OR_PICKS.findall(question) for stem in content_stems(run)[:1]}


def _subject(text: str) -> list[str]:
    return [word for word in content_stems(text) if word not in WEAK_STEMS]


def _echoes(similar: FloatArray, sentences: Sequence[_Sentence]) -> FloatArray:
    """1 for each sentence that is compared behind the one before it and is no more similar than that one alone."""
    echoes = np.zeros(len(sentences), np.float32)
    for place in range(1, len(sentences)):
        echoes[place] = sentences[place].points_back and similar[place] <= similar[place - 1]
    return echoes


def _overlaps(question: str, sentences: Sequence[_Sentence], corpus: _Corpus) -> FloatArray:
    """For each sentence the share of the question's words that it has, by their rarity."""
    weights = {word: corpus.rarity(word) for word in _asked_words(question)}
    total = sum(weights.values()) or 1.0
    there = [set(content_stems(" ".join(sentence.wordings))) for sentence in sentences]
    shares = [sum(weight for word, weight in weights.items() if _is_among(word, stems)) / total for stems in there]
    return np.array(shares, np.float32)


def _fit(question: str, sentences: Sequence[_Sentence]) -> FloatArray:
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


def _stems_of(chunk: Chunk) -> list[str]:
    return content_stems(f"{chunk.title} {chunk.heading or ''} {chunk.text}")


def _is_fragment(text: str) -> bool:
    """Whether a piece is a row of a table or too short to be understood without its heading."""
    return text.startswith("|") or len(text.split()) < _SHORTEST_SENTENCE


def _with_antecedents(sentences: Sequence[_Sentence], chosen: Sequence[int]) -> list[_Sentence]:
    """The chosen sentences, and before each that begins with "it" or the like the one that says what it is."""
    places: list[int] = []
    for place in chosen:
        before = place - 1
        if sentences[place].points_back and before >= 0 and sentences[before].number == sentences[place].number:
            places.append(before)
        places.append(place)
    return [sentences[place] for place in dict.fromkeys(places)]


def _questions_in(question: str) -> list[str]:
    """A question and, if it asks for two things at once, each of them."""
    parts = [part for part in _NEXT_QUESTION.split(question) if part.strip()]
    return [question, *parts] if len(parts) > 1 else [question]


def _is_among(word: str, stems: set[str]) -> bool:
    """Whether a stem is among others, or shares a long beginning with one: "larg" and "larger"."""
    if word in stems:
        return True
    start = word[:_COMMON_BEGINNING]
    return len(start) >= _COMMON_BEGINNING - 1 and any(
        other.startswith(start) and abs(len(other) - len(word)) < _COMMON_BEGINNING - 1 for other in stems
    )


def _without(question: str, word: str) -> str:
    """The question without the words of a stem."""
    return " ".join(piece for piece in question.split() if word not in {stem(found) for found in words(piece)}) or " "
