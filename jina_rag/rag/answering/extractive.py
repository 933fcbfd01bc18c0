"""Answers without a language model: the sentences of the passages that answer the question, word for word."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jina_rag.backends.base import WaitCallback
from jina_rag.embedder import Embedder
from jina_rag.rag.answering.follow_ups import rewrite_follow_up
from jina_rag.rag.answering.types import NO_ANSWER, Turn
from jina_rag.rag.citations.fence import as_data
from jina_rag.rag.retrieval.search import SearchResult
from jina_rag.rag.retrieval.sentence_scorer import Sentence, SentenceScorer, SentenceScores, split_passage, stems_of
from jina_rag.rag.text.tokens import content_stems
from jina_rag.vectors import FloatArray

if TYPE_CHECKING:
    from jina_rag.rag.indexing.index import DocumentIndex

EVIDENCE_NEEDED = 0.85
"""Similarity on the index's scale, plus the weighted share of the question's words, from which a sentence answers.
`tests/apps/ANSWERS.md` tells how it was chosen."""

NEARLY_AS_GOOD = 0.15
"""A sentence with this much less evidence than the best one may still add to it; others only pad."""


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
            index: Where they were found, as for `SentenceScorer`.
            evidence_needed: The least evidence for an answer; the default suits most. More declines more questions.
            max_sentences: The most for each thing that is asked, not counting sentences that only say what "it" is.
        """
        self._scorer = SentenceScorer(embedder, index)
        self._evidence_needed = evidence_needed
        self._max_sentences = max_sentences

    def stream(
        self,
        question: str,
        passages: Sequence[SearchResult],
        history: Sequence[Turn] = (),  # noqa: ARG002 - the question has been rewritten
        on_wait: WaitCallback | None = None,  # noqa: ARG002 - nobody waits
    ) -> Iterator[str]:
        """Sentences in the order of the passages, each with its number; or `NO_ANSWER`."""
        chosen = self._choose(question, _sentences(passages))
        if not chosen:
            yield NO_ANSWER
        for place, sentence in enumerate(chosen):
            yield f"{' ' if place else ''}{as_data(sentence.text)} [{sentence.number}]"

    def rewrite(self, question: str, history: Sequence[Turn]) -> str | None:
        """The question with the words that it leaves out, by simple rules."""
        return rewrite_follow_up(question, history)

    def close(self) -> None:
        """Nothing: the model is the index's."""

    def _choose(self, question: str, sentences: list[Sentence]) -> list[Sentence]:
        """The sentences that answer, in the order of the passages; none if there is not evidence enough."""
        if not sentences:
            return []
        scored = self._scorer.score(question, sentences)
        places = {place for scores in scored for place in self._best(scores, sentences)}
        return _with_antecedents(sentences, sorted(places))

    def _best(self, scores: SentenceScores, sentences: Sequence[Sentence]) -> list[int]:
        """The sentence with the most evidence and those that are nearly as good; none if that is too little.

        A sentence about "it" must have more than the one before it, behind which it was compared. In one passage, a
        sentence with some of the question's words pads what another with the same ones and more says: "Code E1" if E7
        is asked for.
        """
        evidence = scores.evidence
        ranked = [int(place) for place in np.argsort(-evidence, kind="stable")]
        if evidence[ranked[0]] < self._evidence_needed:
            return []
        near = [place for place in ranked if evidence[place] >= evidence[ranked[0]] - NEARLY_AS_GOOD]
        before = {place: _antecedent(sentences, place) for place in near}
        own = [place for place in near if (other := before[place]) is None or evidence[place] > evidence[other]]
        return [place for place in own if not _is_padding(place, own, scores.word_matches, sentences)][
            : self._max_sentences
        ]


def _sentences(passages: Sequence[SearchResult]) -> list[Sentence]:
    """All sentences of the passages, each once even if passages overlap."""
    found: dict[str, Sentence] = {}
    for number, passage in enumerate(passages, start=1):
        text, chunk = passage.text_with_context, passage.chunk
        heading = (chunk.heading or chunk.title).rpartition(" > ")[2]
        for sentence in split_passage(number, text, heading, frozenset(stems_of(chunk)).union(content_stems(text))):
            found.setdefault(sentence.text, sentence)
    return list(found.values())


def _is_padding(place: int, others: Iterable[int], word_matches: FloatArray, sentences: Sequence[Sentence]) -> bool:
    """Whether another sentence of its passage says all of the question's words that this one says, and more of them."""
    passage = [other for other in others if sentences[other].number == sentences[place].number]
    own = word_matches[:, place]
    return any(
        bool((own <= word_matches[:, other]).all() and (own < word_matches[:, other]).any()) for other in passage
    )


def _with_antecedents(sentences: Sequence[Sentence], chosen: Sequence[int]) -> list[Sentence]:
    """The chosen sentences, and before each that begins with "it" or the like the one that says what it is."""
    places = [place for one in chosen for place in (_antecedent(sentences, one), one) if place is not None]
    return [sentences[place] for place in dict.fromkeys(places)]


def _antecedent(sentences: Sequence[Sentence], place: int) -> int | None:
    """The sentence that says what "it" is, if this one begins so."""
    if sentences[place].begins_with_pronoun and sentences[place - 1].number == sentences[place].number:
        return place - 1
    return None
