"""Files on this machine and in object stores: which there are, whether they have changed, what is in them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.rag.documents.discovery import (
    FoundFile,
    Skipped,
    exclusions,
    files_at,
    is_pattern,
    local_path,
    match_pattern,
)
from jina_rag.rag.documents.formats import READERS
from jina_rag.rag.documents.reading import read_file
from jina_rag.rag.documents.sandbox import ReadLimits
from jina_rag.rag.documents.sources import path_of, source_of
from jina_rag.rag.documents.types import FileContent

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_WILDCARD = re.compile(r"[*?\[]")
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")
_TAGS = ("ETag", "etag", "md5Hash")


class SourceFile(NamedTuple):
    """A document in a source.

    Attributes:
        source: What it is called in a store: an absolute path, as in an index, or the address in an object store.
        version: Differs whenever the content may.
        size: In bytes.
        mtime_ns: When it was changed last, in nanoseconds since 1970; 0 where an object store doesn't say.
    """

    source: str
    version: str
    size: int
    mtime_ns: int


@dataclass
class Listing:
    """What sources hold now.

    Attributes:
        files: Each document, by what it is called.
        roots: Files and folders that were named; what a store has below them and is not in `files` has left.
        skipped: What local folders have that is not read.
    """

    files: dict[str, SourceFile] = field(default_factory=dict)
    roots: list[str] = field(default_factory=list)
    skipped: Skipped = field(default_factory=Skipped)


def list_sources(sources: Iterable[str], exclude: Sequence[str] = (), *, without: Sequence[str] = ()) -> Listing:
    """Find the documents that files, folders, patterns and addresses such as `s3://bucket/folder` name.

    Args:
        sources: Any number of them. What `jina-rag add` passes over in folders is passed over here too.
        exclude: More to pass over, in the syntax of .gitignore.
        without: Folders, as they are called as sources, in which nothing is a document.

    Raises:
        DocumentError: a source doesn't exist, can't be listed, or has no documents.
        MissingDependencyError: the package for this kind of address is not installed.
    """
    listing = Listing()
    for name in sources:
        is_address = _ADDRESS.match(name) and not name.startswith("file:")
        found = _objects(name, exclude, listing) if is_address else _local_files(name, exclude, listing)
        listing.files |= {file.source: file for file in found if not is_below(file.source, without)}
    if not listing.files:
        raise DocumentError(f"There are no documents in {', '.join(sources)}. Name another place.")
    return listing


def is_below(source: str, roots: Iterable[str]) -> bool:
    """Whether a source is one of some files and folders, or lies below one."""
    return any(source == root or source.startswith(f"{root.rstrip('/')}/") for root in roots)


def read_source(file: SourceFile, limits: ReadLimits | None = None) -> FileContent:
    """The content of a document.

    Raises:
        DocumentError: it is gone, too large, can't be read or changes meanwhile.
    """
    if not _ADDRESS.match(file.source):
        return read_file(path_of(file.source))
    most = (limits or ReadLimits()).max_bytes
    system, path = open_filesystem(file.source)
    try:
        with system.open(path, "rb") as opened:  # it may have grown, and web servers need not give a size
            data = opened.read(most + 1) if file.size <= most else b""
    except Exception as error:  # every object store has errors of its own
        raise DocumentError(f"{file.source} can't be read ({error}). Check that it exists and is yours.") from error
    if (size := max(file.size, len(data))) > most:
        raise DocumentError(
            f"{file.source} has {size / 2**20:,.0f} MB and a document may have {most / 2**20:,.0f}. Split it."
        )
    return FileContent(Path(path), data, file.mtime_ns)


def open_filesystem(address: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a path or an address, and the path in it.

    Raises:
        DocumentError: there is no such kind of address.
        MissingDependencyError: the package for this kind of address is not installed.
    """
    try:
        system, path = url_to_fs(address)
    except ImportError as error:  # fsspec names the package
        raise MissingDependencyError(f"{address} can't be opened: {error}") from error
    except ValueError as error:
        raise DocumentError(f"{address} can't be opened ({error}). Name a path, or an address as s3://…") from error
    return system, path


def _local_files(name: str, exclude: Sequence[str], listing: Listing) -> Iterator[SourceFile]:
    path = local_path(name)
    if is_pattern(path):
        found: Iterable[FoundFile] = match_pattern(path, exclude, skipped=listing.skipped)
    else:
        found = files_at(path, exclude, skipped=listing.skipped)
        listing.roots.append(source_of(path.resolve()))
    for file in found:
        yield SourceFile(source_of(file.path), f"{file.size}-{file.mtime_ns}", file.size, file.mtime_ns)


def _objects(name: str, exclude: Sequence[str], listing: Listing) -> Iterator[SourceFile]:
    system, path = open_filesystem(name)
    fixed = _fixed_part(path)
    try:
        found = system.find(path, detail=True) if fixed == path else system.glob(path, detail=True)
    except Exception as error:  # every object store has errors of its own
        raise DocumentError(f"{name} can't be listed ({error}). Check the address and your rights.") from error
    if not found:
        raise DocumentError(f"There is nothing at {name}. Check the address.")
    if fixed == path:
        listing.roots.append(system.unstrip_protocol(path))
    excluded = exclusions(exclude)
    for place, info in found.items():
        inside = PurePosixPath(place[len(fixed) :].lstrip("/") or PurePosixPath(place).name)
        is_hidden = any(part.startswith(".") for part in inside.parts)
        if info["type"] != "file" or inside.suffix.lower() not in READERS or is_hidden:
            continue
        if not excluded.match_file(str(inside)):
            size, mtime_ns = int(info["size"] or 0), _mtime_ns(info)
            tag = next((str(info[key]) for key in _TAGS if info.get(key)), "")
            yield SourceFile(system.unstrip_protocol(place), f"{size}-{mtime_ns}-{tag}", size, mtime_ns)


def _fixed_part(path: str) -> str:
    """A path as far as it has no wildcards: the folder that patterns are counted from."""
    wildcard = _WILDCARD.search(path)
    return path if wildcard is None else path[: path.rfind("/", 0, wildcard.start()) + 1]


def _mtime_ns(info: Mapping[str, Any]) -> int:
    time = next((info[key] for key in _TIMES if info.get(key)), 0)
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    return int((time.timestamp() if isinstance(time, datetime) else time) * 1_000_000) * 1000
