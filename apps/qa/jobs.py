"""Work on the index that outlives a page: documents going in, coming up to date or out, and rebuilds.

One job at a time runs in a thread of the server's process, and questions are answered meanwhile. What is known of the
jobs is in `jobs.json` beside the index, so a reloaded page, a second tab and a restarted server find it again.
"""

import logging
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import RLock, Thread
from time import monotonic
from typing import BinaryIO

import uploads
from job import Job, JobRecord, Kind, State
from work import IndexOwner, Work

from jina_rag.errors import IndexFolderError, JinaRagError

_REMEMBERED = 20  # jobs that are over
_SECONDS_BETWEEN_SAVES = 1.0

_log = logging.getLogger(__name__)


class Jobs:
    """The jobs on one index, in the order in which they were asked for. Safe to use from many threads."""

    def __init__(self, owner: IndexOwner) -> None:
        """Start nothing. Jobs of a server that has ended are taken over as interrupted."""
        self._owner = owner
        self._record = JobRecord(owner.folder)
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
        paths = uploads.keep(files, self._owner.folder, job_id)
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
                uploads.clear_incoming(self._owner.folder, job_id)

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
                self._finish(job.id, self._work_of(job).do())
            except JinaRagError as error:
                self._finish(job.id, error=str(error))
            except Exception as error:  # noqa: BLE001 a fault of the program, too, must not leave a job that seems to run
                _log.exception("a job failed")
                self._finish(
                    job.id,
                    error=f"Something unforeseen went wrong ({type(error).__name__}). Try again; if it comes back, "
                    "look into the messages of the server.",
                )

    def _work_of(self, job: Job) -> Work:
        return Work(self._owner, job, partial(self._change, job.id), partial(self._should_stop, job.id))

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
            is_time = monotonic() > self._saved_at + _SECONDS_BETWEEN_SAVES
            if job.state is not before.state or is_time or not self._record.is_held:
                self._save()
            return job

    def _save(self) -> None:
        self._saved_at = monotonic()
        if self._is_ours():
            self._record.save(self._jobs.values())


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
