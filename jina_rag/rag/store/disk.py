"""Why an index folder can't be written, in our words: a full disk shows itself in many ways."""

import errno
import shutil
from pathlib import Path

_LITTLE = 2**24  # bytes; with less left, a failure that doesn't say its reason is taken for that of a full disk


def disk_is_full(folder: Path) -> str:
    """The sentence for people."""
    return f"The disk of {folder} is full. Free some space and run the same command again: what is stored is kept."


def is_nearly_full(folder: Path, needed: int = 0) -> bool:
    """Whether less is left on a folder's disk than `needed` bytes, or next to nothing."""
    try:
        return shutil.disk_usage(folder).free < max(_LITTLE, needed)
    except OSError:
        return False


def cannot_write(folder: Path, error: OSError) -> str:
    """What kept a file in a folder from being written, for people."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_is_full(folder)
    return f"{folder} can't be written ({error.strerror}). Give yourself the right to write to it."
