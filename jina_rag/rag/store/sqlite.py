"""SQLite as the catalog uses it: one transaction at a time, from any thread, with errors in our words."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from jina_rag.errors import IndexFolderError
from jina_rag.rag.store.disk import disk_is_full, is_nearly_full

_SECONDS_TO_WAIT = 30.0
_MAX_IDLE = 8

_NOT_WRITABLE = "{path} can't be written ({error}). Give yourself the right to write to its folder and the files in it."
_BUSY = "{path} is in use by another process ({error}). Try again when that is done."
_UNUSABLE = (
    "{path} can't be used ({error}). If it is damaged, delete its folder and add the documents again; "
    "`jina-rag doctor` says what is wrong."
)
_MESSAGES = {
    sqlite3.SQLITE_READONLY: _NOT_WRITABLE,
    sqlite3.SQLITE_PERM: _NOT_WRITABLE,
    sqlite3.SQLITE_CANTOPEN: _NOT_WRITABLE,
    sqlite3.SQLITE_BUSY: _BUSY,
}
_NEEDS_NO_WRITING = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM}
)
"""What reading fails with where SQLite can't make the files of its write-ahead log."""

_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""What a journal begins with, and ends with if it names a super-journal."""

_of_parents: list[sqlite3.Connection] = []  # kept for good: SQLite forbids a forked child even to close them


def refuse_super_journal(database: Path) -> None:
    """Refuse a database whose rollback journal names a super-journal: SQLite would delete the file of that name.

    Only a transaction over several databases has one, and nobody makes such transactions here.

    Raises:
        IndexFolderError: there is one.
    """
    journal = database.with_name(f"{database.name}-journal")
    try:
        with journal.open("rb") as file:
            file.seek(max(0, journal.stat().st_size - len(_JOURNAL_MAGIC)))
            names_another = file.read() == _JOURNAL_MAGIC
    except OSError:  # mostly there is none
        return
    if names_another:
        raise IndexFolderError(f"{journal} names another file, which SQLite would delete. Don't use this index.")


class Database:
    """One SQLite file. Connections are kept for the next transaction; no two threads and no two processes share one."""

    def __init__(self, path: Path) -> None:
        """Name a file; it is neither made nor opened yet."""
        self.path = path
        self._start_afresh()

    @contextmanager
    def transaction(self, *, write: bool = False, create: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection within a transaction, which is undone if the block raises.

        Args:
            write: Whether it will change anything; others that do so then wait.
            create: Make the file if there is none.

        Raises:
            IndexFolderError: the file is missing, damaged or in use, or can't be written.
        """
        try:
            connection, keep = self._begin(write=write or create, create=create)
            try:
                with connection:
                    yield connection
            except BaseException:
                connection.close()
                raise
            if keep:
                self._give_back(connection)
            else:
                connection.close()
        except (sqlite3.DatabaseError, UnicodeEncodeError) as error:
            raise self._explained(error) from error

    def close(self) -> None:
        """Close what is open; the next transaction opens it again."""
        with self._lock:
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    def _start_afresh(self) -> None:
        self._process = os.getpid()
        self._lock = Lock()
        self._idle: list[sqlite3.Connection] = []
        self._file: tuple[int, int] | None = None

    def _begin(self, *, write: bool, create: bool) -> tuple[sqlite3.Connection, bool]:
        """A connection within a transaction, and whether it may serve another one."""
        connection = self._take(create=create)
        try:
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            if not write:
                connection.execute("PRAGMA schema_version").fetchone()  # only now is the file read
            return connection, True
        except sqlite3.OperationalError as error:
            connection.close()
            log = self.path.with_name(f"{self.path.name}-wal")
            if write or error.sqlite_errorcode & 0xFF not in _NEEDS_NO_WRITING or (log.exists() and log.stat().st_size):
                raise
        except BaseException:
            connection.close()
            raise
        # The disk is full or not to be written. The log is empty, so that all stands in the file itself, and nobody
        # else can write either: read that as it is, this once.
        connection = self._connect("mode=ro&immutable=1")
        connection.execute("BEGIN")
        return connection, False

    def _take(self, *, create: bool) -> sqlite3.Connection:
        if self._process != os.getpid():
            _of_parents.extend(self._idle)
            self._start_afresh()
        if not create:
            self._notice_another_file()
            with self._lock:
                if self._idle:
                    return self._idle.pop()
        connection = self._connect("mode=rwc" if create else "mode=rw")
        if create:
            connection.execute("PRAGMA journal_mode = WAL")  # readers need not wait for a writer
        return connection

    def _connect(self, how: str) -> sqlite3.Connection:
        refuse_super_journal(self.path)
        # Handed from thread to thread, never used by two at a time.
        return sqlite3.connect(
            f"{self.path.resolve().as_uri()}?{how}",
            uri=True,
            timeout=_SECONDS_TO_WAIT,
            isolation_level=None,
            check_same_thread=False,
        )

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if len(self._idle) < _MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _notice_another_file(self) -> None:
        """Connections to a file that was deleted or replaced would go on reading that."""
        try:
            status = self.path.stat()
        except (OSError, UnicodeEncodeError) as error:
            raise self._explained(error) from error
        file = status.st_dev, status.st_ino
        if file != self._file:
            self.close()
            self._file = file

    def _explained(self, error: Exception) -> IndexFolderError:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        folder = self.path.parent
        if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and is_nearly_full(folder)):
            return IndexFolderError(disk_is_full(folder))
        return IndexFolderError(_MESSAGES.get(code, _UNUSABLE).format(path=self.path, error=error))
