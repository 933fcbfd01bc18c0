"""The marks of an answer, such as [1], found while it is written, whatever pieces it comes in."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

MAX_MARK = 60
"""The longest mark in characters; a bracket that isn't closed by then is text."""

_MAX_RANGE = 20  # [1-3] means three passages; [1-500] is no citation
_CLOSING = {"[": "]", "【": "】", "［": "］"}
_SEPARATOR = r"\s*[,;，、；]\s*"
_NUMBER = r"\^?\d{1,3}(?:\s*[-–—]\s*\d{1,3})?"
_MARK_BODY = re.compile(rf"\s*({_NUMBER}(?:{_SEPARATOR}{_NUMBER})*)\s*(?:†[^\[\]【】\n]*)?")
_MARK_CHARACTERS = re.compile(r"[\s\d,;，、；^–—-]*(?:†[^\[\]【】\n]*)?")
_BETWEEN_MARKS = re.compile(r"[ \t,;]*(?:and|und|et|y)?[ \t]*")


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


def split_marks(answer: str) -> list[AnswerPart]:
    """The text and the marks of a whole answer, in order."""
    stream = CitationStream()
    return _merged([*stream.feed(answer), *stream.close()])


def is_between_marks(text: str) -> bool:
    """Whether a text only joins two marks that stand behind the same claim, as in [1] and [2]."""
    return bool(_BETWEEN_MARKS.fullmatch(text))


def without_marks(answer: str) -> str:
    """An answer without its marks, as a later turn of the conversation needs it: there the numbers mean others."""
    kept = " ".join(part.text for part in split_marks(answer) if isinstance(part, Text))
    return re.sub(r"[ \t]+(?=[ \t.,;:!?\n]|$)", "", kept).strip()


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
