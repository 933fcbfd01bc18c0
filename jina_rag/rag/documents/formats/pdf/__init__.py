"""PDF, read with PDFium: `lines` finds the lines of print, `layout` makes text of them, `view` shows pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.rag.documents.formats.pdf.layout import PageText, lay_out
from jina_rag.rag.documents.formats.pdf.lines import read_page
from jina_rag.rag.documents.ocr import is_installed as has_ocr
from jina_rag.rag.documents.types import Document, Page, SourceFile, name_pages

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfObject

_PASSWORD_ERROR = 4  # FPDF_ERR_PASSWORD
_MAX_SCAN_CHARACTERS = 200
_MIN_SCAN_SHARE = 0.5
"""A scan may have a line of text that a library has put on it; what else has so little text is no picture of half a
page."""
_MIN_SHAPES = 100
"""Letters may have been made shapes; a page without text that has so many holds more than a few rules."""
_NO_OCR = "To have it read, install OCR with: pip install 'jina-rag[ocr]'. Then add it again."


def read_pdf(file: SourceFile) -> Document:
    """The text of each page; pages that are pictures of text are left to OCR."""
    path = file.path
    with open_pdf(file) as pdf:
        title = pdf.get_metadata_value("Title").strip()
        pages = read_pages(pdf, file)
        scans = [number for number, page in enumerate(pages, start=1) if is_scan(pdf, number, page)]
    if has_ocr():
        file.scans.extend(scans)
    elif not any(page.text for page in pages):
        raise MissingDependencyError(f"{path} holds no text: it is probably a scan. {_NO_OCR}")
    elif scans:
        file.notes.append(f"No text, or hardly any, is on {name_pages(scans)}: probably a scan. {_NO_OCR}")
    title = title or next((heading.title for heading in pages[0].headings), path.stem)
    return Document(
        str(path), title, tuple(Page(number, page.text, page.headings) for number, page in enumerate(pages, start=1))
    )


@contextmanager
def open_pdf(file: SourceFile) -> "Iterator[PdfDocument]":
    """PDFium's view of a file.

    Raises:
        DocumentError: it is encrypted or damaged.
        MissingDependencyError: pypdfium2 is not installed.
    """
    try:
        from pypdfium2 import PdfDocument, PdfiumError
    except ImportError as error:
        raise MissingDependencyError.for_extra("pypdfium2", "rag") from error

    try:
        pdf = PdfDocument(file.data)
        try:
            yield pdf
        finally:
            pdf.close()
    except PdfiumError as error:
        if error.err_code == _PASSWORD_ERROR:
            raise DocumentError(f"{file.path} is encrypted. Save a copy without a password and add that.") from error
        raise DocumentError(f"{file.path} is damaged ({error}). Save it again from where it came.") from error


def read_pages(pdf: "PdfDocument", file: SourceFile) -> list[PageText]:
    """The text of every page, as far as `file.max_characters` goes."""
    pages = (read_page(pdf, index) for index in range(len(pdf)))
    return lay_out(list(file.up_to_limit(pages, lambda page: sum(len(line.text) for line in page.lines))))


def is_scan(pdf: "PdfDocument", number: int, page: PageText) -> bool:
    """Whether a page without text shows something, or one with little text is a picture for the most part."""
    if len(page.text) > _MAX_SCAN_CHARACTERS:
        return False
    from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE, FPDF_PAGEOBJ_PATH

    pdf_page = pdf[number - 1]
    try:
        if page.text:
            least = pdf_page.get_width() * pdf_page.get_height() * _MIN_SCAN_SHARE
            images = pdf_page.get_objects(filter=[FPDF_PAGEOBJ_IMAGE], max_depth=3)
            return any(_area(image) >= least for image in images)
        found = [shown.type for shown in islice(pdf_page.get_objects(max_depth=3), _MIN_SHAPES)]
        return FPDF_PAGEOBJ_IMAGE in found or found.count(FPDF_PAGEOBJ_PATH) == _MIN_SHAPES
    finally:
        pdf_page.close()


def _area(shown: "PdfObject") -> float:
    left, bottom, right, top = shown.get_bounds()
    return (right - left) * (top - bottom)
