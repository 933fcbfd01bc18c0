"""Which passages an answer cites, and whether they say what the answer says."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jina_rag.rag.retrieval import SearchResult
from jina_rag.rag.sentences import split_sentences

ENOUGH_WORDS = 0.75
"""The share of a sentence's words that must stand in the passage for its citation to count as true."""

_NUMBERS = re.compile(r"\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
_GROUP = re.compile(rf"(?:{_NUMBERS.pattern}\s*)+")
_QUOTED = re.compile(r"[\"“„«]([^\"“”„«»]{12,})[\"”“»]")
_DASHES = re.compile(r"[‐‑‒–—―−]")
_WORD = re.compile(r"[぀-ヿ㐀-鿿가-힯฀-๿]|\w+")
"""A word; in scripts without blanks between words, a character."""


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


def find_citations(answer: str, passages: Sequence[SearchResult]) -> list[Citation]:
    """The passages that an answer cites, each once, in the order in which it first does so.

    Numbers that belong to no passage are left out; `find_unknown_numbers` has them.
    """
    verified: dict[int, bool] = {}
    for sentence, numbers in _cited_sentences(answer):
        for number in numbers:
            if 1 <= number <= len(passages):
                supported = is_supported(sentence, passages[number - 1].chunk.text)
                verified[number] = verified.get(number, True) and supported
    return [Citation(number, passages[number - 1], verified[number]) for number in verified]


def find_unknown_numbers(answer: str, passages: Sequence[SearchResult]) -> list[int]:
    """The numbers that an answer cites and that no passage has, ascending."""
    cited = {number for _, numbers in _cited_sentences(answer) for number in numbers}
    return sorted(number for number in cited if not 1 <= number <= len(passages))


def is_supported(sentence: str, passage: str) -> bool:
    """Whether a passage says what a sentence says, as far as words can tell.

    True if the sentence stands in the passage word for word, or if all that it puts in quotes does, or else if every
    number and at least `ENOUGH_WORDS` of the other words in it do. Width, case, white space and dashes don't matter.
    """
    sentence, passage = _normalize(sentence), _normalize(passage)
    if sentence in passage:
        return bool(sentence)
    quotes = _QUOTED.findall(sentence)
    if quotes:
        return all(quote.strip(" .,;:!?") in passage for quote in quotes)
    words, there = set(_WORD.findall(sentence)), set(_WORD.findall(passage))
    if any(word.isdigit() and word not in there for word in words):
        return False
    return bool(words) and len(words & there) >= ENOUGH_WORDS * len(words)


def _cited_sentences(answer: str) -> Iterator[tuple[str, list[int]]]:
    """Each sentence that is followed by numbers, and the numbers."""
    end = 0
    for group in _GROUP.finditer(answer):
        before = answer[end : group.start()].lstrip(" .,;:!?。、")
        numbers = [int(number) for number in re.findall(r"\d+", group[0])]
        yield (split_sentences(before) or [before.strip()])[-1], numbers
        end = group.end()


def _normalize(text: str) -> str:
    folded = _DASHES.sub("-", unicodedata.normalize("NFKC", text)).casefold()
    return " ".join(folded.split())
