"""The lines of print on a PDF's page, with the place and size of their letters.

PDFium gives a page's characters in order, with a line break wherever a line of print ends.
"""

import re
import sys
from array import array
from math import hypot
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfTextPage

_BROKEN_WORD = "\ufffe"
_SIGNS = ("\0", "\2", _BROKEN_WORD)  # characters without a letter
_UNSEEN = "".join(_SIGNS) + " \t\u00a0"
_LINE_END = re.compile(r"\r\n|\r|\n")


class PrintedPage(NamedTuple):
    """The lines of a page that have letters, in order, and how wide the page is, in points."""

    lines: list["Line"]
    width: float


class Line(NamedTuple):
    """A line of print: its characters, the size of its letters and its place, in points from the page's lower left."""

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
        return PrintedPage(_lines(text_page), page.get_width())
    finally:
        text_page.close()
        page.close()


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

    codes = array("I", (FPDFText_GetUnicode(text_page.raw, index) for index in range(text_page.count_chars())))
    return codes.tobytes().decode("utf-32-le" if sys.byteorder == "little" else "utf-32-be", "replace")


def _line(text_page: "PdfTextPage", text: str, characters: list[int], *, breaks_word: bool) -> Line:
    left, bottom, _, _ = text_page.get_charbox(characters[0], loose=True)
    _, _, right, _ = text_page.get_charbox(characters[-1], loose=True)
    # Not the first character's size: it may be an initial.
    size = _font_size(text_page, characters[len(characters) // 2])
    line = "".join(map(text.__getitem__, characters))
    return Line(line, characters, size, left, right, bottom, breaks_word)


def _font_size(text_page: "PdfTextPage", index: int) -> float:
    """The size of a letter as it is printed, in points, to the next half."""
    from pypdfium2.raw import FS_MATRIX, FPDFText_GetFontSize, FPDFText_GetMatrix

    matrix = FS_MATRIX()
    scale = hypot(matrix.c, matrix.d) if FPDFText_GetMatrix(text_page, index, matrix) else 1.0
    size: float = FPDFText_GetFontSize(text_page, index)
    return round(size * scale * 2) / 2
