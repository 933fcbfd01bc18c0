"""Which documents are below the tracked paths now, and what has to be done about each."""

import os
import shlex
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jina_rag.errors import DocumentError
from jina_rag.rag.documents.discovery import find_documents, is_pattern, local_path
from jina_rag.rag.indexing.ingest import FileTask
from jina_rag.rag.store.catalog import FailedDocument, IndexedDocument, TrackedPath


@dataclass
class ScanResult:
    """The documents that are below some tracked paths now.

    Attributes:
        files: The collection of each document's path.
        lost: Tracked paths that have vanished as a whole, and folders that can't be listed, with the reason.
    """

    files: dict[Path, str] = field(default_factory=dict)
    lost: list[FailedDocument] = field(default_factory=list)

    def note(self, folder: Path, error: DocumentError) -> None:
        """Remember a folder that can't be listed."""
        self.lost.append(FailedDocument(str(folder), str(error)))

    def is_gone(self, source: str) -> bool:
        """Whether a document that was not found is truly not there, or not wanted any more."""
        return not any(is_below(source, item.source) for item in self.lost) and _is_gone_or_left_out(Path(source))


def scan(tracked: Sequence[TrackedPath], known: Collection[str]) -> ScanResult:
    """Find the documents below tracked paths. Where one lies within another, its own collection counts.

    Args:
        tracked: Where to search.
        known: The sources of the documents that the index has.

    Raises:
        DocumentError: a tracked path was never there, or is a file of a kind that can't be read.
    """
    found = ScanResult()
    for item in sorted(tracked, key=lambda item: len(item.path)):
        if lost := _why_lost(Path(item.path), known):
            found.lost.append(FailedDocument(item.path, lost))
        elif os.path.lexists(item.path) or item.path not in known:  # else it is a file that was deleted
            files = find_documents([item.path], item.exclude, on_error=found.note)
            found.files.update(dict.fromkeys(files, item.collection))
    return found


@dataclass
class Plan:
    """What is to be done about files, as their sizes and times tell.

    Attributes:
        tasks: Files that are new, or may have changed.
        unchanged: Sources to be left alone.
        moved_to: Sources that have not changed and go into another collection, with its name.
        failed: Files that have failed before and not changed since.
    """

    tasks: list[FileTask] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    moved_to: dict[str, str] = field(default_factory=dict)
    failed: list[FailedDocument] = field(default_factory=list)


def make_plan(found: ScanResult, known: dict[str, IndexedDocument], failed: dict[str, FailedDocument]) -> Plan:
    """Compare what was found with what the index knows, at the price of one `stat` for each file.

    Args:
        found: Files with their collections.
        known: The documents of the index by source.
        failed: Failures that are not to be tried again, by source.
    """
    plan = Plan()
    for path, collection in sorted(found.files.items()):
        source = str(path)
        try:
            status = path.stat()
            state = status.st_size, status.st_mtime_ns
        except OSError:
            state = 0, -1  # reading it says what is wrong
        document, failure = known.get(source), failed.get(source)
        if failure and (failure.size, failure.mtime_ns) == state:
            plan.failed.append(failure)
        elif document and (document.size, document.mtime_ns) == state:
            if document.collection == collection:
                plan.unchanged.append(source)
            else:
                plan.moved_to[source] = collection
        else:
            plan.tasks.append(FileTask(path, state[0], collection, document))
    return plan


def named_places(paths: Iterable[Path | str], exclude: Sequence[str] = ()) -> Iterator[Path]:
    """The files and folders that paths, patterns and file:// addresses stand for, absolute; for a pattern its files.

    Raises:
        DocumentError: a pattern fits nothing, or an address is not one of a file.
    """
    for path in map(local_path, paths):
        if is_pattern(path):
            yield from find_documents([path], exclude, on_error=lambda _, __: None)
        else:
            yield path.resolve()


def as_tracked_paths(paths: Iterable[Path | str], collection: str, exclude: Sequence[str]) -> list[TrackedPath]:
    """What to track of `paths` that were added: files and folders, for a pattern the files that it named."""
    return [TrackedPath(str(place), collection, tuple(exclude)) for place in named_places(paths, exclude)]


def as_sources(paths: Iterable[Path | str]) -> list[str]:
    """What files and folders may be called in an index: by where their links lead, and as they are written."""
    return [source for path in map(local_path, paths) for source in (str(path.resolve()), _without_dots(path))]


def _without_dots(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - resolve() would follow links


def without_covered(tracked: Sequence[TrackedPath], known: Sequence[TrackedPath]) -> list[TrackedPath]:
    """`tracked` without the files that a known folder brings anyway."""
    folders = [item for item in known if Path(item.path).is_dir() and not item.exclude]

    def is_covered(item: TrackedPath) -> bool:
        return any(
            is_below(item.path, folder.path) and item.path != folder.path and item.collection == folder.collection
            for folder in folders
        )

    return [item for item in tracked if Path(item.path).is_dir() or not is_covered(item)]


def tracked_path_for(
    path: Path, remembered: Sequence[TrackedPath], collection: str | None, exclude: Sequence[str] | None
) -> TrackedPath:
    """A path to track: what is not given is taken from the nearest folder above it that was added."""
    above = [item for item in remembered if is_below(str(path), item.path)]
    nearest = max(above, key=lambda item: len(item.path), default=TrackedPath(str(path)))
    same = nearest.path == str(path)
    patterns = exclude if exclude is not None else nearest.exclude if same else ()
    return TrackedPath(str(path), collection or nearest.collection, tuple(patterns))


def is_below(source: str, folder: str) -> bool:
    """Whether a path is `folder` or lies somewhere in it."""
    return source == folder or source.startswith(folder.rstrip(os.sep) + os.sep)


def _why_lost(path: Path, known: Collection[str]) -> str | None:
    """Why a tracked path can't be compared with the index now; None if it can. A disk may not be mounted."""
    n_known = sum(is_below(source, str(path)) for source in known)
    if not n_known:
        return None
    remedy = (
        f"and the index has {n_known:,} documents from there: is a disk not mounted? If they are gone for good, "
        f"remove them with `jina-rag rm {shlex.quote(str(path))}`."
    )
    try:
        if path.is_dir():
            return None if any(path.iterdir()) else f"{path} is empty, {remedy}"
        is_deleted_file = str(path) in known and any(path.parent.iterdir())
        return None if path.exists() or is_deleted_file else f"{path} is not there, {remedy}"
    except OSError as error:
        return f"{path} can't be listed ({error.strerror}), {remedy}"


def _is_gone_or_left_out(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # it may be there and be hidden from us for now
    return not stat.S_ISREG(mode) or os.access(path, os.R_OK)
