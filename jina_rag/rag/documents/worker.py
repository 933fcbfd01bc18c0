"""The child process that documents are parsed in: `python -m jina_rag.rag.documents.worker`.

It reads one JSON object a line from its input, {"job": ..., "arguments": {...}, "seconds": ..., "memory_bytes": ...},
and answers each with one line, {"result": ...} or {"error": ..., "message": ...}. What comes from a document is parsed
here alone, so that one that makes its parser hang, grow or crash takes no other process with it.
"""

import base64
import json
import os
import re
import signal
import stat
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.rag.documents.formats import READERS
from jina_rag.rag.documents.formats.pdf import open_pdf, page_image, passage_boxes, read_pages
from jina_rag.rag.documents.types import Document

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

READY = b"ready\n"
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""What neither a database nor a tokenizer takes; a replacement character keeps every place as it is."""
_GRACE_SECONDS = 5
_LARGE_BYTES = 256 * 2**20
"""A worker that holds more memory than this after a job is not used again, for it may never give it back."""


def main() -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a parser prints is no answer
    base_bytes, _ = _memory_bytes()
    _write(answers, READY)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        _limit(base_bytes + request["memory_bytes"], request["seconds"])
        answer = _answer(request["job"], request["arguments"])
        _write(answers, json.dumps(answer, ensure_ascii=False).encode() + b"\n")
        if answer.get("is_last"):
            return


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()


def _answer(job: str, arguments: dict[str, Any]) -> dict[str, Any]:
    path = arguments["path"]
    try:
        result = _JOBS[job](**arguments)
        # What is held now, not at most: the system counts the parent's as well for that.
        return {"result": result, "is_last": _memory_bytes()[1] > _LARGE_BYTES}
    except (DocumentError, MissingDependencyError) as error:
        return _error(error, str(error))
    except MemoryError as error:
        return {**_error(error, ""), "is_last": True}
    except RecursionError as error:
        return _error(error, f"{path} is nested too deeply to be read. Leave it out, or save it in a simpler form.")
    except Exception as error:  # noqa: BLE001 - parsers answer a damaged file with whatever came of it
        reason = f"{type(error).__name__}: {error}"[:200]
        return _error(error, f"{path} is damaged ({reason}). Save it again from where it came.")


def _error(error: BaseException, message: str) -> dict[str, Any]:
    trace = "" if isinstance(error, MemoryError) else "".join(traceback.format_exception(error, limit=-5))
    return {"error": type(error).__name__, "message": _storable(message), "traceback": _storable(trace)}


def _read(path: str, max_bytes: int) -> dict[str, Any]:
    reader = READERS[Path(path).suffix.lower()]
    document = reader(Path(path), _read_bytes(path, max_bytes))
    return {
        "title": " ".join(_storable(document.title).split()),
        "pages": _pages(document),
        "is_markdown": document.is_markdown,
        "notes": [_storable(note) for note in document.notes],
    }


def _pages(document: Document) -> list[list[Any]]:
    return [
        [page.number, _storable(page.text), [[h.level, _storable(h.title), h.start, h.end] for h in page.headings]]
        for page in document.pages
    ]


def _storable(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


def _read_bytes(path: str, max_bytes: int) -> bytes:
    try:
        # Not to wait for a pipe's other end, should the file have become one.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise DocumentError(f"{path} is no ordinary file. Leave it out.")
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise DocumentError(f"{path} can't be read ({error.strerror}). Check that it exists and is yours.") from error
    if len(data) > max_bytes:
        size = max(status.st_size, len(data))
        raise DocumentError(
            f"{path} has {size / 2**20:,.0f} MB and a document may have {max_bytes / 2**20:,.0f}. Split it."
        )
    return data


def _passage_boxes(path: str, max_bytes: int, page: int, spans: list[list[int]], text: str | None) -> list[Any]:
    with _page_of(path, max_bytes, page) as pdf:
        page_text = read_pages(pdf)[page - 1]
        stand = [page_text.text[start:end] for start, end in spans]
        if not all(stand) or (text is not None and stand[:1] != [text]):
            raise _changed(path)
        return [passage_boxes(pdf, page, page_text.characters[start:end]) for start, end in spans]


def _page_image(
    path: str, max_bytes: int, page: int, boxes: list[list[float]], cited: list[list[float]], width: int
) -> str:
    with _page_of(path, max_bytes, page) as pdf:
        return base64.b64encode(page_image(pdf, page, boxes, cited, width)).decode()


@contextmanager
def _page_of(path: str, max_bytes: int, page: int) -> "Iterator[PdfDocument]":
    """The PDF at a path, if it has such a page."""
    with open_pdf(Path(path), _read_bytes(path, max_bytes)) as pdf:
        if not 1 <= page <= len(pdf):
            raise _changed(path)
        yield pdf


def _changed(path: str) -> DocumentError:
    return DocumentError(f"{path} has changed since it was indexed. Add it again, then ask again.")


_JOBS: dict[str, Callable[..., Any]] = {"read": _read, "passage_boxes": _passage_boxes, "page_image": _page_image}


def _limit(memory_bytes: int, seconds: float) -> None:
    """Have the system hold the limits, as far as it can.

    The parent ends a worker that takes too long; the alarm here is for when the parent is gone.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        memory_bytes = min(memory_bytes, most)
    if sys.platform == "linux":  # elsewhere the limit is refused or not held
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, most))
    signal.setitimer(signal.ITIMER_REAL, seconds + _GRACE_SECONDS)


def _memory_bytes() -> tuple[int, int]:
    """The address space in use, and the memory held of it; zeros where the system doesn't say."""
    try:
        address_space, resident = map(int, Path("/proc/self/statm").read_text().split()[:2])
    except OSError:
        return 0, 0
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    return address_space * page_bytes, resident * page_bytes


if __name__ == "__main__":
    main()
