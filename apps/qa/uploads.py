"""Uploaded files: copies beside the index, under names that are safe."""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import BinaryIO

from escaping import safe_name

from jina_rag.errors import IndexFolderError

_TOLD_APART = 60  # characters of a name that are kept


def place_of_uploads(index_folder: Path) -> Path:
    """Where they stay once they are in the index."""
    return index_folder / "uploads"


def incoming(index_folder: Path, job_id: str) -> Path:
    """Where a job's files wait. `sync` passes over a folder whose name begins with a dot."""
    return place_of_uploads(index_folder) / ".incoming" / job_id


def clear_incoming(index_folder: Path, job_id: str) -> None:
    """Delete what a job has left there."""
    shutil.rmtree(incoming(index_folder, job_id), ignore_errors=True)


def delete(sources: Iterable[str], index_folder: Path) -> None:
    """Delete those of the files that are such copies; they would come back with the next `sync`.

    Raises:
        IndexFolderError: the disk forbids it.
    """
    place = place_of_uploads(index_folder).resolve()
    with _clear_disk_errors(index_folder):
        for source in map(Path, sources):
            if source.parent == place:
                source.unlink(missing_ok=True)


def keep(files: Iterable[tuple[str, BinaryIO]], index_folder: Path, job_id: str) -> list[str]:
    """Copy files to where a job finds them, under names that are safe, and different from each other.

    Raises:
        IndexFolderError: they can't be written.
    """
    folder = incoming(index_folder, job_id)
    paths: list[Path] = []
    with _clear_disk_errors(index_folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files:
            paths.append(_free_place(folder, _stored_name(name), paths))
            with paths[-1].open("wb") as file:
                shutil.copyfileobj(content, file)
    return list(map(str, paths))


def _free_place(folder: Path, name: Path, taken: Iterable[Path]) -> Path:
    """`name`, or with a number behind it. Case tells no files apart: on some systems it doesn't."""
    names = {path.name.lower() for path in taken}
    numbered = (name if n == 1 else name.with_stem(f"{name.stem} ({n})") for n in count(1))
    return folder / next(name for name in numbered if name.name.lower() not in names)


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
