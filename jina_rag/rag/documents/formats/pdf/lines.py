"""The lines of print on a PDF's page, with the place and size of their letters.

PDFium gives a page's characters in order, with a line break wherever a line of print ends.
"""

import re
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from ctypes import byref, c_float, c_ulong, c_ushort, sizeof
from itertools import islice, repeat
from math import hypot
from typing import TYPE_CHECKING, Any, NamedTuple

from jina_rag.rag.documents.formats.pdf.extras import Extra, page_extras
from jina_rag.rag.documents.formats.pdf.shifts import write_shifts

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage, PdfTextPage

_MIN_PICTURE_SHARE = 0.01
"""Of the page: smaller pictures are rules, bullets and logos."""
_MAX_SCAN_CHARACTERS = 200
_MIN_SCAN_SHARE = 0.5
"""A scan may have a line of text that a library has put on it, and fills at least half the page."""
_MIN_SHAPES = 100
"""A page without text that has so many holds more than a few rules."""
_MAX_DEPTH = 3  # of forms in forms
_BROKEN_WORD = "\ufffe"
_SIGNS = ("\0", "\2", _BROKEN_WORD)  # characters without a letter
_UNSEEN = "".join(_SIGNS) + " \t\u00a0"
_LINE_END = re.compile(r"\r\n|\r|\n")


class PrintedPage(NamedTuple):
    """What is on a page.

    Attributes:
        lines: The lines that have letters, in order.
        width: How wide the page is, in points.
        is_scan: Whether it is a picture for the most part, which OCR has to read.
        extras: What is there beside its print.
        has_unread_stamps: Whether there are stamps or the like with text that is not among these.
        has_picture: Whether there are pictures, other than rules and small signs.
        has_invisible_text: Whether some of the text is not shown: OCR's text over a scan, or text hidden on purpose.
        has_layers: Whether parts of it can be shown and hidden, which makes no difference here.
    """

    lines: list["Line"]
    width: float
    is_scan: bool = False
    extras: Sequence[Extra] = ()
    has_unread_stamps: bool = False
    has_picture: bool = False
    has_invisible_text: bool = False
    has_layers: bool = False

    @property
    def n_characters(self) -> int:
        """How much print there is."""
        return sum(len(line.text) for line in self.lines)


class Line(NamedTuple):
    """A line of print: its characters, the size of its letters and its place, in points from the page's lower left.

    What is put into the text, as the mark of a superscript is, has -1 for its character; the first is never such.
    """

    text: str
    characters: list[int]
    size: float
    left: float
    right: float
    bottom: float
    breaks_word: bool


def read_page(pdf: "PdfDocument", index: int) -> PrintedPage:
    """The lines of a page, counted from 0."""
    page = pdf[index]
    text_page = page.get_textpage()
    try:
        lines = _lines(text_page)
        share, *hidden = _special(page)
        if lines:
            is_scan = sum(len(line.text) for line in lines) <= _MAX_SCAN_CHARACTERS and share >= _MIN_SCAN_SHARE
        else:
            is_scan = _shows_something(page)
        has_picture = share >= _MIN_PICTURE_SHARE
        return PrintedPage(lines, page.get_width(), is_scan, *page_extras(pdf, page), has_picture, *hidden)
    finally:
        text_page.close()
        page.close()


def _special(page: "PdfPage") -> tuple[float, bool, bool]:
    """How much of the page the largest picture fills, and whether text is invisible or belongs to a layer."""
    from pypdfium2 import raw

    share, is_invisible, has_layers = 0.0, False, False
    page_area = max(page.get_width() * page.get_height(), 1.0)
    for kind, shown in _objects(page):
        if kind == raw.FPDF_PAGEOBJ_IMAGE:
            share = max(share, _area(shown) / page_area)
        elif kind == raw.FPDF_PAGEOBJ_TEXT:
            mode = raw.FPDFTextObj_GetTextRenderMode(shown)
            is_invisible = is_invisible or mode == raw.FPDF_TEXTRENDERMODE_INVISIBLE
            n_marks = 0 if has_layers else raw.FPDFPageObj_CountMarks(shown)
            has_layers = has_layers or any(_mark_name(shown, index) == "OC" for index in range(n_marks))
    return share, is_invisible, has_layers


def _shows_something(page: "PdfPage") -> bool:
    """Whether a page without text has a picture, or as many shapes as letters that were made shapes."""
    from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE, FPDF_PAGEOBJ_PATH

    found = [kind for kind, _ in islice(_objects(page), _MIN_SHAPES)]
    return FPDF_PAGEOBJ_IMAGE in found or found.count(FPDF_PAGEOBJ_PATH) == _MIN_SHAPES


def _objects(page: "PdfPage") -> Iterator[tuple[int, Any]]:
    """The kind of each object on a page and the object, also of those in forms. They may be tens of thousands."""
    from pypdfium2 import raw

    def objects(parent: Any, count: Callable[[Any], int], get: Callable[[Any, int], Any], depth: int) -> Any:  # noqa: ANN401
        for place in range(count(parent)):
            shown = get(parent, place)
            kind = raw.FPDFPageObj_GetType(shown)
            yield kind, shown
            if kind == raw.FPDF_PAGEOBJ_FORM and depth < _MAX_DEPTH:
                yield from objects(shown, raw.FPDFFormObj_CountObjects, raw.FPDFFormObj_GetObject, depth + 1)

    yield from objects(page, raw.FPDFPage_CountObjects, raw.FPDFPage_GetObject, 1)


def _area(shown: Any) -> float:  # noqa: ANN401 - FPDF_PAGEOBJECT
    from pypdfium2.raw import FPDFPageObj_GetBounds

    left, bottom, right, top = (c_float() for _ in range(4))
    FPDFPageObj_GetBounds(shown, byref(left), byref(bottom), byref(right), byref(top))
    return (right.value - left.value) * (top.value - bottom.value)


def _mark_name(shown: Any, index: int) -> str:  # noqa: ANN401 - FPDF_PAGEOBJECT
    from pypdfium2.raw import FPDFPageObj_GetMark, FPDFPageObjMark_GetName

    mark, n_bytes = FPDFPageObj_GetMark(shown, index), c_ulong()
    buffer = (c_ushort * 8)()  # a longer name is none of those that are asked for
    FPDFPageObjMark_GetName(mark, buffer, sizeof(buffer), n_bytes)
    return bytes(buffer)[: n_bytes.value].decode("utf-16-le", "replace").rstrip("\0")


def _lines(text_page: "PdfTextPage") -> list[Line]:
    text = _characters(text_page)
    ends = [line_end.span() for line_end in _LINE_END.finditer(text)]
    lines: list[Line] = []
    start = 0
    for end, next_start in (*ends, (len(text), len(text))):
        content = text[start:end].rstrip(_UNSEEN)
        first = start + len(content) - len(content.lstrip(_UNSEEN))
        characters = [*range(first, start + len(content))]
        if any(unseen in content for unseen in _SIGNS):
            characters = [index for index in characters if text[index] not in _SIGNS]
        if characters:
            lines.append(_line(text_page, text, characters, breaks_word=text.endswith(_BROKEN_WORD, start, end)))
        start = next_start
    return lines


def _characters(text_page: "PdfTextPage") -> str:
    """All characters of a page as PDFium counts them, lines ended by a carriage return and a line feed.

    PDFium's own functions for text leave some out, and count those above U+FFFF twice.
    """
    from pypdfium2.raw import FPDFText_GetUnicode

    codes = array("I", map(FPDFText_GetUnicode, repeat(text_page.raw), range(text_page.count_chars())))
    return codes.tobytes().decode("utf-32-le" if sys.byteorder == "little" else "utf-32-be", "replace")


def _line(text_page: "PdfTextPage", text: str, characters: list[int], *, breaks_word: bool) -> Line:
    left, bottom, _, _ = text_page.get_charbox(characters[0], loose=True)
    _, _, right, _ = text_page.get_charbox(characters[-1], loose=True)
    # Not the first character's size: it may be an initial.
    size = _font_size(text_page, characters[len(characters) // 2])
    line, characters = write_shifts(text_page, text, characters)
    return Line(line, characters, size, left, right, bottom, breaks_word)


def _font_size(text_page: "PdfTextPage", index: int) -> float:
    """The size of a letter as it is printed, in points, to the next half."""
    from pypdfium2.raw import FS_MATRIX, FPDFText_GetFontSize, FPDFText_GetMatrix

    matrix = FS_MATRIX()
    scale = hypot(matrix.c, matrix.d) if FPDFText_GetMatrix(text_page, index, matrix) else 1.0
    size: float = FPDFText_GetFontSize(text_page, index)
    return round(size * scale * 2) / 2
