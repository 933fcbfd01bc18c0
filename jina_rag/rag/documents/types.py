"""What every reader gives: a document of pages."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jina_rag.rag.documents.headings import Heading


@dataclass(frozen=True)
class Page:
    """A stretch of text that is cited as one place.

    Attributes:
        number: Counted from 1; None where the document has no pages.
        text: Its text, lines ended by a line feed.
        headings: Where the page's headings stand in its text, for pages whose text is not Markdown; they hold for the
            pages after it as well.
    """

    number: int | None
    text: str
    headings: tuple[Heading, ...] = ()


@dataclass(frozen=True)
class Document:
    """A document's text and where it came from.

    Attributes:
        source: Names the document in an index; for a file its absolute path.
        title: What to call it in front of people.
        pages: At least one: the pages of a PDF, the slides of a presentation or the sheets of a workbook, counted from
            1, in order, empty ones included; else a single one without a number.
        is_markdown: Whether headings, lists, tables and code in the text are written as Markdown.
        notes: What people should know about the reading, in whole sentences: pages without text, sheets left out.
    """

    source: str
    title: str
    pages: tuple[Page, ...]
    is_markdown: bool = False
    notes: tuple[str, ...] = ()


Reader = Callable[[Path, bytes], Document]
"""Turns the bytes of a file into a document; the path is for names and messages."""


def line_feeds(text: str) -> str:
    """`text` with every line ended by a line feed alone."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
