"""One writer at a time to an index folder, across threads and processes, who can be named to the next."""

import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from jina_rag.errors import IndexFolderError, MissingDependencyError
from jina_rag.rag.store.disk import cannot_write
from jina_rag.rag.store.files import write_private

LOCK = ".lock"
HOLDER = ".lock.json"
"""Beside the lock: who holds it. Left by a killed process it means nothing."""

_SECONDS_TO_WAIT = 0.3


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. The system lets go of it when the process ends, however it ends.

    Raises:
        IndexFolderError: another holds it, or the folder can't be written.
        MissingDependencyError: filelock is not installed.
    """
    try:
        from filelock import FileLock, Timeout
    except ImportError as error:
        raise MissingDependencyError.for_extra("filelock", "rag") from error

    if (folder / LOCK).is_symlink():
        raise IndexFolderError(
            f"{folder / LOCK} is a link, and an index has none. Remove the link if you know it, or name another folder."
        )
    lock = FileLock(folder / LOCK, mode=0o600)
    try:
        # Not at once: who only asks whether somebody writes holds the lock for a moment, too.
        lock.acquire(timeout=_SECONDS_TO_WAIT, poll_interval=0.02)
    except Timeout as error:
        raise IndexFolderError(
            f"Another process is writing to {folder}{_holder(folder)}. Try again when it is done."
        ) from error
    except OSError as error:
        raise IndexFolderError(cannot_write(folder, error)) from error
    try:
        with _own_name(folder):
            yield
    finally:
        lock.release()


def is_being_written(folder: Path) -> bool:
    """Whether some process holds the folder's lock at this moment."""
    from filelock import FileLock, Timeout

    if not (folder / LOCK).is_file() or (folder / LOCK).is_symlink():
        return False
    lock = FileLock(folder / LOCK, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:
        return False  # not even the lock can be written
    lock.release()
    return False


@contextmanager
def _own_name(folder: Path) -> Iterator[None]:
    holder = {
        "pid": os.getpid(),
        "host": platform.node(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]]),  # what follows may be private
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    path = folder / HOLDER
    try:
        write_private(path, json.dumps(holder))
    except OSError as error:
        raise IndexFolderError(cannot_write(folder, error)) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _holder(folder: Path) -> str:
    try:
        holder = json.loads((folder / HOLDER).read_text())
        return f" (process {holder['pid']} on {holder['host']}, `{holder['command']}`, since {holder['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # it has only just begun, or is about to end
