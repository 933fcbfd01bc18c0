"""Modules of ours in processes of their own, which the files in the working directory have no say in."""

import os
import sys


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module. -P: a stray json.py in the working directory is not to be run."""
    return [sys.executable, "-P", "-m", module, *arguments]


_KEPT = (
    *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TEMP", "TMP"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"),
    *("PYTHONHOME", "PYTHONUTF8", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),
    *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "USERPROFILE", "APPDATA", "LOCALAPPDATA"),
)
"""What Python and its libraries need to start, and nothing that may hold a key."""


def module_environment() -> dict[str, str]:
    """The environment for that: this process's search path, and of its variables those that Python needs."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)}  # noqa: PTH100
