"""The task table: work on the index and on models, which goes on whatever pages are open.

Tasks on the index run one after the other in one thread, each kind on models in another; questions are answered
meanwhile.
Tasks on the index are kept in a file beside it, so that the next server shows what the end of this one interrupted.
"""

import logging
import os
import re
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from threading import RLock, Thread
from typing import TYPE_CHECKING

import uploads
from filelock import FileLock, Timeout
from private_files import open_private, write_private

from jina_rag.errors import IndexFolderError, JinaRagError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_FINISHED_KEPT = 20
_FILE, _LOCK = "tasks.json", ".tasks.lock"

_log = logging.getLogger(__name__)


class Kind(StrEnum):
    """What a task does."""

    UPLOAD = "upload"
    ADD = "add"
    SYNC = "sync"
    REMOVE_GONE = "remove_gone"
    RETRY = "retry"
    REMOVE = "remove"
    REBUILD = "rebuild"
    DOWNLOAD = "download"
    TEST = "test"


_ON_MODELS = (Kind.DOWNLOAD, Kind.TEST)


class State(StrEnum):
    """How far a task is. The end of the server interrupts those that are queued or running."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Task:
    """A row of the table. Its texts hold file names as they are.

    Attributes:
        id: 12 hexadecimal digits.
        kind: What it does.
        paths: Files, folders and patterns that it is about; for an upload, the names of the files.
        collection: The collection that it is about.
        model: The model that it is about, of a test the setting for `make_generator`; None for the one in use.
        api_key: The key of the server that is tested; tasks on models are in memory alone.
        state: How far it is.
        progress: How much is done while it runs, from 0 to 1; None if that is unknown.
        message: What happens now or, once it is over, what was done.
        error: Why it failed, and what to do next.
        failed: Documents that could not be added, each with the reason.
        withheld: Folders from which so many files are gone that nothing was removed, each with what to think of.
        is_stopping: Whether it was cancelled and still runs.
    """

    id: str
    kind: Kind
    paths: tuple[str, ...] = ()
    collection: str = "default"
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    state: State = State.QUEUED
    progress: float | None = None
    message: str = ""
    error: str = ""
    failed: tuple[tuple[str, str], ...] = ()
    withheld: tuple[str, ...] = ()
    is_stopping: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it is neither queued nor running."""
        return self.state not in (State.QUEUED, State.RUNNING)


class RunningTask:
    """The task at hand, for the function that does it."""

    def __init__(self, task: Task, change: Callable[..., Task], should_stop: Callable[[], bool]) -> None:
        self.task = task
        self.should_stop = should_stop
        self._change = change

    def report(self, message: str, progress: float | None = None) -> None:
        """Say what happens now, and how much is done."""
        self.task = self._change(message=message, progress=progress)

    def report_failed(self, documents: Iterable[tuple[str, str]], withheld: Iterable[str] = ()) -> None:
        """Name documents that could not be added, each with the reason, and why some were not removed."""
        self.task = self._change(failed=(*self.task.failed, *documents), withheld=tuple(withheld))


class Tasks:
    """The tasks on one index and on models, in the order of their start. Safe to use from many threads."""

    def __init__(self, folder: Path, work: Callable[[RunningTask], str]) -> None:
        """Start nothing.

        Args:
            folder: The folder of the index.
            work: Does a task and returns what was done, in a sentence. Its `JinaRagError`s are shown to the reader.
        """
        self._folder = folder
        self._work = work
        self._lock = RLock()
        self._file_lock = FileLock(folder / _LOCK, blocking=False, thread_local=False)
        self._tasks: dict[str, Task] = {}
        self._threads: dict[Kind | None, Thread] = {}  # None is the one on the index
        self._is_closing = False

    def all(self) -> list[Task]:
        """Tasks on the index, the newest first; those of another server that has this index open, if there is one."""
        with self._lock:
            tasks = list(self._tasks.values()) if self._claim() else _load(self._folder)
            return [task for task in reversed(tasks) if task.kind not in _ON_MODELS]

    def running(self) -> Task | None:
        """The task on the index that runs or comes next; None if there is nothing to do."""
        return next((task for task in reversed(self.all()) if not task.is_over), None)

    def get(self, task_id: str) -> Task | None:
        """A task by its id."""
        with self._lock:
            return self._tasks.get(task_id)

    def latest(self, kind: Kind) -> Task | None:
        """The task of a kind that was started last."""
        with self._lock:
            return next((task for task in reversed(self._tasks.values()) if task.kind is kind), None)

    def start(
        self,
        kind: Kind,
        paths: Iterable[str] = (),
        collection: str = "default",
        model: str | None = None,
        *,
        api_key: str | None = None,
        task_id: str | None = None,
    ) -> Task:
        """Put a task at the end of the queue.

        Raises:
            IndexFolderError: another server of this app has the index open.
        """
        with self._lock:
            if kind not in _ON_MODELS and not self._claim():
                raise IndexFolderError(
                    f"Another server of this app has {self._folder} open. Use that one, or end it and try again."
                )
            task = Task(task_id or new_id(), kind, tuple(paths), collection, model, api_key)
            self._tasks[task.id] = task
            for old in [other.id for other in self._tasks.values() if other.is_over][:-_FINISHED_KEPT]:
                self.dismiss(old)
            self._save()
            self._start_thread(_lane(kind))
            return task

    def cancel(self, task_id: str) -> None:
        """End a task; what is complete by then stays."""
        with self._lock:
            task = self._tasks.get(task_id)
            if task and task.state is State.QUEUED:
                self._change(task_id, state=State.CANCELLED, message="Cancelled before it began.")
            elif task and task.state is State.RUNNING:
                self._change(task_id, is_stopping=True)

    def retry(self, task_id: str) -> None:
        """Start a task again that failed or was ended; nothing is done twice. Raises as `start`."""
        with self._lock:
            task = self._tasks.get(task_id)
            if task and task.is_over:
                del self._tasks[task_id]
                self.start(task.kind, task.paths, task.collection, task.model, api_key=task.api_key, task_id=task_id)

    def dismiss(self, task_id: str) -> None:
        """Remove a task that is over from the table, and uploads of it that were never added."""
        with self._lock:
            if task_id in self._tasks and self._tasks[task_id].is_over:
                uploads.discard(self._folder, task_id)
                del self._tasks[task_id]
                self._save()

    def close(self) -> None:
        """Interrupt what runs, and let the next server have the file."""
        with self._lock:
            self._is_closing = True
            threads = list(self._threads.values())
        for thread in threads:
            thread.join()
        self._file_lock.release()

    def _start_thread(self, lane: Kind | None) -> None:
        if lane in self._threads or self._is_closing:
            return
        # A daemon: a server that is told to end does so at once. The index bears that.
        thread = Thread(target=self._run_all, args=(lane,), name="jina-rag-tasks", daemon=True)
        self._threads[lane] = thread
        thread.start()

    def _run_all(self, lane: Kind | None) -> None:
        while (task := self._next(lane)) is not None:
            running = RunningTask(task, partial(self._change, task.id), partial(self._should_stop, task.id))
            try:
                self._finish(task.id, self._work(running))
            except JinaRagError as error:
                self._finish(task.id, error=str(error))
            except Exception as error:  # noqa: BLE001 - a fault of the program must not leave a task that seems to run
                _log.exception("A task failed")
                why = f"It failed unexpectedly ({type(error).__name__}). Try again; the server's log has the details."
                self._finish(task.id, error=why)

    def _next(self, lane: Kind | None) -> Task | None:
        with self._lock:
            queued = (task for task in self._tasks.values() if task.state is State.QUEUED)
            task = next((task for task in queued if _lane(task.kind) is lane), None)
            if task is None or self._is_closing:
                del self._threads[lane]
                return None
            return self._change(task.id, state=State.RUNNING, message="Starting")

    def _finish(self, task_id: str, message: str = "", error: str = "") -> None:
        with self._lock:
            task = self._tasks[task_id]
            if self._is_closing or (error and _is_interpreter_ending()):
                state, error = State.INTERRUPTED, ""
            elif task.is_stopping:
                state, message, error = State.CANCELLED, f"Cancelled. {message}".strip(), ""
            else:
                state = State.FAILED if error else State.DONE
            self._change(task_id, state=state, message=message, error=error, progress=None, is_stopping=False)

    def _should_stop(self, task_id: str) -> bool:
        return self._is_closing or self._tasks[task_id].is_stopping

    def _change(self, task_id: str, **changes: object) -> Task:
        with self._lock:
            before = self._tasks[task_id]
            task = self._tasks[task_id] = replace(before, **changes)  # type: ignore[arg-type]
            if task.state is not before.state or not self._file_lock.is_locked:  # the task may just have made the index
                self._save()
            return task

    # The file

    def _claim(self) -> bool:
        """Whether the file belongs to this server; what a server that has ended left in it is taken over."""
        if self._file_lock.is_locked or not (self._folder / "index.sqlite3").exists():
            return True  # an index wants an empty folder
        try:
            self._file_lock.acquire()
        except Timeout:
            return False
        except OSError:
            return True  # a folder that can't be written: the task will say so
        left = {task.id: _interrupted(task) for task in _load(self._folder)}
        self._tasks = left | self._tasks
        return True

    def _save(self) -> None:
        if self._claim() and self._file_lock.is_locked:
            tasks = [task for task in self._tasks.values() if task.kind not in _ON_MODELS]
            try:
                write_private(self._folder / _FILE, _rows().dump_json(tasks))
            except (OSError, ValueError) as error:
                _log.warning("the list of tasks in %s can't be written (%s)", self._folder, error)


def new_id() -> str:
    """The id of a task that is yet to be started."""
    return secrets.token_hex(6)


def _lane(kind: Kind) -> Kind | None:
    """Which thread does tasks of a kind."""
    return kind if kind in _ON_MODELS else None


def _load(folder: Path) -> list[Task]:
    try:
        with open_private(folder / _FILE, os.O_RDONLY) as file:
            return [_checked(task) for task in _rows().validate_json(file.read())]
    except FileNotFoundError:
        return []
    except (OSError, ValueError):
        # The list is worth less than an app that starts; the index itself knows what it has.
        _log.warning("the list of tasks in %s can't be read; a new one is begun", folder)
        return []


@cache
def _rows() -> "TypeAdapter[list[Task]]":
    from pydantic import TypeAdapter

    return TypeAdapter(list[Task])


def _checked(task: Task) -> Task:
    """A task of the file. Raises ValueError for one that names files elsewhere, or is of no kind that is kept."""
    if not re.fullmatch("[0-9a-f]{12}", task.id) or task.kind in _ON_MODELS:
        raise ValueError(task.id)
    if task.kind is Kind.UPLOAD and any(re.search(r"[/\\\0]|^\.", name) for name in task.paths):
        raise ValueError(task.paths)
    return replace(task, progress=None, is_stopping=False)


def _interrupted(task: Task) -> Task:
    return task if task.is_over else replace(task, state=State.INTERRUPTED)


def _is_interpreter_ending() -> bool:
    """Whether the process is about to end: then models close, whoever uses them, and no pool takes work any more."""
    with ThreadPoolExecutor(1) as pool:
        try:
            pool.submit(int)
        except RuntimeError:
            return True
    return False
