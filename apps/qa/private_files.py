"""Files beside the index that only their owner can read. A link in the place of one is never followed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TextIO

from jina_rag.errors import IndexFolderError

_FILES_ONLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # which Windows doesn't have


def private_folder(*parts: Path | str) -> Path:
    """A folder, of which all but the first part are made if needed.

    Raises:
        IndexFolderError: one of them is a link, or can't be made.
    """
    folder = Path(parts[0])
    with disk_errors(folder):
        for part in parts[1:]:
            folder /= part
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.is_symlink():
                raise IndexFolderError(f"{folder} is a link, and is not followed. Remove it.")
    return folder


def write_private(path: Path, content: bytes | BinaryIO) -> None:
    """Write a file, or put it in the place of the one that is there. Raises OSError."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as new:  # 0600, O_EXCL, O_NOFOLLOW
        try:
            shutil.copyfileobj(BytesIO(content) if isinstance(content, bytes) else content, new)
            new.close()
            Path(new.name).replace(path)
        except BaseException:
            Path(new.name).unlink(missing_ok=True)
            raise


def open_private(path: Path, flags: int) -> TextIO:
    """Open a file of text, in the mode of `os.open`; one that is made is 0600. Raises OSError, also for a link."""
    descriptor = os.open(path, flags | _FILES_ONLY, 0o600)
    return os.fdopen(descriptor, "a" if flags & os.O_APPEND else "r", encoding="utf-8")


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Translate OSError into IndexFolderError."""
    try:
        yield
    except OSError as error:
        raise IndexFolderError(
            f"{folder} can't be written ({error.strerror}). Make room, or give yourself the right to write to it."
        ) from error
