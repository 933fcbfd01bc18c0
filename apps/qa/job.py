"""A piece of work on the index as data, and the file beside the index in which the jobs are kept."""

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

_RECORD, _LOCK = "jobs.json", ".jobs.lock"

_log = logging.getLogger(__name__)


class Kind(StrEnum):
    """What a job does."""

    UPLOAD = "upload"
    ADD = "add"
    SYNC = "sync"
    RETRY = "retry"
    REMOVE = "remove"
    REMOVE_COLLECTION = "remove_collection"
    REBUILD = "rebuild"


class State(StrEnum):
    """How far a job is. An interrupted one was cut off by the end of the server."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Job:
    """A piece of work, as it stands. Its texts hold file names as they are.

    Attributes:
        id: Its name among the jobs.
        kind: What it does.
        state: How far it is.
        paths: Files, folders and patterns that it is about; uploads are at their first place.
        collection: The collection that it is about.
        model: The embedding model of a rebuild; None for the one in use.
        sentence: What it is at or, when it is over, what it has done.
        error: What went wrong with the job as a whole and what to do next.
        failed: Documents that could not be added, each with its reason.
        fraction: How much is done, from 0 to 1.
        documents_done: Documents that are done.
        documents_total: Documents that there are.
        chunks_done: Passages that are done.
        chunks_per_second: The rate so far.
        seconds_left: About how long it still takes; None while nobody knows.
        asked_at: When it was asked for, ISO 8601, UTC.
        is_stopping: Whether it was cancelled and has not ended yet.
    """

    id: str
    kind: Kind
    state: State = State.WAITING
    paths: tuple[str, ...] = ()
    collection: str = "default"
    model: str | None = None
    sentence: str = ""
    error: str = ""
    failed: tuple[tuple[str, str], ...] = ()
    fraction: float = 0.0
    documents_done: int = 0
    documents_total: int = 0
    chunks_done: int = 0
    chunks_per_second: float = 0.0
    seconds_left: float | None = None
    asked_at: str = ""
    is_stopping: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it neither runs nor waits."""
        return self.state not in (State.WAITING, State.RUNNING)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "Job":
        """What `asdict` and JSON have made of a job. Raises TypeError or ValueError for anything else."""
        lists = {"paths": tuple(row["paths"]), "failed": tuple((source, reason) for source, reason in row["failed"])}
        return cls(**{**row, **lists, "kind": Kind(row["kind"]), "state": State(row["state"])})


class JobRecord:
    """`jobs.json`, which belongs to the server that holds its lock, until that ends."""

    def __init__(self, folder: Path) -> None:
        """Of the index in this folder; nothing is claimed yet."""
        self._folder = folder
        self._file_lock = FileLock(folder / _LOCK, blocking=False, thread_local=False)

    @property
    def is_held(self) -> bool:
        """Whether it belongs to this server."""
        return self._file_lock.is_locked

    def claim(self) -> bool:
        """Whether no other has it. Without an index there is no record either, for that wants an empty folder."""
        if self.is_held or not (self._folder / "index.sqlite3").exists():
            return True
        try:
            self._file_lock.acquire()
        except Timeout:
            return False
        except OSError:
            return True  # a folder that can't be written says so when the job runs
        return True

    def load(self) -> list[Job]:
        """The jobs in it."""
        try:
            return [Job.from_json(row) for row in json.loads((self._folder / _RECORD).read_text(encoding="utf-8"))]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError):
            # The list of jobs is worth less than an app that starts; the index itself knows what it has.
            _log.warning("the list of jobs in %s can't be read; a new one is begun", self._folder)
            return []

    def save(self, jobs: Iterable[Job]) -> None:
        """Write them, if the record is held."""
        if not self.is_held:
            return
        new = self._folder / f"{_RECORD}.new"
        try:
            new.write_text(json.dumps([asdict(job) for job in jobs]), encoding="utf-8")
            new.replace(self._folder / _RECORD)
        except OSError as error:
            _log.warning("the list of jobs in %s can't be written (%s)", self._folder, error.strerror)

    def release(self) -> None:
        """Let another server have it."""
        self._file_lock.release()
