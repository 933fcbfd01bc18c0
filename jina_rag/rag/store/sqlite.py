"""SQLite as the catalog uses it: one transaction at a time, from any thread, with errors in our words."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from weakref import finalize

from jina_rag.errors import IndexFolderError
from jina_rag.rag.store.disk import cannot_write, disk_is_full, is_nearly_full
from jina_rag.rag.store.schema import check_tables, create_tables, version

_SECONDS_TO_WAIT = 30.0
_MAX_IDLE = 8

_NOT_WRITABLE = "{path} can't be written ({error}). Give yourself the right to write to its folder and the files in it."
_BUSY = "{path} is in use by another process ({error}). Try again when that is done."
_DAMAGED = "{path} is damaged ({error}). Move its folder away and add the documents again; `jina-rag doctor` says more."
_UNUSABLE = "{path} can't be used ({error}). `jina-rag doctor` says whether something is wrong with it."
_MESSAGES = {
    sqlite3.SQLITE_READONLY: _NOT_WRITABLE,
    sqlite3.SQLITE_PERM: _NOT_WRITABLE,
    sqlite3.SQLITE_CANTOPEN: _NOT_WRITABLE,
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}
_NEEDS_NO_WRITING = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM}
)
"""What reading fails with where SQLite can't make the files of its write-ahead log."""

_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""What a journal begins with, and ends with if it names a super-journal."""

_of_parents: list["_Connection"] = []  # kept for good: SQLite forbids a forked child even to close them


@dataclass(frozen=True)
class _Connection:
    """An open connection.

    Attributes:
        sqlite: The connection.
        file: Which file it was opened on, by device and number; None if it must not serve a second transaction.
        is_checked: Whether what the database holds is known to be ours.
    """

    sqlite: sqlite3.Connection
    file: tuple[int, int] | None
    is_checked: bool = False


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
            create: Make the file, with its tables, if there is none.

        Raises:
            IndexFolderError: the file is missing, damaged, of another version or making, in use, or can't be written.
        """
        try:
            connection = self._begin(write=write or create, create=create)
            try:
                with connection.sqlite:
                    yield connection.sqlite
            except BaseException:
                connection.sqlite.close()
                raise
            self._give_back(connection)
        except (sqlite3.DatabaseError, UnicodeError) as error:
            raise self._explained(error) from error
        except OSError as error:
            if create:
                raise IndexFolderError(cannot_write(self.path.parent, error)) from error
            raise

    def close(self) -> None:
        """Close what is open; the next transaction opens it again."""
        if self._process != os.getpid():  # the lock may have been held by a thread that the fork left behind
            return
        with self._lock:
            _close(self._idle, self._process)

    def _start_afresh(self) -> None:
        self._process = os.getpid()
        self._lock = Lock()
        self._idle: list[_Connection] = []
        finalize(self, _close, self._idle, self._process)  # who never closes it leaves no warning of Python 3.13

    def _begin(self, *, write: bool, create: bool) -> _Connection:
        connection = self._take(create=create)
        try:
            connection.sqlite.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            if create and not version(connection.sqlite):
                create_tables(connection.sqlite)
            if not connection.is_checked:
                check_tables(connection.sqlite, self.path)
            return connection
        except sqlite3.OperationalError as error:
            connection.sqlite.close()
            log = self.path.with_name(f"{self.path.name}-wal")
            if write or _code(error) not in _NEEDS_NO_WRITING or (log.exists() and log.stat().st_size):
                raise
        except BaseException:
            connection.sqlite.close()
            raise
        # The disk is full or not to be written. The log is empty, so that all stands in the file itself, and nobody
        # else can write either: read that as it is, this once.
        connection = _Connection(self._connect("mode=ro&immutable=1"), None)
        connection.sqlite.execute("BEGIN")
        check_tables(connection.sqlite, self.path)
        return connection

    def _take(self, *, create: bool) -> _Connection:
        if self._process != os.getpid():
            _close(self._idle, self._process)
            self._start_afresh()
        if create:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600))
            connection = self._connect("mode=rw")
            connection.execute("PRAGMA journal_mode = WAL")  # readers need not wait for a writer
            return _Connection(connection, None)
        file = self._file()
        with self._lock:
            while self._idle:
                idle = self._idle.pop()
                if idle.file == file:
                    return idle
                idle.sqlite.close()  # it would go on reading a file that was deleted or replaced
        return _Connection(self._connect("mode=rw"), file)

    def _connect(self, how: str) -> sqlite3.Connection:
        refuse_super_journal(self.path)
        # Handed from thread to thread, never used by two at a time.
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?{how}",
            uri=True,
            timeout=_SECONDS_TO_WAIT,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        if hasattr(connection, "setconfig"):  # from Python 3.12 on
            connection.setconfig(getattr(sqlite3, "SQLITE_DBCONFIG_DEFENSIVE"), True)  # noqa: B009
        return connection

    def _give_back(self, connection: _Connection) -> None:
        with self._lock:
            if connection.file and len(self._idle) < _MAX_IDLE and connection.file == self._file():
                self._idle.append(replace(connection, is_checked=True))
                return
        connection.sqlite.close()

    def _file(self) -> tuple[int, int]:
        try:
            status = self.path.stat()
        except (OSError, UnicodeEncodeError) as error:
            raise self._explained(error) from error
        return status.st_dev, status.st_ino

    def _explained(self, error: Exception) -> IndexFolderError:
        code = _code(error)
        folder = self.path.parent
        if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and is_nearly_full(folder)):
            return IndexFolderError(disk_is_full(folder))
        return IndexFolderError(_MESSAGES.get(code, _UNUSABLE).format(path=self.path, error=error))


def _close(connections: list[_Connection], process: int) -> None:
    """Close the connections that this process opened; another's are kept."""
    if process != os.getpid():
        _of_parents.extend(connections)
        return
    while connections:
        connections.pop().sqlite.close()


def _code(error: Exception) -> int:
    """SQLite's primary result code; 0 of an error that Python found, such as text that is not UTF-8."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
