"""Work on the index that outlives a page: documents going in, coming up to date or out, and rebuilds.

One job at a time runs in a thread of the server's process, and questions are answered meanwhile. What is known of the
jobs is in `jobs.json` beside the index, so a reloaded page, a second tab and a restarted server find it again.
"""

import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from threading import RLock, Thread
from time import monotonic
from typing import Any, BinaryIO, Protocol

from filelock import FileLock, Timeout
from untrusted import safe_name

from jina_rag import Embedder
from jina_rag.errors import DocumentError, IndexFolderError, JinaRagError
from jina_rag.rag import (
    AddProgress,
    DocumentIndex,
    SyncReport,
    load_index_embedder,
    read_document,
    read_index_settings,
    rebuild,
)

_RECORD, _LOCK = "jobs.json", ".jobs.lock"
_UPLOADS, _INCOMING = "uploads", ".incoming"  # a folder whose name begins with a dot is passed over by `sync`
_TOLD_APART = 60  # characters of an upload's name that are kept
_REMEMBERED = 20  # jobs that are over
_SECONDS_BETWEEN_SAVES = 1.0

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


class IndexOwner(Protocol):
    """Who has the index open; the app's `Service`."""

    folder: Path

    @property
    def index(self) -> DocumentIndex:
        """The index, opened."""

    def has_index(self) -> bool:
        """Whether there is one."""

    def create_index(self) -> DocumentIndex:
        """The index, made if there is none."""

    def reopen(self) -> None:
        """Open it anew when it is next needed."""


class Jobs:
    """The jobs on one index, in the order in which they were asked for. Safe to use from many threads."""

    def __init__(self, owner: IndexOwner) -> None:
        """Start nothing. Jobs of a server that has ended are taken over as interrupted."""
        self._owner = owner
        self._record = _Record(owner.folder)
        self._lock = RLock()
        self._thread: Thread | None = None
        self._stopping = False
        self._saved_at = 0.0
        self._jobs: dict[str, Job] = {}
        self._is_guest = False
        self._is_ours()

    def all(self) -> list[Job]:
        """All that are known, the newest first; those of another server that has the index, if there is one."""
        with self._lock:
            self._is_ours()
            return list(reversed(self._jobs.values()))

    def running(self) -> Job | None:
        """The job that runs or comes next; None if nothing is to be done."""
        return next((job for job in reversed(self.all()) if not job.is_over), None)

    def upload(self, files: Iterable[tuple[str, BinaryIO]], collection: str = "default") -> Job:
        """Keep uploaded files beside the index and add them. One of the same name takes the place of the old one.

        One that can't be read takes the place of none. Raises as `DocumentIndex.create_or_open` does.
        """
        self._check_ours()
        self._owner.create_index()  # it wants an empty folder
        job_id = _new_id()
        with _clear_disk_errors(self._owner.folder):
            paths = _keep(files, self._owner.folder / _UPLOADS / _INCOMING / job_id)
        return self._ask(Kind.UPLOAD, paths=paths, collection=collection, job_id=job_id)

    def add(self, paths: Iterable[Path | str], collection: str = "default") -> Job:
        """Add files, folders and patterns of this machine; the index is made if there is none."""
        absolute = [str(Path(path).expanduser().absolute()) for path in paths]
        return self._ask(Kind.ADD, paths=absolute, collection=collection)

    def sync(self) -> Job:
        """Bring all that was ever added up to date."""
        return self._ask(Kind.SYNC)

    def retry_failed(self) -> Job:
        """Read the files again that could not be read."""
        return self._ask(Kind.RETRY)

    def remove(self, sources: Sequence[str]) -> Job:
        """Take documents out; of the files only uploaded ones are deleted."""
        return self._ask(Kind.REMOVE, paths=sources)

    def remove_collection(self, name: str) -> Job:
        """Take all documents of a collection out."""
        return self._ask(Kind.REMOVE_COLLECTION, collection=name)

    def rebuild(self, model: str | None = None) -> Job:
        """Make the vectors anew, for another embedding model if one is named."""
        return self._ask(Kind.REBUILD, model=model)

    def again(self, job_id: str) -> None:
        """Begin a job anew that failed, was cancelled or interrupted; what it has done is not done twice."""
        with self._lock:
            job = self._jobs.pop(job_id, None)
            if job:
                self._ask(job.kind, job.paths, job.collection, job.model, job_id)

    def cancel(self, job_id: str) -> None:
        """End a job after the passages at hand. What is complete by then stays."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job and job.state is State.WAITING:
                self._change(job_id, state=State.CANCELLED, sentence="Cancelled before it began.")
            elif job and job.state is State.RUNNING:
                self._change(job_id, is_stopping=True)

    def forget(self, job_id: str) -> None:
        """Strike a job that is over off the list, with uploads of it that never got in."""
        with self._lock:
            if job_id in self._jobs and self._jobs[job_id].is_over:
                del self._jobs[job_id]
                self._save()
                shutil.rmtree(self._owner.folder / _UPLOADS / _INCOMING / job_id, ignore_errors=True)

    def stop(self) -> None:
        """End what runs, to be resumed by the next server, and let go of the record."""
        with self._lock:
            self._stopping = True
            thread = self._thread
        if thread:
            thread.join()
        self._record.release()

    def _ask(
        self,
        kind: Kind,
        paths: Iterable[str] = (),
        collection: str = "default",
        model: str | None = None,
        job_id: str | None = None,
    ) -> Job:
        self._check_ours()
        with self._lock:
            job = Job(
                job_id or _new_id(), kind, paths=tuple(paths), collection=collection, model=model, asked_at=_now()
            )
            self._jobs[job.id] = job
            for old in [other.id for other in self._jobs.values() if other.is_over][:-_REMEMBERED]:
                self.forget(old)
            self._save()
            if not self._thread and not self._stopping:
                # A daemon: a server that is told to end does so at once, and the index bears that.
                self._thread = Thread(target=self._work, name="jina-rag-jobs", daemon=True)
                self._thread.start()
            return job

    def _is_ours(self) -> bool:
        """Whether the record is ours. What a server that has ended left in it is taken over as interrupted."""
        with self._lock:
            if self._record.is_held:
                return True
            is_claimed = self._record.claim()
            if not is_claimed:
                self._jobs = {job.id: job for job in self._record.load()}
            elif self._record.is_held:  # from now on
                own = {} if self._is_guest else self._jobs
                self._jobs = {job.id: _cut_off(job) for job in self._record.load()} | own
            self._is_guest = not is_claimed
            return is_claimed

    def _check_ours(self) -> None:
        if not self._is_ours():
            raise IndexFolderError(
                f"Another server of this app has {self._owner.folder} open. Go on in that one, or end it and try again."
            )

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                self._finish(job.id, _TASKS[job.kind](self, job))
            except JinaRagError as error:
                self._finish(job.id, error=str(error))
            except Exception as error:  # noqa: BLE001 a fault of the program, too, must not leave a job that seems to run
                _log.exception("a job failed")
                self._finish(
                    job.id,
                    error=f"Something unforeseen went wrong ({type(error).__name__}). Try again; if it comes back, "
                    "look into the messages of the server.",
                )

    def _next(self) -> Job | None:
        with self._lock:
            job = next((job for job in self._jobs.values() if job.state is State.WAITING), None)
            if job is None or self._stopping:
                self._thread = None
                return None
            return self._change(job.id, state=State.RUNNING, sentence="Beginning")

    def _finish(self, job_id: str, sentence: str = "", error: str = "") -> None:
        with self._lock:
            job = self._jobs[job_id]
            if self._stopping or (error and _interpreter_ends()):
                state, error = State.INTERRUPTED, ""
            elif error:
                state = State.FAILED
            elif job.is_stopping:
                state, sentence = State.CANCELLED, f"Cancelled. {sentence}"
            else:
                state = State.DONE
            self._change(job_id, state=state, sentence=sentence, error=error, is_stopping=False, seconds_left=None)

    def _should_stop(self, job_id: str) -> bool:
        return self._stopping or self._jobs[job_id].is_stopping

    def _change(self, job_id: str, **changes: object) -> Job:
        with self._lock:
            before = self._jobs[job_id]
            job = self._jobs[job_id] = replace(before, **changes)  # type: ignore[arg-type]
            if job.state is not before.state or monotonic() > self._saved_at + _SECONDS_BETWEEN_SAVES:
                self._save()
            return job

    def _save(self) -> None:
        self._saved_at = monotonic()
        if self._is_ours():
            self._record.save(self._jobs.values())

    # What each kind does; each gives a sentence about what it has done

    def _upload(self, job: Job) -> str:
        kept = []
        for path in map(Path, job.paths):
            if self._should_stop(job.id):
                break
            self._change(job.id, sentence=f"Looking at {path.name}")
            place = self._owner.folder / _UPLOADS / path.name
            try:
                if path.exists():  # else it was done with before an interruption
                    read_document(path)
                    path.replace(place)
            except DocumentError as error:
                reason = str(error).replace(str(path), path.name)
                self._change(job.id, failed=(*self._jobs[job.id].failed, (path.name, reason)))
            kept += [place] if place.exists() and not path.exists() else []
        report = self._owner.index.add(kept, **self._options(job)) if kept else SyncReport()
        if not self._should_stop(job.id):
            shutil.rmtree(self._owner.folder / _UPLOADS / _INCOMING / job.id, ignore_errors=True)
        return self._told(job, report)

    def _add(self, job: Job) -> str:
        index = self._owner.create_index()
        with self._lock:
            self._save()  # before the first index was made there was no place for it
        return self._told(job, index.add(job.paths, **self._options(job)))

    def _sync(self, job: Job) -> str:
        return self._told(job, self._owner.index.sync(None, **self._options(job, collection=None)))

    def _retry(self, job: Job) -> str:
        index = self._owner.index
        sources = [item.source for item in index.status().failed]
        gone = [source for source in sources if not os.path.lexists(source)]
        if gone:
            index.remove(gone)
        there = [source for source in sources if source not in gone]
        report = index.sync(there, **self._options(job, collection=None), retry_failed=True) if there else SyncReport()
        return self._told(job, report)

    def _remove(self, job: Job) -> str:
        n_removed = self._owner.index.remove(job.paths)
        self._delete_uploads(job.paths)
        return f"{n_removed:,} taken out."

    def _remove_collection(self, job: Job) -> str:
        index = self._owner.index
        sources = [document.source for document in index.documents(job.collection)]
        n_removed = index.remove_collection(job.collection)
        self._delete_uploads(sources)
        return f"{n_removed:,} taken out."

    def _delete_uploads(self, sources: Iterable[str]) -> None:
        """An uploaded file is a copy that is the app's own; it would come back with the next `sync`."""
        uploads = (self._owner.folder / _UPLOADS).resolve()
        with _clear_disk_errors(self._owner.folder):
            for source in map(Path, sources):
                if source.parent == uploads:
                    source.unlink(missing_ok=True)

    def _rebuild(self, job: Job) -> str:
        if not job.model:
            return self._rebuild_with(job, self._own_embedder())
        with Embedder.from_pretrained(job.model) as embedder:
            return self._rebuild_with(job, embedder)

    def _rebuild_with(self, job: Job, embedder: Embedder) -> str:
        def show(done: int, total: int) -> None:
            seconds = monotonic() - began
            self._change(
                job.id,
                sentence="Making the vectors again",
                fraction=done / max(1, total),
                chunks_done=done,
                chunks_per_second=done / seconds if seconds else 0.0,
                seconds_left=seconds * (total / done - 1) if done else None,
            )

        folder, began = self._owner.folder, monotonic()
        is_new = read_index_settings(folder) != embedder.fingerprint
        try:
            n_embedded = rebuild(folder, embedder, show, lambda: self._should_stop(job.id))
        except IndexFolderError:
            if self._should_stop(job.id):
                return "The index is as it was."
            raise
        if is_new:
            self._owner.reopen()
        return f"Rebuilt with {embedder.spec.name}; {n_embedded:,} passages had to be embedded."

    def _own_embedder(self) -> Embedder:
        try:
            return self._owner.index.embedder
        except JinaRagError:  # what can't be opened may still be rebuilt
            return load_index_embedder(self._owner.folder)

    def _options(self, job: Job, **others: object) -> dict[str, Any]:
        def show(progress: AddProgress) -> None:
            self._change(
                job.id,
                sentence=f"Reading {Path(progress.source).name}",
                fraction=progress.fraction,
                documents_done=progress.documents_done,
                documents_total=progress.documents_total,
                chunks_done=progress.chunks_done,
                chunks_per_second=progress.chunks_per_second,
                seconds_left=progress.seconds_left,
            )

        should_stop = partial(self._should_stop, job.id)
        return {"on_progress": show, "should_stop": should_stop, "collection": job.collection, **others}

    def _told(self, job: Job, report: SyncReport) -> str:
        failed = (*self._jobs[job.id].failed, *((item.source, item.reason) for item in report.failed))
        self._change(job.id, failed=failed)
        counts = {
            "added": len(report.added),
            "brought up to date": len(report.updated),
            "moved": len(report.moved) if job.kind is Kind.SYNC else 0,  # else they were copied
            "taken out": len(report.removed),
            "known already": len(report.unchanged),
            "could not be read": len(failed),
        }
        told = ", ".join(f"{n:,} {what}" for what, n in counts.items() if n)
        return f"{told or 'Nothing to do'}."


_TASKS: dict[Kind, Callable[[Jobs, Job], str]] = {
    Kind.UPLOAD: Jobs._upload,
    Kind.ADD: Jobs._add,
    Kind.SYNC: Jobs._sync,
    Kind.RETRY: Jobs._retry,
    Kind.REMOVE: Jobs._remove,
    Kind.REMOVE_COLLECTION: Jobs._remove_collection,
    Kind.REBUILD: Jobs._rebuild,
}


class _Record:
    """`jobs.json`, which belongs to the server that holds its lock, until that ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file_lock = FileLock(folder / _LOCK, blocking=False, thread_local=False)

    @property
    def is_held(self) -> bool:
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
        try:
            return [Job.from_json(row) for row in json.loads((self._folder / _RECORD).read_text(encoding="utf-8"))]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError):
            # The list of jobs is worth less than an app that starts; the index itself knows what it has.
            _log.warning("the list of jobs in %s can't be read; a new one is begun", self._folder)
            return []

    def save(self, jobs: Iterable[Job]) -> None:
        if not self.is_held:
            return
        new = self._folder / f"{_RECORD}.new"
        try:
            new.write_text(json.dumps([asdict(job) for job in jobs]), encoding="utf-8")
            new.replace(self._folder / _RECORD)
        except OSError as error:
            _log.warning("the list of jobs in %s can't be written (%s)", self._folder, error.strerror)

    def release(self) -> None:
        self._file_lock.release()


def _keep(files: Iterable[tuple[str, BinaryIO]], folder: Path) -> list[str]:
    """Copy files into a folder under names that are safe, and different from each other."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[str] = []
    for name, content in files:
        safe = _stored_name(name)
        n_same = sum(Path(path).name.lower() == safe.name.lower() for path in paths)
        path = folder / (f"{safe.stem} ({n_same + 1}){safe.suffix}" if n_same else safe.name)
        with path.open("wb") as file:
            shutil.copyfileobj(content, file)
        paths.append(str(path))
    return paths


def _stored_name(name: str) -> Path:
    """A safe name that is still another one where nothing but emoji, or the end of a long name, tells files apart."""
    safe = Path(safe_name(name))
    if len(name) <= _TOLD_APART and any(map(str.isalnum, safe.stem)):
        return safe
    return safe.with_stem(f"{safe.stem[:40]}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}")


@contextmanager
def _clear_disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise IndexFolderError(
            f"{folder} can't be written ({error.strerror}). Make room, or give yourself the right to write to it."
        ) from error


def _interpreter_ends() -> bool:
    """Whether the process is about to end: models close then, whoever uses them, and no pool takes work any more."""
    with ThreadPoolExecutor(1) as pool:
        try:
            pool.submit(int)
        except RuntimeError:
            return True
    return False


def _cut_off(job: Job) -> Job:
    return job if job.is_over else replace(job, state=State.INTERRUPTED, is_stopping=False, seconds_left=None)


def _new_id() -> str:
    return uuid.uuid4().hex[:12]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
