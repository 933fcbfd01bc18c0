"""Pages of PDF files and pictures as they are shown: drawn, read by OCR, and where passages are on them."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jina_rag.errors import DocumentError
from jina_rag.rag.documents.formats.pdf import open_pdf, read_pages
from jina_rag.rag.documents.formats.pdf.extras import bookmarks, new_bookmarks
from jina_rag.rag.documents.formats.pdf.lines import read_page
from jina_rag.rag.documents.formats.pdf.view import draw_page, mark, places_of
from jina_rag.rag.documents.formats.pictures import PICTURE_KINDS, draw_picture
from jina_rag.rag.documents.ocr import MAX_SIDE
from jina_rag.rag.documents.types import SourceFile

if TYPE_CHECKING:
    from PIL.Image import Image
    from pypdfium2 import PdfDocument

_MAX_PIXELS = 4_000
"""Very long pages are drawn narrower: a picture of unbounded height would fill the memory."""


def passage_boxes(file: SourceFile, page: int, spans: list[list[int]], text: str | None) -> list[Any] | None:
    """Where spans of a page's text are, a box for each line; None if OCR has to say it."""
    if _is_picture(file):
        return None
    with _page_of(file, page) as pdf:
        pages = read_pages(pdf, file)
        found = pages[page - 1] if page <= len(pages) else None
        texts = [found.text[start:end] for start, end in spans] if found else [""]
        if found and all(texts) and (text is None or texts[:1] == [text]):
            return [places_of(pdf, page, found.characters[start:end], found.boxes) for start, end in spans]
        if found and found.is_scan:
            return None
        raise changed(file.path)


def page_image(file: SourceFile, page: int, boxes: list[list[float]], cited: list[list[float]], width: int) -> str:
    """A page as PNG in base 64, `width` pixels wide, the boxes marked on it."""
    png = io.BytesIO()
    mark(_draw(file, page, width, _MAX_PIXELS), boxes, cited).save(png, "PNG")
    return base64.b64encode(png.getvalue()).decode()


def scan(file: SourceFile, page: int) -> dict[str, Any] | None:
    """What OCR reads on a page; None if the page has a text layer that says no less."""
    from jina_rag.rag.documents.formats.pdf.scan import read_scan

    found = read_scan(_draw(file, page, MAX_SIDE, MAX_SIDE))
    content = found.content
    if not _is_picture(file):
        with _page_of(file, page) as pdf:
            layer = read_page(pdf, page - 1)
            titles = bookmarks(pdf).get(page - 1, ())
        if 0 < len(content.text) <= layer.n_characters:
            return None
        content = content.with_extras([*layer.extras, *new_bookmarks(titles, content.text)])
    nowhere = (-1.0,) * 4
    boxes = [nowhere, *(box or nowhere for box in content.boxes)]
    return {
        "text": content.text,
        "headings": content.headings,
        "boxes": [
            round(share, 4)
            for character in content.characters
            for share in (found.places[character] if character >= 0 else boxes[-1 - character])
        ],
        "n_unclear": found.n_unclear,
        "is_turned": found.quarter_turns > 0,
    }


def changed(path: Path) -> DocumentError:
    """The error for a page that is no longer what it was."""
    return DocumentError(f"{path} has changed since it was indexed. Add it again, then ask again.")


def _is_picture(file: SourceFile) -> bool:
    return file.path.suffix.lower() in PICTURE_KINDS


def _draw(file: SourceFile, page: int, max_width: int, max_height: int) -> "Image":
    if _is_picture(file):
        image = draw_picture(file, page, max_width, max_height)
        if image is None:
            raise changed(file.path)
        return image
    with _page_of(file, page) as pdf:
        return draw_page(pdf, page, max_width, max_height)


@contextmanager
def _page_of(file: SourceFile, page: int) -> "Iterator[PdfDocument]":
    """The PDF in a file, if it has such a page."""
    with open_pdf(file) as pdf:
        if not 1 <= page <= len(pdf):
            raise changed(file.path)
        yield pdf
