"""PDF, read with PDFium: `lines` finds the lines of print, `layout` makes text of them, `view` shows pages."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.formatting import counted
from jina_rag.rag.documents.formats.pdf.extras import bookmarks, new_bookmarks
from jina_rag.rag.documents.formats.pdf.layout import PageText, lay_out
from jina_rag.rag.documents.formats.pdf.lines import PrintedPage, read_page
from jina_rag.rag.documents.ocr import is_installed as has_ocr
from jina_rag.rag.documents.types import Document, Page, SourceFile, name_pages

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

_METADATA = {
    **{"Title": "title", "Author": "author", "Subject": "subject", "Keywords": "keywords"},
    **{"CreationDate": "created", "ModDate": "modified"},
}
_DATE = re.compile(r"(?:D:)?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?")
_TITLE_PAGES = 3
_MAX_NAMED = 10
_PASSWORD_ERROR = 4  # FPDF_ERR_PASSWORD
_NO_OCR = "To have it read, install OCR with: pip install 'jina-rag[ocr]'. Then add it again."


def read_pdf(file: SourceFile) -> Document:
    """The text of each page; pages that are pictures of text are left to OCR."""
    path = file.path
    with open_pdf(file) as pdf:
        pages = read_pages(pdf, file)
        metadata = {key: value for name, key in _METADATA.items() if (value := pdf.get_metadata_value(name).strip())}
        file.notes.extend(_omissions(pdf))
    scans = [number for number, page in enumerate(pages, start=1) if page.is_scan]
    if has_ocr():
        file.scans.extend(scans)
    elif not any(page.text for page in pages):
        raise MissingDependencyError(f"{path} holds no text: it is probably a scan. {_NO_OCR}")
    elif scans:
        file.notes.append(f"No text, or hardly any, is on {name_pages(scans)}: probably a scan. {_NO_OCR}")
    title = metadata.get("title", "")
    if not _is_title(title, pages):
        title = next((heading.title for heading in pages[0].headings), path.stem)
    if title == metadata.get("title"):
        del metadata["title"]
    metadata = {key: _iso_date(value) if key in ("created", "modified") else value for key, value in metadata.items()}
    return Document(
        str(path),
        title,
        tuple(Page(number, page.text, page.headings) for number, page in enumerate(pages, start=1)),
        metadata=metadata,
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
            pdf.init_forms()
            yield pdf
        finally:
            pdf.close()
    except PdfiumError as error:
        if error.err_code == _PASSWORD_ERROR:
            raise DocumentError(f"{file.path} is encrypted. Save a copy without a password and add that.") from error
        raise DocumentError(f"{file.path} is damaged ({error}). Save it again from where it came.") from error


def read_pages(pdf: "PdfDocument", file: SourceFile) -> list[PageText]:
    """The text of every page, as far as `file.max_characters` goes, and notes of what is special about some."""
    from pypdfium2 import PdfiumError

    damaged: list[int] = []

    def read(index: int) -> PrintedPage:
        try:
            return read_page(pdf, index)
        except PdfiumError:
            if index + 1 == len(pdf) == len(damaged) + 1:
                raise  # not one page can be read
            damaged.append(index + 1)
            return PrintedPage([], 0.0)

    pages = list(file.up_to_limit(map(read, range(len(pdf))), lambda page: page.n_characters))
    titles = bookmarks(pdf)
    texts = [
        content.with_extras([*page.extras, *new_bookmarks(titles.get(index, ()), content.text)], is_scan=page.is_scan)
        for index, (page, content) in enumerate(zip(pages, lay_out(pages), strict=True))
    ]
    if damaged:
        file.notes.append(f"What is on {name_pages(damaged)} could not be read, because the file is damaged.")
    file.notes.extend(_page_notes(pages))
    return texts


def _page_notes(pages: Sequence[PrintedPage]) -> Iterator[str]:
    def naming(condition: Callable[[PrintedPage], bool]) -> str:
        numbers = [number for number, page in enumerate(pages, start=1) if condition(page)]
        return name_pages(numbers) if numbers else ""

    if invisible := naming(lambda page: page.has_invisible_text):
        yield f"Text that is not shown on {invisible} was read: it was put under a scan by OCR, or hidden."
    if layered := naming(lambda page: page.has_layers):
        yield f"The layers of {layered} were all read, including those that are not shown."
    if pictured := naming(lambda page: page.has_picture and not page.is_scan):
        yield f"Pictures beside the text of {pictured} were not read."
    if stamped := naming(lambda page: page.has_unread_stamps):
        yield f"The text of stamps or drawings on {stamped} was not read."


def _omissions(pdf: "PdfDocument") -> Iterator[str]:
    """Notes of what a PDF holds beside its pages."""
    from pypdfium2.raw import FORMTYPE_XFA_FOREGROUND, FORMTYPE_XFA_FULL

    if n_attachments := pdf.count_attachments():
        names = [pdf.get_attachment(index).get_name() for index in range(min(n_attachments, _MAX_NAMED))]
        more = f" and {n_attachments - _MAX_NAMED:,} more" if n_attachments > _MAX_NAMED else ""
        files = f"{counted(n_attachments, 'attached file')} {'was' if n_attachments == 1 else 'were'}"
        yield f"{files} not read: {', '.join(names)}{more}."
    if pdf.get_formtype() in (FORMTYPE_XFA_FULL, FORMTYPE_XFA_FOREGROUND):
        yield "The form is in Adobe's XFA format, of which only the printed pages were read."


def _is_title(title: str, pages: Sequence[PageText]) -> bool:
    """Whether the title is one: half its words or more are in the text, unless all pages are pictures.

    Else it is what some program put there: the name of a temporary file, or "untitled".
    """
    words = re.findall(r"\w+", title.casefold())
    text = " ".join(page.text for page in pages[:_TITLE_PAGES]).casefold()
    return bool(words) and (not text or 2 * sum(word in text for word in words) >= len(words))


def _iso_date(date: str) -> str:
    """D:20240131120000+01'00' as ISO 8601, without the zone as other formats give it; what is no date as it is."""
    found = _DATE.match(date)
    if not found:
        return date
    *day, hour, minute, second = found.groups()
    time = f"T{hour}:{minute or '00'}:{second or '00'}" if hour else ""
    return "-".join(filter(None, day)) + time
