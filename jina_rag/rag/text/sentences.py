"""Sentences of plain text and Markdown, and where they are."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Literal, NamedTuple, TypeAlias

from jina_rag.errors import MissingDependencyError

_EACH_LINE = re.compile("^.*$", re.MULTILINE)
_SENTENCE_END = re.compile(r"[.!?…。！？؟۔।][\"'”’»)\]*_]*$")
_CELL_END = re.compile(r"(?<!\\)\|")

_SentenceKind: TypeAlias = Literal["sentence", "row", "header", "heading"]
_Kind: TypeAlias = Literal["blank", "rule", "underline", "heading", "header", "row", "item", "number", "prose"]
_KINDS: dict[_Kind, re.Pattern[str]] = {
    "blank": re.compile(r"\s*$"),
    "rule": re.compile(r"\|?[ \t]*+:?-++:?[ \t]*+(?:\|[ \t]*+:?-*+:?[ \t]*+)+$"),  # below a table's header
    "underline": re.compile(r"(?:-{3,}|={3,}|\*{3,}|_{3,})[ \t]*$"),
    "heading": re.compile(r"#{1,6}(?:[ \t]+|$)"),
    "row": re.compile(r"(?=\|)"),
    "item": re.compile(r"[-*+•>][ \t]+"),
    "number": re.compile(r"(?:\d{1,2}[.)]){1,6}[ \t]+"),  # a longer number is a year, wrapped onto this line
}
"""How lines begin behind white space; what is none of these is prose."""


@dataclass(frozen=True)
class Sentence:
    """A sentence, an item of a list, a row of a table, or a heading.

    Attributes:
        start: Where it begins, in characters, behind the mark of an item or heading.
        end: Where it ends.
        text: It, on one line; a row as its cells, each behind the name of its column: "Ticket: Adult; Price: £9".
        kind: "heading" is one of Markdown, or a line of prose without the mark that ends a sentence, in a text that has
            sentences, which may have a number unless other numbers are above and below it; "header" names the columns
            of a table.
    """

    start: int
    end: int
    text: str
    kind: _SentenceKind


def find_sentences(text: str) -> list[Sentence]:
    """The sentences and headings of a text, in order; those without a letter or digit are left out.

    Raises:
        MissingDependencyError: the package sentencex is not installed.
    """
    blocks = _with_numbered_headings(list(_blocks(text)), text)
    found = [(sentence, block) for block in blocks for sentence in _sentences_of(block, text)]
    if any(sentence.kind in ("sentence", "row") for sentence, _ in found):
        return [sentence for sentence, _ in found]
    return [replace(sentence, kind="sentence") if block.kind == "prose" else sentence for sentence, block in found]


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Where the sentences and headings of a text are: (start, end) in characters. Raises as `find_sentences` does."""
    return [(sentence.start, sentence.end) for sentence in find_sentences(text)]


class _Block(NamedTuple):
    """A paragraph, an item, a row with the names of its columns, or a heading."""

    kind: _Kind
    start: int
    end: int
    columns: Sequence[str] = ()


def _blocks(text: str) -> Iterator[_Block]:
    block: _Block | None = None
    columns: Sequence[str] | None = None  # of the table at hand
    for line in _EACH_LINE.finditer(text):
        kind, indent = _kind_of(line[0])
        if kind == "prose" and columns is not None:
            kind = "row"
        if block and kind == "prose" and block.kind in ("prose", "item", "number"):
            block = block._replace(end=line.end())
            continue
        if block:
            yield block._replace(kind=_kind_above(kind, block, text))
        if kind == "rule":
            columns = _cells(text[block.start : block.end]) if block else ()
        elif kind != "row":
            columns = None
        has_text = kind not in ("blank", "rule", "underline")
        block = _Block(kind, line.start() + indent, line.end(), columns or ()) if has_text else None
    if block:
        yield block


def _with_numbered_headings(blocks: Sequence[_Block], text: str) -> Iterator[_Block]:
    """Blocks, where a numbered line alone above a paragraph is taken for what it would be without the number."""
    for before, block, behind in zip((None, *blocks), blocks, (*blocks[1:], None), strict=False):
        is_alone = behind is not None and behind.kind == "prose" and text.count("\n", block.end, behind.start) > 1
        is_item = block.kind != "number" or not is_alone or (before is not None and before.kind == "number")
        yield block if is_item else block._replace(kind="prose")


def _kind_of(line: str) -> tuple[_Kind, int]:
    """What a line is, and where its text begins."""
    indent = len(line) - len(line.lstrip(" \t"))
    for kind, begin in _KINDS.items():
        if match := begin.match(line, indent):
            return kind, match.end()
    return "prose", indent


def _kind_above(kind: _Kind, block: _Block, text: str) -> _Kind:
    """What a block is that a line of some kind comes after."""
    if kind == "underline" and block.kind == "prose" and "\n" not in text[block.start : block.end]:
        return "heading"
    return "header" if kind == "rule" else block.kind


def _sentences_of(block: _Block, text: str) -> Iterator[Sentence]:
    content = text[block.start : block.end]
    is_row = block.kind in ("row", "header")
    place = block.start
    for piece in [content] if is_row else _segments(content):
        line = _named_cells(piece, block.columns) if is_row else " ".join(piece.split())
        start, end = place + len(piece) - len(piece.lstrip()), place + len(piece.rstrip())
        if any(map(str.isalnum, line)):
            yield Sentence(start, end, line, _kind_of_sentence(block.kind, line))
        place += len(piece)


def _segments(text: str) -> Iterator[str]:
    try:
        from sentencex import segment  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingDependencyError.for_extra("sentencex", "rag") from error

    # It knows the marks that end a sentence in all scripts; the language only says which abbreviations don't.
    yield from segment("en", text.replace("\n", " "))


def _kind_of_sentence(kind: _Kind, line: str) -> _SentenceKind:
    if kind == "row" or kind == "header" or kind == "heading":
        return kind
    return "heading" if kind == "prose" and not _SENTENCE_END.search(line) else "sentence"


def _named_cells(row: str, columns: Sequence[str]) -> str:
    named = zip_longest(columns, _cells(row), fillvalue="")
    return "; ".join(f"{name}: {cell}" if name else cell for name, cell in named if cell)


def _cells(row: str) -> list[str]:
    cells = _CELL_END.split(row.strip().removeprefix("|").removesuffix("|"))
    return [" ".join(cell.replace("\\|", "|").split()) for cell in cells]
