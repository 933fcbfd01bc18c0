"""What every reader takes and gives: the content of a file, and a document of pages."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from jina_rag.rag.documents.headings import Heading

T = TypeVar("T")

MAX_METADATA = 32
MAX_METADATA_KEY = 100
MAX_METADATA_VALUE = 500


@dataclass(frozen=True)
class Page:
    """A part of a document that is cited by its number.

    Attributes:
        number: Counted from 1; None where the document has no pages.
        text: Its text, lines ended by a line feed.
        headings: Where the page's headings are in its text, for pages whose text is not Markdown; they hold for the
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
        notes: What people should know about the reading, in whole sentences: pages without text, text left out.
        metadata: What the file says about itself: "author", "created" and "modified" (ISO 8601), and what stands in a
            front matter. At most `MAX_METADATA` entries are kept, with `MAX_METADATA_KEY` and `MAX_METADATA_VALUE`
            characters.
    """

    source: str
    title: str
    pages: tuple[Page, ...]
    is_markdown: bool = False
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FileContent:
    """A file's bytes, all of one moment.

    Attributes:
        path: The file, absolute, links followed.
        data: What is in it.
        mtime_ns: When it was changed last, in nanoseconds.
    """

    path: Path
    data: bytes
    mtime_ns: int

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the bytes, in hexadecimal digits."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass
class SourceFile:
    """A file's content on its way through a reader.

    Attributes:
        path: For names and messages; readers open nothing.
        data: The content.
        max_characters: How much text is kept.
        notes: What people should know about the reading; the reader adds to them.
        scans: The numbers of the pages that OCR is to read; the reader adds to them.
        n_characters: How much text `up_to_limit` has let through.
    """

    path: Path
    data: bytes
    max_characters: int
    notes: list[str] = field(default_factory=list)
    scans: list[int] = field(default_factory=list)
    n_characters: int = 0

    def up_to_limit(self, items: Iterable[T], count: Callable[[T], int]) -> Iterator[T]:
        """Items up to the one with which the text is longer than `max_characters`, for text that outgrows its file.

        Args:
            items: Stretches of text, or what has text.
            count: How many characters an item has.
        """
        for item in items:
            if self.n_characters > self.max_characters:
                return
            yield item
            self.n_characters += count(item)

    def note_left_out(self, left_out: Mapping[str, int]) -> None:
        """Add a note on what was left out: how many things of each kind, by what it is called there."""
        if counts := ", ".join(f"{name} ({n:,})" for name, n in sorted(left_out.items()) if n > 0):
            self.notes.append(f"Left out: {counts}.")


Reader = Callable[[SourceFile], Document]
"""Turns the content of a file into a document."""


def name_pages(numbers: Sequence[int]) -> str:
    """How pages are named in a sentence: "page 2", "pages 2 and 4", "pages 1, 2, ... and 30 more"."""
    shown = [str(number) for number in numbers[:10]] + [f"{len(numbers) - 10:,} more"] * (len(numbers) > 10)
    return f"pages {', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else f"page {shown[0]}"


def line_feeds(text: str) -> str:
    """`text` with every line ended by a line feed alone."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
