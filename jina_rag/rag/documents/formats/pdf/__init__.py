"""PDF, read with PDFium: `lines` finds the lines of print, `layout` makes text of them, `view` shows pages."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.rag.documents.formats.pdf.layout import PageText, lay_out
from jina_rag.rag.documents.formats.pdf.lines import read_page
from jina_rag.rag.documents.types import Document, Page, SourceFile

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

_PASSWORD_ERROR = 4  # FPDF_ERR_PASSWORD


def read_pdf(file: SourceFile) -> Document:
    """The text of each page, and a note of the pages that are pictures of text."""
    path = file.path
    with open_pdf(file) as pdf:
        title = pdf.get_metadata_value("Title").strip()
        pages = read_pages(pdf, file)
        scans = [number for number, page in enumerate(pages, start=1) if not page.text and _has_image(pdf, number)]
    if not any(page.text for page in pages):
        raise DocumentError(f"{path} holds no text: it is probably a scan. Run it through OCR and add the result.")
    title = title or next((heading.title for heading in pages[0].headings), path.stem)
    if scans:
        file.notes.append(_scans_note(scans))
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


def _has_image(pdf: "PdfDocument", number: int) -> bool:
    from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE

    page = pdf[number - 1]
    try:
        return next(page.get_objects(filter=[FPDF_PAGEOBJ_IMAGE], max_depth=3), None) is not None
    finally:
        page.close()


def _scans_note(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"Page {numbers[0]} holds no text: it is probably a scan. Run it through OCR to have it found."
    shown = [str(number) for number in numbers[:10]] + [f"{len(numbers) - 10} more"] * (len(numbers) > 10)
    pages = f"{', '.join(shown[:-1])} and {shown[-1]}"
    return f"Pages {pages} hold no text: they are probably scans. Run them through OCR to have them found."
