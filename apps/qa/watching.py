"""The switch that keeps the library equal to the folders that were added."""

from pathlib import Path
from threading import Event, Thread
from time import sleep
from typing import Any

from shared_index import SharedIndex
from tasks import Kind, State, Tasks

from jina_rag.errors import JinaRagError
from jina_rag.rag.indexing.index import SyncReport
from jina_rag.rag.indexing.watch import watch
from jina_rag.rag.store.types import TrackedPath

_SECONDS_BETWEEN_CHECKS = 0.5


class Watching:
    """Starts a task whenever something changes in the folders, so that one change of the index follows the other.

    Attributes:
        problem: Why it does not work.
    """

    def __init__(self, shared: SharedIndex, tasks: Tasks) -> None:
        self._shared = shared
        self._tasks = tasks
        self._stop: Event | None = None
        self.problem = ""

    @property
    def is_on(self) -> bool:
        """Whether folders are watched."""
        return self._stop is not None

    def switch(self) -> None:
        """Begin to watch, or end it."""
        self.problem = ""
        if self._stop:
            self._stop.set()
            self._stop = None
        else:
            self._stop = Event()
            Thread(target=self._watch, args=(self._stop,), name="jina-rag-watch", daemon=True).start()

    def _watch(self, stop: Event) -> None:
        try:
            watch(_SyncedByTasks(self._shared, self._tasks, stop), stop)  # type: ignore[arg-type]  # all that is used of an index
        except JinaRagError as error:
            self.problem, self._stop = str(error), None


class _SyncedByTasks:
    """An index for `watch`, whose `sync` is a task like those that a reader starts."""

    def __init__(self, shared: SharedIndex, tasks: Tasks, stop: Event) -> None:
        self.folder: Path = shared.folder
        self._shared = shared
        self._tasks = tasks
        self._stop = stop

    def tracked_paths(self) -> list[TrackedPath]:
        return self._shared.index.tracked_paths()

    def sync(self, **_: Any) -> SyncReport:  # noqa: ANN401 - what is reported goes to the task
        task = self._tasks.start(Kind.SYNC)
        while not task.is_over and not self._stop.is_set():
            sleep(_SECONDS_BETWEEN_CHECKS)
            task = self._tasks.get(task.id) or task
        if task.state is State.DONE and not (task.failed or task.withheld):
            self._tasks.dismiss(task.id)  # the list of documents shows what has changed
        return SyncReport()
