"""The index made equal to the disk: what is new, changed, moved or gone, compared and written."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from jina_rag.rag.indexing.index_model import IndexModel
from jina_rag.rag.indexing.ingest import Ingestion, IngestionResult
from jina_rag.rag.indexing.parsing import FileTask
from jina_rag.rag.indexing.progress import AddProgressCallback, ProgressMeter, StopCallback
from jina_rag.rag.indexing.reports import SyncReport
from jina_rag.rag.indexing.scan import ScanResult, is_below
from jina_rag.rag.store.catalog import Catalog
from jina_rag.rag.store.types import FailedDocument, IndexedDocument, TrackedPath

Duplicates = Mapping[str, Sequence[str]]
"""For a new document the known ones with the same content, by their sources."""


@dataclass
class Plan:
    """What is to be done about files, judged by their sizes and times.

    Attributes:
        tasks: Files that are new, or may have changed.
        unchanged: Sources to be left alone.
        new_collections: For sources that have not changed and go into another collection, its name.
        failed: Files that have failed before and not changed since.
    """

    tasks: list[FileTask] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    new_collections: dict[str, str] = field(default_factory=dict)
    failed: list[FailedDocument] = field(default_factory=list)


def make_plan(found: ScanResult, known: Mapping[str, IndexedDocument], failed: Mapping[str, FailedDocument]) -> Plan:
    """Compare what was found with what the index knows, by sizes and times.

    Args:
        found: Files with their collections.
        known: The documents of the index by source.
        failed: Failures that are not to be tried again, by source.
    """
    plan = Plan()
    for source, (file, collection) in sorted(found.files.items()):
        state = file.size, file.mtime_ns
        document, failure = known.get(source), failed.get(source)
        if failure and (failure.size, failure.mtime_ns) == state:
            plan.failed.append(failure)
        elif not document or (document.size, document.mtime_ns) != state:
            plan.tasks.append(FileTask(file, collection, document))
        elif document.collection == collection:
            plan.unchanged.append(source)
        else:
            plan.new_collections[source] = collection
    return plan


class IndexWriter:
    """Writes to an index whose lock is held and whose Chroma has followed."""

    def __init__(
        self,
        catalog: Catalog,
        model: IndexModel,
        follow: Callable[[], None],
    ) -> None:
        """Take the parts of an index.

        Args:
            catalog: The truth.
            model: Loaded only if there is something to read.
            follow: Called after each change, to let Chroma follow it.
        """
        self._catalog = catalog
        self._model = model
        self._follow = follow

    def add(
        self,
        found: ScanResult,
        on_progress: AddProgressCallback | None,
        should_stop: StopCallback,
        *,
        retry_failed: bool,
    ) -> tuple[SyncReport, Duplicates]:
        """Add what is new or has changed; nothing goes. Arguments and errors as those of `DocumentIndex.add`."""
        known = {document.source: document for document in self._catalog.documents()}
        plan = make_plan(found, known, {} if retry_failed else {item.source: item for item in self._catalog.failed()})
        if plan.new_collections:
            self._catalog.set_collections(plan.new_collections)
            self._follow()
        result = IngestionResult()
        if plan.tasks:
            progress = ProgressMeter(on_progress, plan.tasks, len(found.files) - len(plan.tasks))
            result = Ingestion(self._catalog, self._model.embedder, self._follow, progress, should_stop).run(plan.tasks)
            self._catalog.add_failed(result.failed)
            if result.updated and not result.stopped:
                self._catalog.forget_unused_vectors()
        report = SyncReport(
            added=tuple(result.added),
            updated=tuple(sorted([*result.updated, *plan.new_collections])),
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
        gone = {
            source
            for source in self._catalog.sources()
            if source not in files and any(is_below(source, item.path) for item in tracked) and found.is_gone(source)
        }
        self.remove(sorted(gone))
        failed = {item.source for item in self._catalog.failed()}
        gone_failed = {source for source in failed if source not in files and found.is_gone(source)}
        self._catalog.remove_tracked_paths(gone | gone_failed)
        self._catalog.remove_failed(gone_failed)
        moved = _moved(duplicates, gone)
        return replace(
            report,
            added=tuple(sorted(set(report.added) - {now for _, now in moved})),
            removed=tuple(sorted(gone - {before for before, _ in moved})),
            moved=moved,
        )

    def remove(self, sources: Iterable[str]) -> None:
        """Remove documents with their chunks and vectors."""
        if sources := list(sources):
            self._catalog.remove(sources)
            self._follow()


def _moved(duplicates: Duplicates, gone: Collection[str]) -> tuple[tuple[str, str], ...]:
    """Where files were and are; of several copies that appeared for one that is gone, the first is it."""
    left = set(gone)
    moved: list[tuple[str, str]] = []
    for now, known in duplicates.items():
        if before := next((source for source in known if source in left), None):
            left.remove(before)
            moved.append((before, now))
    return tuple(moved)
