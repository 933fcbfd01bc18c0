"""An index kept equal to the disk: the system reports what changes, and `DocumentIndex.sync` does the rest."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

from jina_rag.errors import DocumentError, JinaRagError, MissingDependencyError
from jina_rag.rag.documents.formats import READERS
from jina_rag.rag.documents.sources import path_of, source_of
from jina_rag.rag.indexing.index import DocumentIndex
from jina_rag.rag.indexing.progress import AddProgressCallback
from jina_rag.rag.indexing.reports import SyncReport
from jina_rag.rag.indexing.scan import covering
from jina_rag.rag.store.types import TrackedPath

_QUIET_MS = 500  # a burst is over when nothing has changed for so long
_LONGEST_BURST_MS = 5_000
_TICK_MS = 2_000  # so often is checked whether folders were added, have vanished or are back
_SECONDS_BETWEEN_SCANS = 300  # for network folders and names that are no UTF-8, of which the system reports nothing

ReportCallback = Callable[[SyncReport], None]
ErrorCallback = Callable[[JinaRagError], None]


def watch(
    index: DocumentIndex,
    stop: Event,
    *,
    on_report: ReportCallback = lambda _: None,
    on_error: ErrorCallback = lambda _: None,
    on_progress: AddProgressCallback | None = None,
) -> None:
    """Bring an index up to date, and again within seconds whenever something changes in what was added to it.

    It blocks until `stop` is set, so call it in a thread of its own. The changes of a burst are taken together. The
    index's lock is held only while there is something to do, so that others can write in between. What they add is
    watched from then on. What vanishes is removed as `DocumentIndex.sync` does it by itself: not where a whole folder
    or more than half of its documents are gone.

    Args:
        index: What is kept up to date.
        stop: Ends it when it is set, after the batch at hand.
        on_report: Called with what was done, whenever that was anything, and when other files fail than before.
        on_error: Called when the index can't be written, as when another process is writing; it is tried again. The
            same error is not repeated.
        on_progress: Called with the progress.

    Raises:
        DocumentError: the system can't watch so many folders.
        MissingDependencyError: watchfiles is not installed.
    """
    _Watcher(index, stop, on_report, on_error, on_progress).run()


class _Watcher:
    def __init__(
        self,
        index: DocumentIndex,
        stop: Event,
        on_report: ReportCallback,
        on_error: ErrorCallback,
        on_progress: AddProgressCallback | None,
    ) -> None:
        self._index = index
        self._stop = stop
        self._on_report = on_report
        self._on_error = on_error
        self._on_progress = on_progress
        self._own = source_of(index.folder.resolve())
        self._due = 0.0  # when to sync next, on the monotonic clock
        self._failed: object = ()
        self._error = ""

    def run(self) -> None:
        while not self._stop.is_set():
            self._sync()
            self._due = 0.0  # what changes from here on until the system watches would be missed
            tracked = self._index.tracked_paths()
            self._watch_while_the_same(tracked)

    def _watch_while_the_same(self, tracked: list[TrackedPath]) -> None:
        """Sync after each burst, until other folders are to be watched."""
        try:
            from watchfiles import watch as changes_of
        except ImportError as error:
            raise MissingDependencyError.for_extra("watchfiles", "rag") from error

        places = _places(tracked)
        if not places:
            self._stop.wait(_TICK_MS / 1000)
            return
        watched = frozenset(places)
        try:
            for changes in changes_of(
                *places,
                watch_filter=lambda _, path: self._matters(path, watched),
                debounce=_LONGEST_BURST_MS,
                step=_QUIET_MS,
                stop_event=self._stop,
                rust_timeout=_TICK_MS,
                yield_on_timeout=True,
                ignore_permission_denied=True,
            ):
                if self._index.tracked_paths() != tracked or _places(tracked) != places:
                    return
                if changes or time.monotonic() >= self._due:
                    self._sync()
        except FileNotFoundError:
            return  # one has vanished just now
        except OSError as error:
            raise DocumentError(
                f"The system can't watch so many folders ({error}). On Linux raise the limit "
                "fs.inotify.max_user_watches, or bring the index up to date with `jina-rag sync` now and then."
            ) from error

    def _sync(self) -> None:
        self._due = time.monotonic() + _SECONDS_BETWEEN_SCANS
        try:
            report = self._index.sync(on_progress=self._on_progress, should_stop=self._stop.is_set)
        except JinaRagError as error:
            self._due = 0.0
            if str(error) != self._error:
                self._error = str(error)
                self._on_error(error)
            return
        self._error = ""
        failed = report.failed, report.withheld
        is_news = report.added or report.updated or report.removed or report.moved or failed != self._failed
        self._failed = failed
        if is_news:
            self._on_report(report)

    def _matters(self, path: str, watched: frozenset[str]) -> bool:
        """Whether a change may concern a document: not in a hidden folder, and no file of a kind that can't be read."""
        source = source_of(path)
        place = next(covering(source, watched), source)
        names = Path(source).parts[len(Path(place).parts) :]
        if any(name.startswith(".") for name in names) or any(covering(source, {self._own})):
            return False
        ending = Path(source).suffix.lower()
        return not ending or ending in READERS or os.path.isdir(path) or not os.path.lexists(path)  # noqa: PTH112


def _places(tracked: list[TrackedPath]) -> dict[str, int]:
    """The tracked paths that are there and can be watched, each with its file number, which changes with a new disk."""
    places = {}
    for item in tracked:
        path = path_of(item.path)
        if str(path) == item.path:  # else its name is no UTF-8
            try:
                places[item.path] = path.stat().st_ino
            except OSError:  # it has vanished, or can't be reached
                continue
    return places
