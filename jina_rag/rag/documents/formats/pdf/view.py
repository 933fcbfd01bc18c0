"""A page of a PDF as people see it: where passages are on it, and a picture with them marked."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from jina_rag.errors import MissingDependencyError
from jina_rag.rag.documents.ocr import Box

if TYPE_CHECKING:
    from PIL.Image import Image
    from pypdfium2 import PdfDocument, PdfPage

_GRID = 2**16
_MARKER = (255, 247, 204)
_STRONG_MARKER = (255, 214, 64)
_SHARE_ON_TOP = 0.2


def places_of(
    pdf: "PdfDocument", page_number: int, characters: Collection[int], boxes: Sequence[Box | None]
) -> list[Box]:
    """Where characters of a page are, a box for each line; `characters` and `boxes` as in `PageText`."""
    numbers = sorted({number for number in characters if number >= 0})
    others = (boxes[-2 - number] for number in sorted({number for number in characters if number < -1}, reverse=True))
    page = pdf[page_number - 1]
    text_page = page.get_textpage()
    try:
        printed = [
            share_of_page(page, *text_page.get_rect(rect))
            for first, count in _runs(numbers)
            for rect in range(text_page.count_rects(first, count))
        ]
        return printed + [box for box in others if box]
    finally:
        text_page.close()
        page.close()


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Stretches of numbers without a gap, each as its first and how many."""
    for _, group in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        yield run[0], len(run)


def share_of_page(page: "PdfPage", left: float, bottom: float, right: float, top: float) -> Box:
    """A rectangle in the PDF's own coordinates as a box on the page that people see."""
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


def draw_page(pdf: "PdfDocument", page_number: int, max_width: int, max_height: int) -> "Image":
    """A picture of a page, as large as it may be.

    Raises:
        MissingDependencyError: Pillow is not installed.
    """
    page = pdf[page_number - 1]
    try:
        scale = min(max_width / page.get_width(), max_height / page.get_height())
        image: Image = page.render(scale=scale).to_pil().convert("RGB")
    except ImportError as error:
        raise MissingDependencyError.for_extra("pillow", "rag") from error
    finally:
        page.close()
    return image


def mark(image: "Image", boxes: Iterable[Sequence[float]], cited: Iterable[Sequence[float]]) -> "Image":
    """A picture with boxes laid over it like a marker, those of what is cited more strongly."""
    from PIL import Image, ImageChops, ImageDraw

    ink, where = Image.new("RGB", image.size), Image.new("L", image.size)
    for color, places in ((_MARKER, boxes), (_STRONG_MARKER, cited)):
        for left, top, right, bottom in places:
            corners = (left * image.width, top * image.height, right * image.width, bottom * image.height)
            ImageDraw.Draw(ink).rectangle(corners, fill=color)
            ImageDraw.Draw(where).rectangle(corners, fill=255)
    # Like a marker's ink it leaves black letters black; a little of it lies on top, for pages that are dark.
    image.paste(Image.blend(ImageChops.multiply(image, ink), ink, _SHARE_ON_TOP), mask=where)
    return image
