"""SQLite as the manifest uses it: one transaction at a time, from any thread, with errors in our words."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from jina_rag.errors import IndexFolderError

_SECONDS_TO_WAIT = 30.0
_MAX_IDLE = 8

_FULL = "The disk of {path} is full. Free some space and run the same command again: what is stored is kept."
_NOT_WRITABLE = "{path} can't be written ({error}). Give yourself the right to write to its folder and the files in it."
_BUSY = "{path} is in use by another process ({error}). Try again when that is done."
_UNUSABLE = (
    "{path} can't be used ({error}). If it is damaged, delete its folder and add the documents again; "
    "`jina-rag doctor` says what is wrong."
)
_MESSAGES = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _NOT_WRITABLE,
    sqlite3.SQLITE_PERM: _NOT_WRITABLE,
    sqlite3.SQLITE_CANTOPEN: _NOT_WRITABLE,
    sqlite3.SQLITE_BUSY: _BUSY,
}

_of_parents: list[sqlite3.Connection] = []  # kept for good: SQLite forbids a forked child even to close them


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
            connection = self._take(create=create)
            try:
                connection.execute("BEGIN IMMEDIATE" if write or create else "BEGIN")
                with connection:
                    yield connection
            except BaseException:
                connection.close()
                raise
            self._give_back(connection)
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

    def _take(self, *, create: bool) -> sqlite3.Connection:
        if self._process != os.getpid():
            _of_parents.extend(self._idle)
            self._start_afresh()
        if not create:
            self._notice_another_file()
            with self._lock:
                if self._idle:
                    return self._idle.pop()
        address = f"{self.path.resolve().as_uri()}?mode={'rwc' if create else 'rw'}"
        # Handed from thread to thread, never used by two at a time.
        connection = sqlite3.connect(
            address, uri=True, timeout=_SECONDS_TO_WAIT, isolation_level=None, check_same_thread=False
        )
        if create:
            connection.execute("PRAGMA journal_mode = WAL")  # readers need not wait for a writer
        return connection

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
        code = getattr(error, "sqlite_errorcode", None)
        message = _MESSAGES.get(code & 0xFF, _UNUSABLE) if code else _UNUSABLE
        return IndexFolderError(message.format(path=self.path, error=error))
