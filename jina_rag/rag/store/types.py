"""Documents and chunks as the catalog stores them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from jina_rag.formatting import escaped
from jina_rag.rag.chunking import Chunk
from jina_rag.vectors import FloatArray

DEFAULT_COLLECTION = "default"
"""Where the documents are that are in no other collection."""


@dataclass(frozen=True)
class IndexedDocument:
    """A document as the index knows it.

    Attributes:
        source: The file's absolute path, as `documents.sources.source_of` spells it.
        title: What to call it in front of people.
        sha256: Of the file's bytes.
        size: Of the file, in bytes.
        mtime_ns: When the file was last changed, in nanoseconds since 1970.
        n_chunks: Into how many chunks it was cut.
        added_at: When it was added or last updated, ISO 8601, UTC.
        collections: Those that it is in, at least one, sorted.
        kind: The ending of its name in lower case, such as ".pdf".
        notes: What people should know of how it was read, in sentences.
        metadata: What the file says about itself, such as "author" and "created" (ISO 8601).
        reading_version: The `parsing.READING_VERSION` that it was read with; 0 if that is not known.
    """

    source: str
    title: str
    sha256: str
    size: int
    mtime_ns: int
    n_chunks: int
    added_at: str
    collections: tuple[str, ...] = (DEFAULT_COLLECTION,)
    kind: str = ""
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    reading_version: int = 0


@dataclass(frozen=True)
class FailedDocument:
    """A document that could not be added, and why.

    Attributes:
        source: The file's absolute path, or a folder that could not be searched.
        reason: A sentence or two for people.
        size: Of the file in bytes when that happened; -1 where the cause may lie outside of the file.
        mtime_ns: When the file had last been changed, in nanoseconds since 1970.
        failed_at: When it failed, ISO 8601, UTC.
    """

    source: str
    reason: str
    size: int = -1
    mtime_ns: int = -1
    failed_at: str = ""


@dataclass(frozen=True)
class TrackedPath:
    """A file or folder that was added, for a later `sync`.

    Attributes:
        path: Absolute, as `documents.sources.source_of` spells it.
        collections: Those that all documents in it are in.
        exclude: Patterns of what is left out below it.
    """

    path: str
    collections: tuple[str, ...] = (DEFAULT_COLLECTION,)
    exclude: tuple[str, ...] = ()


class FoundChunk(NamedTuple):
    """A chunk with its vector, float32 of shape (d,); None if that has been lost."""

    chunk: Chunk
    vector: FloatArray | None


class StoredChunk(NamedTuple):
    """A chunk with all that is kept beside it.

    Attributes:
        chunk: The chunk.
        collections: Those of its document.
        sha256: Of its document's file.
        metadata: That of its document.
        vector: Float32 of shape (d,); None if it has been lost.
    """

    chunk: Chunk
    collections: tuple[str, ...]
    sha256: str
    metadata: Mapping[str, str]
    vector: FloatArray | None


def as_collections(names: Iterable[str]) -> tuple[str, ...]:
    """Names of collections as they are stored: sorted, and the default one only where there is no other."""
    return tuple(sorted({*map(escaped, names)} - {DEFAULT_COLLECTION})) or (DEFAULT_COLLECTION,)


def text_digest(text: str) -> bytes:
    """16 bytes by which the vector of a text is kept."""
    return hashlib.sha256(text.encode()).digest()[:16]


def file_kind(source: str) -> str:
    """The ending of a file's name in lower case, with its dot."""
    return Path(source).suffix.lower()
