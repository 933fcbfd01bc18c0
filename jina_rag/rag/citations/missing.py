"""What a claim says and its passages don't have at all: numbers, names and quotations, compared as strings.

What is named is certainly not there in these characters; a number in words or a name in another language may be. What
may be no name is left out: single capitalised words, since some languages write all nouns so, and first words.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from jina_rag.rag.citations.quotes import words_of

_NUMBER = re.compile(r"(?<!\d)\d{1,3}(?: \d{3})+(?!\d)|\d+(?:[.,:'’]\d+)*")
_BETWEEN_DIGITS = r"[.,:'’\s]?"
_QUOTATION = re.compile(r"(?<!\w)[“„«「『\"]([^“”„«»「」『』\"]*)[”“»」』\"]")
_ENDS = tuple('.,;:!?…()[]“”„«»"')
_SHORTEST_STEM = 3  # letters that two forms of a name share


def find_missing(claim: str, passages: Sequence[str]) -> tuple[str, ...]:
    """The numbers, names and quotations of a claim that are in none of some texts.

    Separators of thousands and leading zeros don't matter. A name is a row of capitalised words within a sentence, and
    only missing if no text has any of them.
    """
    there = "\n\n".join(map(_plain, passages))
    words = words_of(there)
    found = [
        *(number for number in _NUMBER.findall(_plain(claim)) if not _has_number(there, number)),
        *(name for name in _names(claim) if there.lower() != there and not _has_any(words, name)),
        *(quotation for quotation in _QUOTATION.findall(claim) if not _has_row(words, words_of(quotation))),
    ]
    return tuple(dict.fromkeys(found))


def _plain(text: str) -> str:
    """A text with the digits of all scripts as 0 to 9, and all blanks alike."""
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else " " if c.isspace() else c for c in text)


def _has_number(text: str, number: str) -> bool:
    digits = re.sub(r"\D", "", number).lstrip("0") or "0"
    return bool(re.search(rf"(?<!\d)(?:0{_BETWEEN_DIGITS})*{_BETWEEN_DIGITS.join(digits)}(?!\d)", text))


def _names(claim: str) -> Iterator[str]:
    """The rows of two and more capitalised words in a claim that has more others."""
    words = claim.split()
    capitalised = [_is_capitalised(word) for word in words]
    if 2 * sum(capitalised[1:]) >= len(words):
        return
    row: list[str] = []
    for before, word, is_capitalised in zip(words, words[1:], capitalised[1:], strict=False):
        if before.endswith(_ENDS) or not is_capitalised:
            yield from _joined(row)
            row = []
        if is_capitalised and not before.endswith((".", "!", "?", ":")):
            row.append(word)
    yield from _joined(row)


def _joined(row: Sequence[str]) -> Iterator[str]:
    if len(row) > 1:
        yield " ".join(row).strip("*_`'’.,;:!?…()[]“”„«»\"")


def _is_capitalised(word: str) -> bool:
    letters = [character for character in word if character.isalpha()]
    return len(letters) > 1 and letters[0].isupper()


def _has_any(words: Sequence[str], name: str) -> bool:
    """Whether one of the words of a name is there, perhaps in another form."""
    wanted = [word for word in words_of(name) if len(word) >= _SHORTEST_STEM]
    known = {word for word in words if len(word) >= _SHORTEST_STEM}
    return any(one.startswith(other) or other.startswith(one) for one in wanted for other in known)


def _has_row(words: Sequence[str], row: Sequence[str]) -> bool:
    return any(words[place : place + len(row)] == row for place in range(len(words) - len(row) + 1))
