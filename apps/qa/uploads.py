"""Uploaded files: how much is taken, and where it is kept.

They are copied to `uploads` beside the index; those of a task wait in `uploads/.incoming/<id>`.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import BinaryIO

from escaping import safe_name
from private_files import disk_errors, private_folder, write_private

from jina_rag.errors import IndexFolderError

MAX_SESSION_BYTES, MAX_ALL_BYTES = 500_000_000, 1_000_000_000
"""How much Streamlit keeps in memory, of one reader and of all, until it is in the index; `door.py` checks it."""

MAX_PENDING_BYTES = 1_000_000_000
"""How much may wait on the disk to be added, of all readers together."""

_INCOMING = ".incoming"  # `sync` skips a folder whose name begins with a dot
_LONGEST_NAME = 60  # characters that tell two names apart


def keep(files: Sequence[tuple[str, BinaryIO]], index_folder: Path, task_id: str) -> list[str]:
    """Copy files to where a task finds them.

    Returns:
        Their new names, which are safe and different from each other.

    Raises:
        IndexFolderError: they can't be written, or too much is waiting already.
    """
    incoming = private_folder(index_folder, "uploads", _INCOMING)
    n_bytes = folder_size(incoming) + sum(content.seek(0, os.SEEK_END) for _, content in files)
    if n_bytes > MAX_PENDING_BYTES:
        raise IndexFolderError(
            f"Files that wait to be added may have {MAX_PENDING_BYTES / 1e9:g} GB together, and with these they would "
            f"have {n_bytes / 1e9:.1f} GB. Wait until earlier uploads are added, dismiss those that failed, or upload "
            "fewer files at a time."
        )
    folder = private_folder(incoming, task_id)
    names: list[str] = []
    with disk_errors(index_folder):
        for name, content in files:
            names.append(_free_name(_stored_name(name), names))
            content.seek(0)
            write_private(folder / names[-1], content)
    return names


def find(name: str, index_folder: Path, task_id: str) -> tuple[Path, Path]:
    """Where an upload waits, and where it goes. Raises IndexFolderError for a link in the place of a folder."""
    uploads = private_folder(index_folder, "uploads")
    return private_folder(uploads, _INCOMING, task_id) / name, uploads / name


def stored_path(index_folder: Path, name: str) -> str:
    """The source of the document that an upload becomes."""
    return str(index_folder.resolve() / "uploads" / name)


def discard(index_folder: Path, task_id: str) -> None:
    """Delete the files that still wait for a task. Raises IndexFolderError for a link in the place of a folder."""
    if (index_folder / "uploads" / _INCOMING / task_id).exists():
        shutil.rmtree(private_folder(index_folder, "uploads", _INCOMING, task_id), ignore_errors=True)


def delete(sources: Iterable[str], index_folder: Path) -> None:
    """Delete those of the files that are uploads; they would come back with the next `sync`.

    Raises:
        IndexFolderError: the disk forbids it, or `uploads` is a link.
    """
    uploads = private_folder(index_folder.resolve(), "uploads")
    with disk_errors(index_folder):
        for source in map(Path, sources):
            if source.parent == uploads:
                source.unlink(missing_ok=True)


def folder_size(folder: Path) -> int:
    """The bytes of all files below a folder, in which a task may be at work."""
    return sum(_file_size(Path(parent, name)) for parent, _, names in os.walk(folder) for name in names)


def _file_size(file: Path) -> int:
    try:
        return file.lstat().st_size
    except FileNotFoundError:
        return 0


def _free_name(name: Path, taken: Iterable[str]) -> str:
    """`name`, or with a number behind it. Case tells no files apart: on some systems it doesn't."""
    names = {other.lower() for other in taken}
    numbered = (str(name if n == 1 else name.with_stem(f"{name.stem} ({n})")) for n in count(1))
    return next(name for name in numbered if name.lower() not in names)


def _stored_name(name: str) -> Path:
    """A safe name that is still another one where only emoji, or the end of a long name, tell files apart."""
    safe = Path(safe_name(name))
    if len(name) <= _LONGEST_NAME and any(map(str.isalnum, safe.stem)):
        return safe
    return safe.with_stem(f"{safe.stem[:40]}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}")
