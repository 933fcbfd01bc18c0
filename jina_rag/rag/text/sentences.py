"""Sentences of a passage, without the marks of Markdown around them."""

import re
from collections.abc import Iterator

from jina_rag.errors import MissingDependencyError

_ITEM = re.compile(r"[ \t]*(?:[-*+•>]|\d{1,2}[.)])[ \t]+|[ \t]*(?=\|)")
"""The beginning of a line that goes on from none before it: a list item, a quote, a table row.

A longer number that ends a sentence is a year that was wrapped onto this line, not an item's.
"""

_HEADING = re.compile(r"[ \t]*(?:#{1,6}(?:[ \t]|$)|[-*_=]{3,}[ \t]*$)")
_TABLE_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-*:?[ \t]*)+$")
_ENDS = tuple(".!?…。！？؟۔।")
_LONGEST_LABEL = 8  # words


def split_sentences(text: str, *, keep_labels: bool = False) -> list[str]:
    """The sentences of a text in order, each word for word as it stands there but on one line.

    List items and rows of tables count as sentences. Headings and labels, which tell nothing by themselves, do not.

    Args:
        text: Plain text or Markdown.
        keep_labels: Keep short pieces that end without a full stop. In an answer they are no labels.

    Raises:
        MissingDependencyError: the package sentencex is not installed.
    """
    try:
        from sentencex import segment  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingDependencyError.for_extra("sentencex", "rag") from error

    blocks = list(_blocks(text))
    kinds = ["", *(kind for _, kind in blocks), ""]
    return [
        sentence
        for place, (block, kind) in enumerate(blocks, start=1)
        # It knows the marks that end a sentence in all scripts; the language only tells which abbreviations don't.
        for piece in segment("en", block)
        if (sentence := piece.strip())
        and (keep_labels or _is_item(kind, kinds[place - 1], kinds[place + 1]) or not _is_label(sentence))
    ]


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Where the sentences of `split_sentences`, and the labels, stand in a text: (start, end) in characters, in order.

    Raises as `split_sentences` does.
    """
    spans: list[tuple[int, int]] = []
    place = 0
    for sentence in split_sentences(text, keep_labels=True):
        # There it is on one line; here it may be wrapped.
        found = re.compile(r"\s+".join(map(re.escape, sentence.split()))).search(text, place)
        if found:
            spans.append(found.span())
            place = found.end()
    return spans


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Paragraphs, list items and table rows, each on one line, and its kind: "item", "numbered" or none."""
    lines: list[str] = []
    kind = ""
    for line in [*text.split("\n"), ""]:
        item = _ITEM.match(line)
        if not line.strip() or item or _HEADING.match(line) or _TABLE_RULE.match(line):
            # The row above a table's rule names its columns.
            if lines and not _TABLE_RULE.match(line):
                yield " ".join(" ".join(lines).split()), kind
            lines, kind = [], ""
            if item and not _TABLE_RULE.match(line):
                lines, kind = [line[item.end() :]], "numbered" if any(map(str.isdigit, item[0])) else "item"
        else:
            lines.append(line)


def _is_item(kind: str, kind_before: str, kind_after: str) -> bool:
    """Whether a block is an item of a list. A number alone, with none above or below it, counts a heading."""
    return kind == "item" or (kind == "numbered" and "numbered" in (kind_before, kind_after))


def _is_label(piece: str) -> bool:
    """Whether a piece of a paragraph is no sentence: no letters, or short, without a full stop and without a number."""
    if not any(character.isalnum() for character in piece):
        return True
    is_short = len(piece.split()) <= _LONGEST_LABEL and not any(character.isdigit() for character in piece)
    return is_short and not piece.rstrip("\"'”’»)]*_").endswith(_ENDS)
