"""The files in an index folder: for their owner alone, and never through a link."""

import os
import secrets
from pathlib import Path

from jina_rag.errors import IndexFolderError


def make_private(folder: Path) -> None:
    """Take all rights to a folder and what lies in it from others."""
    for path in (folder, *(Path(place, name) for place, *names in os.walk(folder) for name in (*names[0], *names[1]))):
        if not path.is_symlink() and path.stat().st_mode & 0o077:
            path.chmod(path.stat().st_mode & 0o700)


def is_private(folder: Path) -> bool:
    """Whether only its owner may open a folder; the owner may have shared it since it was made."""
    return not folder.stat().st_mode & 0o077


def write_private(path: Path, text: str) -> None:
    """Put a file in the place of one of its name, whole at once, readable by its owner alone."""
    new = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        with open(os.open(new, flags, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123 - O_EXCL
            file.write(text)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def refuse_links(folder: Path) -> None:
    """Refuse an index folder with a link in it, which could lead a reader or writer anywhere.

    Raises:
        IndexFolderError: there is one.
    """
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(place, name)
            if path.is_symlink() or (hasattr(path, "is_junction") and path.is_junction()):
                raise IndexFolderError(
                    f"{path} is a link, and an index has none. Remove the link if you know it, or name another folder."
                )
