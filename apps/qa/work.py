"""What each kind of job does to the index. The thread that it is done in is the business of `jobs.py`."""

import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import uploads
from job import Job, Kind

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


class IndexOwner(Protocol):
    """Who has the index open; the app's `Service`."""

    folder: Path
    backend: str | None

    @property
    def index(self) -> DocumentIndex:
        """The index, opened."""

    def has_index(self) -> bool:
        """Whether there is one."""

    def create_index(self) -> DocumentIndex:
        """The index, made if there is none."""

    def reopen(self) -> None:
        """Open it anew when it is next needed."""


class Work:
    """One job, done once."""

    def __init__(
        self, owner: IndexOwner, job: Job, change: Callable[..., Job], should_stop: Callable[[], bool]
    ) -> None:
        """Begin nothing.

        Args:
            owner: Who has the index open.
            job: What is to be done.
            change: Notes how far it is, by the names of a job's attributes, and gives the job as it then stands.
            should_stop: Whether it is to end soon.
        """
        self._owner = owner
        self._folder = owner.folder
        self._job = job
        self._note = change
        self._should_stop = should_stop

    def do(self) -> str:
        """Do it.

        Returns:
            A sentence about what was done.

        Raises:
            JinaRagError: it can't be done; the message is for the reader.
        """
        return _TASKS[self._job.kind](self)

    def _change(self, **changes: object) -> None:
        self._job = self._note(**changes)

    def _upload(self) -> str:
        kept = []
        for path in map(Path, self._job.paths):
            if self._should_stop():
                break
            self._change(sentence=f"Looking at {path.name}")
            place = uploads.place_of_uploads(self._folder) / path.name
            try:
                if path.exists():  # else it was done with before an interruption
                    read_document(path)
                    path.replace(place)
            except DocumentError as error:
                reason = str(error).replace(str(path), path.name)
                self._change(failed=(*self._job.failed, (path.name, reason)))
            kept += [place] if place.exists() and not path.exists() else []
        report = self._owner.index.add(kept, **self._options()) if kept else SyncReport()
        if not self._should_stop():
            uploads.clear_incoming(self._folder, self._job.id)
        return self._told(report)

    def _add(self) -> str:
        index = self._owner.create_index()
        self._change(sentence="Reading")  # kept from now on; before the first index was made there was no place for it
        return self._told(index.add(self._job.paths, **self._options()))

    def _sync(self) -> str:
        return self._told(self._owner.index.sync(None, **self._options(collection=None)))

    def _retry(self) -> str:
        index = self._owner.index
        sources = [item.source for item in index.status().failed]
        gone = [source for source in sources if not os.path.lexists(source)]
        if gone:
            index.remove(gone)
        there = [source for source in sources if source not in gone]
        report = index.sync(there, **self._options(collection=None), retry_failed=True) if there else SyncReport()
        return self._told(report)

    def _remove(self) -> str:
        n_removed = self._owner.index.remove(self._job.paths)
        uploads.delete(self._job.paths, self._folder)
        return f"{n_removed:,} taken out."

    def _remove_collection(self) -> str:
        index = self._owner.index
        sources = [document.source for document in index.documents(self._job.collection)]
        n_removed = index.remove_collection(self._job.collection)
        uploads.delete(sources, self._folder)
        return f"{n_removed:,} taken out."

    def _rebuild(self) -> str:
        if not self._job.model:
            return self._rebuild_with(self._own_embedder())
        with Embedder.from_pretrained(self._job.model) as embedder:
            return self._rebuild_with(embedder)

    def _rebuild_with(self, embedder: Embedder) -> str:
        def show(done: int, total: int) -> None:
            seconds = monotonic() - began
            self._change(
                sentence="Making the vectors again",
                fraction=done / max(1, total),
                chunks_done=done,
                chunks_per_second=done / seconds if seconds else 0.0,
                seconds_left=seconds * (total / done - 1) if done else None,
            )

        folder, began = self._folder, monotonic()
        is_new = read_index_settings(folder) != embedder.fingerprint
        try:
            n_embedded = rebuild(folder, embedder, show, self._should_stop)
        except IndexFolderError:
            if self._should_stop():
                return "The index is as it was."
            raise
        if is_new:
            self._owner.reopen()
        return f"Rebuilt with {embedder.spec.name}; {n_embedded:,} passages had to be embedded."

    def _own_embedder(self) -> Embedder:
        try:
            return self._owner.index.embedder
        except JinaRagError:  # what can't be opened may still be rebuilt
            return load_index_embedder(self._folder, backend=self._owner.backend)

    def _options(self, **others: object) -> dict[str, Any]:
        def show(progress: AddProgress) -> None:
            self._change(
                sentence=f"Reading {Path(progress.source).name}",
                fraction=progress.fraction,
                documents_done=progress.documents_done,
                documents_total=progress.documents_total,
                chunks_done=progress.chunks_done,
                chunks_per_second=progress.chunks_per_second,
                seconds_left=progress.seconds_left,
            )

        return {"on_progress": show, "should_stop": self._should_stop, "collection": self._job.collection, **others}

    def _told(self, report: SyncReport) -> str:
        failed = (*self._job.failed, *((item.source, item.reason) for item in report.failed))
        self._change(failed=failed)
        counts = {
            "added": len(report.added),
            "brought up to date": len(report.updated),
            "moved": len(report.moved) if self._job.kind is Kind.SYNC else 0,  # else they were copied
            "taken out": len(report.removed),
            "known already": len(report.unchanged),
            "could not be read": len(failed),
        }
        told = ", ".join(f"{n:,} {what}" for what, n in counts.items() if n)
        return f"{told or 'Nothing to do'}."


_TASKS: dict[Kind, Callable[[Work], str]] = {
    Kind.UPLOAD: Work._upload,
    Kind.ADD: Work._add,
    Kind.SYNC: Work._sync,
    Kind.RETRY: Work._retry,
    Kind.REMOVE: Work._remove,
    Kind.REMOVE_COLLECTION: Work._remove_collection,
    Kind.REBUILD: Work._rebuild,
}
