"""The headings of a Markdown text, and which of them stand above a place in it."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markdown_it import MarkdownIt

_BLOCKS = MarkdownIt("commonmark").disable(["inline"])
"""Finds what has lines of its own; what stands within lines takes most of the time, and is wanted of headings only."""
_INLINE = MarkdownIt("commonmark")
_MAX_MARKUP = 1000
"""Of a longer heading only the beginning is read: to find emphasis can take time by the square of the length."""

_MAX_TITLE = 200  # characters; every chunk below the heading carries it

_LINE_END = re.compile(r"\r\n|\r|\n")
FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?:.*\n)*?---[ \t]*(?:\n|\Z)")
"""Settings between dashes at the top, as static site generators read them; CommonMark would see a heading there."""


@dataclass(frozen=True)
class Heading:
    """A heading.

    Attributes:
        level: 1 for a title, up to 6.
        title: Its text, without markup.
        start: Where its line begins, in characters.
        end: Where its last line ends, the line's end included.
    """

    level: int
    title: str
    start: int
    end: int


def find_headings(text: str) -> list[Heading]:
    """All headings of a CommonMark text in order; those in code are none, and those in lists and quotes count."""
    front_matter = FRONT_MATTER.match(text)
    skipped = front_matter.end() if front_matter else 0
    body = text[skipped:]
    line_starts = [skipped, *(skipped + line_end.end() for line_end in _LINE_END.finditer(body)), len(text)]
    tokens = _BLOCKS.parse(body)
    return [
        Heading(
            level=int(opening.tag[1:]),
            title=_plain(content.content),
            start=line_starts[opening.map[0]],
            end=line_starts[min(opening.map[1], len(line_starts) - 1)],
        )
        for opening, content in pairwise(tokens)
        if opening.type == "heading_open" and opening.map
    ]


def _plain(markup: str) -> str:
    """What a heading says, without its markup."""
    (token,) = _INLINE.parseInline(markup[:_MAX_MARKUP])
    return " ".join("".join(child.content or " " for child in token.children or ()).split())[:_MAX_TITLE]


def first_heading(text: str) -> str | None:
    """The title of the first heading of a Markdown text that has one; None without any."""
    return next((heading.title for heading in find_headings(text) if heading.title), None)


def heading_path(headings: Sequence[Heading], position: int, running: Sequence[Heading] = ()) -> str | None:
    """The headings that a place stands under, outermost first, as "Guide > Opening hours"; None above the first.

    `running` are those that were open where the text begins: the page before can have left some.
    """
    above = headings[: bisect_right(headings, position, key=lambda heading: heading.start)]
    return " > ".join(heading.title for heading in open_headings([*running, *above]) if heading.title) or None


def open_headings(headings: Sequence[Heading]) -> list[Heading]:
    """Those that what comes next would stand under, outermost first."""
    path: list[Heading] = []
    for heading in reversed(headings):
        if not path or heading.level < path[-1].level:
            path.append(heading)
            if heading.level == 1:
                break
    return path[::-1]
