"""The tables of an index, their version, and the refusal of a database that has anything else."""

import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path

from jina_rag.errors import IndexFolderError
from jina_rag.rag.store import fulltext

VERSION = 5

_TABLES = (
    # fingerprint, generation; seal: of the Chroma folder, see seal.py; staged: the fingerprint of a rebuild under way
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE documents (
        source TEXT PRIMARY KEY, title TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL, n_chunks INTEGER NOT NULL, added_at TEXT NOT NULL,
        collections TEXT NOT NULL, kind TEXT NOT NULL, notes TEXT NOT NULL, metadata TEXT NOT NULL,
        reading_version INTEGER NOT NULL
    )""",
    """CREATE TABLE chunks (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL, title TEXT NOT NULL,
        position INTEGER NOT NULL, page INTEGER, heading TEXT, start INTEGER NOT NULL, "end" INTEGER NOT NULL,
        text TEXT NOT NULL, digest BLOB NOT NULL
    )""",
    "CREATE TABLE vectors (digest BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE staged_vectors (digest BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID",
    # vectors that no chunk has any more, and since when, in seconds since 1970: see keeping.py
    "CREATE TABLE unused_vectors (digest BLOB PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID",
    # what OCR read on pages of files, as JSON, and when the file was last in the index
    """CREATE TABLE scans (
        sha256 TEXT NOT NULL, page INTEGER NOT NULL, model TEXT NOT NULL, content TEXT NOT NULL, since INTEGER NOT NULL,
        PRIMARY KEY (sha256, page)
    ) WITHOUT ROWID""",
    "CREATE TABLE dirty (id TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE tracked_paths (path TEXT PRIMARY KEY, collections TEXT NOT NULL, exclude TEXT NOT NULL)",
    # what lies in a tracked path and is not read, see discovery.Skipped
    "CREATE TABLE skipped (path TEXT PRIMARY KEY, what TEXT NOT NULL)",
    # files and folders that were removed and stay out, although they lie in a tracked path
    "CREATE TABLE removed (path TEXT PRIMARY KEY) WITHOUT ROWID",
    """CREATE TABLE failed (
        source TEXT PRIMARY KEY, reason TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        failed_at TEXT NOT NULL
    )""",
    *fulltext.TABLES,
    "CREATE INDEX chunks_by_source ON chunks (source, position)",
    "CREATE INDEX chunks_by_digest ON chunks (digest)",
)


def create_tables(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty database."""
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def version(connection: sqlite3.Connection) -> int:
    """The version of the tables; 0 if there are none."""
    number: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return number


def check_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a database that has other tables than these, before anything is read from it; an empty one passes.

    A trigger, a view or a table of another making could run code of its maker's within our statements.

    Raises:
        IndexFolderError: its version is another one, or it holds more than our tables.
    """
    found = version(connection)
    if found == 0:
        return
    if found != VERSION:
        raise IndexFolderError(
            f"{path} was made by another version of jina-rag ({found} there, {VERSION} here). Install that, or make a "
            "new index in another folder and add the documents to it."
        )
    ours = _our_objects()
    for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master"):
        if ours.get((kind, name), "") not in (sql, None):
            raise IndexFolderError(
                f"{path} holds what jina-rag did not make ({kind} {name}), and is not opened. Make a new "
                "index in another folder and add the documents to it."
            )


@cache
def _our_objects() -> dict[tuple[str, str], str | None]:
    """The SQL of all that `create_tables` makes; None for what SQLite writes by itself, which its version decides."""
    with closing(sqlite3.connect(":memory:")) as connection:
        create_tables(connection)
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    return {(kind, name): None if name.startswith(("sqlite_", "lexical_")) else sql for kind, name, sql in rows}
