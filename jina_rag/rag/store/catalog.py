"""What an index knows: documents, chunks, their words and vectors, and the fingerprint, in one SQLite file.

The manifest is the truth and Chroma follows it: a chunk counts once it stands here. A source whose vectors in Chroma
are being changed is noted first as unfinished, so that a process that was killed half-way leaves a trace to repair by.

The vector of each text is kept here too, by the text's digest. What was embedded once is therefore not embedded again:
not after a kill, not in a copy of the file, and not when Chroma's folder is lost.
"""

import hashlib
import heapq
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jina_rag.errors import IndexFolderError
from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.store import fulltext as lexical
from jina_rag.rag.store.filters import Filters
from jina_rag.rag.store.sqlite import Database
from jina_rag.vectors import FloatArray

MANIFEST = "index.sqlite3"
"""The file's name in the folder of an index."""

VERSION = 2

_VECTORS_AT_A_TIME = 4096
DEFAULT_COLLECTION = "default"

_NEW_TABLES = (
    "CREATE TABLE vectors (digest BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE roots (path TEXT PRIMARY KEY, collection TEXT NOT NULL, exclude TEXT NOT NULL)",
    """CREATE TABLE failed (
        source TEXT PRIMARY KEY, reason TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        failed_at TEXT NOT NULL
    )""",
    *lexical.TABLES,
)
_INDEXES = (
    "CREATE INDEX chunks_by_source ON chunks (source, position)",
    "CREATE INDEX chunks_by_digest ON chunks (digest)",
    "CREATE INDEX documents_by_collection ON documents (collection)",
)
_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE documents (
        source TEXT PRIMARY KEY, title TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL, n_chunks INTEGER NOT NULL, added_at TEXT NOT NULL,
        collection TEXT NOT NULL DEFAULT 'default', kind TEXT NOT NULL DEFAULT '', notes TEXT NOT NULL DEFAULT '[]'
    )""",
    """CREATE TABLE chunks (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL, title TEXT NOT NULL,
        position INTEGER NOT NULL, page INTEGER, heading TEXT, start INTEGER NOT NULL, "end" INTEGER NOT NULL,
        text TEXT NOT NULL, digest BLOB NOT NULL
    )""",
    "CREATE TABLE unfinished (source TEXT PRIMARY KEY)",
    *_NEW_TABLES,
    *_INDEXES,
    f"PRAGMA user_version = {VERSION}",
)


@dataclass(frozen=True)
class IndexedDocument:
    """A document as the index knows it.

    Attributes:
        source: The file's absolute path.
        title: What to call it in front of people.
        sha256: Of the file's bytes.
        size: Of the file, in bytes.
        mtime_ns: When the file was last changed, in nanoseconds since 1970.
        n_chunks: Into how many chunks it was cut.
        added_at: When it was added or last updated, ISO 8601, UTC.
        collection: The collection that it is in.
        kind: The ending of its name in lower case, such as ".pdf".
        notes: What people should know of how it was read, in sentences.
    """

    source: str
    title: str
    sha256: str
    size: int
    mtime_ns: int
    n_chunks: int
    added_at: str
    collection: str = DEFAULT_COLLECTION
    kind: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FailedDocument:
    """A document that could not be added, and why.

    Attributes:
        source: The file's absolute path, or a folder that could not be listed.
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
        path: Absolute.
        collection: Where its documents go.
        exclude: Patterns of what is left out below it.
    """

    path: str
    collection: str = DEFAULT_COLLECTION
    exclude: tuple[str, ...] = ()


class StoredChunk(NamedTuple):
    """A chunk with all that stands beside it.

    Attributes:
        chunk: The chunk.
        collection: That of its document.
        sha256: Of its document's file.
        vector: Float32 of shape (d,); None if it has been lost.
    """

    chunk: Chunk
    collection: str
    sha256: str
    vector: FloatArray | None


_DOCUMENT_NAMES = [field.name for field in fields(IndexedDocument)]
_DOCUMENT_COLUMNS = ", ".join(_DOCUMENT_NAMES)
_CHUNK_NAMES = [field.name for field in fields(Chunk)]
_CHUNK_COLUMNS = ", ".join(f'chunks."{name}"' for name in _CHUNK_NAMES)
_INSERT_CHUNK = (
    f"INSERT INTO chunks ({_CHUNK_COLUMNS.replace('chunks.', '')}, digest) "  # noqa: S608 - our own column names
    f"VALUES ({', '.join('?' * len(_CHUNK_NAMES))}, ?)"
)


def text_digest(text: str) -> bytes:
    """16 bytes by which the vector of a text is kept."""
    return hashlib.sha256(text.encode()).digest()[:16]


class Manifest:
    """The SQLite file of an index. Safe to call from many threads; every method is one transaction."""

    def __init__(self, path: Path) -> None:
        """Name a file; it is neither made nor opened yet."""
        self.path = path
        self._database = Database(path)

    def create(self, fingerprint: Fingerprint) -> None:
        """Make the file, unless it is there and complete."""
        with self._database.transaction(create=True) as connection:
            if not _version(connection):
                for statement in _TABLES:
                    connection.execute(statement)
                connection.execute("INSERT INTO meta VALUES ('fingerprint', ?)", [fingerprint.to_json()])
                connection.execute("INSERT INTO meta VALUES ('generation', 0)")

    def exists(self) -> bool:
        """Whether `create` has been here, and finished.

        Raises:
            IndexFolderError: there is such a file, and it is damaged or of another version.
        """
        if not self.path.is_file():
            return False
        with self._read() as connection:
            version = _version(connection)
        if version not in (0, VERSION):
            raise IndexFolderError(
                f"{self.path} was made by another version of jina-rag ({version} there, {VERSION} here). Install that, "
                "or delete the index and add the documents again."
            )
        return version == VERSION

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        self._database.close()

    def fingerprint(self) -> Fingerprint:
        """What the vectors were made with."""
        with self._read() as connection:
            ((text,),) = connection.execute("SELECT value FROM meta WHERE key = 'fingerprint'")
        return Fingerprint.from_json(text)

    def generation(self) -> int:
        """A number that grows whenever documents come, change or go, by whichever process."""
        with self._read() as connection:
            ((number,),) = connection.execute("SELECT value FROM meta WHERE key = 'generation'")
        return int(number)

    # What is in it

    def documents(self, collection: str | None = None) -> list[IndexedDocument]:
        """All documents, or those of one collection, by source."""
        condition, parameters = Filters(collections=(collection,) if collection else ()).condition()
        with self._read() as connection:
            rows = connection.execute(
                f"SELECT {_DOCUMENT_COLUMNS} FROM documents WHERE {condition} ORDER BY source",  # noqa: S608 - ours
                parameters,
            )
            return [_document(row) for row in rows]

    def collections(self) -> dict[str, int]:
        """How many documents there are in each collection."""
        with self._read() as connection:
            return dict(connection.execute("SELECT collection, count(*) FROM documents GROUP BY 1 ORDER BY 1"))

    def sources_below(self, paths: Iterable[str]) -> list[str]:
        """The documents that are these files, or lie in these folders."""
        condition = "source = ?1 OR instr(source, rtrim(?1, '/') || '/') = 1"
        with self._read() as connection:
            found = {
                source
                for path in paths
                for (source,) in connection.execute(f"SELECT source FROM documents WHERE {condition}", [path])  # noqa: S608
            }
        return sorted(found)

    def sources_with(self, sha256: str) -> list[str]:
        """The documents that have this content."""
        with self._read() as connection:
            rows = connection.execute("SELECT source FROM documents WHERE sha256 = ? ORDER BY source", [sha256])
            return [source for (source,) in rows]

    def chunks(self, ids: Iterable[str]) -> dict[str, Chunk]:
        """The chunks that have these ids, by id; ids that count for nothing are left out."""
        query = f"SELECT {_CHUNK_COLUMNS} FROM chunks WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
        with self._read() as connection:
            return {row[0]: Chunk(*row) for row in connection.execute(query, [json.dumps(list(ids))])}

    def chunks_of(self, source: str, first: int = 0, last: int | None = None) -> list[Chunk]:
        """The chunks of one document in order, or those from position `first` to `last`."""
        query = (
            f"SELECT {_CHUNK_COLUMNS} FROM chunks WHERE source = ? AND position >= ? "  # noqa: S608
            "AND position <= ifnull(?, position) ORDER BY position"
        )
        with self._read() as connection:
            return [Chunk(*row) for row in connection.execute(query, [source, first, last])]

    @contextmanager
    def contents(self, filters: Filters | None = None) -> Iterator[tuple[int, Iterator[StoredChunk]]]:
        """How many chunks `filters` lets through, and each of them by source and position: all as of one moment."""
        condition, parameters = (filters or Filters()).chunk_condition()
        wanted = f"FROM chunks JOIN documents ON documents.source = chunks.source WHERE {condition}"
        vector = "SELECT vector FROM vectors WHERE vectors.digest = chunks.digest"
        query = f"SELECT collection, sha256, ({vector}), {_CHUNK_COLUMNS} {wanted} ORDER BY chunks.source, position"
        with self._read() as connection:
            (count,) = connection.execute(f"SELECT count(*) {wanted}", parameters).fetchone()
            rows = connection.execute(query, parameters)
            yield count, (_stored_chunk(row) for row in rows)

    def sample(self, n: int) -> list[Chunk]:
        """At most `n` chunks, spread evenly over all."""
        with self._read() as connection:
            numbers = [row[0] for row in connection.execute("SELECT number FROM chunks ORDER BY source, position")]
            places = np.unique(np.linspace(0, len(numbers) - 1, min(n, len(numbers))).astype(int))
            query = f"SELECT {_CHUNK_COLUMNS} FROM chunks WHERE number = ?"  # noqa: S608
            return [Chunk(*connection.execute(query, [numbers[place]]).fetchone()) for place in places]

    def chunk_ids(self, filters: Filters | None = None) -> list[str]:
        """The ids of all chunks that `filters` lets through."""
        condition, parameters = (filters or Filters()).chunk_condition()
        with self._read() as connection:
            rows = connection.execute(f"SELECT id FROM chunks WHERE {condition}", parameters)  # noqa: S608
            return [id_ for (id_,) in rows]

    def count_chunks(self) -> int:
        """How many chunks there are in all."""
        with self._read() as connection:
            count: int = connection.execute("SELECT ifnull(sum(n_chunks), 0) FROM documents").fetchone()[0]
        return count

    def matching(self, query: str, k: int, filters: Filters | None = None) -> list[tuple[Chunk, float]]:
        """The `k` chunks whose words match best, each with its BM25 score; higher is better."""
        condition, parameters = filters.chunk_condition() if filters else ("", [])
        with self._read() as connection:
            found = lexical.search(connection, query, k, condition, parameters)
        chunks = self.chunks(id_ for id_, _ in found)
        return [(chunks[id_], score) for id_, score in found if id_ in chunks]

    def nearest(self, vector: FloatArray, n: int, filters: Filters | None = None) -> list[tuple[str, float]]:
        """Exact nearest neighbours: the ids of the `n` most similar chunks with their cosine similarity, best first.

        It compares with every vector, block by block. What `n` best ones have by now bounds its memory.

        Args:
            vector: Of shape (d,), unit length.
            n: How many at most.
            filters: Which documents count; None for all.
        """
        condition, parameters = (filters or Filters()).chunk_condition()
        query = f"""SELECT chunks.id, vector FROM chunks JOIN vectors USING (digest)
            WHERE length(vector) = ? AND {condition}"""  # noqa: S608 - our own condition
        best: list[tuple[str, float]] = []
        with self._read() as connection:
            rows = connection.execute(query, [4 * len(vector), *parameters])
            while block := rows.fetchmany(_VECTORS_AT_A_TIME):
                similarities = np.frombuffer(b"".join(row[1] for row in block), "<f4").reshape(len(block), -1) @ vector
                best += [(id_, float(cosine)) for (id_, _), cosine in zip(block, similarities, strict=True)]
                best = heapq.nlargest(n, best, key=lambda found: found[1])
        return best

    def vectors(self, digests: Iterable[bytes]) -> dict[bytes, FloatArray]:
        """The vectors of texts by their digests, each float32 of shape (d,); unknown ones are left out."""
        with self._read() as connection:
            return _vectors(connection, digests)

    def vectors_of(self, ids: Iterable[str]) -> dict[str, FloatArray]:
        """The vectors of chunks by the chunks' ids, each float32 of shape (d,); what is missing is left out."""
        query = """SELECT chunks.id, vector FROM chunks JOIN vectors USING (digest)
            WHERE chunks.id IN (SELECT value FROM json_each(?))"""
        with self._read() as connection:
            rows = connection.execute(query, [json.dumps(list(ids))])
            return {id_: _as_vector(vector) for id_, vector in rows}

    # Changes

    def begin(self, sources: Iterable[str], vectors: Mapping[bytes, FloatArray] | None = None) -> None:
        """Keep vectors of texts, and note that Chroma is about to change; `replace`, `remove` or `keep` ends that."""
        with self._write() as connection:
            _keep_vectors(connection, (vectors or {}).items())
            _note_unfinished(connection, sources)

    def replace(self, documents: Sequence[tuple[IndexedDocument, Sequence[Chunk]]]) -> None:
        """Put documents with their chunks in the place of what stood there."""
        with self._write() as connection:
            for document, chunks in documents:
                _delete(connection, document.source)
                connection.execute("DELETE FROM failed WHERE source = ?", [document.source])
                _insert_document(connection, document)
                _insert_chunks(connection, chunks)
            _advance(connection)

    def remove(self, sources: Iterable[str]) -> None:
        """Forget documents and their chunks."""
        with self._write() as connection:
            for source in sources:
                _delete(connection, source)
            _advance(connection)

    def keep(self, sources: Iterable[str]) -> None:
        """Note that Chroma holds again what stands here."""
        with self._write() as connection:
            connection.executemany("DELETE FROM unfinished WHERE source = ?", [(source,) for source in sources])
            _advance(connection)

    def unfinished(self) -> set[str]:
        """The sources whose vectors in Chroma may differ from what stands here."""
        with self._read() as connection:
            return {source for (source,) in connection.execute("SELECT source FROM unfinished")}

    def touch(self, files: Iterable[tuple[str, int, int]]) -> None:
        """Note source, size and mtime of files that were written again with the same content."""
        with self._write() as connection:
            for source, size, mtime_ns in files:
                connection.execute(
                    "UPDATE documents SET size = ?, mtime_ns = ? WHERE source = ?", [size, mtime_ns, source]
                )
                connection.execute("DELETE FROM failed WHERE source = ?", [source])

    def forget_unused_vectors(self) -> None:
        """Drop the vectors of texts that no chunk has any more."""
        with self._write() as connection:
            connection.execute("DELETE FROM vectors WHERE digest NOT IN (SELECT digest FROM chunks)")

    # Collections, tracked paths and failures

    def move(self, sources: Iterable[str], collection: str) -> None:
        """Put documents into another collection."""
        with self._write() as connection:
            connection.executemany(
                "UPDATE documents SET collection = ? WHERE source = ?", [(collection, source) for source in sources]
            )
            _advance(connection)

    def tracked_paths(self) -> list[TrackedPath]:
        """What was added, by path."""
        with self._read() as connection:
            rows = connection.execute("SELECT path, collection, exclude FROM roots ORDER BY path")
            return [TrackedPath(path, collection, tuple(json.loads(exclude))) for path, collection, exclude in rows]

    def add_tracked_paths(self, paths: Iterable[TrackedPath]) -> None:
        """Remember what was added."""
        with self._write() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO roots VALUES (?, ?, ?)",
                [(path.path, path.collection, json.dumps(path.exclude)) for path in paths],
            )

    def remove_tracked_paths(self, paths: Iterable[str]) -> None:
        """Forget that these were added."""
        with self._write() as connection:
            connection.executemany("DELETE FROM roots WHERE path = ?", [(path,) for path in paths])

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

    # Rebuilding and checking

    def stage_vectors(self, fingerprint: Fingerprint, vectors: Mapping[bytes, FloatArray]) -> None:
        """Keep vectors of another model beside those in use, until `adopt_staged`."""
        with self._write() as connection:
            if _staged_fingerprint(connection) != fingerprint.to_json():
                connection.execute("DROP TABLE IF EXISTS staged_vectors")
                connection.execute("CREATE TABLE staged_vectors (digest BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('staged', ?)", [fingerprint.to_json()])
            _keep_vectors(connection, vectors.items(), "staged_vectors")

    def staged_vectors(self, fingerprint: Fingerprint, digests: Iterable[bytes]) -> dict[bytes, FloatArray]:
        """The vectors that `stage_vectors` kept for a model, by digest."""
        with self._read() as connection:
            if _staged_fingerprint(connection) != fingerprint.to_json():
                return {}
            return _vectors(connection, digests, "staged_vectors")

    def adopt(self, fingerprint: Fingerprint, new_ids: Mapping[str, str], folder: str) -> None:
        """Take over another model's vectors, chunk ids and Chroma folder, all at once; make the words anew.

        Args:
            fingerprint: Of the model; its vectors are staged, or it is the one in use.
            new_ids: The new id of every chunk by its old one.
            folder: The Chroma folder that holds the vectors from now on, until `settle`.
        """
        with self._write() as connection:
            if _staged_fingerprint(connection) == fingerprint.to_json():
                connection.execute("DROP TABLE vectors")
                connection.execute("ALTER TABLE staged_vectors RENAME TO vectors")
            connection.execute("DROP TABLE IF EXISTS staged_vectors")
            connection.execute("DELETE FROM meta WHERE key = 'staged'")
            connection.execute("UPDATE meta SET value = ? WHERE key = 'fingerprint'", [fingerprint.to_json()])
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('chroma', ?)", [folder])
            connection.executemany(
                "UPDATE chunks SET id = ? WHERE id = ?", [(new, old) for old, new in new_ids.items()]
            )
            _renew_words(connection)
            connection.execute("DELETE FROM unfinished")
            _advance(connection)

    def chroma_folder(self) -> str | None:
        """The name of a Chroma folder that has been adopted and not yet been renamed."""
        with self._read() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = 'chroma'").fetchone()
        return row[0] if row else None

    def settle(self) -> None:
        """Note that the adopted Chroma folder bears its usual name."""
        with self._write() as connection:
            connection.execute("DELETE FROM meta WHERE key = 'chroma'")
            _advance(connection)

    def staged(self) -> bool:
        """Whether a rebuild to another model has begun and not ended."""
        with self._read() as connection:
            return _staged_fingerprint(connection) is not None

    def check(self) -> list[str]:
        """What SQLite finds wrong with the file; empty if nothing."""
        with self._read() as connection:
            found = [row[0] for row in connection.execute("PRAGMA quick_check(5)")]
        return [] if found == ["ok"] else found

    def faults(self) -> dict[str, int]:
        """How many rows disagree with others: kinds of fault with their counts, those that occur."""
        with self._read() as connection:
            counts = {name: connection.execute(query).fetchone()[0] for name, query in _FAULTS.items()}
        return {name: count for name, count in counts.items() if count}

    def tidy(self) -> None:
        """Drop chunks without a document; documents that have lost chunks are read again by the next `sync`."""
        with self._write() as connection:
            connection.execute("DELETE FROM chunks WHERE source NOT IN (SELECT source FROM documents)")
            connection.execute("DELETE FROM lexical WHERE rowid NOT IN (SELECT number FROM chunks)")
            connection.execute(
                """UPDATE documents SET sha256 = '', mtime_ns = -1,
                n_chunks = (SELECT count(*) FROM chunks WHERE chunks.source = documents.source)
                WHERE n_chunks != (SELECT count(*) FROM chunks WHERE chunks.source = documents.source)"""
            )

    def _read(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._database.transaction()

    def _write(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._database.transaction(write=True)


_FAULTS = {
    "chunks without a document": "SELECT count(*) FROM chunks WHERE source NOT IN (SELECT source FROM documents)",
    "documents whose chunks are not as many as noted": """SELECT count(*) FROM documents
        WHERE n_chunks != (SELECT count(*) FROM chunks WHERE chunks.source = documents.source)""",
    "chunks that can't be found by their words": """SELECT count(*) FROM chunks
        WHERE number NOT IN (SELECT id FROM lexical_docsize)""",
    "words of chunks that are gone": """SELECT count(*) FROM lexical_docsize
        WHERE id NOT IN (SELECT number FROM chunks)""",
    "chunks whose vectors are not kept": "SELECT count(*) FROM chunks WHERE digest NOT IN (SELECT digest FROM vectors)",
}


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _advance(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")


def _note_unfinished(connection: sqlite3.Connection, sources: Iterable[str]) -> None:
    connection.executemany("INSERT OR IGNORE INTO unfinished VALUES (?)", [(source,) for source in sources])


def _delete(connection: sqlite3.Connection, source: str) -> None:
    lexical.delete(connection, source)
    for table in ("documents", "chunks", "unfinished"):
        connection.execute(f"DELETE FROM {table} WHERE source = ?", [source])  # noqa: S608 - a name from above


def _document(row: tuple[Any, ...]) -> IndexedDocument:
    return replace(IndexedDocument(*row), notes=tuple(json.loads(row[-1])))


def _stored_chunk(row: tuple[Any, ...]) -> StoredChunk:
    collection, sha256, vector, *columns = row
    return StoredChunk(Chunk(*columns), collection, sha256, _as_vector(vector) if vector else None)


def _insert_document(connection: sqlite3.Connection, document: IndexedDocument) -> None:
    values = [getattr(document, name) for name in _DOCUMENT_NAMES[:-1]]
    query = f"INSERT INTO documents ({_DOCUMENT_COLUMNS}) VALUES ({', '.join('?' * len(_DOCUMENT_NAMES))})"  # noqa: S608
    connection.execute(query, [*values, json.dumps(document.notes, ensure_ascii=False)])


def _insert_chunks(connection: sqlite3.Connection, chunks: Sequence[Chunk]) -> None:
    rows = ([*(getattr(chunk, name) for name in _CHUNK_NAMES), text_digest(chunk.text)] for chunk in chunks)
    connection.executemany(_INSERT_CHUNK, rows)
    lexical.add(connection, chunks)


def _keep_vectors(
    connection: sqlite3.Connection, vectors: Iterable[tuple[bytes, FloatArray]], table: str = "vectors"
) -> None:
    connection.executemany(
        f"INSERT OR REPLACE INTO {table} VALUES (?, ?)",  # noqa: S608 - one of two names
        [(digest, np.asarray(vector, "<f4").tobytes()) for digest, vector in vectors],
    )


def _vectors(
    connection: sqlite3.Connection, digests: Iterable[bytes], table: str = "vectors"
) -> dict[bytes, FloatArray]:
    query = f"SELECT vector FROM {table} WHERE digest = ?"  # noqa: S608 - one of two names
    rows = ((digest, connection.execute(query, [digest]).fetchone()) for digest in digests)
    return {digest: _as_vector(row[0]) for digest, row in rows if row}


def _as_vector(stored: bytes) -> FloatArray:
    return np.frombuffer(stored, "<f4")


def _staged_fingerprint(connection: sqlite3.Connection) -> str | None:
    row = connection.execute("SELECT value FROM meta WHERE key = 'staged'").fetchone()
    return row[0] if row else None


def _renew_words(connection: sqlite3.Connection) -> None:
    lexical.clear(connection)
    query = f"SELECT {_CHUNK_COLUMNS} FROM chunks ORDER BY source, position"  # noqa: S608
    lexical.add(connection, (Chunk(*row) for row in connection.execute(query)))


def file_kind(source: str) -> str:
    """The ending of a file's name in lower case, with its dot."""
    return Path(source).suffix.lower()
