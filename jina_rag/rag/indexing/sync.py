"""What a writer does to an index: add documents, move them between collections, remove them."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from jina_rag.rag.indexing import rebuild as repair
from jina_rag.rag.indexing.index_model import IndexModel
from jina_rag.rag.indexing.ingest import Ingestion, IngestionResult
from jina_rag.rag.indexing.progress import AddProgressCallback, ProgressMeter, StopCallback
from jina_rag.rag.indexing.reports import SyncReport
from jina_rag.rag.indexing.scan import ScanResult, is_below, make_plan
from jina_rag.rag.store.catalog import Manifest, TrackedPath
from jina_rag.rag.store.vectors import VectorStore

Duplicates = Mapping[str, Sequence[str]]
"""For a new document the known ones with the same content, by their sources."""


class Changes:
    """Changes to an index whose lock is held and whose vectors agree with its manifest."""

    def __init__(
        self,
        manifest: Manifest,
        store: VectorStore,
        model: IndexModel,
        own_change: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Take the parts of an index.

        Args:
            manifest: The truth.
            store: Chroma.
            model: Loaded only if there is something to read.
            own_change: Wraps a change of the manifest, so that it isn't taken for that of another process.
        """
        self._manifest = manifest
        self._store = store
        self._model = model
        self._own_change = own_change

    def add(
        self,
        found: ScanResult,
        on_progress: AddProgressCallback | None,
        should_stop: StopCallback,
        *,
        retry_failed: bool,
    ) -> tuple[SyncReport, Duplicates]:
        """Add what is new or has changed; nothing goes. Arguments and errors as those of `DocumentIndex.add`."""
        known = {document.source: document for document in self._manifest.documents()}
        plan = make_plan(found, known, {} if retry_failed else {item.source: item for item in self._manifest.failed()})
        self._move(plan.moved_to)
        result = IngestionResult()
        if plan.tasks:
            progress = ProgressMeter(on_progress, plan.tasks, len(found.files) - len(plan.tasks))
            ingestion = Ingestion(
                self._manifest, self._store, self._model.embedder, self._own_change, progress, should_stop
            )
            result = ingestion.run(plan.tasks)
            self._clear_up(result)
        report = SyncReport(
            added=tuple(result.added),
            updated=tuple(sorted([*result.updated, *plan.moved_to])),
            unchanged=tuple(sorted([*plan.unchanged, *result.unchanged])),
            failed=(*found.lost, *sorted([*plan.failed, *result.failed], key=lambda item: item.source)),
            n_chunks=result.n_chunks,
            n_embedded=result.n_embedded,
            stopped=result.stopped,
        )
        return report, result.duplicates

    def remove_missing(
        self, report: SyncReport, duplicates: Duplicates, tracked: Sequence[TrackedPath], found: ScanResult
    ) -> SyncReport:
        """Remove what was below `tracked` and is gone from the disk.

        Returns:
            `report` with that in it: a new file whose content is that of one that is gone has moved.
        """
        files = found.files.keys()
        known = [document.source for document in self._manifest.documents()]
        gone = {
            source
            for source in known
            if source not in files and any(is_below(source, item.path) for item in tracked) and found.is_gone(source)
        }
        self.remove(sorted(gone))
        failed = {item.source for item in self._manifest.failed()}
        gone_failed = {source for source in failed if source not in files and found.is_gone(source)}
        self._manifest.remove_tracked_paths(gone | gone_failed)
        self._manifest.remove_failed(gone_failed)
        moved = _moved(duplicates, gone)
        return replace(
            report,
            added=tuple(sorted(set(report.added) - {now for _, now in moved})),
            removed=tuple(sorted(gone - {before for before, _ in moved})),
            moved=moved,
        )

    def remove(self, sources: Iterable[str]) -> None:
        """Remove documents with their chunks and vectors."""
        sources = list(sources)
        if not sources:
            return
        self._manifest.begin(sources)
        self._store.delete(chunk.id for source in sources for chunk in self._manifest.chunks_of(source))
        with self._own_change():
            self._manifest.remove(sources)
        self._manifest.forget_unused_vectors()

    def _clear_up(self, result: IngestionResult) -> None:
        """Remove from Chroma what was begun and not finished, and remember what failed."""
        unfinished = self._manifest.unfinished()
        if unfinished:
            with self._own_change():
                repair.mend(self._manifest, self._store, self._model, unfinished)
        self._manifest.add_failed(result.failed)
        if not result.stopped and result.updated:
            self._manifest.forget_unused_vectors()

    def _move(self, moved_to: dict[str, str]) -> None:
        """Put documents into other collections.

        Args:
            moved_to: The new collection of each source.
        """
        for source, collection in moved_to.items():
            self._store.describe(self._manifest.chunks_of(source), collection)
        for collection in set(moved_to.values()):
            with self._own_change():
                self._manifest.move([source for source, name in moved_to.items() if name == collection], collection)


def _moved(duplicates: Duplicates, gone: Collection[str]) -> tuple[tuple[str, str], ...]:
    """Where files were and are; of several copies that appeared for one that is gone, the first is it."""
    left = set(gone)
    moved: list[tuple[str, str]] = []
    for now, known in duplicates.items():
        if before := next((source for source in known if source in left), None):
            left.remove(before)
            moved.append((before, now))
    return tuple(moved)
