"""What an answer says, claim by claim, and what was found out about each: quoted, supported, not found or unchecked."""

import re
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from jina_rag.rag.chunking import Chunk
from jina_rag.rag.citations.judges import Judge, JudgedPair
from jina_rag.rag.citations.marks import CitationMark, is_between_marks, split_marks
from jina_rag.rag.citations.missing import find_missing
from jina_rag.rag.citations.quotes import QuotableText
from jina_rag.rag.retrieval.search import SearchResult
from jina_rag.rag.text.sentences import sentence_spans

Verdict: TypeAlias = Literal["quoted", "supported", "not found", "unchecked"]
"""What was found out about a claim.

"quoted": a cited passage has it word for word as a whole sentence, line or clause. "supported": a judge read the claim
and a cited passage and found it there. "not found": a judge did not, or no cited passage has one of its numbers or
quotations. "unchecked": it cites no passage, or nobody read it.
"""

_LABEL = re.compile(r"([\W_]{0,9}[^\W\d_]{0,30}[\W_]?)(\d{1,2})[\W_]?[:.)：）、](?!\d)")
_WEAKEST_FIRST: tuple[Verdict, ...] = ("not found", "unchecked", "supported", "quoted")


@dataclass(frozen=True)
class Claim:
    """A sentence, heading, list item or table row of an answer, or a part of one with marks of its own.

    Attributes:
        text: As it is in the answer, without the marks.
        numbers: The passages that it cites, from 1; empty if it cites none.
        verdict: What was found out about it.
        sources: Those of the numbers whose passages quote or support it.
        missing: Its numbers and quotations that no cited passage has, by `find_missing`.
        probability: That the best cited passage states it, says the judge; None if no judge read it.
    """

    text: str
    numbers: tuple[int, ...]
    verdict: Verdict
    sources: tuple[int, ...] = ()
    missing: tuple[str, ...] = ()
    probability: float | None = None


@dataclass(frozen=True)
class Citation:
    """A passage that an answer cites.

    Attributes:
        number: As it is in the answer, counted from 1.
        result: The passage.
        verdict: The weakest one about what the answer cites it for.
    """

    number: int
    result: SearchResult
    verdict: Verdict


class ClaimChecker:
    """Checks the claims of one answer against its passages; each claim and passage are compared and judged once."""

    def __init__(self, passages: Sequence[SearchResult], question: str = "") -> None:
        """Take what an answer is written from.

        Args:
            passages: [1] is the first.
            question: What it answers, which judges read with each claim.
        """
        self.passages = tuple(passages)
        self._question = question
        self._quotable: dict[int, QuotableText] = {}
        self._quoting: dict[tuple[str, int], bool] = {}
        self._probabilities: dict[tuple[str, int], float] = {}
        self._threshold = 1.0

    def claims(self, answer: str) -> list[Claim]:
        """What an answer says, claim by claim, with what is known of each by now.

        Every visible line is a claim or several: headings, labels, items and the rows of tables too.

        Args:
            answer: With its marks.
        """
        claims = split_claims(answer)
        labels = _counted_labels(text for text, _ in claims)
        return [self._checked(text, numbers, label) for (text, numbers), label in zip(claims, labels, strict=True)]

    def judge(self, answer: str, judge: Judge) -> Iterator[None]:
        """Let a judge read the cited claims that are neither quoted nor miss anything, passage by passage.

        Yields before each passage, so that whoever waits can stop. Then `claims` knows what it found.

        Raises:
            GenerationError: the judge can't be reached, or can't answer.
        """
        self._threshold = judge.threshold
        unread = [claim for claim in self.claims(answer) if claim.verdict == "unchecked"]
        for number, result in enumerate(self.passages, start=1):
            texts = list(dict.fromkeys(claim.text for claim in unread if number in claim.numbers))
            if not texts:
                continue
            yield
            passage = _with_headings(result)
            read = judge.judge([JudgedPair(text, passage, self._question) for text in texts])
            self._probabilities.update({(text, number): found for text, found in zip(texts, read, strict=True)})

    def quoting(self, claim: str, numbers: Sequence[int] | None = None) -> tuple[int, ...]:
        """The numbers of the passages that have a claim word for word, as `QuotableText.find` says.

        Args:
            claim: Without marks.
            numbers: Which passages to compare, in this order; None compares all. Unknown ones are left out.
        """
        numbers = range(1, len(self.passages) + 1) if numbers is None else self._known(numbers)
        return tuple(number for number in numbers if self._is_quoted(claim, number))

    def _known(self, numbers: Sequence[int]) -> list[int]:
        return [number for number in numbers if 1 <= number <= len(self.passages)]

    def _is_quoted(self, claim: str, number: int) -> bool:
        if number not in self._quotable:
            self._quotable[number] = QuotableText(self.passages[number - 1].text_with_context)
        if (claim, number) not in self._quoting:
            self._quoting[claim, number] = self._quotable[number].find(claim) is not None
        return self._quoting[claim, number]

    def _checked(self, text: str, numbers: tuple[int, ...], label: str) -> Claim:
        known = self._known(numbers)
        if sources := self.quoting(text, known):
            return Claim(text, numbers, "quoted", sources)
        if not (known and text):
            return Claim(text, numbers, "unchecked")
        missing = find_missing(
            text.removeprefix(label), [_with_headings(self.passages[number - 1]) for number in known]
        )
        if missing:
            return Claim(text, numbers, "not found", missing=missing)
        read = {number: p for number in known if (p := self._probabilities.get((text, number))) is not None}
        if not read:
            return Claim(text, numbers, "unchecked")
        sources = tuple(number for number, probability in read.items() if probability >= self._threshold)
        return Claim(text, numbers, "supported" if sources else "not found", sources, (), max(read.values()))


def find_citations(claims: Sequence[Claim], passages: Sequence[SearchResult]) -> list[Citation]:
    """The passages that an answer cites, each once, in the order in which it first does so.

    Numbers that belong to no passage are left out; `find_unknown_numbers` has them.

    Args:
        claims: What the answer says.
        passages: What it was written from; [1] is the first.
    """
    verdicts: dict[int, list[Verdict]] = {}
    for claim in claims:
        for number in claim.numbers:
            if 1 <= number <= len(passages):
                verdicts.setdefault(number, []).append(_verdict_on(claim, number))
    return [
        Citation(number, passages[number - 1], min(found, key=_WEAKEST_FIRST.index))
        for number, found in verdicts.items()
    ]


def find_unknown_numbers(claims: Sequence[Claim], n_passages: int) -> list[int]:
    """The numbers that an answer cites and that no passage has, ascending."""
    return sorted({number for claim in claims for number in claim.numbers if not 1 <= number <= n_passages})


def find_cited_spans(claims: Sequence[Claim], number: int, chunk: Chunk) -> list[tuple[int, int]]:
    """Where the passage with this number is quoted, (start, end) in its text, in order and each once.

    None for claims that are quoted from its neighbours, and for those that are not quoted: nobody knows where a passage
    supports them.
    """
    text = QuotableText(chunk.text)
    quoted = (claim for claim in claims if claim.verdict == "quoted" and number in claim.sources)
    return sorted({span for claim in quoted if (span := text.find(claim.text))})


def split_claims(answer: str) -> list[tuple[str, tuple[int, ...]]]:
    """The claims of an answer without its marks, each with the numbers that it cites.

    A mark belongs to the sentence before it on its line, to the one behind it if there is none, and to the last one
    above if the line has none at all. A sentence with several marks is cut behind each; what is left is the last one's.
    """
    text = _apart(answer)
    return [(text.text[start:end], numbers) for start, end, numbers in _split(text)]


def find_claim_spans(answer: str) -> list[tuple[int, int]]:
    """Where each claim of `split_claims` is in the answer, (start, end) in characters, marks within it included."""
    text = _apart(answer)
    return [(text.places[start], text.places[end - 1] + 1) if end > start else (0, 0) for start, end, _ in _split(text)]


def _counted_labels(texts: Iterable[str]) -> Iterator[str]:
    """The labels of an answer that only count, as "Step 1:" and "Step 2:": what each text begins with, or nothing.

    They begin with 1 and go on by one. "Room 12:" counts nothing.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        found = _LABEL.match(text)
        if found and int(found[2]) == counts[found[1]] + 1:
            counts[found[1]] += 1
            yield found[0]
        else:
            yield ""


def _verdict_on(claim: Claim, number: int) -> Verdict:
    """The verdict on a claim as far as one of its passages goes: another one may quote or support it."""
    if number in claim.sources or not claim.sources:
        return claim.verdict
    return "unchecked" if claim.verdict == "quoted" else "not found"


def _with_headings(result: SearchResult) -> str:
    """A passage under its title and headings."""
    return "\n\n".join(filter(None, (result.chunk.title, result.chunk.heading, result.text_with_context)))


class _Unmarked(NamedTuple):
    """An answer without its marks.

    Attributes:
        text: The answer.
        places: For each of its characters, where it is in the answer with marks.
        marks: For each group of marks, its place in the text and its numbers.
    """

    text: str
    places: list[int]
    marks: list[tuple[int, tuple[int, ...]]]


_Part: TypeAlias = tuple[int, int, tuple[int, ...]]
"""Where a claim begins and ends in the text, and the numbers that it cites."""


def _apart(answer: str) -> _Unmarked:
    text, place = "", 0
    places: list[int] = []
    marks: list[tuple[int, tuple[int, ...]]] = []
    parts = split_marks(answer)
    for before, part, behind in zip([None, *parts], parts, [*parts[1:], None], strict=False):
        if isinstance(part, CitationMark):
            text = text.rstrip(" \t")
            marks.append((len(text), part.numbers))
        elif not (
            isinstance(before, CitationMark) and isinstance(behind, CitationMark) and is_between_marks(part.text)
        ):  # [1] and [2]
            space = " " * (isinstance(before, CitationMark) and part.text[:1].isalnum())
            places[len(text) :] = [place] * len(space) + list(range(place, place + len(part.text)))
            text += space + part.text
        place += len(part.text)
    return _Unmarked(text, places, marks)


def _split(answer: _Unmarked) -> list[_Part]:
    parts: list[_Part] = []
    begin = 0
    for line in answer.text.split("\n"):
        here = [(place - begin, numbers) for place, numbers in answer.marks if begin <= place <= begin + len(line)]
        found = [(begin + start, begin + end, numbers) for start, end, numbers in _parts_of_line(line, here)]
        parts += found
        if here and not found:
            start, end, before = parts.pop() if parts else (begin, begin, ())
            parts.append((start, end, tuple(dict.fromkeys([*before, *(n for _, numbers in here for n in numbers)]))))
        begin += len(line) + 1
    return parts


def _parts_of_line(line: str, marks: Sequence[tuple[int, tuple[int, ...]]]) -> list[_Part]:
    indent = len(line) - len(line.lstrip(" \t#"))  # headings count
    spans = [(indent + start, indent + end) for start, end in sentence_spans(line[indent:])]
    starts = [start for start, _ in spans]
    parts: list[_Part] = []
    for number, (start, end) in enumerate(spans):
        own = [mark for mark in marks if max(bisect(starts, mark[0]) - 1, 0) == number]
        parts += _cut_at_marks(line, start, end, own)
    return parts


def _cut_at_marks(line: str, start: int, end: int, marks: Sequence[tuple[int, tuple[int, ...]]]) -> list[_Part]:
    """The parts of a sentence that end with marks; what is behind the last mark belongs to the last part."""
    parts: list[tuple[int, tuple[int, ...]]] = []  # where each begins, and its numbers
    ahead: tuple[int, ...] = ()  # numbers with no word before them
    begin = start
    for place, numbers in marks:
        if re.search(r"\w", line[begin:place]):
            parts.append((begin, ahead + numbers))
            begin, ahead = place, ()
        elif parts:
            parts[-1] = parts[-1][0], parts[-1][1] + numbers
        else:
            ahead += numbers
    parts = parts or [(start, ahead)]
    ends = [begin for begin, _ in parts[1:]] + [end]
    return [
        (*_trimmed(line, begin, until), tuple(dict.fromkeys(numbers)))
        for (begin, numbers), until in zip(parts, ends, strict=True)
    ]


def _trimmed(line: str, start: int, end: int) -> tuple[int, int]:
    part = line[start:end]
    start += len(part) - len(part.lstrip())
    return start, start + len(part.strip())
