"""Whether a claim is word for word in a passage: string comparison of whole sentences, lines and clauses."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from jina_rag.rag.text.cleaning import remove_invisible
from jina_rag.rag.text.search_text import search_text
from jina_rag.rag.text.sentences import sentence_spans
from jina_rag.rag.text.tokens import UNSPACED

_FEWEST_WORDS = 3
"""A shorter claim, such as "Yes." or "£22", says something only together with its question, which nobody compares."""

_DASHES = re.compile(r"[‐‑‒–—―−]")
_MARKS_THAT_COUNT = re.compile(r"(?<=\d)[.,:/'-](?=\d)|(?<!\w)-(?=\d)|!(?=[\w=])|[%‰#@&?^]")
"""In and before numbers, "not" in code, signs that are read aloud, powers, and the end of a question."""

_OTHER_LANGUAGES = ("de", "es", "fr")
"""Whose abbreviations and dates sentencex knows: nobody says which language a passage is in."""

_WORD_OF_ITS_OWN = re.compile(rf"([{UNSPACED}?])")
_BEGINS_SMALL = re.compile(r"[^\w|]*([^\W\d_])")


class _Unit(NamedTuple):
    """A sentence, line or clause of a passage.

    Attributes:
        start: Where it begins in the passage, in characters.
        end: Where it ends.
        words: As `_words` gives them.
        begins: Whether a quotation may begin with it.
        ends: Whether a quotation may end with it.
    """

    start: int
    end: int
    words: list[str]
    begins: bool
    ends: bool


class QuotableText:
    """A passage, cut at the ends of sentences, lines and clauses once, in which claims are looked up.

    A clause ends at a semicolon. A unit that begins with a small letter may go on from the one before it, and the last
    one may be cut off if it ends without a mark: quotations neither begin nor end there.
    """

    def __init__(self, text: str) -> None:
        """Cut a passage. Raises MissingDependencyError as `sentence_spans` does."""
        self._units = _units(text)

    def find(self, claim: str) -> tuple[int, int] | None:
        """Where a claim is word for word in the passage, as one or several neighbouring whole units: (start, end).

        Case, width, white space, hyphens at ends of lines and most marks don't matter. None if it is not there, and
        for a claim of one or two words.
        """
        wanted = words_of(claim)
        if len(wanted) < _FEWEST_WORDS:
            return None
        for first, unit in enumerate(self._units):
            if unit.begins and (end := _end_of_quotation(wanted, self._units[first:])):
                return unit.start, end
        return None


def words_of(text: str) -> list[str]:
    """The words, numbers and signs of a text as quotations are compared by: in lower case, without other marks.

    They are spelled as `search_text` does.
    """
    text = unicodedata.normalize("NFC", remove_invisible(search_text(text)))
    text = _DASHES.sub("-", text).lower()
    counting = {match.start() for match in _MARKS_THAT_COUNT.finditer(text)}
    kept = (c if place in counting or _is_part_of_word(c) else " " for place, c in enumerate(text))
    return _WORD_OF_ITS_OWN.sub(r" \1 ", "".join(kept)).split()


def _is_part_of_word(character: str) -> bool:
    """Whether a character is a letter, an accent, a digit or a symbol; the pipes of tables are none."""
    category = unicodedata.category(character)
    return character != "|" and (category[0] in "LMN" or category in ("Sc", "Sm", "So"))


def _units(text: str) -> list[_Unit]:
    spans = [span for start, end in sentence_spans(text) for span in _clauses(text, start, end)]
    pieces = [text[start:end] for start, end in spans]
    is_whole = [_is_end(one, two) for one, two in pairwise(["", *pieces, ""])] if pieces else []
    return [
        _Unit(start, end, words_of(piece), begins, ends)
        for (start, end), piece, (begins, ends) in zip(spans, pieces, pairwise(is_whole), strict=True)
    ]


def _clauses(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The clauses of a sentence; one only if it has a colon, behind which semicolons part the items of a list."""
    clause = r"[\s\S]+" if re.search(r"[:：](?!\d)", text[start:end]) else r"[^;；]*[;；]?"
    for match in re.finditer(clause, text[start:end]):
        if any(map(str.isalnum, match[0])):
            yield start + match.end() - len(match[0].lstrip()), start + match.end()


def _is_end(piece: str, next_piece: str) -> bool:
    """Whether one unit ends and another begins here: before the first, between two, or behind the last."""
    if not next_piece:
        return piece.endswith("|") or unicodedata.category(piece[-1])[0] == "P"
    if piece.endswith((";", "；")):
        return True
    begins = _BEGINS_SMALL.match(next_piece)
    return not (begins and begins[1].islower()) and not _is_abbreviation(piece, next_piece)


def _is_abbreviation(piece: str, next_piece: str) -> bool:
    """Whether what ends a sentence in English ends none in another language: "zum 9. November"."""
    from sentencex import segment  # type: ignore[import-untyped]

    def is_cut(language: str) -> bool:
        return len(piece) + 1 in accumulate(map(len, segment(language, f"{piece} {next_piece}")))

    return is_cut("en") and not all(map(is_cut, _OTHER_LANGUAGES))


def _end_of_quotation(wanted: Sequence[str], units: Sequence[_Unit]) -> int | None:
    """Where the words end that the first unit begins with, if that is the end of a unit."""
    place = 0
    for unit in units:
        if wanted[place : place + len(unit.words)] != unit.words:
            return None
        place += len(unit.words)
        if place == len(wanted):
            return unit.end if unit.ends else None
    return None
