"""What to show of a long passage where there is room for a few lines: the part that a question is about."""

import re
from collections.abc import Sequence

from jina_rag.rag.words import WEAK_STEMS, content_stems, is_among

_SENTENCE = re.compile(r"(?<=[.!?;:…])\s+|(?<=[。！？])|\n\s*")
_SIMILAR = 0.5  # "larger" where "large" is looked for


def excerpt(text: str, query: str, length: int) -> str:
    """The part of a passage that has the most of a query's words, on one line, with "…" where it is cut.

    It begins with the passage, unless more of the words stand in a part that begins with a later sentence or line.

    Args:
        text: The passage.
        query: A question, some words, or what an answer says.
        length: The most characters, marks of omission included.
    """
    whole = " ".join(text.split())
    if len(whole) <= length:
        return whole
    part = " ".join(text[_best_start(text, query, length) :].split())
    shown = part if part == whole else f"… {part}"
    return shown if len(shown) <= length else f"{shown[: length - 1].rstrip(' .')}…"


def _best_start(text: str, query: str, length: int) -> int:
    """Where most of the words follow soon: what stands in the first half counts twice, in the first quarter thrice."""
    wanted = [stem for stem in content_stems(query) if stem not in WEAK_STEMS] or content_stems(query)
    starts = [0, *_starts(text, length)]
    lengths = (length // 4, length // 2, length)
    found = [sum(_found(wanted, text[start : start + n]) for n in lengths) for start in starts]
    best = max(found)
    return 0 if found[0] == best else starts[len(found) - 1 - found[::-1].index(best)]


def _found(wanted: Sequence[str], text: str) -> float:
    """How many of the words stand in a text; one that only begins alike counts half."""
    there = frozenset(content_stems(text))
    return sum(1 if stem in there else _SIMILAR * is_among(stem, there) for stem in wanted)


def _starts(text: str, length: int) -> list[int]:
    """Where an excerpt may begin: with a sentence or a line, and within one that is too long to be shown."""
    ends = [match.end() for match in _SENTENCE.finditer(text)]
    starts = []
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        piece = re.compile(rf"\S.{{0,{length // 2}}}(?!\S)|\S.{{0,{length // 2}}}", re.DOTALL)
        starts += [start] if end - start <= length else [match.start() for match in piece.finditer(text, start, end)]
    return starts
