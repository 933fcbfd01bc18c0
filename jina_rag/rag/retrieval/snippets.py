"""What to show of a long passage where there is room for a few lines: the part that a question is about."""

import re
from bisect import bisect
from collections.abc import Sequence

from jina_rag.rag.text.tokens import WEAK_STEMS, content_stems, is_among

_SENTENCE = re.compile(r"(?<=[.!?;:…])\s+|(?<=[。！？])|\n\s*")
_SIMILAR = 0.5  # "larger" where "large" is looked for


def make_snippet(text: str, query: str, length: int) -> str:
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
    pieces = _pieces(text, length)
    told = [_told(wanted, text[start:end]) for start, end in pieces]

    middles = [(start + end) / 2 for start, end in pieces]

    def worth(first: int) -> float:
        ends = [pieces[first][0] + n for n in (length // 4, length // 2, length)]
        windows = [told[first : max(first + 1, bisect(middles, end))] for end in ends]
        total: float = sum(max(values) for window in windows for values in zip(*window, strict=True))
        return total

    worths = [worth(first) for first in range(len(pieces))]
    best = max(worths)
    return 0 if worths[0] == best else pieces[len(worths) - 1 - worths[::-1].index(best)][0]


def _told(wanted: Sequence[str], text: str) -> list[float]:
    """For each word 1 if it stands in a text, less if one stands there that only begins alike, 0 if none does."""
    there = frozenset(content_stems(text))
    return [1.0 if stem in there else _SIMILAR * is_among(stem, there) for stem in wanted]


def _pieces(text: str, length: int) -> list[tuple[int, int]]:
    """The sentences and lines, (start, end) in the text, and parts of those that are too long to be shown."""
    ends = [match.end() for match in _SENTENCE.finditer(text)]
    part = re.compile(rf"\S.{{0,{length // 2}}}(?!\S)|\S.{{0,{length // 2}}}", re.DOTALL)
    return [
        piece
        for start, end in zip([0, *ends], [*ends, len(text)], strict=True)
        for piece in ([(start, end)] if end - start <= length else [m.span() for m in part.finditer(text, start, end)])
    ]
