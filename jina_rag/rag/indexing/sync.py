"""The index made equal to the disk: what is new, changed, moved or gone, compared and written."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from jina_rag.formatting import counted
from jina_rag.rag.documents.sources import path_of, source_of
from jina_rag.rag.indexing.index_model import IndexModel
from jina_rag.rag.indexing.ingest import Ingestion, IngestionResult
from jina_rag.rag.indexing.parsing import READING_VERSION, FileTask
from jina_rag.rag.indexing.progress import AddProgressCallback, ProgressMeter, StopCallback
from jina_rag.rag.indexing.reports import SyncReport
from jina_rag.rag.indexing.scan import ScanResult, collections_by_place, covering, outermost
from jina_rag.rag.store.catalog import Catalog
from jina_rag.rag.store.types import FailedDocument, IndexedDocument, TrackedPath

Duplicates = Mapping[str, Sequence[str]]
"""For a new document the known ones with the same content, by their sources."""

_FEWEST = 2  # documents; a single one may always go


@dataclass
class Plan:
    """What is to be done about files, judged by their sizes and times.

    Attributes:
        tasks: Files that are new, or may have changed.
        unchanged: Sources to be left alone.
        new_collections: For sources that have not changed and are in other collections now, these.
        failed: Files that have failed before and not changed since.
    """

    tasks: list[FileTask] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    new_collections: dict[str, tuple[str, ...]] = field(default_factory=dict)
    failed: list[FailedDocument] = field(default_factory=list)


def make_plan(
    found: ScanResult,
    known: Mapping[str, IndexedDocument],
    failed: Mapping[str, FailedDocument],
    collections_of: Callable[[str], tuple[str, ...]],
) -> Plan:
    """Compare what was found with what the index knows, by sizes, times and the version that read it.

    Args:
        found: Files.
        known: The documents of the index by source.
        failed: Failures that are not to be tried again, by source.
        collections_of: In which collections a source is to be.
    """
    plan = Plan()
    for source, file in sorted(found.files.items()):
        collections = collections_of(source)
        state = file.size, file.mtime_ns
        document, failure = known.get(source), failed.get(source)
        if failure and (failure.size, failure.mtime_ns) == state:
            plan.failed.append(failure)
        elif not document or (document.size, document.mtime_ns, document.reading_version) != (*state, READING_VERSION):
            plan.tasks.append(FileTask(file, collections, document))
        elif document.collections == collections:
            plan.unchanged.append(source)
        else:
            plan.new_collections[source] = collections
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
        failed = {} if retry_failed else {item.source: item for item in self._catalog.failed()}
        tracked = self._catalog.tracked_paths()
        found.leave_out(self._catalog.removed(), {item.path for item in tracked})
        self._catalog.set_skipped(found.skipped)
        plan = make_plan(found, known, failed, collections_by_place(tracked))
        if plan.new_collections:
            self._catalog.set_collections(plan.new_collections)
            self._follow()
        result = IngestionResult()
        if plan.tasks:
            progress = ProgressMeter(on_progress, plan.tasks, len(found.files) - len(plan.tasks))
            result = Ingestion(self._catalog, self._model.embedder, self._follow, progress, should_stop).run(plan.tasks)
            self._catalog.add_failed(result.failed)
            if result.updated and not result.stopped:
                self._catalog.forget_unused()
        report = SyncReport(
            added=tuple(result.added),
            updated=tuple(sorted(result.updated)),
            regrouped=tuple((source, known[source].collections, now) for source, now in plan.new_collections.items()),
            unchanged=tuple(sorted([*plan.unchanged, *result.unchanged])),
            failed=(*found.lost, *sorted([*plan.failed, *result.failed], key=lambda item: item.source)),
            n_chunks=result.n_chunks,
            n_embedded=result.n_embedded,
            skipped=outermost(found.skipped),
            left_out=tuple(sorted(found.left_out)),
            stopped=result.stopped,
        )
        return report, result.duplicates

    def remove_missing(
        self,
        report: SyncReport,
        duplicates: Duplicates,
        tracked: Sequence[TrackedPath],
        found: ScanResult,
        *,
        allow_mass_removal: bool,
    ) -> SyncReport:
        """Remove what was below `tracked` and is gone from the disk.

        Args:
            report: What was added.
            duplicates: As `add` gave them.
            tracked: Where was searched.
            found: What is there.
            allow_mass_removal: Remove also what looks like a disk that is not mounted, see `suspicious`.

        Returns:
            `report` with that in it: a new file whose content is that of one that is gone has moved.
        """
        files, places = found.files.keys(), {item.path for item in tracked}
        below = [source for source in self._catalog.sources() if any(covering(source, places))]
        gone = {source for source in below if source not in files and found.is_gone(source)}
        withheld: dict[str, list[str]] = {}
        if not allow_mass_removal:
            moved_from = {before for before, _ in _moved(duplicates, gone)}
            withheld = suspicious(below, gone - moved_from, places)
            gone -= {source for sources in withheld.values() for source in sources}
        self.remove(sorted(gone), for_good=False)
        failed = {item.source for item in self._catalog.failed()}
        gone_failed = {source for source in failed if source not in files and found.is_gone(source)}
        self._catalog.remove_tracked_paths(gone | gone_failed)
        self._catalog.remove_failed(gone_failed)
        self._catalog.let_in(
            path
            for path in self._catalog.removed()
            if any(covering(path, places)) and found.is_gone(path) and not os.path.lexists(path_of(path))
        )
        moved = _moved(duplicates, gone)
        return replace(
            report,
            added=tuple(sorted(set(report.added) - {now for _, now in moved})),
            removed=tuple(sorted(gone - {before for before, _ in moved})),
            moved=moved,
            gone_folders=_gone_folders(gone - {before for before, _ in moved}),
            withheld=tuple(sorted({source for sources in withheld.values() for source in sources})),
            failed=(*report.failed, *(_withheld(place, sources) for place, sources in withheld.items())),
        )

    def remove(self, sources: Iterable[str], *, for_good: bool) -> None:
        """Remove documents with their chunks, and with their vectors either at once or after some days."""
        if sources := list(sources):
            self._catalog.remove(sources, for_good=for_good)
            self._follow()


def suspicious(known: Iterable[str], gone: Collection[str], places: Collection[str]) -> dict[str, list[str]]:
    """Of documents whose files are gone, those that may be on a disk that is not mounted, by their folders.

    They are: more than half of what is known of a tracked folder, or of the tracked files in one folder; and all that
    was in a folder that is still there and empty. One file alone may always go.

    Args:
        known: The sources of all documents in the tracked places.
        gone: Those whose files were not found; some may be there and not wanted any more.
        places: The tracked files and folders.
    """
    vanished = {source for source in gone if not os.path.lexists(path_of(source))}
    if len(vanished) < _FEWEST:
        return {}
    n_known: Counter[str] = Counter()
    missing: defaultdict[str, list[str]] = defaultdict(list)
    for source in known:
        folders = {  # of a tracked file the one that it is in
            os.path.dirname(source) if place == source else place  # noqa: PTH120 - as scan.covering
            for place in covering(source, places)
        }
        for folder in folders:
            n_known[folder] += 1
            if source in vanished:
                missing[folder].append(source)
    found = {folder: sources for folder, sources in missing.items() if 2 * len(sources) > n_known[folder]}
    emptied: defaultdict[str, list[str]] = defaultdict(list)
    for source in vanished:
        emptied[_nearest_folder(source)].append(source)
    found |= {folder: sources for folder, sources in emptied.items() if _is_empty(path_of(folder))}
    return {folder: sorted(sources) for folder, sources in found.items() if len(sources) >= _FEWEST}


def _nearest_folder(source: str) -> str:
    return source_of(next(folder for folder in path_of(source).parents if folder.exists()))


def _gone_folders(sources: Iterable[str]) -> tuple[str, ...]:
    """The outermost folders that are not there any more and held at least `_FEWEST` of some documents."""
    n_sources: Counter[str] = Counter()
    for source in sources:
        parents = path_of(source).parents
        if gone := [folder for folder in parents if not os.path.lexists(folder)]:
            n_sources[source_of(gone[-1])] += 1
    return tuple(sorted(folder for folder, n in n_sources.items() if n >= _FEWEST))


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError:
        return False


def _withheld(folder: str, sources: Sequence[str]) -> FailedDocument:
    return FailedDocument(
        folder,
        f"{counted(len(sources), 'document')} of {folder} are gone from the disk. The index keeps them for now: a disk "
        "may not be mounted, or a folder may have been moved.",
    )


def _moved(duplicates: Duplicates, gone: Collection[str]) -> tuple[tuple[str, str], ...]:
    """Where files were and are; of several copies that appeared for one that is gone, the first is it."""
    left = set(gone)
    moved: list[tuple[str, str]] = []
    for now, known in duplicates.items():
        if before := next((source for source in known if source in left), None):
            left.remove(before)
            moved.append((before, now))
    return tuple(moved)
