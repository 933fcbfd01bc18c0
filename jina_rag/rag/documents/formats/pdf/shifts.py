"""Superscripts and subscripts, known by the size and place of their glyphs: 10^6, H_2O, e^(x+1), 1998^3."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pypdfium2 import PdfTextPage

_SMALL = 0.85
"""How high the box of a shifted glyph is, at most, beside that of the glyph that it belongs to."""
_RAISED, _LOWERED = 0.1, -0.05
"""How far its base line is from that one's, at least, in heights of that one."""
_LEADING = "^ "
"""The mark of what is raised before what it belongs to, as a footnote's number before its text."""
_MAX_ANGLE = 0.01  # in radians: text on its side has other boxes


class _Glyph(NamedTuple):
    height: float
    base_line: float


def write_shifts(text_page: "PdfTextPage", text: str, characters: Sequence[int]) -> tuple[str, list[int]]:
    """The characters of a line, with marks before those that are raised or lowered; -1 stands for a mark."""
    from pypdfium2.raw import FPDFText_GetCharAngle

    marks: list[str] = [""] * len(characters)
    # A rectangle is all that was set at once, in one size.
    n_rectangles = text_page.count_rects(characters[0], characters[-1] + 1 - characters[0])
    if n_rectangles > 1 and FPDFText_GetCharAngle(text_page, characters[0]) < _MAX_ANGLE:
        for first, end in _words(text, characters):
            if _may_have_shifts(text_page, text, characters[first:end]):
                marks[first:end] = _marks(text_page, characters[first:end])
    if not any(marks):
        return "".join(map(text.__getitem__, characters)), [*characters]
    written, numbers = "", []
    for mark, run in groupby(zip(marks, characters, strict=True), key=lambda pair: pair[0]):
        run_numbers = [number for _, number in run]
        run_text = "".join(map(text.__getitem__, run_numbers))
        before, after = mark, ""
        if mark == _LEADING:
            before, after = "", " "
        elif mark and not run_text.isalnum():
            before, after = (f"{mark}(", ")") if any(map(str.isalnum, run_text)) else ("", "")
        written += before + run_text + after
        numbers += [-1] * len(before) + run_numbers + [-1] * len(after)
    return written, numbers


def _words(text: str, characters: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The stretches between blanks, where more than one character long."""
    for is_blank, group in groupby(range(len(characters)), key=lambda place: text[characters[place]].isspace()):
        places = [*group]
        if not is_blank and len(places) > 1:
            yield places[0], places[-1] + 1


def _may_have_shifts(text_page: "PdfTextPage", text: str, word: Sequence[int]) -> bool:
    """Whether it is worth to examine each glyph: a word of letters or digits alone is of one size if its ends are."""
    letters = "".join(map(text.__getitem__, word))
    if letters.isalpha() or letters.isdecimal():
        return _height(text_page, word[-1]) < _SMALL * _height(text_page, word[0])
    return any(map(str.isalnum, letters[1:]))


def _marks(text_page: "PdfTextPage", word: Sequence[int]) -> Iterator[str]:
    """For each character "^" if it is raised above the one before that isn't, "_" if lowered, else nothing."""
    glyphs = [_glyph(text_page, number) for number in word]
    following = next((glyph for glyph in glyphs if _shift(glyphs[0], glyph) > 0), None)
    base = following or glyphs[0]
    for glyph in glyphs:
        shift = _shift(glyph, base)
        if not shift:
            base, following = glyph, None
        yield _LEADING if shift and following else ("", "^", "_")[shift]


def _shift(glyph: _Glyph, base: _Glyph) -> int:
    """1 if a glyph is raised beside another, -1 if lowered, else 0."""
    if not base.height or glyph.height >= _SMALL * base.height:
        return 0
    shift = (glyph.base_line - base.base_line) / base.height
    return (shift >= _RAISED) - (shift <= _LOWERED)


def _glyph(text_page: "PdfTextPage", number: int) -> _Glyph:
    from ctypes import byref, c_double

    from pypdfium2.raw import FPDFText_GetCharOrigin

    x, y = c_double(), c_double()
    FPDFText_GetCharOrigin(text_page, number, byref(x), byref(y))
    return _Glyph(_height(text_page, number), y.value)


def _height(text_page: "PdfTextPage", number: int) -> float:
    _, bottom, _, top = map(float, text_page.get_charbox(number, loose=True))
    return top - bottom
