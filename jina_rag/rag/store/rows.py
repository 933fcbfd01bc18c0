"""Rows of the tables as the objects that they stand for. A row that is none is damage: it may come from elsewhere."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from types import NoneType
from typing import Any

import numpy as np

from jina_rag.rag.chunking import Chunk
from jina_rag.rag.documents.discovery import Skipped
from jina_rag.rag.documents.headings import Heading
from jina_rag.rag.documents.scans import PageScan
from jina_rag.rag.documents.types import Page
from jina_rag.rag.store.types import FoundChunk, IndexedDocument, StoredChunk, TrackedPath, text_digest
from jina_rag.vectors import FloatArray

DOCUMENT_COLUMNS = ", ".join(field.name for field in fields(IndexedDocument))
CHUNK_COLUMNS = ", ".join(f'chunks."{field.name}"' for field in fields(Chunk))

_OF_A_CHUNK: tuple[type | tuple[type, ...], ...] = (str, str, str, int, (int, NoneType), (str, NoneType), int, int, str)


def as_document(row: tuple[Any, ...]) -> IndexedDocument:
    """A document from `DOCUMENT_COLUMNS`."""
    values = dict(zip((field.name for field in fields(IndexedDocument)), row, strict=True))
    lists = {name: strings(values[name]) for name in ("collections", "notes")}
    values |= {**lists, "metadata": as_metadata(values["metadata"])}
    return IndexedDocument(**values)


def document_values(document: IndexedDocument) -> list[object]:
    """The values of its columns."""
    values = {field.name: getattr(document, field.name) for field in fields(document)}
    texts = {name: json.dumps(values[name], ensure_ascii=False) for name in ("collections", "notes", "metadata")}
    return list({**values, **texts}.values())


def as_chunk(row: Sequence[Any]) -> Chunk:
    """A chunk from `CHUNK_COLUMNS`."""
    if not all(map(isinstance, row, _OF_A_CHUNK)):
        raise sqlite3.DatabaseError(f"the chunk {row[0]!r} is damaged")
    return Chunk(*row)


def chunk_values(chunk: Chunk) -> list[object]:
    """The values of its columns, and the digest of its text."""
    return [*(getattr(chunk, field.name) for field in fields(chunk)), text_digest(chunk.text)]


def as_stored_chunk(row: tuple[Any, ...]) -> StoredChunk:
    """A chunk with its document's collections, hash and metadata and its vector, which come first in the row."""
    collections, sha256, metadata, vector, *columns = row
    chunk = as_chunk(columns)
    return StoredChunk(
        chunk, strings(collections), sha256, as_metadata(metadata), as_vector(vector) if vector else None
    )


def read_stored_chunks(connection: sqlite3.Connection, ids: Sequence[str], dimensions: int) -> dict[str, StoredChunk]:
    """The chunks that have these ids, by id; a vector of another width counts as lost."""
    rows = _rows_of_chunks(connection, ids, dimensions, "collections, sha256, metadata, ")
    return {stored.chunk.id: stored for stored in map(as_stored_chunk, rows)}


def read_chunks(connection: sqlite3.Connection, ids: Sequence[str], dimensions: int) -> dict[str, FoundChunk]:
    """The same without what is known of their documents, which a search has no use for."""
    rows = _rows_of_chunks(connection, ids, dimensions)
    found = (FoundChunk(as_chunk(columns), as_vector(vector) if vector else None) for vector, *columns in rows)
    return {each.chunk.id: each for each in found}


def _rows_of_chunks(
    connection: sqlite3.Connection, ids: Sequence[str], dimensions: int, more_columns: str = ""
) -> Iterable[tuple[Any, ...]]:
    query = f"""SELECT {more_columns}CASE length(vector) WHEN ? THEN vector END, {CHUNK_COLUMNS}
        FROM chunks JOIN documents USING (source) LEFT JOIN vectors USING (digest)
        WHERE chunks.id IN (SELECT value FROM json_each(?))"""  # noqa: S608 - our own columns
    return connection.execute(query, [4 * dimensions, json.dumps(list(ids))]) if ids else ()


def as_tracked_path(row: tuple[Any, ...]) -> TrackedPath:
    """A tracked path from its three columns."""
    path, collections, exclude = row
    return TrackedPath(path, strings(collections), strings(exclude))


def as_skipped(text: str) -> Skipped:
    """What is not read, from its column."""
    match _json(text):
        case {"endings": dict() as endings, "linked_folders": int() as n_folders, "linked_files": int() as n_files}:
            if all(isinstance(n, int) for n in endings.values()):
                return Skipped(Counter(endings), n_folders, n_files)
    raise sqlite3.DatabaseError("what was skipped is damaged")


def as_vector(stored: bytes) -> FloatArray:
    """A vector of shape (d,)."""
    if len(stored) % 4:
        raise sqlite3.DatabaseError("a vector is damaged")
    return np.frombuffer(stored, "<f4")


def read_vectors(
    connection: sqlite3.Connection, digests: Iterable[bytes], table: str = "vectors"
) -> dict[bytes, FloatArray]:
    """Vectors of texts by digest, from `vectors` or `staged_vectors`."""
    query = f"SELECT vector FROM {table} WHERE digest = ?"  # noqa: S608 - one of two names
    rows = ((digest, connection.execute(query, [digest]).fetchone()) for digest in digests)
    return {digest: as_vector(row[0]) for digest, row in rows if row}


def write_vectors(connection: sqlite3.Connection, vectors: Mapping[bytes, FloatArray], table: str = "vectors") -> None:
    """Keep vectors of texts by digest, in `vectors` or `staged_vectors`."""
    connection.executemany(
        f"INSERT OR REPLACE INTO {table} VALUES (?, ?)",  # noqa: S608 - one of two names
        [(digest, np.asarray(vector, "<f4").tobytes()) for digest, vector in vectors.items()],
    )


def as_metadata(text: str) -> dict[str, str]:
    """The metadata of a document from its column."""
    values = _json(text)
    if not (isinstance(values, dict) and all(isinstance(value, str) for value in values.values())):
        raise sqlite3.DatabaseError("metadata is damaged")
    return values


def as_scan(number: int, text: str) -> PageScan | None:
    """What OCR has read on a page, from its column."""
    match _json(text):
        case None:
            return None
        case [str() as content, list() as headings, bool() as is_turned, int() as n_unclear]:
            if all(map(_is_heading, headings)):
                page = Page(number, content, tuple(Heading(*heading) for heading in headings))
                return PageScan(page, is_turned, n_unclear)
    raise sqlite3.DatabaseError("a scan is damaged")


def _is_heading(values: object) -> bool:
    match values:
        case [int(), str(), int(), int()]:
            return True
    return False


def strings(text: str) -> tuple[str, ...]:
    """A list of texts from its column."""
    values = _json(text)
    if not (isinstance(values, list) and all(isinstance(value, str) for value in values)):
        raise sqlite3.DatabaseError("a list is damaged")
    return tuple(values)


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise sqlite3.DatabaseError(f"a list is damaged ({error})") from error
