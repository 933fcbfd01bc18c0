"""Files in, text out: which files are documents, and how each kind is read.

A kind of file is a row of `READERS`. A reader keeps what citations need later: page numbers, and headings as Markdown.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.rag.headings import find_headings

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

MAX_DOCUMENT_BYTES = 100 * 2**20
"""Larger files are refused: they are hardly ever text, and would fill the memory."""

_NOT_CONTENT = ("nav", "noscript", "script", "style", "svg", "template")
"""HTML elements whose text is not the page's: menus, and what no reader sees."""

_PDF_PASSWORD_ERROR = 4  # FPDF_ERR_PASSWORD
_PDFIUM_LOCK = threading.Lock()  # PDFium can't be called from two threads, not even on two documents


@dataclass(frozen=True)
class Page:
    """A stretch of text that is cited as one place.

    Attributes:
        number: Counted from 1; None where the document has no pages.
        text: Its text, lines ended by a line feed.
    """

    number: int | None
    text: str


@dataclass(frozen=True)
class Document:
    """A document's text and where it came from.

    Attributes:
        source: Names the document in an index; for a file its absolute path.
        title: What to call it in front of people.
        pages: At least one: the pages of a PDF in order, empty ones included, else a single one without a number.
        is_markdown: Whether headings, lists and code in the text are written as Markdown.
    """

    source: str
    title: str
    pages: tuple[Page, ...]
    is_markdown: bool = False


Reader = Callable[[Path, bytes], Document]
"""Turns the bytes of a file into a document; the path is for names and messages."""


def find_documents(paths: Iterable[Path | str]) -> list[Path]:
    """The documents that `paths` name: files as they are, folders with all that is below them.

    In a folder, hidden files and folders and files of other kinds are passed over. The result is sorted and holds each
    file once, by its absolute path.

    Raises:
        DocumentError: a path doesn't exist, or a file was named whose kind can't be read.
    """
    found: set[Path] = set()
    for path in map(Path, paths):
        if path.is_dir():
            found.update(_documents_below(path))
        elif path.exists():
            _reader(path)
            found.add(path.resolve())
        else:
            raise DocumentError(f"There is no file or folder {path}. Check the spelling.")
    return sorted(found)


def read_document(path: Path | str) -> Document:
    """Read one file.

    Raises:
        DocumentError: the file is missing, too large, damaged, protected, without text or of an unknown kind.
        MissingDependencyError: the package that reads this kind is not installed.
    """
    path = Path(path)
    _check_name(path)
    document = _reader(path)(path.resolve(), _read_bytes(path))
    if not any(page.text.strip() for page in document.pages):
        raise DocumentError(f"{path} has no text. Leave it out.")
    return document


def _documents_below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if not name.startswith(".") and path.suffix.lower() in READERS and path.is_file():
                yield path.resolve()


def _reader(path: Path) -> Reader:
    try:
        return READERS[path.suffix.lower()]
    except KeyError:
        kinds = ", ".join(sorted(READERS))
        raise DocumentError(f"{path} is of a kind that can't be read. Add files of these kinds: {kinds}.") from None


def _check_name(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise DocumentError(
            f"{str(path)!r} is not a name that can be stored, for it is not UTF-8. Rename it."
        ) from error


def _read_bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_DOCUMENT_BYTES:
            raise DocumentError(
                f"{path} has {size / 2**20:,.0f} MB and a document may have {MAX_DOCUMENT_BYTES // 2**20}. Split it."
            )
        return path.read_bytes()
    except OSError as error:
        raise DocumentError(f"{path} can't be read ({error.strerror}). Check that it exists and is yours.") from error


def _read_markdown(path: Path, data: bytes) -> Document:
    text = _decode(path, data)
    return Document(str(path), _first_heading(text) or path.stem, (Page(None, text),), is_markdown=True)


def _read_text(path: Path, data: bytes) -> Document:
    return Document(str(path), path.stem, (Page(None, _decode(path, data)),))


def _read_html(path: Path, data: bytes) -> Document:
    try:
        from bs4 import BeautifulSoup
        from markdownify import ATX, MarkdownConverter
    except ImportError as error:
        raise MissingDependencyError.for_extra("markdownify", "rag") from error

    # UTF-8 is only the first guess: if the bytes are not, the page's own word for its encoding is believed.
    soup = BeautifulSoup(data, "html.parser", from_encoding="utf-8")
    title = " ".join(soup.title.get_text().split()) if soup.title else ""
    for element in soup((*_NOT_CONTENT, "title")):
        element.extract()
    for image in soup("img"):
        image.replace_with(str(image.get("alt", "")))  # its address may be the image itself, in letters
    text = _line_feeds(MarkdownConverter(heading_style=ATX).convert_soup(soup)).strip("\n")
    title = title or _first_heading(text) or path.stem
    return Document(str(path), title, (Page(None, text),), is_markdown=True)


def _read_pdf(path: Path, data: bytes) -> Document:
    try:
        from pypdfium2 import PdfDocument, PdfiumError
    except ImportError as error:
        raise MissingDependencyError.for_extra("pypdfium2", "rag") from error

    with _PDFIUM_LOCK:
        try:
            pdf = PdfDocument(data)
            try:
                title = pdf.get_metadata_value("Title").strip()
                pages = tuple(Page(index + 1, _page_text(pdf, index)) for index in range(len(pdf)))
            finally:
                pdf.close()
        except PdfiumError as error:
            if error.err_code == _PDF_PASSWORD_ERROR:
                raise DocumentError(f"{path} is encrypted. Save a copy without a password and add that.") from error
            raise DocumentError(f"{path} is damaged ({error}). Save it again from where it came.") from error
    if not any(page.text.strip() for page in pages):
        raise DocumentError(f"{path} holds no text: it is probably a scan. Run it through OCR and add the result.")
    return Document(str(path), title or path.stem, pages)


def _page_text(pdf: "PdfDocument", index: int) -> str:
    page = pdf[index]
    text_page = page.get_textpage()
    try:
        # Not get_text_range(), which knows no characters above U+FFFF.
        text: str = text_page.get_text_bounded()
    finally:
        text_page.close()
        page.close()
    # PDFium writes U+FFFE for a hyphen that only broke a word at the end of a line.
    return _line_feeds(text).replace("\ufffe\n", "").replace("\ufffe", "")


def _decode(path: Path, data: bytes) -> str:
    """The text of a file: UTF-8, what its byte order mark says, or what the bytes look like."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = _guess_encoding(path, data)
    if "\0" in text:
        raise DocumentError(f"{path} is not a text file. Give it the ending of what it is, or leave it out.")
    return _line_feeds(text)


def _guess_encoding(path: Path, data: bytes) -> str:
    try:
        from charset_normalizer import from_bytes
    except ImportError as error:
        raise MissingDependencyError.for_extra("charset-normalizer", "rag") from error

    best = from_bytes(data).best()
    if best is None:
        raise DocumentError(f"{path} is not a text file, or in no known encoding. Save it as UTF-8.")
    return str(best)


def _line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _first_heading(text: str) -> str | None:
    headings = find_headings(text)
    return headings[0].title if headings else None


READERS: dict[str, Reader] = {
    ".htm": _read_html,
    ".html": _read_html,
    ".markdown": _read_markdown,
    ".md": _read_markdown,
    ".pdf": _read_pdf,
    ".txt": _read_text,
}
"""How each kind of file is read, by its ending in lower case."""
