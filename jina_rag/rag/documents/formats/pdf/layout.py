"""Lines of print back into paragraphs: headings by their size, running headers left out, words joined again.

What is made here keeps, for every character of the text, which of PDFium's characters it is, so that a passage can be
shown on its page.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from jina_rag.rag.documents.formats.pdf.extras import Extra
from jina_rag.rag.documents.formats.pdf.lines import Line, PrintedPage
from jina_rag.rag.documents.headings import Heading
from jina_rag.rag.documents.ocr import Box

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
"""A line that is on fewer pages in a row, or on every other of them as left and right pages have it, is no running
one: it may be there by chance."""
_MARGIN_GAP = 1.75
"""How far a running line is from the text, at least, in sizes of the letters; lines of one paragraph are 1 to 1.5."""

_PARAGRAPH_GAP = 1.25  # times the usual distance of lines
_MIN_WRAPPED_WIDTH = 0.2
"""Of the page: no line shorter than this ends because it is full."""


@dataclass(frozen=True)
class PageText:
    """What was made of a page.

    Attributes:
        text: Its text.
        headings: Where its headings stand in the text.
        characters: For each character of the text PDFium's number of it; -1 for those that were put in, and from -2
            downwards those of the first, second ... box.
        boxes: The places of texts that PDFium does not number.
        is_scan: Whether the page is a picture for the most part, which OCR has to read.
    """

    text: str
    headings: tuple[Heading, ...]
    characters: list[int]
    boxes: tuple[Box | None, ...] = ()
    is_scan: bool = False

    def with_extras(self, extras: Sequence[Extra], *, is_scan: bool = False) -> "PageText":
        """The same text with others behind it, each a paragraph."""
        text, characters = self.text, [*self.characters]
        for place, extra in enumerate(extras):
            separator = "\n\n" if text else ""
            text += separator + extra.text
            characters += [-1] * len(separator) + [-2 - place] * len(extra.text)
        return PageText(text, self.headings, characters, tuple(extra.box for extra in extras), is_scan)


def lay_out(pages: Sequence[PrintedPage]) -> list[PageText]:
    """The text of every page, each of which depends on all: what repeats, and which size is the body's."""
    levels = _heading_levels(line for page in pages for line in page.lines)
    running = _running_lines([page.lines for page in pages], levels)
    return [
        _page_text([line for line in page.lines if (index, line.characters[0]) not in running], levels, page.width)
        for index, page in enumerate(pages)
    ]


def _heading_levels(lines: Iterable[Line]) -> dict[float, int]:
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


def _running_lines(pages: Sequence[Sequence[Line]], levels: dict[float, int]) -> set[tuple[int, int]]:
    """The headers and footers that run through the pages, each as its page's index and its first character.

    They stand at the same height on many pages, with the same words; a number among them follows that of the page. The
    first of them stays, so that no word of a document is lost.
    """
    places: defaultdict[tuple[str, int, tuple[int, ...]], set[tuple[int, int]]] = defaultdict(set)
    for index, lines in enumerate(pages):
        upwards = sorted(lines, key=lambda line: line.bottom)
        for line in (*_set_apart(upwards), *_set_apart(upwards[::-1])):
            for key in _running_keys(line, index, levels):
                places[key].add((index, line.characters[0]))
    return {place for found in places.values() for run in _page_runs(sorted(found)) for place in run[1:]}


def _set_apart(lines: Sequence[Line]) -> Sequence[Line]:
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


def _running_keys(line: Line, index: int, levels: dict[float, int]) -> Iterator[tuple[str, int, tuple[int, ...]]]:
    height = round(line.bottom / 4)  # in steps of 4 points
    numbers = tuple(map(int, _NUMBER.findall(line.text[:_MAX_HEADING_CHARACTERS])))
    yield line.text, height, numbers
    if line.size not in levels:  # "Chapter 1" to "Chapter 9" on nine pages are headings
        words = _NUMBER.sub("#", line.text)
        for place, number in enumerate(numbers):
            others = (*numbers[:place], *numbers[place + 1 :])
            yield words, height, (place, number - index, *others)


def _page_text(lines: Sequence[Line], levels: dict[float, int], width: float) -> PageText:
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


def _blocks(lines: Sequence[Line], levels: dict[float, int]) -> Iterator[tuple[bool, list[Line]]]:
    """Headings and paragraphs: lines of one size, no further from each other than lines usually are."""
    usual = _usual_distance(lines)
    block: list[Line] = []
    for line in lines:
        if block and _begins_block(block[-1], line, usual):
            yield _is_heading(block, levels), block
            block = []
        block.append(line)
    if block:
        yield _is_heading(block, levels), block


def _begins_block(before: Line, line: Line, usual: float) -> bool:
    if abs(before.size - line.size) > (_HEADING_RATIO - 1) * before.size:
        return True
    distance = before.bottom - line.bottom
    return distance > _PARAGRAPH_GAP * max(usual, line.size) or distance < -line.size


def _usual_distance(lines: Sequence[Line]) -> float:
    """From one line to the next, in points: the median of those that are no gaps; 0 where there are none."""
    distances = sorted(
        before.bottom - line.bottom
        for before, line in pairwise(lines)
        if before.size == line.size and 0 < before.bottom - line.bottom < 2 * line.size
    )
    return distances[len(distances) // 2] if distances else 0.0


def _is_heading(block: Sequence[Line], levels: dict[float, int]) -> bool:
    n_characters = sum(len(line.text) for line in block)
    has_letters = any(character.isalpha() for line in block for character in line.text)
    return block[0].size in levels and has_letters and n_characters <= _MAX_HEADING_CHARACTERS


def _separator(before: Line, line: Line, column_ends: dict[int, float], width: float) -> str:
    """What stands between two lines of a block: a blank where one was only full, or a line feed."""
    if before.breaks_word:
        return ""
    if abs(before.bottom - line.bottom) < before.size / 2:
        return " "  # beside each other
    if _ITEM.match(line.text) or not _is_full(before, line, column_ends, width):
        return "\n"
    return "" if _is_wide(before.text[-1]) and _is_wide(line.text[0]) else " "


def _is_full(before: Line, line: Line, column_ends: dict[int, float], width: float) -> bool:
    """Whether the first word of `line` would have had no room at the end of the line before it."""
    if before.right - before.left < _MIN_WRAPPED_WIDTH * width:
        return False
    word = 1 if _is_wide(line.text[0]) else len(line.text.split(maxsplit=1)[0]) + 1
    word_width = word * (line.right - line.left) / len(line.text)
    # Letters differ in width and the word's are only guessed, so the width of one is let pass.
    return before.right + word_width + before.size > column_ends[_column(before)]


def _column_ends(lines: Sequence[Line]) -> dict[int, float]:
    """How far the lines reach that begin at about the same place, by that place."""
    ends: dict[int, float] = {}
    for line in lines:
        for column in (_column(line) - 1, _column(line), _column(line) + 1):
            ends[column] = max(line.right, ends.get(column, 0.0))
    return ends


def _column(line: Line) -> int:
    return round(line.left / 36)  # half inches: an indented line belongs to the column that it stands in


def _is_wide(character: str) -> bool:
    """Whether it is of a script that is written without blanks, such as Chinese or Japanese."""
    return unicodedata.east_asian_width(character) in "WF"
