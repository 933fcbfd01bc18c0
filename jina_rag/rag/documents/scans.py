"""Pages that are pictures, read by OCR: each by a job of its own, under limits of its own."""

import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol

from jina_rag.errors import DocumentError
from jina_rag.formatting import counted
from jina_rag.machine import available_cores
from jina_rag.rag.documents.headings import Heading
from jina_rag.rag.documents.ocr import LANGUAGES, MODEL, Box
from jina_rag.rag.documents.sandbox import SCAN, ReadLimits, run_job
from jina_rag.rag.documents.types import FileContent, Page, name_pages

_MAX_AT_ONCE = 2  # each takes a core, and up to a gigabyte of memory
_MAX_REMEMBERED = 500


@dataclass(frozen=True)
class PageScan:
    """What OCR has read on a page.

    Attributes:
        page: Its text.
        is_turned: Whether the page was not upright.
        n_unclear: How many lines were left out.
        boxes: Where the text is, four shares of the page for each character; negative where it is not on the page.
            Scans that were kept have none.
    """

    page: Page
    is_turned: bool
    n_unclear: int
    boxes: "array[float]" = field(default_factory=lambda: array("f"))

    def line_boxes(self, start: int, end: int) -> list[Box]:
        """Where a span of the text is on the page as it is shown: a box for each line."""
        joined: list[Box] = []
        for index in range(start, end):
            left, top, right, bottom = self.boxes[4 * index : 4 * index + 4]
            if left < 0:
                continue
            if joined:
                x1, y1, x2, y2 = joined[-1]
                if (y1, y2) == (top, bottom) or (x1, x2) == (left, right):  # a line across, or one down
                    joined[-1] = min(x1, left), min(y1, top), max(x2, right), max(y2, bottom)
                    continue
            joined.append((left, top, right, bottom))
        return joined


class KeptScans(Protocol):
    """Scans of files, by SHA-256, that are kept for the next time that a file is read. Safe to call from threads."""

    def scans(self, sha256: str) -> Mapping[int, PageScan | None]:
        """The scans of a file's pages, by the page's number, as `scan_page` returned them."""
        ...

    def keep_scan(self, sha256: str, page: int, scan: PageScan | None) -> None:
        """Keep the scan of a page."""
        ...


def scan_page(content: FileContent, number: int, limits: ReadLimits) -> PageScan | None:
    """Read a page by OCR; None if its text layer says no less. Pages read lately are remembered.

    Raises:
        DocumentError: it took too much time or memory, or can't be drawn.
    """
    key = content.sha256, content.path.suffix.lower(), number
    with _lock:
        if key in _remembered:
            _remembered.move_to_end(key)
            return _remembered[key]
    limits = replace(limits, seconds=limits.scan_seconds, memory_bytes=limits.scan_memory_bytes)
    result = run_job(SCAN, content.path, content.data, limits, page=number)
    scan = None
    if result:
        headings = tuple(Heading(*heading) for heading in result["headings"])
        page = Page(number, result["text"], headings)
        scan = PageScan(page, result["is_turned"], result["n_unclear"], array("f", result["boxes"]))
    with _lock:
        _remembered[key] = scan
        if len(_remembered) > _MAX_REMEMBERED:
            _remembered.popitem(last=False)
    return scan


def scan_pages(
    content: FileContent, numbers: Sequence[int], limits: ReadLimits, kept: KeptScans | None = None
) -> tuple[dict[int, Page], list[str]]:
    """Read pages by OCR, those that are not kept from an earlier time.

    Returns:
        Those that have been read, by their number, and notes of how that went.
    """
    asked = numbers[: limits.max_scans]
    scans: dict[int, PageScan] = {}
    notes: list[str] = []

    known = kept.scans(content.sha256) if kept and asked else {}

    def read(number: int) -> PageScan | DocumentError | None:
        if number in known:
            return known[number]
        try:
            scan = scan_page(content, number, limits)
        except DocumentError as error:
            return error
        if kept:
            kept.keep_scan(content.sha256, number, scan)
        return scan

    with ThreadPoolExecutor(max(1, min(_MAX_AT_ONCE, available_cores() // 2))) as threads:
        for number, scan in zip(asked, threads.map(read, asked), strict=True):
            if isinstance(scan, PageScan):
                scans[number] = scan
            elif scan:
                notes.append(f"OCR could not read page {number}: {scan}")
    notes = [*_notes(scans), *notes]
    if len(numbers) > len(asked):
        limit, more = counted(limits.max_scans, "page"), len(numbers) - len(asked)
        notes.append(f"OCR reads at most {limit} of a file: {more:,} more {'was' if more == 1 else 'were'} not read.")
    return {number: scan.page for number, scan in scans.items()}, notes


def _notes(scans: dict[int, PageScan]) -> Iterator[str]:
    def naming(condition: Callable[[PageScan], bool]) -> str:
        numbers = [number for number, scan in scans.items() if condition(scan)]
        return name_pages(numbers) if numbers else ""

    if read := naming(lambda scan: bool(scan.page.text)):
        yield f"OCR ({MODEL}: {LANGUAGES}) read {read}, and may have misread letters."
    if turned := naming(lambda scan: scan.is_turned and bool(scan.page.text)):
        yield f"To be read, {turned} had to be turned."
    if empty := naming(lambda scan: not scan.page.text):
        yield f"OCR found no text on {empty}."
    if n_unclear := sum(scan.n_unclear for scan in scans.values()):
        yield f"{counted(n_unclear, 'line')} {'was' if n_unclear == 1 else 'were'} too unclear for OCR and left out."


_remembered: OrderedDict[tuple[str, str, int], PageScan | None] = OrderedDict()
_lock = threading.Lock()
