"""Which documents are below the tracked paths now."""

import os
import shlex
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from jina_rag.errors import DocumentError
from jina_rag.formatting import escaped
from jina_rag.rag.documents.discovery import FoundFile, Skipped, files_at, is_pattern, local_path, match_pattern
from jina_rag.rag.documents.sources import path_of, source_of
from jina_rag.rag.store.types import DEFAULT_COLLECTION, FailedDocument, TrackedPath, as_collections


@dataclass
class ScanResult:
    """The documents that are below some tracked paths now.

    Attributes:
        files: Each document by its source.
        lost: Tracked paths that have vanished or can't be read, and folders that can't be listed, with the reason.
        skipped: What is not read, by the path that was searched.
        left_out: Sources of files that the user removed from the index, and that therefore stay out.
    """

    files: dict[str, FoundFile] = field(default_factory=dict)
    lost: list[FailedDocument] = field(default_factory=list)
    skipped: dict[str, Skipped] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def add(self, files: Iterable[FoundFile]) -> None:
        """Take files that were found."""
        self.files.update((source_of(file.path), file) for file in files)

    def note(self, folder: Path, error: DocumentError) -> None:
        """Remember a folder that can't be listed, or a tracked path that can't be read."""
        self.lost.append(FailedDocument(source_of(folder), str(error)))

    def leave_out(self, removed: Collection[str], tracked: Collection[str]) -> None:
        """Drop the files that were removed, unless they were added again: of the paths above a file the nearest counts.

        Args:
            removed: Files and folders that the user removed.
            tracked: Files and folders that were added.
        """
        if removed:
            both = {*removed, *tracked}
            self.left_out = [source for source in self.files if next(covering(source, both), None) in removed]
            for source in self.left_out:
                del self.files[source]

    def is_gone(self, source: str) -> bool:
        """Whether a document that was not found is truly not there, or not wanted any more."""
        return not any(is_below(source, item.source) for item in self.lost) and _is_gone_or_left_out(path_of(source))


def scan_paths(
    paths: Iterable[Path | str], collections: Iterable[str], exclude: Sequence[str]
) -> tuple[ScanResult, list[TrackedPath]]:
    """Find the documents that paths, patterns and file:// addresses name.

    Returns:
        Them, and what to track: files and folders, for a pattern the files that it matched.

    Raises:
        DocumentError: a path doesn't exist, a pattern matches nothing, or a file was named whose kind can't be read.
    """
    found = ScanResult()
    named: list[Path] = []
    for path in map(local_path, paths):
        skipped = found.skipped.setdefault(source_of(path.resolve()), Skipped())
        if is_pattern(path):
            files = list(match_pattern(path, exclude, found.note, skipped))
            named += [file.path for file in files]
        else:
            files = list(files_at(path, exclude, found.note, skipped))
            named.append(path.resolve())
        found.add(files)
    names = as_collections(collections)
    return found, [TrackedPath(source_of(path), names, tuple(exclude)) for path in named]


def scan_tracked(tracked: Iterable[TrackedPath], known: Collection[str]) -> ScanResult:
    """Find the documents below tracked paths.

    Args:
        tracked: Where to search.
        known: The sources of the documents that the index has, or has tried to read.
    """
    found = ScanResult()
    for item in tracked:
        path = path_of(item.path)
        if lost := _why_lost(path, known):
            found.lost.append(FailedDocument(item.path, lost))
        elif os.path.lexists(path) or item.path not in known:  # else it is a file that was deleted
            skipped = found.skipped.setdefault(item.path, Skipped())
            try:
                found.add(files_at(path, item.exclude, found.note, skipped))
            except DocumentError as error:
                found.note(path, error)
    return found


def as_sources(paths: Iterable[Path | str]) -> list[str]:
    """What files and folders may be called in an index: by where their links lead, as they are written, or as shown."""
    return [
        source
        for path in map(local_path, paths)
        for source in (source_of(path.resolve()), source_of(_without_dots(path)), escaped(_without_dots(path)))
    ]


def _without_dots(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - resolve() would follow links


def without_covered(
    tracked: Sequence[TrackedPath], known: Sequence[TrackedPath], files: Collection[str], removed: Collection[str]
) -> list[TrackedPath]:
    """`tracked` without those of `files` that a known folder without exclusions brings anyway.

    Args:
        tracked: What is to be remembered.
        known: What is remembered.
        files: The sources of those of them that are files.
        removed: What the user removed; it comes back only if it is remembered by itself.
    """
    names = {item.path: {*item.collections, DEFAULT_COLLECTION} for item in known if not item.exclude}
    places = {*names, *removed}

    def is_covered(item: TrackedPath) -> bool:
        nearest = next((place for place in covering(item.path, places) if place != item.path), None)
        return nearest in names and nearest not in removed and names[nearest] >= {*item.collections}

    return [item for item in tracked if item.path not in files or not is_covered(item)]


def tracked_paths_for(
    paths: Iterable[Path | str],
    remembered: Sequence[TrackedPath],
    collections: Iterable[str] | None,
    exclude: Sequence[str] | None,
) -> list[TrackedPath]:
    """Paths, patterns and file:// addresses as what to track: what is not given is as it was remembered.

    Raises:
        DocumentError: a pattern matches nothing, or an address is not one of a file.
    """
    by_path = {item.path: item for item in remembered}
    names = None if collections is None else as_collections(collections)
    tracked = []
    for named in map(local_path, paths):
        is_known = source_of(named.resolve()) in by_path  # a file that is gone may look like a pattern: notes [1].md
        matched = is_pattern(named) and not is_known
        places = (
            [file.path for file in match_pattern(named, exclude or (), lambda _, __: None)]
            if matched
            else [named.resolve()]
        )
        for source in map(source_of, places):
            before = by_path.get(source, TrackedPath(source))
            patterns = before.exclude if exclude is None else exclude
            tracked.append(TrackedPath(source, names or before.collections, tuple(patterns)))
    return tracked


def joined(tracked: Iterable[TrackedPath], remembered: Iterable[TrackedPath]) -> list[TrackedPath]:
    """`tracked`, each in the collections that it was added to before, too."""
    before = {item.path: item.collections for item in remembered}
    return [
        replace(item, collections=as_collections((*item.collections, *before.get(item.path, ())))) for item in tracked
    ]


def collections_by_place(tracked: Iterable[TrackedPath]) -> Callable[[str], tuple[str, ...]]:
    """The rule for collections: a document is in those of every tracked file or folder that it lies in."""
    names = {item.path: item.collections for item in tracked}

    @cache
    def of_folder(folder: str) -> frozenset[str]:
        return frozenset(name for place in covering(folder, names) for name in names[place])

    def of_document(source: str) -> tuple[str, ...]:
        return as_collections({*names.get(source, ()), *of_folder(os.path.dirname(source))})  # noqa: PTH120 - faster

    return of_document


def is_below(source: str, folder: str) -> bool:
    """Whether a path is `folder` or lies somewhere in it."""
    return source == folder or source.startswith(folder.rstrip(os.sep) + os.sep)


def covering(source: str, places: Collection[str]) -> Iterator[str]:
    """Those of some files and folders that are a path or that it lies in, the nearest first."""
    above = ""
    while source != above:
        if source in places:
            yield source
        above, source = source, os.path.dirname(source)  # noqa: PTH120 - a Path takes ten times as long


def outermost(skipped: Mapping[str, Skipped]) -> Skipped:
    """What is not read in all, where a folder that lies in another is not counted twice."""
    total = Skipped()
    for place, one in skipped.items():
        if not any(above != place for above in covering(place, skipped)):
            total.add(one)
    return total


def _why_lost(path: Path, known: Collection[str]) -> str | None:
    """Why a tracked path can't be compared with the index now; None if it can. A disk may not be mounted."""
    source = source_of(path)
    fault = _fault_of(path, is_known=source in known)
    n_known = sum(is_below(each, source) for each in known) if fault else 0
    if not n_known:
        return None
    return (
        f"{source} {fault}, and the index has {n_known:,} documents from there: is a disk not mounted? If they are "
        f"gone for good, remove them with `jina-rag rm {shlex.quote(source)}`."
    )


def _fault_of(path: Path, *, is_known: bool) -> str | None:
    try:
        if path.is_dir():
            return None if any(path.iterdir()) else "is empty"
        is_deleted_file = is_known and any(path.parent.iterdir())
        return None if path.exists() or is_deleted_file else "is not there"
    except OSError as error:
        return f"can't be listed ({error.strerror})"


def _is_gone_or_left_out(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # it may be there and be hidden from us for now
    return not stat.S_ISREG(mode) or os.access(path, os.R_OK)
