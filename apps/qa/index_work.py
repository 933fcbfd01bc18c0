"""What each kind of task does to the index."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

import uploads
from shared_index import SharedIndex
from tasks import Kind, RunningTask, Task, Tasks, new_id

from jina_rag import Embedder, EmbedderConfig
from jina_rag.errors import DocumentError, IndexFolderError, JinaRagError
from jina_rag.formatting import counted, duration
from jina_rag.rag.documents import read_document
from jina_rag.rag.documents.sources import path_of
from jina_rag.rag.indexing.index import AddProgress, SyncReport, load_index_embedder, read_index_settings, rebuild
from jina_rag.rag.indexing.scan import is_below


def start_upload(
    shared: SharedIndex, tasks: Tasks, files: Sequence[tuple[str, BinaryIO]], collection: str = "default"
) -> Task:
    """Keep uploaded files beside the index, and start adding them. Raises as `create_index` and `uploads.keep`."""
    shared.create_index()  # it wants an empty folder
    task_id = new_id()
    names = uploads.keep(files, shared.folder, task_id)
    return tasks.start(Kind.UPLOAD, names, collection, task_id=task_id)


def upload(shared: SharedIndex, running: RunningTask) -> str:
    """Add uploaded files. One that can be read takes the place of an earlier one of its name."""
    kept, task = [], running.task
    for name in task.paths:
        if running.should_stop():
            break
        running.report(f"Reading {name}")
        waiting, place = uploads.find(name, shared.folder, task.id)
        try:
            if _is_regular(waiting):  # else it was read before an interruption
                read_document(waiting)
                waiting.replace(place)
        except DocumentError as error:
            running.report_failed([(name, str(error).replace(str(waiting), name))])
        kept += [place] if _is_regular(place) and not waiting.exists() else []
    report = shared.index.add(kept, **_options(running)) if kept else SyncReport()
    if not running.should_stop():
        uploads.discard(shared.folder, task.id)
    return _summary(report, running)


def add(shared: SharedIndex, running: RunningTask) -> str:
    """Add files, folders and patterns of this computer; the index is made if there is none."""
    index = shared.create_index()
    running.report("Reading")
    return _summary(index.add(running.task.paths, **_options(running)), running)


def sync(shared: SharedIndex, running: RunningTask) -> str:
    """Bring all that was ever added up to date."""
    return _summary(shared.index.sync(None, **_options(running, collections=None)), running)


def remove_gone(shared: SharedIndex, running: RunningTask) -> str:
    """The same, and documents whose files are gone are removed however many they are."""
    return _summary(shared.index.sync(None, **_options(running, collections=None, allow_mass_removal=True)), running)


def retry(shared: SharedIndex, running: RunningTask) -> str:
    """Read the files again that could not be read."""
    index = shared.index
    sources = [item.source for item in index.status().failed]
    gone = [source for source in sources if not os.path.lexists(path_of(source))]
    if gone:
        index.remove(gone)
    there = [source for source in sources if source not in gone]
    options = _options(running, collections=None, retry_failed=True)
    return _summary(index.sync(there, **options) if there else SyncReport(), running)


def remove(shared: SharedIndex, running: RunningTask) -> str:
    """Remove documents; of the files only uploaded ones are deleted."""
    n_removed = shared.index.remove(running.task.paths)
    uploads.delete(running.task.paths, shared.folder)
    return f"{n_removed:,} removed."


def rebuild_index(shared: SharedIndex, running: RunningTask) -> str:
    """Make the vectors again, for another embedding model if one is named."""
    if running.task.model:
        backend = shared.backend if EmbedderConfig(backend=shared.backend).runs_file else None
        with Embedder.from_pretrained(running.task.model, backend=backend) as embedder:
            return _rebuild_with(embedder, shared, running)
    try:
        embedder = shared.embedder
    except JinaRagError:  # what can't be opened may still be rebuilt
        embedder = load_index_embedder(shared.folder, backend=shared.backend)
    return _rebuild_with(embedder, shared, running)


def _rebuild_with(embedder: Embedder, shared: SharedIndex, running: RunningTask) -> str:
    began = monotonic()

    def report(done: int, total: int) -> None:
        seconds_left = (monotonic() - began) * (total / done - 1) if done else None
        parts = ["Embedding", f"{done:,} of {counted(total, 'passage')}", *_time_left(seconds_left)]
        running.report(" · ".join(parts), done / max(1, total))

    is_new = read_index_settings(shared.folder) != embedder.fingerprint
    try:
        n_embedded = rebuild(shared.folder, embedder, report, running.should_stop)
    except IndexFolderError:
        if running.should_stop():
            return "The index is unchanged."
        raise
    if is_new:
        shared.close()
    return f"Rebuilt with {embedder.spec.name}; {counted(n_embedded, 'passage')} embedded again."


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _options(running: RunningTask, **others: object) -> dict[str, Any]:
    def report(progress: AddProgress) -> None:
        parts = [f"Reading {Path(progress.source).name}"]
        parts.append(f"{progress.documents_done:,} of {counted(progress.documents_total, 'document')}")
        if progress.chunks_done:
            parts.append(f"{counted(progress.chunks_done, 'passage')}, {progress.chunks_per_second:,.1f} a second")
        parts += _time_left(progress.seconds_left)
        running.report(" · ".join(parts), progress.fraction)

    collections = [running.task.collection]
    return {"on_progress": report, "should_stop": running.should_stop, "collections": collections, **others}


def _time_left(seconds: float | None) -> list[str]:
    return [f"about {duration(seconds)} left"] if seconds else []


def _summary(report: SyncReport, running: RunningTask) -> str:
    withheld = [item for item in report.failed if any(is_below(gone, item.source) for gone in report.withheld)]
    failed = [(item.source, item.reason) for item in report.failed if item not in withheld]
    running.report_failed(failed, (item.reason for item in withheld))
    counts = {
        "added": len(report.added),
        "updated": len(report.updated),
        "moved": len(report.moved) if running.task.kind is Kind.SYNC else 0,  # else they were copied
        "removed": len(report.removed),
        "unchanged": len(report.unchanged),
        "kept, whose files are gone": len(report.withheld),
        "could not be read": len(running.task.failed),
    }
    done = ", ".join(f"{n:,} {what}" for what, n in counts.items() if n)
    return f"{done or 'Nothing to do'}."


WORK: dict[Kind, Callable[[SharedIndex, RunningTask], str]] = {
    Kind.UPLOAD: upload,
    Kind.ADD: add,
    Kind.SYNC: sync,
    Kind.REMOVE_GONE: remove_gone,
    Kind.RETRY: retry,
    Kind.REMOVE: remove,
    Kind.REBUILD: rebuild_index,
}
