"""`Catalog`: what an index knows, in one SQLite file: documents, chunks, their words and vectors, and the fingerprint.

The vector of each text is kept by the text's digest. What was embedded once is therefore not embedded again: not after
a kill, not in a copy of the file, and not when Chroma's folder is lost.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.documents.discovery import Skipped
from jina_rag.rag.documents.scans import PageScan
from jina_rag.rag.store import faults, fulltext, journal, keeping, searching
from jina_rag.rag.store.filters import Filters
from jina_rag.rag.store.rows import (
    CHUNK_COLUMNS,
    DOCUMENT_COLUMNS,
    as_chunk,
    as_document,
    as_metadata,
    as_skipped,
    as_stored_chunk,
    as_tracked_path,
    chunk_values,
    document_values,
    read_chunks,
    read_stored_chunks,
    read_vectors,
    strings,
    write_vectors,
)
from jina_rag.rag.store.schema import version
from jina_rag.rag.store.searching import Matches
from jina_rag.rag.store.sqlite import Database
from jina_rag.rag.store.types import FailedDocument, FoundChunk, IndexedDocument, StoredChunk, TrackedPath
from jina_rag.vectors import FloatArray

CATALOG = "index.sqlite3"
"""The file's name in the folder of an index."""

SEPARATOR = os.sep


class Catalog:
    """The SQLite file of an index. Safe to call from many threads; every method is one transaction."""

    def __init__(self, path: Path) -> None:
        """Name a file; it is neither made nor opened yet."""
        self.path = path
        self._database = Database(path)

    def create(self, fingerprint: Fingerprint) -> None:
        """Make the file, unless it is there and complete."""
        with self._database.transaction(create=True) as connection:
            values = {"fingerprint": fingerprint.to_json(), "generation": "0", "seal": "", "staged": ""}
            connection.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", values.items())

    def exists(self) -> bool:
        """Whether `create` has been here, and finished.

        Raises:
            IndexFolderError: there is such a file, and it is damaged, of another version or of another making.
        """
        if not self.path.is_file():
            return False
        with self._read() as connection:
            return version(connection) > 0

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        self._database.close()

    def fingerprint(self) -> Fingerprint:
        """What the vectors were made with."""
        with self._read() as connection:
            return Fingerprint.from_json(_meta(connection, "fingerprint"))

    def generation(self) -> int:
        """A number that grows whenever Chroma has followed a change, in whichever process."""
        with self._read() as connection:
            return int(_meta(connection, "generation"))

    def seal(self) -> str:
        """Of the Chroma folder, as `store.seal` makes it; empty if there is none."""
        with self._read() as connection:
            return _meta(connection, "seal")

    # What is in it

    def documents(self, collection: str | None = None) -> list[IndexedDocument]:
        """All documents, or those of one collection, by source."""
        condition, parameters = Filters(collections=(collection,) if collection else ()).condition()
        with self._read() as connection:
            rows = connection.execute(
                f"SELECT {DOCUMENT_COLUMNS} FROM documents WHERE {condition} ORDER BY source",  # noqa: S608 - ours
                parameters,
            )
            return [as_document(row) for row in rows]

    def sources(self) -> list[str]:
        """The sources of all documents, in order."""
        with self._read() as connection:
            return [source for (source,) in connection.execute("SELECT source FROM documents ORDER BY source")]

    def count_documents(self) -> int:
        """How many documents there are."""
        return self._count("documents")

    def count_documents_with_notes(self) -> int:
        """How many documents have notes on how they were read."""
        return self._count("documents WHERE notes != '[]'")

    def count_documents_of_other_versions(self, reading_version: int) -> int:
        """How many documents were read with another version."""
        return self._count("documents WHERE reading_version != ?", reading_version)

    def collections(self) -> dict[str, int]:
        """How many documents there are in each collection."""
        with self._read() as connection:
            query = "SELECT value, count(*) FROM documents, json_each(documents.collections) GROUP BY 1 ORDER BY 1"
            return dict(connection.execute(query))

    def file_types(self) -> list[str]:
        """The endings of all documents' names."""
        with self._read() as connection:
            return [kind for (kind,) in connection.execute("SELECT DISTINCT kind FROM documents")]

    def sources_below(self, paths: Iterable[str]) -> list[str]:
        """The documents that are these files, or lie in these folders."""
        query = "SELECT source FROM documents WHERE source = :path OR instr(source, rtrim(:path, :end) || :end) = 1"
        with self._read() as connection:
            rows = (connection.execute(query, {"path": path, "end": SEPARATOR}) for path in paths)
            found = {source for found_below in rows for (source,) in found_below}
        return sorted(found)

    def sources_with(self, sha256: str) -> list[str]:
        """The documents that have this content."""
        with self._read() as connection:
            rows = connection.execute("SELECT source FROM documents WHERE sha256 = ? ORDER BY source", [sha256])
            return [source for (source,) in rows]

    def chunks(self, ids: Iterable[str]) -> dict[str, Chunk]:
        """The chunks that have these ids, by id; ids that count for nothing are left out."""
        query = f"SELECT {CHUNK_COLUMNS} FROM chunks WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
        with self._read() as connection:
            return {row[0]: as_chunk(row) for row in connection.execute(query, [json.dumps(list(ids))])}

    def chunks_of(self, source: str) -> list[Chunk]:
        """The chunks of one document in order."""
        query = f"SELECT {CHUNK_COLUMNS} FROM chunks WHERE source = ? ORDER BY position"  # noqa: S608
        with self._read() as connection:
            return [as_chunk(row) for row in connection.execute(query, [source])]

    def windows(self, chunks: Sequence[Chunk], n: int) -> list[list[Chunk]]:
        """For each of some chunks at most `n` before and `n` after it in its document, in order, without itself."""
        query = f"""SELECT {CHUNK_COLUMNS} FROM chunks
            WHERE source = ? AND position BETWEEN ? AND ? AND position != ? ORDER BY position"""  # noqa: S608
        with self._read() as connection:
            return [
                [
                    as_chunk(row)
                    for row in connection.execute(query, [one.source, one.position - n, one.position + n, one.position])
                ]
                for one in chunks
            ]

    @contextmanager
    def contents(self, filters: Filters | None = None) -> Iterator[tuple[int, Iterator[StoredChunk]]]:
        """How many chunks `filters` lets through, and each of them by source and position: all as of one moment."""
        condition, parameters = (filters or Filters()).chunk_condition()
        wanted = f"FROM chunks JOIN documents ON documents.source = chunks.source WHERE {condition}"
        vector = "SELECT vector FROM vectors WHERE vectors.digest = chunks.digest"
        columns = f"collections, sha256, metadata, ({vector}), {CHUNK_COLUMNS}"
        query = f"SELECT {columns} {wanted} ORDER BY chunks.source, position"
        with self._read() as connection:
            (count,) = connection.execute(f"SELECT count(*) {wanted}", parameters).fetchone()
            rows = connection.execute(query, parameters)
            yield count, (as_stored_chunk(row) for row in rows)

    def sample(self, n: int) -> list[Chunk]:
        """At most `n` chunks, spread evenly over all."""
        with self._read() as connection:
            numbers = [row[0] for row in connection.execute("SELECT number FROM chunks ORDER BY source, position")]
            places = np.unique(np.linspace(0, len(numbers) - 1, min(n, len(numbers))).astype(int))
            query = f"SELECT {CHUNK_COLUMNS} FROM chunks WHERE number = ?"  # noqa: S608
            return [as_chunk(connection.execute(query, [numbers[place]]).fetchone()) for place in places]

    def chunk_ids(self) -> list[str]:
        """The ids of all chunks."""
        with self._read() as connection:
            return [id_ for (id_,) in connection.execute("SELECT id FROM chunks")]

    def count_chunks(self) -> int:
        """How many chunks can be found."""
        with self._read() as connection:
            return fulltext.count(connection)

    def vectors(self, digests: Iterable[bytes]) -> dict[bytes, FloatArray]:
        """The vectors of texts by their digests, each float32 of shape (d,); unknown ones are left out."""
        with self._read() as connection:
            return read_vectors(connection, digests)

    # Searching

    def matches(self, query: str, n: int, filters: Filters, *, with_ids: bool) -> Matches:
        """The first read of a search: all that is known before Chroma is asked.

        Args:
            query: Whose words are looked for; empty for none.
            n: How many chunks to find by them.
            filters: Which documents count.
            with_ids: Whether the ids that the filters let through are asked for.
        """
        with self._read() as connection:
            return searching.matches(connection, query, n, filters, with_ids=with_ids)

    def best_of(self, ids: Sequence[str], n: int, dimensions: int) -> dict[str, FoundChunk]:
        """The second read of a search: the first `n` of `ids` that are chunks, by id, with their vectors."""
        with self._read() as connection:
            found = read_chunks(connection, ids[:n], dimensions)
            if len(found) < min(n, len(ids)):  # some were removed since, or are in Chroma alone
                found |= read_chunks(connection, ids[n:], dimensions)
            return found

    def nearest(self, vector: FloatArray, n: int, filters: Filters) -> dict[str, FoundChunk]:
        """The second read where Chroma can't be asked: exact nearest neighbours, by id.

        Args:
            vector: Of shape (d,), unit length.
            n: How many at most.
            filters: Which documents count.
        """
        with self._read() as connection:
            return searching.nearest(connection, vector, n, filters)

    # Changes: what touches chunks marks them dirty, until Chroma has followed

    def keep_vectors(self, vectors: Mapping[bytes, FloatArray]) -> None:
        """Keep the vectors of texts by digest, also of texts that are no chunks yet."""
        with self._write() as connection:
            write_vectors(connection, vectors)

    def replace(
        self, documents: Sequence[tuple[IndexedDocument, Sequence[Chunk]]], vectors: Mapping[bytes, FloatArray]
    ) -> None:
        """Put documents with their chunks in the place of what stood there, and keep vectors of texts by digest."""
        with self._write() as connection:
            write_vectors(connection, vectors)
            for document, chunks in documents:
                query = "SELECT collections, metadata FROM documents WHERE source = ?"
                row = connection.execute(query, [document.source]).fetchone()
                is_moved = not row or (strings(row[0]), as_metadata(row[1])) != (
                    document.collections,
                    document.metadata,
                )
                before = _delete(connection, document.source)
                connection.execute("DELETE FROM failed WHERE source = ?", [document.source])
                marks = ", ".join("?" * len(fields(IndexedDocument)))
                query = f"INSERT INTO documents ({DOCUMENT_COLUMNS}) VALUES ({marks})"  # noqa: S608 - our own columns
                connection.execute(query, document_values(document))
                marks = ", ".join("?" * (len(fields(Chunk)) + 1))
                columns = CHUNK_COLUMNS.replace("chunks.", "")
                connection.executemany(
                    f"INSERT INTO chunks ({columns}, digest) VALUES ({marks})",  # noqa: S608 - our own columns
                    map(chunk_values, chunks),
                )
                fulltext.add(connection, chunks)
                after = {chunk.id: chunk for chunk in chunks}
                ids = (id_ for id_ in before | after if is_moved or before.get(id_) != after.get(id_))
                journal.mark_dirty(connection, ids)

    def remove(self, sources: Iterable[str], *, for_good: bool) -> None:
        """Forget documents and their chunks.

        Args:
            sources: The documents.
            for_good: Forget the vectors and scans that nothing else has, too, and all others that are unused; else
                they are kept for `keeping.DAYS_KEPT` days.
        """
        with self._write() as connection:
            for source in sources:
                journal.mark_dirty(connection, _delete(connection, source))
            keeping.forget_unused(connection, 0 if for_good else keeping.DAYS_KEPT)

    def set_collections(self, collections: Mapping[str, Sequence[str]]) -> None:
        """Put documents, named by source, into other collections."""
        with self._write() as connection:
            for source, names in collections.items():
                row = [json.dumps(names, ensure_ascii=False), source]
                connection.execute("UPDATE documents SET collections = ? WHERE source = ?", row)
                ids = connection.execute("SELECT id FROM chunks WHERE source = ?", [source]).fetchall()
                journal.mark_dirty(connection, [id_ for (id_,) in ids])

    def forget_unused(self) -> None:
        """Drop vectors and scans that nothing has had for `keeping.DAYS_KEPT` days."""
        with self._write() as connection:
            keeping.forget_unused(connection, keeping.DAYS_KEPT)

    def scans(self, sha256: str) -> dict[int, PageScan | None]:
        """What OCR has read on the pages of a file, without boxes, by page; None where the page's text says no less."""
        with self._read() as connection:
            return keeping.scans(connection, sha256)

    def keep_scan(self, sha256: str, page: int, scan: PageScan | None) -> None:
        """Keep what OCR has read on a page of a file."""
        with self._write() as connection:
            keeping.keep_scan(connection, sha256, page, scan)

    def touch(self, files: Iterable[tuple[str, int, int]]) -> None:
        """Note source, size and mtime of files that were written again with the same content."""
        with self._write() as connection:
            for source, size, mtime_ns in files:
                connection.execute(
                    "UPDATE documents SET size = ?, mtime_ns = ? WHERE source = ?", [size, mtime_ns, source]
                )
                connection.execute("DELETE FROM failed WHERE source = ?", [source])

    # Collections, tracked paths and failures

    def tracked_paths(self) -> list[TrackedPath]:
        """What was added, by path."""
        with self._read() as connection:
            rows = connection.execute("SELECT path, collections, exclude FROM tracked_paths ORDER BY path")
            return [as_tracked_path(row) for row in rows]

    def add_tracked_paths(self, paths: Iterable[TrackedPath]) -> None:
        """Remember what was added."""
        with self._write() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO tracked_paths VALUES (?, ?, ?)",
                [(path.path, json.dumps(path.collections), json.dumps(path.exclude)) for path in paths],
            )

    def remove_tracked_paths(self, paths: Iterable[str]) -> None:
        """Forget that these were added."""
        with self._write() as connection:
            for path in paths:
                connection.execute("DELETE FROM tracked_paths WHERE path = ?", [path])
                connection.execute("DELETE FROM skipped WHERE path = ?", [path])

    def skipped(self) -> dict[str, Skipped]:
        """What lies in each tracked path and is not read, as it was found last."""
        with self._read() as connection:
            return {path: as_skipped(what) for path, what in connection.execute("SELECT path, what FROM skipped")}

    def set_skipped(self, skipped: Mapping[str, Skipped]) -> None:
        """Remember what lies in tracked paths and is not read."""
        with self._write() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO skipped SELECT path, ? FROM tracked_paths WHERE path = ?",
                [(json.dumps(what.as_dict()), path) for path, what in skipped.items()],
            )

    def removed(self) -> set[str]:
        """Files and folders that were removed and stay out."""
        with self._read() as connection:
            return {path for (path,) in connection.execute("SELECT path FROM removed")}

    def keep_out(self, paths: Iterable[str]) -> None:
        """Remember that files and folders were removed."""
        with self._write() as connection:
            connection.executemany("INSERT OR IGNORE INTO removed VALUES (?)", [(path,) for path in paths])

    def let_in(self, paths: Iterable[str]) -> None:
        """Forget that files and folders were removed."""
        with self._write() as connection:
            connection.executemany("DELETE FROM removed WHERE path = ?", [(path,) for path in paths])

    def failed(self) -> list[FailedDocument]:
        """The files that could not be added, by source."""
        with self._read() as connection:
            rows = connection.execute("SELECT source, reason, size, mtime_ns, failed_at FROM failed ORDER BY source")
            return [FailedDocument(*row) for row in rows]

    def add_failed(self, failed: Iterable[FailedDocument]) -> None:
        """Remember files that could not be added."""
        with self._write() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO failed VALUES (?, ?, ?, ?, ?)",
                [(item.source, item.reason, item.size, item.mtime_ns, item.failed_at) for item in failed],
            )

    def remove_failed(self, sources: Iterable[str]) -> None:
        """Forget failures."""
        with self._write() as connection:
            connection.executemany("DELETE FROM failed WHERE source = ?", [(source,) for source in sources])

    # Following: the notes of what Chroma has still to do

    def count_dirty(self) -> int:
        """How many chunks Chroma may hold in another state, lack, or have too many."""
        with self._read() as connection:
            return journal.count_dirty(connection)

    def dirty(self, n: int) -> dict[str, StoredChunk | None]:
        """At most `n` dirty ids with their chunks; None where there is no such chunk any more."""
        with self._read() as connection:
            ids = journal.dirty_ids(connection, n)
            dimensions = Fingerprint.from_json(_meta(connection, "fingerprint")).dimensions
            chunks = read_stored_chunks(connection, ids, dimensions)
            return {id_: chunks.get(id_) for id_ in ids}

    def mark_dirty(self, ids: Iterable[str]) -> None:
        """Note that Chroma may differ in these."""
        with self._write() as connection:
            journal.mark_dirty(connection, ids)

    def clear_dirty(self, ids: Iterable[str]) -> int:
        """Note that Chroma has followed in these. Returns the generation from then on."""
        with self._write() as connection:
            journal.clear_dirty(connection, ids)
            connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")
            return int(_meta(connection, "generation"))

    def begin_chroma(self, seal: str = "") -> None:
        """Note that Chroma's folder is made anew, with nothing in it; `seal` once it is there."""
        with self._write() as connection:
            connection.execute("UPDATE meta SET value = ? WHERE key = 'seal'", [seal])
            connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")
            connection.execute("DELETE FROM dirty")
            connection.execute("INSERT INTO dirty SELECT id FROM chunks")

    # Rebuilding and checking

    def stage_vectors(self, fingerprint: Fingerprint, vectors: Mapping[bytes, FloatArray]) -> None:
        """Keep vectors of another model beside those in use, until `swap_in`."""
        with self._write() as connection:
            journal.stage_vectors(connection, fingerprint, vectors)

    def staged_vectors(self, fingerprint: Fingerprint, digests: Iterable[bytes]) -> dict[bytes, FloatArray]:
        """The vectors that `stage_vectors` kept for a model, by digest."""
        with self._read() as connection:
            return journal.staged_vectors(connection, fingerprint, digests)

    def swap_in(self, fingerprint: Fingerprint, new_ids: Mapping[str, str]) -> None:
        """Take over the staged vectors and the fingerprint of their model, and new chunk ids by the old, all at once.

        Chroma's folder counts for nothing from then on.
        """
        with self._write() as connection:
            journal.swap_in(connection, fingerprint, new_ids)

    def is_staged(self) -> bool:
        """Whether a rebuild to another model has begun and not ended."""
        with self._read() as connection:
            return bool(_meta(connection, "staged"))

    def check(self) -> list[str]:
        """What SQLite finds wrong with the file; empty if nothing."""
        with self._read() as connection:
            found = [row[0] for row in connection.execute("PRAGMA quick_check(5)")]
        return [] if found == ["ok"] else found

    def faults(self) -> dict[str, int]:
        """How many rows disagree with others: kinds of fault with their counts, those that occur."""
        with self._read() as connection:
            return faults.count(connection)

    def delete_orphans(self) -> None:
        """Drop chunks without a document, and make all words anew; `sync` reads documents that have lost chunks."""
        with self._write() as connection:
            faults.delete_orphans(connection)

    def _count(self, rows: str, *parameters: int) -> int:
        with self._read() as connection:
            count: int = connection.execute(f"SELECT count(*) FROM {rows}", parameters).fetchone()[0]  # noqa: S608 - ours
            return count

    def _read(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._database.transaction()

    def _write(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._database.transaction(write=True)


def _meta(connection: sqlite3.Connection, key: str) -> str:
    row: tuple[Any] | None = connection.execute("SELECT value FROM meta WHERE key = ?", [key]).fetchone()
    if row is None:
        raise sqlite3.DatabaseError(f"{key} is missing")
    return str(row[0])


def _delete(connection: sqlite3.Connection, source: str) -> dict[str, Chunk]:
    """Forget a document. Returns the chunks that it had, by id."""
    query = f"SELECT {CHUNK_COLUMNS} FROM chunks WHERE source = ?"  # noqa: S608
    chunks = [as_chunk(row) for row in connection.execute(query, [source])]
    fulltext.delete(connection, source)
    keeping.date_scans(connection, source)
    connection.execute("DELETE FROM documents WHERE source = ?", [source])
    connection.execute("DELETE FROM chunks WHERE source = ?", [source])
    return {chunk.id: chunk for chunk in chunks}
