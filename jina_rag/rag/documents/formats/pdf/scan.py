"""A page that is a picture: its lines, recognized, put in the order in which they are read, and made into text."""

from collections.abc import Iterator, Sequence
from itertools import pairwise, zip_longest
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from jina_rag.rag.documents.formats.pdf.layout import PageText, lay_out
from jina_rag.rag.documents.formats.pdf.lines import Line, PrintedPage
from jina_rag.rag.documents.ocr import Box, RecognizedLine, recognize, turn_back

if TYPE_CHECKING:
    from PIL.Image import Image

_PAGE_WIDTH = 595.0  # in points, as A4; the layout counts in these
_LARGE = 1.3
"""How much higher than most lines of a page one with larger letters is: what is in a line makes it higher, too."""
_MIN_GUTTER = 0.5
_MIN_COLUMN_WIDTH = 8.0
"""In heights of a line: how far columns of prose are from each other, and how wide their lines are. The cells of a
table are shorter, and its rows stay together."""


class ScannedPage(NamedTuple):
    """What was read of a picture of a page.

    Attributes:
        content: The text; its characters are numbers of `places`.
        places: Where each character is on the page as it is shown.
        n_unclear: How many lines were left out.
        quarter_turns: By how many quarters the page was turned to be read.
    """

    content: PageText
    places: list[Box]
    n_unclear: int
    quarter_turns: int


def read_scan(image: "Image") -> ScannedPage:
    """Read the picture of a page."""
    found = recognize(image)
    page_height = _PAGE_WIDTH * found.size[1] / found.size[0]
    boxes = [_straightened(line.box, found.slope, page_height) for line in found.lines]
    order = _reading_order(boxes)
    recognized, boxes = [found.lines[index] for index in order], [boxes[index] for index in order]
    lines: list[Line] = []
    places: list[Box] = []
    for line, box, size, breaks_word in zip(recognized, boxes, _sizes(boxes), _hyphens(recognized), strict=True):
        left, top, right, bottom = line.box
        text = line.text[:-1] if breaks_word else line.text
        edges = [left + edge * (right - left) for edge in line.edges]
        numbers = [*range(len(places), len(places) + len(text))]
        places += [turn_back((begin, top, end, bottom), found.quarter_turns) for begin, end in pairwise(edges)]
        lines.append(Line(text, numbers, size, box[0], box[2], page_height - box[3], breaks_word))
    (content,) = lay_out([PrintedPage(lines, _PAGE_WIDTH)])
    return ScannedPage(content, places, found.n_unclear, found.quarter_turns)


def _straightened(box: Box, slope: float, page_height: float) -> Box:
    """A line's box in points, the page turned so that its lines are level."""
    left, top, right, bottom = box[0] * _PAGE_WIDTH, box[1] * page_height, box[2] * _PAGE_WIDTH, box[3] * page_height
    x, y = (left + right) / 2, (top + bottom) / 2
    half_width, half_height = (right - left) / 2, (bottom - top) / 2
    half_height = max(half_height - abs(slope) * half_width, half_height / 4)
    x, y = x + slope * y, y - slope * x
    return x - half_width, y - half_height, x + half_width, y + half_height


def _sizes(boxes: Sequence[Box]) -> Iterator[float]:
    """The size of each line's letters, most of which are the same."""
    heights = [bottom - top for _, top, _, bottom in boxes]
    usual = median(heights) if heights else 0.0
    for height in heights:
        yield round(usual if usual / _LARGE < height < usual * _LARGE else height)


def _hyphens(lines: Sequence[RecognizedLine]) -> Iterator[bool]:
    """For each line whether a word goes on in the next: by PDFium's rule, a letter and a hyphen before a small one."""
    for line, following in zip_longest(lines, lines[1:]):
        begins_small = following is not None and following.text[:1].islower()
        yield begins_small and line.text.endswith("-") and line.text[-2:-1].isalpha()


def _reading_order(boxes: Sequence[Box]) -> list[int]:
    """Recursive XY-cut: columns from left to right where there are any, else what is above before what is below."""
    order: list[int] = []
    regions = [[*range(len(boxes))]]
    while regions:
        region = regions.pop()
        parts = _columns(boxes, region) or _cut(boxes, region, axis=1, min_gap=0.0)
        if parts:
            regions += reversed(parts)
        else:
            order += _rows(boxes, region)
    return order


def _columns(boxes: Sequence[Box], region: Sequence[int]) -> tuple[list[int], list[int]] | None:
    if len(region) < 4:  # two lines each
        return None
    height = median(boxes[index][3] - boxes[index][1] for index in region)
    parts = _cut(boxes, region, axis=0, min_gap=_MIN_GUTTER * height)
    if not parts:
        return None
    widths = (median(boxes[index][2] - boxes[index][0] for index in part) for part in parts)
    return parts if min(widths) >= _MIN_COLUMN_WIDTH * height and min(map(len, parts)) > 1 else None


def _cut(
    boxes: Sequence[Box], region: Sequence[int], *, axis: int, min_gap: float
) -> tuple[list[int], list[int]] | None:
    """The boxes on both sides of the widest gap along an axis."""
    ordered = sorted(region, key=lambda index: boxes[index][axis])
    gaps = []
    end = float("inf")
    for place, index in enumerate(ordered):
        gaps.append((boxes[index][axis] - end, place))
        end = max(boxes[index][axis + 2], end if place else 0.0)
    gap, place = max(gaps, default=(0.0, 0))
    return (ordered[:place], ordered[place:]) if gap > min_gap else None


def _rows(boxes: Sequence[Box], region: Sequence[int]) -> Iterator[int]:
    """Boxes side by side from left to right, row by row: a row ends where a box begins below the last one's middle."""
    row: list[int] = []
    middle = 0.0
    for index in sorted(region, key=lambda index: boxes[index][1] + boxes[index][3]):
        if row and boxes[index][1] > middle:
            yield from sorted(row, key=lambda index: boxes[index][0])
            row = []
        row.append(index)
        middle = (boxes[index][1] + boxes[index][3]) / 2
    yield from sorted(row, key=lambda index: boxes[index][0])
