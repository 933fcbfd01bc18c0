"""PDF: lines back into paragraphs, headings by their size, running headers left out, and where each letter stands.

PDFium gives a page's characters in order, with a line break wherever a line of print ends. What is made of them here
keeps, for every character of the text, which of PDFium's characters it is, so that a passage can be shown on its page.
"""

import io
import re
import sys
import unicodedata
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import hypot
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.rag.documents.headings import Heading
from jina_rag.rag.documents.types import Document, Page

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage, PdfTextPage

_PASSWORD_ERROR = 4  # FPDF_ERR_PASSWORD
_BROKEN_WORD = "\ufffe"
_SIGNS = ("\0", "\2", _BROKEN_WORD)  # characters without a letter
_UNSEEN = "".join(_SIGNS) + " \t\u00a0"
_LINE_END = re.compile(r"\r\n|\r|\n")
_NUMBER = re.compile(r"\d+")
_ITEM = re.compile(r"[•‣◦▪●○*–—-]\s|\(?(?:\d{1,3}|[A-Za-z])[.)]\s")
"""How an item of a list begins; it has a line of its own."""

_HEADING_RATIO = 1.06
"""How much larger than the body's letters those of a heading are, at least: 13.5 points over 12.5 are one."""
_MAX_HEADING_CHARACTERS = 200
_MAX_HEADING_SHARE = 0.2
"""If more of the text than this is large, the large letters are no headings."""
_MAX_LEVEL = 6

_MIN_PAGES = 3
"""A line that stands on fewer pages in a row, or on every other of them as left and right pages have it, is no running
one: it may be there by chance."""
_MARGIN_GAP = 1.75
"""How far a running line is from the text, at least, in sizes of the letters; lines of one paragraph are 1 to 1.5."""

_PARAGRAPH_GAP = 1.25  # times the usual distance of lines
_MIN_WRAPPED_WIDTH = 0.2
"""Of the page: no line shorter than this ends because it is full."""

_GRID = 2**16
_MAX_PIXELS = 4_000
_MARKER = (255, 247, 204)
_STRONG_MARKER = (255, 214, 64)
_SHARE_ON_TOP = 0.2


@dataclass(frozen=True)
class PageText:
    """What was made of a page.

    Attributes:
        text: Its text.
        headings: Where its headings stand in the text.
        characters: For each character of the text PDFium's number of it; -1 for those that were put in between lines.
    """

    text: str
    headings: tuple[Heading, ...]
    characters: list[int]


class _Line(NamedTuple):
    """A line of print: its characters, the size of its letters and its place, in points from the page's lower left."""

    text: str
    characters: list[int]
    size: float
    left: float
    right: float
    bottom: float
    breaks_word: bool


def read_pdf(path: Path, data: bytes) -> Document:
    """The text of each page, and a note of the pages that are pictures of text."""
    with open_pdf(path, data) as pdf:
        title = " ".join(pdf.get_metadata_value("Title").split())
        pages = read_pages(pdf)
        scans = [number for number, page in enumerate(pages, start=1) if not page.text and _has_image(pdf, number)]
    if not any(page.text for page in pages):
        raise DocumentError(f"{path} holds no text: it is probably a scan. Run it through OCR and add the result.")
    title = title or next((heading.title for heading in pages[0].headings), path.stem)
    return Document(
        str(path),
        title,
        tuple(Page(number, page.text, page.headings) for number, page in enumerate(pages, start=1)),
        notes=(_scans_note(scans),) if scans else (),
    )


@contextmanager
def open_pdf(path: Path, data: bytes) -> "Iterator[PdfDocument]":
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
        pdf = PdfDocument(data)
        try:
            yield pdf
        finally:
            pdf.close()
    except PdfiumError as error:
        if error.err_code == _PASSWORD_ERROR:
            raise DocumentError(f"{path} is encrypted. Save a copy without a password and add that.") from error
        raise DocumentError(f"{path} is damaged ({error}). Save it again from where it came.") from error


def read_pages(pdf: "PdfDocument") -> list[PageText]:
    """The text of every page. Each depends on all of them: what repeats, and which size is the body's."""
    pages: list[list[_Line]] = []
    widths: list[float] = []
    for index in range(len(pdf)):
        page = pdf[index]
        text_page = page.get_textpage()
        try:
            pages.append(_lines(text_page))
            widths.append(page.get_width())
        finally:
            text_page.close()
            page.close()
    levels = _heading_levels(line for lines in pages for line in lines)
    running = _running_lines(pages, levels)
    return [
        _page_text([line for line in lines if (index, line.characters[0]) not in running], levels, width)
        for index, (lines, width) in enumerate(zip(pages, widths, strict=True))
    ]


def _lines(text_page: "PdfTextPage") -> list[_Line]:
    text = _characters(text_page)
    ends = [line_end.span() for line_end in _LINE_END.finditer(text)]
    lines: list[_Line] = []
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


def _line(text_page: "PdfTextPage", text: str, characters: list[int], *, breaks_word: bool) -> _Line:
    left, bottom, _, _ = text_page.get_charbox(characters[0], loose=True)
    _, _, right, _ = text_page.get_charbox(characters[-1], loose=True)
    # Not the first character's size: it may be an initial.
    size = _font_size(text_page, characters[len(characters) // 2])
    line = "".join(map(text.__getitem__, characters))
    return _Line(line, characters, size, left, right, bottom, breaks_word)


def _font_size(text_page: "PdfTextPage", index: int) -> float:
    """The size of a letter as it is printed, in points, to the next half."""
    from pypdfium2.raw import FS_MATRIX, FPDFText_GetFontSize, FPDFText_GetMatrix

    matrix = FS_MATRIX()
    scale = hypot(matrix.c, matrix.d) if FPDFText_GetMatrix(text_page, index, matrix) else 1.0
    size: float = FPDFText_GetFontSize(text_page, index)
    return round(size * scale * 2) / 2


def _heading_levels(lines: Iterable[_Line]) -> dict[float, int]:
    """Which sizes are headings' and of what level, the largest first; none where sizes tell nothing."""
    characters: Counter[float] = Counter()
    for line in lines:
        characters[line.size] += len(line.text)
    if not characters:
        return {}
    ((body, _),) = characters.most_common(1)
    large = sorted((size for size in characters if size >= body * _HEADING_RATIO), reverse=True)
    if sum(characters[size] for size in large) > _MAX_HEADING_SHARE * characters.total():
        return {}
    return {size: min(level, _MAX_LEVEL) for level, size in enumerate(large, start=1)}


def _running_lines(pages: Sequence[Sequence[_Line]], levels: dict[float, int]) -> set[tuple[int, int]]:
    """The headers and footers that run through the pages, each as its page's index and its first character.

    They stand at the same height on many pages, with the same words; a number among them follows that of the page.
    """
    places: defaultdict[tuple[str, int, tuple[int, ...]], set[tuple[int, int]]] = defaultdict(set)
    for index, lines in enumerate(pages):
        upwards = sorted(lines, key=lambda line: line.bottom)
        for line in (*_set_apart(upwards), *_set_apart(upwards[::-1])):
            for key in _running_keys(line, index, levels):
                places[key].add((index, line.characters[0]))
    return {place for found in places.values() for run in _page_runs(sorted(found)) for place in run}


def _set_apart(lines: Sequence[_Line]) -> Sequence[_Line]:
    """The lines from the edge of a page inwards up to the first gap, if it comes after one line or two."""
    for n_lines in (1, 2):
        if n_lines < len(lines):
            line, inner = lines[n_lines - 1 : n_lines + 1]
            if abs(line.bottom - inner.bottom) > _MARGIN_GAP * max(line.size, inner.size):
                return lines[:n_lines]
    return ()


def _page_runs(places: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Places on pages that follow each other closely, where there are enough of them."""
    run: list[tuple[int, int]] = []
    for place in places:
        if run and place[0] > run[-1][0] + 2:
            if len(run) >= _MIN_PAGES:
                yield run
            run = []
        run.append(place)
    if len(run) >= _MIN_PAGES:
        yield run


def _running_keys(line: _Line, index: int, levels: dict[float, int]) -> Iterator[tuple[str, int, tuple[int, ...]]]:
    height = round(line.bottom / 4)  # in steps of 4 points
    numbers = tuple(map(int, _NUMBER.findall(line.text[:_MAX_HEADING_CHARACTERS])))
    yield line.text, height, numbers
    if line.size not in levels:  # "Chapter 1" to "Chapter 9" on nine pages are headings
        words = _NUMBER.sub("#", line.text)
        for place, number in enumerate(numbers):
            others = (*numbers[:place], *numbers[place + 1 :])
            yield words, height, (place, number - index, *others)


def _page_text(lines: Sequence[_Line], levels: dict[float, int], width: float) -> PageText:
    column_ends = _column_ends(lines)
    text = ""
    characters: list[int] = []
    headings: list[Heading] = []
    for is_heading, block in _blocks(lines, levels):
        if text:
            text += "\n\n"
            characters += (-1, -1)
        start = len(text)
        for before, line in zip((None, *block), block, strict=False):
            separator = _separator(before, line, column_ends, width) if before else ""
            text += separator + line.text
            characters += [-1] * len(separator) + line.characters
        if is_heading:
            title = " ".join(text[start:].split())
            headings.append(Heading(levels[block[0].size], title, start, len(text)))
    return PageText(text, tuple(headings), characters)


def _blocks(lines: Sequence[_Line], levels: dict[float, int]) -> Iterator[tuple[bool, list[_Line]]]:
    """Headings and paragraphs: lines of one size, no further from each other than lines usually are."""
    usual = _usual_distance(lines)
    block: list[_Line] = []
    for line in lines:
        if block and _begins_block(block[-1], line, usual):
            yield _is_heading(block, levels), block
            block = []
        block.append(line)
    if block:
        yield _is_heading(block, levels), block


def _begins_block(before: _Line, line: _Line, usual: float) -> bool:
    if abs(before.size - line.size) > (_HEADING_RATIO - 1) * before.size:
        return True
    distance = before.bottom - line.bottom
    return distance > _PARAGRAPH_GAP * max(usual, line.size) or distance < -line.size


def _usual_distance(lines: Sequence[_Line]) -> float:
    """From one line to the next, in points: the median of those that are no gaps; 0 where there are none."""
    distances = sorted(
        before.bottom - line.bottom
        for before, line in pairwise(lines)
        if before.size == line.size and 0 < before.bottom - line.bottom < 2 * line.size
    )
    return distances[len(distances) // 2] if distances else 0.0


def _is_heading(block: Sequence[_Line], levels: dict[float, int]) -> bool:
    n_characters = sum(len(line.text) for line in block)
    has_letters = any(character.isalpha() for line in block for character in line.text)
    return block[0].size in levels and has_letters and n_characters <= _MAX_HEADING_CHARACTERS


def _separator(before: _Line, line: _Line, column_ends: dict[int, float], width: float) -> str:
    """What stands between two lines of a block: a blank where one was only full, or a line feed."""
    if before.breaks_word:
        return ""
    if abs(before.bottom - line.bottom) < before.size / 2:
        return " "  # beside each other
    if _ITEM.match(line.text) or not _is_full(before, line, column_ends, width):
        return "\n"
    return "" if _is_wide(before.text[-1]) and _is_wide(line.text[0]) else " "


def _is_full(before: _Line, line: _Line, column_ends: dict[int, float], width: float) -> bool:
    """Whether the first word of `line` would have had no room at the end of the line before it."""
    if before.right - before.left < _MIN_WRAPPED_WIDTH * width:
        return False
    word = 1 if _is_wide(line.text[0]) else len(line.text.split(maxsplit=1)[0]) + 1
    word_width = word * (line.right - line.left) / len(line.text)
    # Letters differ in width and the word's are only guessed, so the width of one is let pass.
    return before.right + word_width + before.size > column_ends[_column(before)]


def _column_ends(lines: Sequence[_Line]) -> dict[int, float]:
    """How far the lines reach that begin at about the same place, by that place."""
    ends: dict[int, float] = {}
    for line in lines:
        for column in (_column(line) - 1, _column(line), _column(line) + 1):
            ends[column] = max(line.right, ends.get(column, 0.0))
    return ends


def _column(line: _Line) -> int:
    return round(line.left / 36)  # half inches: an indented line belongs to the column that it stands in


def _is_wide(character: str) -> bool:
    """Whether it is of a script that is written without blanks, such as Chinese or Japanese."""
    return unicodedata.east_asian_width(character) in "WF"


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


def passage_boxes(
    pdf: "PdfDocument", page_number: int, characters: Iterable[int]
) -> list[tuple[float, float, float, float]]:
    """Where characters of a page stand, a box for each line: left, top, right and bottom as shares of the page."""
    numbers = sorted({number for number in characters if number >= 0})
    page = pdf[page_number - 1]
    text_page = page.get_textpage()
    try:
        return [
            _share_of_page(page, *text_page.get_rect(rect))
            for first, count in _runs(numbers)
            for rect in range(text_page.count_rects(first, count))
        ]
    finally:
        text_page.close()
        page.close()


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Stretches of numbers without a gap, each as its first and how many."""
    for _, group in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        yield run[0], len(run)


def _share_of_page(
    page: "PdfPage", left: float, bottom: float, right: float, top: float
) -> tuple[float, float, float, float]:
    from ctypes import byref, c_int

    from pypdfium2.raw import FPDF_PageToDevice

    x, y = c_int(), c_int()
    corners = []
    for corner in ((left, top), (right, bottom)):
        # The page's own rotation and crop are in here; 2^16 is only fine enough.
        FPDF_PageToDevice(page, 0, 0, _GRID, _GRID, 0, *corner, byref(x), byref(y))
        corners.append((min(max(x.value / _GRID, 0.0), 1.0), min(max(y.value / _GRID, 0.0), 1.0)))
    (x1, y1), (x2, y2) = corners
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def page_image(
    pdf: "PdfDocument",
    page_number: int,
    boxes: Iterable[Sequence[float]],
    cited: Iterable[Sequence[float]],
    width: int,
) -> bytes:
    """A page as PNG, `width` pixels wide, the boxes laid over it like a marker, those of what is cited more strongly.

    Raises:
        MissingDependencyError: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageChops, ImageDraw
    except ImportError as error:
        raise MissingDependencyError.for_extra("pillow", "rag") from error

    page = pdf[page_number - 1]
    try:
        # Very long pages are drawn narrower: a picture of unbounded height would fill the memory.
        scale = min(width / page.get_width(), _MAX_PIXELS / page.get_height())
        image = page.render(scale=scale, may_draw_forms=False).to_pil().convert("RGB")
    finally:
        page.close()
    ink, where = Image.new("RGB", image.size), Image.new("L", image.size)
    for color, places in ((_MARKER, boxes), (_STRONG_MARKER, cited)):
        for left, top, right, bottom in places:
            corners = (left * image.width, top * image.height, right * image.width, bottom * image.height)
            ImageDraw.Draw(ink).rectangle(corners, fill=color)
            ImageDraw.Draw(where).rectangle(corners, fill=255)
    # Like a marker's ink it leaves black letters black; a little of it lies on top, for pages that are dark.
    image.paste(Image.blend(ImageChops.multiply(image, ink), ink, _SHARE_ON_TOP), mask=where)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
