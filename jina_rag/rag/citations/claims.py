"""Which passages an answer cites, and whether they say what the answer says.

`CitationStream` finds the marks while an answer is written, whatever pieces it comes in; `find_claims` cuts a finished
answer into claims and checks each against the passages that it names.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from jina_rag.rag.chunking import Chunk
from jina_rag.rag.citations.support import Support, find_support, is_supported
from jina_rag.rag.retrieval.search import SearchResult
from jina_rag.rag.text.sentences import sentence_spans, split_sentences
from jina_rag.rag.text.tokens import UNSPACED, content_stems

MAX_MARK = 60
"""The longest mark in characters; a bracket that isn't closed by then is text."""

_MAX_RANGE = 20  # [1-3] means three passages; [1-500] is no citation
_MOST = 0.5  # of a claim's words: if fewer stand in a passage, it tells little which others don't
_MAX_SENTENCES_OF_CLAIM = 4  # neighbours in a passage that one claim may sum up
_CLOSING = {"[": "]", "【": "】", "［": "］"}
_SEPARATOR = r"\s*[,;，、；]\s*"
_NUMBER = r"\^?\d{1,3}(?:\s*[-–—]\s*\d{1,3})?"
_MARK_BODY = re.compile(rf"\s*({_NUMBER}(?:{_SEPARATOR}{_NUMBER})*)\s*(?:†[^\[\]【】\n]*)?")
_MARK_CHARACTERS = re.compile(r"[\s\d,;，、；^–—-]*(?:†[^\[\]【】\n]*)?")
_BETWEEN_MARKS = re.compile(r"[ \t,;]*(?:and|und|et|y)?[ \t]*")
_AROUND_WORDS = ".,;:!?…()[]{}<>*_`'\"“”„«»‘’¿¡。、"
_PIECE = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
_BEFORE_SENTENCES = " \t\n.,;:!?。、"
_SENTENCE_ENDS = (".", "!", "?", "。", "！", "？", "…", ":")


@dataclass(frozen=True)
class Text:
    """A piece of an answer that is no mark."""

    text: str


@dataclass(frozen=True)
class CitationMark:
    """A mark such as [1], or a whole group in one pair of brackets.

    Attributes:
        text: As it stands in the answer.
        numbers: The passages that it names, each once.
        unknown: Those of the numbers that no passage has; empty if the parser wasn't told how many there are.
    """

    text: str
    numbers: tuple[int, ...]
    unknown: tuple[int, ...] = ()


AnswerPart: TypeAlias = Text | CitationMark


class CitationStream:
    """Finds the marks in an answer that comes in pieces of any size; nothing it has given out is ever taken back.

    [1], [1, 2], [1-3], [^1] and full-width 【1】 are marks. Whatever stands in code, behind a backslash, in a bracket
    that is never closed, or in front of a link's address, is text. A span of code ends with its line at the latest,
    since nobody can know whether the backtick that closes it is still to come. For the same answer the parts are the
    same however it is cut, but for where one `Text` ends and the next begins.
    """

    def __init__(self, n_passages: int | None = None) -> None:
        """Begin an answer; `n_passages` tells which numbers are unknown."""
        self._n_passages = n_passages
        self._held = ""  # what can't be told yet: a bracket, a run of backticks, a backslash
        self._code = ""  # the backticks or tildes that opened the code we are in
        self._line_start = True

    def feed(self, piece: str) -> list[AnswerPart]:
        """The parts that are certain now."""
        parts: list[AnswerPart] = []
        text = self._held + piece
        self._held = ""
        place = 0
        while place < len(text):
            taken = self._take(text, place, parts, at_end=False)
            if not taken:
                self._held = text[place:]
                break
            place += taken
        return _merged(parts)

    def close(self) -> list[AnswerPart]:
        """The parts that were held back, at the end of the answer. The parser can then read another one."""
        parts: list[AnswerPart] = []
        text, place = self._held, 0
        while place < len(text):
            place += self._take(text, place, parts, at_end=True)
        self._held, self._code, self._line_start = "", "", True
        return _merged(parts)

    def _take(self, text: str, place: int, parts: list[AnswerPart], *, at_end: bool) -> int:
        """Decide about what stands at `place`: how many characters are done, or 0 if more must come first."""
        character = text[place]
        if character in "`~":
            return self._take_fence(text, place, parts, at_end=at_end)
        if character == "\\" and not self._code:
            if place + 1 == len(text) and not at_end:
                return 0
            return self._emit(text[place : place + 2], parts)
        if character in _CLOSING and not self._code:
            return self._take_bracket(text, place, parts, at_end=at_end)
        if character == "\n" and len(self._code) < 3:
            self._code = ""
        return self._emit(character, parts)

    def _take_fence(self, text: str, place: int, parts: list[AnswerPart], *, at_end: bool) -> int:
        """A run of backticks or tildes: it opens or closes code, and its length counts."""
        end = place
        while end < len(text) and text[end] == text[place]:
            end += 1
        if end == len(text) and not at_end:
            return 0
        run = text[place:end]
        is_block = len(run) >= 3 and self._line_start
        if not self._code:
            if run[0] == "`" or is_block:
                # Three at the beginning of a line fence a block; three within a line are a span like any other.
                self._code = run if is_block else run[:1] * min(len(run), 2)
        elif self._closes(run, is_block=is_block):
            self._code = ""
        return self._emit(run, parts)

    def _closes(self, run: str, *, is_block: bool) -> bool:
        if len(self._code) >= 3:
            return is_block and run.startswith(self._code)
        return run[0] == "`" and min(len(run), 2) == len(self._code)

    def _take_bracket(self, text: str, place: int, parts: list[AnswerPart], *, at_end: bool) -> int:
        closing = text.find(_CLOSING[text[place]], place + 1, place + MAX_MARK)
        if closing < 0:
            rest = text[place + 1 :]
            may_go_on = len(rest) < MAX_MARK - 1 and _MARK_CHARACTERS.fullmatch(rest)
            return 0 if may_go_on and not at_end else self._emit(text[place], parts)
        numbers = _read_numbers(text[place + 1 : closing])
        if not numbers:
            return self._emit(text[place], parts)
        if closing + 1 == len(text) and not at_end:
            return 0  # an address may follow, and then this is a link
        if text[closing + 1 : closing + 2] == "(":
            return self._emit(text[place : closing + 1], parts)
        unknown = () if self._n_passages is None else tuple(n for n in numbers if not 1 <= n <= self._n_passages)
        parts.append(CitationMark(text[place : closing + 1], numbers, unknown))
        self._line_start = False
        return closing + 1 - place

    def _emit(self, text: str, parts: list[AnswerPart]) -> int:
        parts.append(Text(text))
        for character in text:
            self._line_start = character == "\n" or (self._line_start and character in " \t>")
        return len(text)


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


def passage_text(result: SearchResult) -> str:
    """The text of a passage with the neighbours that were asked for, as generators read it."""
    return "\n\n".join(chunk.text for chunk in (*result.before, result.chunk, *result.after))


def find_claims(answer: str, passages: Sequence[SearchResult], question: str = "") -> list[Claim]:
    """What an answer says, claim by claim, each checked against the passages that it cites.

    Args:
        answer: With its marks.
        passages: What it was written from; [1] is the first.
        question: What it answers. A bare name or number can only be checked together with it; see `find_support`.
    """
    return [_checked(text, numbers, passages, question) for text, numbers in _claims(answer)]


def find_citations(answer: str, passages: Sequence[SearchResult], question: str = "") -> list[Citation]:
    """The passages that an answer cites, each once, in the order in which it first does so.

    Numbers that belong to no passage are left out; `find_unknown_numbers` has them. The arguments are those of
    `find_claims`.
    """
    verified: dict[int, bool] = {}
    for claim in find_claims(answer, passages, question):
        for number in claim.numbers:
            if 1 <= number <= len(passages):
                verified[number] = verified.get(number, True) and number in claim.supporting
    return [Citation(number, passages[number - 1], verified[number]) for number in verified]


def find_cited_spans(claims: Sequence[Claim], number: int, chunk: Chunk) -> list[tuple[int, int]]:
    """Where the passage with this number says what an answer cites it for: its sentences, (start, end) in its text.

    In order, without overlaps. None for claims that the passage does not support, and for those that its neighbours do.
    """
    sentences = sentence_spans(chunk.text)
    supported = (claim for claim in claims if number in claim.supporting)
    found = {span for claim in supported if (span := _shortest_support(claim, sentences, chunk))}
    return _without_overlaps(sorted(found))


def find_supporting(
    claim: str, passages: Sequence[SearchResult], numbers: Sequence[int] | None = None, question: str = ""
) -> tuple[int, ...]:
    """The numbers of the passages that say what a claim says, by `is_supported`, in the order they are looked at.

    Args:
        claim: A sentence or a part of one, without marks.
        passages: What an answer was written from.
        numbers: Which of them to look at; None looks at all. Numbers that no passage has are left out.
        question: What the claim answers.
    """
    looked_at = tuple(range(1, len(passages) + 1) if numbers is None else numbers)
    return _checked(claim, looked_at, passages, question).supporting


def shares_supported(claim: str, passages: Sequence[SearchResult], question: str = "") -> list[float]:
    """For each passage the share of a claim's words that stand together in it, as `find_support` has it."""
    return [_support(claim, passage, question).share for passage in passages]


def split_claims(text: str) -> list[str]:
    """The sentences of what stands before a mark, at least one; the mark is the last one's."""
    text = text.lstrip(_BEFORE_SENTENCES).rstrip()
    return split_sentences(text, keep_labels=True) or [text]


def behind_sentence(claim: str, text: str) -> str:
    """The text behind a claim's marks, without what its sentence goes on with: Mars is red [1] because of rust."""
    return _split_first_sentence(text)[1] if _goes_on(claim, text) else text


def is_between_marks(text: str) -> bool:
    """Whether a text only joins two marks that stand behind the same claim, as in [1] and [2]."""
    return bool(_BETWEEN_MARKS.fullmatch(text))


def find_unknown_numbers(answer: str, passages: Sequence[SearchResult]) -> list[int]:
    """The numbers that an answer cites and that no passage has, ascending."""
    return sorted({number for mark in _marks(answer) for number in mark.numbers if not 1 <= number <= len(passages)})


def without_marks(answer: str) -> str:
    """An answer without its marks, as a later turn of the conversation needs it: there the numbers mean others."""
    kept = " ".join(part.text for part in _parts(answer) if isinstance(part, Text))
    return re.sub(r"[ \t]+(?=[ \t.,;:!?\n]|$)", "", kept).strip()


def _checked(text: str, numbers: tuple[int, ...], passages: Sequence[SearchResult], question: str) -> Claim:
    found = {n: _support(text, passages[n - 1], question) for n in numbers if 1 <= n <= len(passages)}
    best = max(found.values(), key=lambda support: support.share, default=Support(0.0))
    return Claim(
        text,
        numbers,
        supporting=tuple(number for number, support in found.items() if support.share == 1.0),
        verbatim=any(support.verbatim for support in found.values()),
        support=best.share,
        missing=_as_written(best.missing, f"{text} {question}") if best.share >= _MOST else (),
        question=question,
    )


def _support(claim: str, result: SearchResult, question: str) -> Support:
    return find_support(claim, passage_text(result), _above(result.chunk), question)


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
    for part in _parts(answer):
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


def _parts(answer: str) -> list[AnswerPart]:
    stream = CitationStream()
    return _merged([*stream.feed(answer), *stream.close()])


def _marks(answer: str) -> Iterator[CitationMark]:
    return (part for part in _parts(answer) if isinstance(part, CitationMark))


def _merged(parts: Sequence[AnswerPart]) -> list[AnswerPart]:
    merged: list[AnswerPart] = []
    for part in parts:
        if isinstance(part, Text) and merged and isinstance(merged[-1], Text):
            merged[-1] = Text(merged[-1].text + part.text)
        else:
            merged.append(part)
    return merged


def _read_numbers(body: str) -> tuple[int, ...]:
    """The numbers inside a pair of brackets; none if it holds anything else."""
    match = _MARK_BODY.fullmatch(body)
    if not match:
        return ()
    numbers: list[int] = []
    for item in re.split(_SEPARATOR, match[1]):
        first, *last = (int(number) for number in re.findall(r"\d+", item))
        if last and not first < last[0] <= first + _MAX_RANGE:
            return ()
        numbers += range(first, (last[0] if last else first) + 1)
    return tuple(dict.fromkeys(numbers))
