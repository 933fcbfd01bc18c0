"""Whether this machine has written a Chroma folder, which decides whether Chroma may open it.

Chroma reads its graph without checks, so that a file made for it can crash the process or do worse. A seal, kept in
SQLite, is the HMAC of the folder's file number under a key that never leaves this machine: a folder that was unpacked,
copied or put in the place of ours has another number, and none that somebody else could seal.
"""

import hmac
import os
import secrets
from functools import cache
from pathlib import Path

DATA_VARIABLE = "JINA_RAG_DATA"
"""The environment variable that names another folder for the key."""


def seal(folder: Path) -> str:
    """The seal of a folder that this process has just made."""
    return hmac.digest(_key(_data_folder()), str(folder.stat(follow_symlinks=False).st_ino).encode(), "sha256").hex()


def is_sealed(folder: Path, stored: str | None) -> bool:
    """Whether `stored` is the seal of this folder."""
    return bool(stored) and folder.is_dir() and hmac.compare_digest(seal(folder).encode(), str(stored).encode())


def _data_folder() -> Path:
    import platformdirs

    return Path(os.environ.get(DATA_VARIABLE) or platformdirs.user_data_path("jina_rag"))


@cache
def _key(folder: Path) -> bytes:
    """The key of this machine's user, made at the first need; where none can be kept, one for this process alone."""
    path = folder / "index.key"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = folder / f"index.key.{secrets.token_hex(8)}"
        if not path.exists():
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
                file.write(secrets.token_bytes(32))
            try:
                os.link(new, path)  # whole at once; if another process was first, its key counts
            except FileExistsError:
                pass
            finally:
                new.unlink()
        key = path.read_bytes()
    except OSError:
        key = b""
    return key if len(key) == 32 else secrets.token_bytes(32)
