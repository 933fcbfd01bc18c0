"""What an index knows besides vectors: its documents, their chunks and the fingerprint, in one SQLite file.

The manifest is the truth and the vectors follow it: a chunk counts once it stands here. A source whose vectors are
being changed is noted first as unfinished, so that a process that was killed half-way leaves a trace to repair by.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from jina_rag.errors import IndexFolderError
from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.chunking import Chunk

_VERSION = 1
_SECONDS_TO_WAIT = 30.0

_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE documents (
        source TEXT PRIMARY KEY, title TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL, n_chunks INTEGER NOT NULL, added_at TEXT NOT NULL
    )""",
    """CREATE TABLE chunks (
        id TEXT PRIMARY KEY, source TEXT NOT NULL, title TEXT NOT NULL, position INTEGER NOT NULL, page INTEGER,
        heading TEXT, start INTEGER NOT NULL, "end" INTEGER NOT NULL, text TEXT NOT NULL
    )""",
    "CREATE INDEX chunks_by_source ON chunks (source, position)",
    "CREATE TABLE unfinished (source TEXT PRIMARY KEY)",
    f"PRAGMA user_version = {_VERSION}",
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
    """

    source: str
    title: str
    sha256: str
    size: int
    mtime_ns: int
    n_chunks: int
    added_at: str


_DOCUMENT_COLUMNS = ", ".join(field.name for field in fields(IndexedDocument))
_CHUNK_COLUMNS = ", ".join(f'"{field.name}"' for field in fields(Chunk))


class Manifest:
    """The SQLite file of an index. Safe to call from many threads; every method is one transaction."""

    def __init__(self, path: Path) -> None:
        """Name a file; it is neither made nor opened yet."""
        self.path = path

    def create(self, fingerprint: Fingerprint) -> None:
        """Make the file, unless it is there and complete."""
        with self._transaction(create=True) as connection:
            if not _version(connection):
                for statement in _TABLES:
                    connection.execute(statement)
                connection.execute("INSERT INTO meta VALUES ('fingerprint', ?)", [fingerprint.to_json()])
                connection.execute("INSERT INTO meta VALUES ('generation', 0)")

    def exists(self) -> bool:
        """Whether `create` has been here, and finished.

        Raises:
            IndexFolderError: there is such a file, and it is damaged or of a later version.
        """
        if not self.path.is_file():
            return False
        with self._transaction() as connection:
            version = _version(connection)
        if version > _VERSION:
            raise IndexFolderError(
                f"{self.path} was made by a later version of jina-rag. Install that: pip install --upgrade jina-rag"
            )
        return version > 0

    def fingerprint(self) -> Fingerprint:
        """What the vectors were made with."""
        with self._transaction() as connection:
            ((text,),) = connection.execute("SELECT value FROM meta WHERE key = 'fingerprint'")
        return Fingerprint.from_json(text)

    def generation(self) -> int:
        """A number that grows with every `replace` and `remove`, by whichever process."""
        with self._transaction() as connection:
            ((number,),) = connection.execute("SELECT value FROM meta WHERE key = 'generation'")
        return int(number)

    def documents(self) -> list[IndexedDocument]:
        """All documents, by source."""
        with self._transaction() as connection:
            rows = connection.execute(f"SELECT {_DOCUMENT_COLUMNS} FROM documents ORDER BY source")  # noqa: S608 - our own column names
            return [IndexedDocument(*row) for row in rows]

    def chunks(self, ids: Iterable[str]) -> dict[str, Chunk]:
        """The chunks that have these ids, by id; ids that count for nothing are left out."""
        query = f"SELECT {_CHUNK_COLUMNS} FROM chunks WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
        with self._transaction() as connection:
            return {row[0]: Chunk(*row) for row in connection.execute(query, [json.dumps(list(ids))])}

    def chunks_of(self, source: str) -> list[Chunk]:
        """The chunks of one document in order."""
        query = f"SELECT {_CHUNK_COLUMNS} FROM chunks WHERE source = ? ORDER BY position"  # noqa: S608
        with self._transaction() as connection:
            return [Chunk(*row) for row in connection.execute(query, [source])]

    def count_chunks(self) -> int:
        """How many chunks there are in all."""
        with self._transaction() as connection:
            count: int = connection.execute("SELECT count(*) FROM chunks").fetchone()[0]
        return count

    def unfinished(self) -> set[str]:
        """The sources whose vectors may differ from what stands here."""
        with self._transaction() as connection:
            return {source for (source,) in connection.execute("SELECT source FROM unfinished")}

    def begin(self, source: str) -> None:
        """Note that the vectors of a source are about to change; `replace`, `remove` or `keep` ends it."""
        with self._transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO unfinished VALUES (?)", [source])

    def replace(self, document: IndexedDocument, chunks: Sequence[Chunk]) -> None:
        """Put a document and its chunks in the place of what stood there."""
        with self._transaction() as connection:
            _delete(connection, document.source)
            connection.execute(f"INSERT INTO documents VALUES ({_marks(IndexedDocument)})", astuple(document))  # noqa: S608
            connection.executemany(f"INSERT INTO chunks VALUES ({_marks(Chunk)})", map(astuple, chunks))  # noqa: S608

    def remove(self, source: str) -> None:
        """Forget a document and its chunks."""
        with self._transaction() as connection:
            _delete(connection, source)

    def keep(self, source: str) -> None:
        """Note that the vectors of a source are again what stands here."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM unfinished WHERE source = ?", [source])

    def touch(self, source: str, size: int, mtime_ns: int) -> None:
        """Note that a file was written again with the same content."""
        with self._transaction() as connection:
            connection.execute("UPDATE documents SET size = ?, mtime_ns = ? WHERE source = ?", [size, mtime_ns, source])

    @contextmanager
    def _transaction(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction: no thread meets another's, and none outlives a fork."""
        address = f"{self.path.resolve().as_uri()}?mode={'rwc' if create else 'rw'}"
        try:
            with closing(
                sqlite3.connect(address, uri=True, timeout=_SECONDS_TO_WAIT, isolation_level=None)
            ) as connection:
                if create:
                    connection.execute("PRAGMA journal_mode = WAL")  # readers need not wait for a writer
                connection.execute("BEGIN IMMEDIATE" if create else "BEGIN")
                with connection:
                    yield connection
        except (sqlite3.DatabaseError, UnicodeEncodeError) as error:
            raise IndexFolderError(
                f"{self.path} can't be used ({error}). If it is damaged, delete its folder and add the documents again."
            ) from error


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _delete(connection: sqlite3.Connection, source: str) -> None:
    connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")
    for table in ("documents", "chunks", "unfinished"):
        connection.execute(f"DELETE FROM {table} WHERE source = ?", [source])  # noqa: S608 - a name from above


def _marks(row: type[IndexedDocument] | type[Chunk]) -> str:
    return ", ".join("?" * len(fields(row)))
