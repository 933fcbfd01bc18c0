"""The content of one file as a document. It is read here and parsed in a child process, which harms nothing else."""

import os
import stat
from collections.abc import Collection
from pathlib import Path

from jina_rag.errors import DocumentError
from jina_rag.formatting import escaped
from jina_rag.rag.documents.discovery import check_kind, local_path
from jina_rag.rag.documents.headings import Heading
from jina_rag.rag.documents.sandbox import ReadLimits, run_job
from jina_rag.rag.documents.scans import KeptScans, scan_pages
from jina_rag.rag.documents.sources import source_of
from jina_rag.rag.documents.types import Document, FileContent, Page

_ATTEMPTS = 2


def read_document(
    path: Path | str, limits: ReadLimits | None = None, *, scans: Collection[int] | None = None
) -> Document:
    """Read one file, in a child process. Safe to call from many threads, and after a fork.

    Args:
        path: The file, or its source in an index; a symbolic link is followed.
        limits: What it may take; None means `ReadLimits()`.
        scans: Which pages may be read by OCR, which takes seconds each; None means all that need it.

    Raises:
        DocumentError: the file is missing, too large, damaged, protected, without text or of an unknown kind, or its
            reader took too long, took too much memory or crashed.
        MissingDependencyError: the package that reads this kind is not installed.
    """
    limits = limits or ReadLimits()
    return parse_document(read_file(path, limits), limits, scans=scans)


def parse_document(
    content: FileContent,
    limits: ReadLimits | None = None,
    *,
    scans: Collection[int] | None = None,
    kept_scans: KeptScans | None = None,
) -> Document:
    """Make a document of a file's content, in a child process. Arguments and errors as those of `read_document`.

    Pages whose scans are in `kept_scans` are not read by OCR again; new scans are kept there.
    """
    limits = limits or ReadLimits()
    result = run_job("read", content.path, content.data, limits)
    wanted = [number for number in result["scans"] if scans is None or number in scans]
    scanned, notes = scan_pages(content, wanted, limits, kept_scans)
    document = Document(
        source=source_of(content.path),
        title=result["title"] or escaped(content.path.stem),
        pages=tuple(
            scanned.get(number) or Page(number, text, tuple(Heading(*heading) for heading in headings))
            for number, text, headings in result["pages"]
        ),
        is_markdown=result["is_markdown"],
        notes=(*result["notes"], *notes),
        metadata=result["metadata"],
    )
    is_blank = 0 < len(wanted) == len(scanned)  # a photograph, or empty sheets: OCR has seen all that there is
    if not is_blank and not any(page.text.strip() for page in document.pages):
        reasons = " ".join(notes)
        raise DocumentError(f"{content.path} has no text. {reasons}{' ' * bool(reasons)}Leave it out.")
    return document


def read_file(path: Path | str, limits: ReadLimits | None = None) -> FileContent:
    """The content of a file that can be a document.

    Raises:
        DocumentError: the file is missing, too large, no ordinary file or of an unknown kind, or changes meanwhile.
    """
    path = local_path(path)
    check_kind(path)
    path = path.resolve()
    limits = limits or ReadLimits()
    for _ in range(_ATTEMPTS):
        if content := _read_unchanging(path, limits.max_bytes):
            return content
    raise DocumentError(f"{path} changes while it is read. Add it again when it is finished.")


def _read_unchanging(path: Path, max_bytes: int) -> FileContent | None:
    """The content of a file; None if it was changed meanwhile."""
    try:
        # Not to wait for a pipe's other end, should the file have become one.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise DocumentError(f"{path} is no ordinary file. Leave it out.")
            if status.st_size > max_bytes:
                raise DocumentError(
                    f"{path} has {status.st_size / 2**20:,.0f} MB and a document may have {max_bytes / 2**20:,.0f}. "
                    "Split it."
                )
            data = file.read(status.st_size + 1)
            after = os.fstat(file.fileno())
    except OSError as error:
        raise DocumentError(f"{path} can't be read ({error.strerror}). Check that it exists and is yours.") from error
    is_same = (
        (after.st_size, after.st_mtime_ns) == (status.st_size, status.st_mtime_ns) == (len(data), after.st_mtime_ns)
    )
    return FileContent(path, data, after.st_mtime_ns) if is_same else None
