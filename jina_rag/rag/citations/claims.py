"""What an answer says, claim by claim, and whether the passages that it cites say so."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from jina_rag.rag.chunking import Chunk
from jina_rag.rag.citations.marks import CitationMark, is_between_marks, split_marks
from jina_rag.rag.citations.support import Support, find_support, is_bare, is_supported
from jina_rag.rag.retrieval.search import SearchResult
from jina_rag.rag.text.sentences import sentence_spans, split_sentences
from jina_rag.rag.text.tokens import UNSPACED, content_stems

_MOST = 0.5  # of a claim's words: if fewer stand in a passage, it tells little which others don't
_MAX_SENTENCES_OF_CLAIM = 4  # neighbours in a passage that one claim may sum up
_AROUND_WORDS = ".,;:!?…()[]{}<>*_`'\"“”„«»‘’¿¡。、"
_PIECE = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
_BEFORE_SENTENCES = " \t\n.,;:!?。、"
_SENTENCE_ENDS = (".", "!", "?", "。", "！", "？", "…", ":")


@dataclass(frozen=True)
class Claim:
    """A piece of an answer that says one thing, and the passages that it names for it.

    Attributes:
        text: As it stands in the answer, without the marks.
        numbers: What it cites; empty if it cites nothing.
        supporting: Those of the numbers whose passages say what it says.
        verbatim: Whether it stands in one of them word for word.
        support: The largest share of its words that stand together in one of them, from 0 to 1.
        missing: The words, as they are written in it, that the best passage doesn't say with the others; of a bare name
            or number also those of the question. None if it is verified, if the words are there and mean another
            thing, or if it is more than half of them.
        question: What it answers, if that is known.
    """

    text: str
    numbers: tuple[int, ...]
    supporting: tuple[int, ...]
    verbatim: bool
    support: float
    missing: tuple[str, ...] = ()
    question: str = ""

    @property
    def verified(self) -> bool:
        """Whether at least one passage that it cites says it. A claim that cites nothing is not verified."""
        return bool(self.supporting)


@dataclass(frozen=True)
class Citation:
    """A passage that an answer cites.

    Attributes:
        number: As it stands in the answer, counted from 1.
        result: The passage.
        verified: Whether everything that the answer cites it for stands in it, by `is_supported`.
    """

    number: int
    result: SearchResult
    verified: bool


class ClaimChecker:
    """Checks the claims of one answer against its passages; each pair of claim and passage is compared once."""

    def __init__(self, passages: Sequence[SearchResult], question: str = "") -> None:
        """Take what an answer is written from.

        Args:
            passages: [1] is the first.
            question: What it answers. A bare name or number can only be checked together with it; see `find_support`.
        """
        self.passages = tuple(passages)
        self.question = question
        self._found: dict[tuple[str, int, str], Support] = {}

    def claims(self, answer: str) -> list[Claim]:
        """What an answer says, claim by claim, each checked against the passages that it cites.

        Args:
            answer: With its marks.
        """
        return [self._checked(text, numbers) for text, numbers in _claims(answer)]

    def support(self, claim: str, number: int, question: str | None = None) -> Support:
        """How far a passage says what a claim says.

        Args:
            claim: A sentence or a part of one, without marks.
            number: The passage's, from 1.
            question: What the claim answers; None for the answer's own question.
        """
        asked = self.question if question is None else question
        key = claim, number, asked if is_bare(claim) else ""
        if key not in self._found:
            result = self.passages[number - 1]
            self._found[key] = find_support(claim, result.text_with_context, _above(result.chunk), asked)
        return self._found[key]

    def supporting(
        self, claim: str, numbers: Sequence[int] | None = None, question: str | None = None
    ) -> tuple[int, ...]:
        """The numbers of the passages that say what a claim says, in the order in which they are looked at.

        Args:
            claim: A sentence or a part of one, without marks.
            numbers: Which passages to look at; None looks at all. Numbers that no passage has are left out.
            question: As for `support`.
        """
        numbers = range(1, len(self.passages) + 1) if numbers is None else numbers
        return tuple(n for n in self._known(numbers) if self.support(claim, n, question).share == 1.0)

    def _known(self, numbers: Sequence[int]) -> list[int]:
        return [number for number in numbers if 1 <= number <= len(self.passages)]

    def _checked(self, text: str, numbers: tuple[int, ...]) -> Claim:
        found = [self.support(text, number) for number in self._known(numbers)]
        best = max(found, key=lambda support: support.share, default=Support(0.0))
        return Claim(
            text,
            numbers,
            supporting=self.supporting(text, numbers),
            verbatim=any(support.verbatim for support in found),
            support=best.share,
            missing=_as_written(best.missing, f"{text} {self.question}") if best.share >= _MOST else (),
            question=self.question,
        )


def find_citations(claims: Sequence[Claim], passages: Sequence[SearchResult]) -> list[Citation]:
    """The passages that an answer cites, each once, in the order in which it first does so.

    Numbers that belong to no passage are left out; `find_unknown_numbers` has them.

    Args:
        claims: What the answer says.
        passages: What it was written from; [1] is the first.
    """
    verified: dict[int, bool] = {}
    for claim in claims:
        for number in claim.numbers:
            if 1 <= number <= len(passages):
                verified[number] = verified.get(number, True) and number in claim.supporting
    return [Citation(number, passages[number - 1], verified[number]) for number in verified]


def find_unknown_numbers(claims: Sequence[Claim], n_passages: int) -> list[int]:
    """The numbers that an answer cites and that no passage has, ascending."""
    return sorted({number for claim in claims for number in claim.numbers if not 1 <= number <= n_passages})


def find_cited_spans(claims: Sequence[Claim], number: int, chunk: Chunk) -> list[tuple[int, int]]:
    """Where the passage with this number says what an answer cites it for: its sentences, (start, end) in its text.

    In order, without overlaps. None for claims that the passage does not support, and for those that its neighbours do.
    """
    sentences = sentence_spans(chunk.text)
    supported = (claim for claim in claims if number in claim.supporting)
    found = {span for claim in supported if (span := _shortest_support(claim, sentences, chunk))}
    return _without_overlaps(sorted(found))


def split_claims(text: str) -> list[str]:
    """The sentences of what stands before a mark, at least one; the mark is the last one's."""
    text = text.lstrip(_BEFORE_SENTENCES).rstrip()
    return split_sentences(text, keep_labels=True) or [text]


def behind_sentence(claim: str, text: str) -> str:
    """The text behind a claim's marks, without what its sentence goes on with: Mars is red [1] because of rust."""
    return _split_first_sentence(text)[1] if _goes_on(claim, text) else text


def _as_written(stems: Collection[str], text: str) -> tuple[str, ...]:
    """For each of these stems the first word of a text that has it."""
    written: dict[str, str] = {}
    for piece in _PIECE.findall(text):
        for stem in content_stems(piece):
            if stem in stems:
                written.setdefault(stem, piece.strip(_AROUND_WORDS))
    return tuple(dict.fromkeys(written.values()))


def _above(chunk: Chunk) -> str:
    """The title and the headings that a passage stands under."""
    return f"{chunk.title} {chunk.heading or ''}"


def _shortest_support(claim: Claim, sentences: Sequence[tuple[int, int]], chunk: Chunk) -> tuple[int, int] | None:
    """The fewest neighbouring sentences of a passage that say what a claim says."""
    for n in range(1, min(len(sentences), _MAX_SENTENCES_OF_CLAIM) + 1):
        for (start, _), (_, end) in zip(sentences, sentences[n - 1 :], strict=False):
            if is_supported(claim.text, chunk.text[start:end], _above(chunk), claim.question):
                return start, end
    return None


def _without_overlaps(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _claims(answer: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Each claim of an answer, and the numbers behind it."""
    claim: str = ""
    numbers: tuple[int, ...] = ()  # the last cited claim: its sentence may go on behind the numbers
    for text, next_numbers in _segments(answer):
        if numbers and _goes_on(claim, text):
            rest, text = _split_first_sentence(text)
            if not text.strip() and next_numbers:
                rest, text = "", rest  # Mars is red [1] and Venus is hot [2]
            claim += rest
        if numbers:
            yield claim.strip(), numbers
        *uncited, claim = split_claims(text)
        yield from ((sentence, ()) for sentence in uncited if not sentence.endswith(":"))
        numbers = next_numbers
    if claim and not numbers:
        yield claim, ()


def _segments(answer: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The text before each group of marks with the group's numbers, and the text behind the last one with none."""
    text: str = ""
    numbers: tuple[int, ...] = ()
    for part in split_marks(answer):
        if isinstance(part, CitationMark):
            numbers = tuple(dict.fromkeys((*numbers, *part.numbers)))
        elif numbers and is_between_marks(part.text):
            continue  # [1] and [2]
        else:
            if numbers:
                yield text, numbers
            text, numbers = part.text, ()
    yield text, numbers
    if numbers:
        yield "", ()


def _goes_on(claim: str, text: str) -> bool:
    """Whether the text behind a group of marks continues the sentence before it."""
    return not claim.rstrip("\"'”’»)*_ ").endswith(_SENTENCE_ENDS) and bool(re.match(r"[ \t]*[,;:–—-]?[ \t]*\w", text))


def _split_first_sentence(text: str) -> tuple[str, str]:
    end = re.search(r"[.!?](?=\s|$)|[。！？…]|\n", text)
    return (text[: end.end()], text[end.end() :]) if end else (text, "")
