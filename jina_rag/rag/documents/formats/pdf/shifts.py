"""Superscripts and subscripts, known by the size and place of their glyphs: 10^6, H_2O, e^(x+1), 1998^3."""

import re
from collections.abc import Sequence
from ctypes import byref, c_double
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
_WORD = re.compile(r"\S{2,}")


class _Glyph(NamedTuple):
    height: float
    base_line: float


def write_shifts(text_page: "PdfTextPage", text: str, characters: Sequence[int]) -> tuple[str, list[int]]:
    """The characters of a line, with marks before those that are raised or lowered; -1 stands for a mark."""
    line = "".join(map(text.__getitem__, characters))
    marks = _marks(text_page, line, characters)
    if not any(marks):
        return line, [*characters]
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


def _marks(text_page: "PdfTextPage", line: str, characters: Sequence[int]) -> list[str]:
    """For each character "^" if it is raised above the one before that isn't, "_" if lowered, else nothing."""
    from pypdfium2.raw import FPDFText_GetCharAngle

    marks = [""] * len(line)
    # A rectangle is all that was set at once, in one size.
    n_rectangles = text_page.count_rects(characters[0], characters[-1] + 1 - characters[0])
    if n_rectangles == 1 or FPDFText_GetCharAngle(text_page, characters[0]) >= _MAX_ANGLE:
        return marks
    ruler = _Ruler(text_page)
    words = [word.span() for word in _WORD.finditer(line)]
    heights = [ruler.height(characters[end - 1]) for _, end in words]
    small = _SMALL * max([ruler.height(characters[0]), *heights])
    for (first, end), height in zip(words, heights, strict=True):
        word, numbers = line[first:end], characters[first:end]
        if word.isalpha() or word.isdecimal():  # it is of one size if its ends are
            is_mixed = height < small and height < _SMALL * ruler.height(numbers[0])
        else:
            is_mixed = any(map(str.isalnum, word[1:])) and ruler.is_mixed(numbers)
        if is_mixed:
            marks[first:end] = _marks_of_word([ruler.glyph(number) for number in numbers])
    return marks


def _marks_of_word(glyphs: Sequence[_Glyph]) -> list[str]:
    marks = []
    following = next((glyph for glyph in glyphs if _shift(glyphs[0], glyph) > 0), None)
    base = following or glyphs[0]
    for glyph in glyphs:
        shift = _shift(glyph, base)
        if not shift:
            base, following = glyph, None
        marks.append(_LEADING if shift and following else ("", "^", "_")[shift])
    return marks


def _shift(glyph: _Glyph, base: _Glyph) -> int:
    """1 if a glyph is raised beside another, -1 if lowered, else 0."""
    if not base.height or glyph.height >= _SMALL * base.height:
        return 0
    shift = (glyph.base_line - base.base_line) / base.height
    return (shift >= _RAISED) - (shift <= _LOWERED)


class _Ruler:
    """Measures the glyphs of a page."""

    def __init__(self, text_page: "PdfTextPage") -> None:
        from pypdfium2 import raw

        self._page = text_page.raw
        self._get_box, self._box = raw.FPDFText_GetLooseCharBox, raw.FS_RECTF()
        self._get_origin, self._x, self._y = raw.FPDFText_GetCharOrigin, c_double(), c_double()

    def height(self, number: int) -> float:
        """How high the box of a character is: that of its font, not that of the letter."""
        self._get_box(self._page, number, self._box)
        return float(self._box.top - self._box.bottom)

    def is_mixed(self, numbers: Sequence[int]) -> bool:
        """Whether some characters are much smaller than others."""
        heights = [self.height(number) for number in numbers]
        return min(heights) < _SMALL * max(heights)

    def glyph(self, number: int) -> _Glyph:
        """The size and place of a character."""
        self._get_origin(self._page, number, byref(self._x), byref(self._y))
        return _Glyph(self.height(number), self._y.value)
