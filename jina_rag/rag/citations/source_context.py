"""A passage in its source: its lines on the page of a PDF, a picture of that page, and the text around it."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from jina_rag.errors import DocumentError
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.documents import ReadLimits, read_document
from jina_rag.rag.documents.headings import find_headings, heading_path
from jina_rag.rag.documents.reading import read_file
from jina_rag.rag.documents.sandbox import run_job
from jina_rag.rag.documents.scans import scan_page
from jina_rag.rag.documents.types import FileContent


class Box(NamedTuple):
    """A rectangle on a page, in shares of its width and height from 0 to 1, counted from the upper left corner."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class SourceContext:
    """A passage and the text around it on its page.

    Attributes:
        before: The text before it.
        text: The passage.
        after: The text after it.
        heading: The headings above the place that was asked for, as `Chunk.heading`.
        is_markdown: As `Document.is_markdown`.
    """

    before: str
    text: str
    after: str
    heading: str | None = None
    is_markdown: bool = False


def passage_boxes(
    path: Path | str, page_number: int, spans: Sequence[tuple[int, int]], text: str | None = None
) -> list[list[Box]]:
    """Where spans of text are on a page of a PDF or picture as it is shown: for each span one box a line.

    Pages that OCR has to read take seconds, if they were not read lately.

    Args:
        path: The PDF or picture.
        page_number: Counted from 1, as `Chunk.page`.
        spans: Where each begins and ends in the text of the page, as `Chunk.start` and `Chunk.end`.
        text: The text of the first span, such as `Chunk.text`; if given, it is compared with what is there now.

    Raises:
        DocumentError: the file is gone, can't be read, or no longer has the text in this place.
        MissingDependencyError: the package that reads PDF is not installed.
    """
    file = read_file(path)
    limits = ReadLimits()
    found = run_job("passage_boxes", file.path, file.data, limits, page=page_number, spans=list(spans), text=text)
    if found is None:
        found = _scanned_boxes(file, page_number, spans, text)
    return [[Box(*box) for box in boxes] for boxes in found]


def _scanned_boxes(
    file: FileContent, page_number: int, spans: Sequence[tuple[int, int]], text: str | None
) -> list[list[tuple[float, float, float, float]]]:
    scan = scan_page(file, page_number, ReadLimits())
    texts = [scan.page.text[start:end] for start, end in spans] if scan else [""]
    if not scan or not all(texts) or (text is not None and texts[:1] != [text]):
        raise DocumentError(f"{file.path} has changed since it was indexed. Add it again, then ask again.")
    return [scan.line_boxes(start, end) for start, end in spans]


def page_image(
    path: Path | str, page_number: int, boxes: Iterable[Box] = (), *, cited: Iterable[Box] = (), width: int = 1000
) -> bytes:
    """A page of a PDF or picture as PNG, with boxes laid over it like a yellow marker.

    Args:
        path: The PDF or picture.
        page_number: Counted from 1.
        boxes: What is marked lightly, such as a passage.
        cited: What is marked strongly, such as a sentence of it.
        width: Of the picture, in pixels.

    Raises:
        DocumentError: the file is gone, can't be read, or no longer has this page.
        MissingDependencyError: pypdfium2 or Pillow is not installed.
    """
    file = read_file(path)
    marks = {"boxes": [list(box) for box in boxes], "cited": [list(box) for box in cited]}
    arguments = {"page": page_number, "width": width, **marks}
    return base64.b64decode(run_job("page_image", file.path, file.data, ReadLimits(), **arguments))


def read_source_context(chunk: Chunk, *, margin: int = 1500, place: int = 0) -> SourceContext:
    """The passage with up to `margin` characters before and after it, from the document as it is now.

    Args:
        chunk: The passage.
        margin: The most characters on each side.
        place: A place in the passage, in characters, whose headings are wanted.

    Raises:
        DocumentError: the file is gone, can't be read, or no longer has the passage in this place.
        MissingDependencyError: the package that reads this kind is not installed.
    """
    document = read_document(chunk.source, scans=(chunk.page or 1,))
    pages = document.pages
    index = (chunk.page or 1) - 1
    text = pages[index].text if index < len(pages) else ""
    if text[chunk.start : chunk.end] != chunk.text:
        raise DocumentError(f"{chunk.source} has changed since it was indexed. Add it again, then ask again.")
    before, after = text[: chunk.start], text[chunk.end :]
    heading = heading_path(find_headings(text), chunk.start + place) if document.is_markdown else chunk.heading
    before = before[-margin:] if margin else ""
    return SourceContext(before, chunk.text, after[:margin], heading, document.is_markdown)
