"""What a claim says and its passages don't have at all: numbers and quotations, compared as strings.

What is named is certainly not there in these characters; a number in words may be. Names are not compared: what is one,
no rule says for all languages.
"""

import re
import unicodedata
from collections.abc import Sequence

from jina_rag.rag.citations.quotes import words_of

_NUMBER = re.compile(r"(?<!\d)\d{1,3}(?: \d{3})+(?!\d)|\d+(?:[.,:'’]\d+)*")
_BETWEEN_DIGITS = r"[.,:'’\s]?"
_QUOTATION = re.compile(r"(?<!\w)[“„«「『\"]([^“”„«»「」『』\"]*)[”“»」』\"]")


def find_missing(claim: str, passages: Sequence[str]) -> tuple[str, ...]:
    """The numbers and quotations of a claim that are in none of some texts.

    Separators of thousands and leading zeros don't matter.
    """
    there = "\n\n".join(map(_plain, passages))
    words = words_of(there)
    found = [
        *(number for number in _NUMBER.findall(_plain(claim)) if not _has_number(there, number)),
        *(quotation for quotation in _QUOTATION.findall(claim) if not _has_row(words, words_of(quotation))),
    ]
    return tuple(dict.fromkeys(found))


def _plain(text: str) -> str:
    """A text with the digits of all scripts as 0 to 9, and all blanks alike."""
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else " " if c.isspace() else c for c in text)


def _has_number(text: str, number: str) -> bool:
    digits = re.sub(r"\D", "", number).lstrip("0") or "0"
    return bool(re.search(rf"(?<!\d)(?:0{_BETWEEN_DIGITS})*{_BETWEEN_DIGITS.join(digits)}(?!\d)", text))


def _has_row(words: Sequence[str], row: Sequence[str]) -> bool:
    return any(words[place : place + len(row)] == row for place in range(len(words) - len(row) + 1))
