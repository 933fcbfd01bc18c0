"""Which documents are below the tracked paths now."""

import os
import shlex
import stat
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jina_rag.errors import DocumentError
from jina_rag.rag.documents.discovery import FoundFile, files_at, is_pattern, local_path, match_pattern
from jina_rag.rag.store.types import FailedDocument, TrackedPath


@dataclass
class ScanResult:
    """The documents that are below some tracked paths now.

    Attributes:
        files: Each document by its source, with the collection that it belongs to.
        lost: Tracked paths that have vanished or can't be read, and folders that can't be listed, with the reason.
    """

    files: dict[str, tuple[FoundFile, str]] = field(default_factory=dict)
    lost: list[FailedDocument] = field(default_factory=list)

    def add(self, files: Iterable[FoundFile], collection: str) -> None:
        """Put files into a collection, also those that were in another."""
        self.files.update((str(file.path), (file, collection)) for file in files)

    def note(self, folder: Path, error: DocumentError) -> None:
        """Remember a folder that can't be listed, or a tracked path that can't be read."""
        self.lost.append(FailedDocument(str(folder), str(error)))

    def is_gone(self, source: str) -> bool:
        """Whether a document that was not found is truly not there, or not wanted any more."""
        return not any(is_below(source, item.source) for item in self.lost) and _is_gone_or_left_out(Path(source))


def scan_paths(
    paths: Iterable[Path | str], collection: str, exclude: Sequence[str]
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
        if is_pattern(path):
            files = list(match_pattern(path, exclude, found.note))
            named += [file.path for file in files]
        else:
            files = list(files_at(path, exclude, found.note))
            named.append(path.resolve())
        found.add(files, collection)
    return found, [TrackedPath(str(path), collection, tuple(exclude)) for path in named]


def scan_tracked(tracked: Sequence[TrackedPath], known: Collection[str]) -> ScanResult:
    """Find the documents below tracked paths. Where one lies within another, its own collection counts.

    Args:
        tracked: Where to search.
        known: The sources of the documents that the index has, or has tried to read.
    """
    found = ScanResult()
    for item in sorted(tracked, key=lambda item: len(item.path)):
        if lost := _why_lost(Path(item.path), known):
            found.lost.append(FailedDocument(item.path, lost))
        elif os.path.lexists(item.path) or item.path not in known:  # else it is a file that was deleted
            try:
                found.add(files_at(Path(item.path), item.exclude, found.note), item.collection)
            except DocumentError as error:
                found.note(Path(item.path), error)
    return found


def as_sources(paths: Iterable[Path | str]) -> list[str]:
    """What files and folders may be called in an index: by where their links lead, and as they are written."""
    return [source for path in map(local_path, paths) for source in (str(path.resolve()), _without_dots(path))]


def _without_dots(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - resolve() would follow links


def without_covered(
    tracked: Sequence[TrackedPath], known: Sequence[TrackedPath], files: Collection[str]
) -> list[TrackedPath]:
    """`tracked` without those of `files` that a known folder without exclusions brings anyway."""
    folders = {item.path: item.collection for item in known if not item.exclude}

    def is_covered(item: TrackedPath) -> bool:
        return any(folders.get(str(folder)) == item.collection for folder in Path(item.path).parents)

    return [item for item in tracked if item.path not in files or not is_covered(item)]


def tracked_paths_for(
    paths: Iterable[Path | str],
    remembered: Sequence[TrackedPath],
    collection: str | None,
    exclude: Sequence[str] | None,
) -> list[TrackedPath]:
    """Paths, patterns and file:// addresses as what to track: what is not given is as for the nearest tracked folder.

    Raises:
        DocumentError: a pattern matches nothing, or an address is not one of a file.
    """
    by_path = {item.path: item for item in remembered}
    tracked = []
    for named in map(local_path, paths):
        is_known = str(named.resolve()) in by_path  # a file that is gone may look like a pattern: notes [1].md
        matched = is_pattern(named) and not is_known
        places = (
            [file.path for file in match_pattern(named, exclude or (), lambda _, __: None)]
            if matched
            else [named.resolve()]
        )
        for path in places:
            above = (by_path[str(place)] for place in (path, *path.parents) if str(place) in by_path)
            nearest = next(above, TrackedPath(str(path)))
            inherited = nearest.exclude if nearest.path == str(path) else ()
            patterns = exclude if exclude is not None else inherited
            tracked.append(TrackedPath(str(path), collection or nearest.collection, tuple(patterns)))
    return tracked


def is_below(source: str, folder: str) -> bool:
    """Whether a path is `folder` or lies somewhere in it."""
    return source == folder or source.startswith(folder.rstrip(os.sep) + os.sep)


def _why_lost(path: Path, known: Collection[str]) -> str | None:
    """Why a tracked path can't be compared with the index now; None if it can. A disk may not be mounted."""
    fault = _fault_of(path, is_known=str(path) in known)
    n_known = sum(is_below(source, str(path)) for source in known) if fault else 0
    if not n_known:
        return None
    return (
        f"{path} {fault}, and the index has {n_known:,} documents from there: is a disk not mounted? If they are gone "
        f"for good, remove them with `jina-rag rm {shlex.quote(str(path))}`."
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
