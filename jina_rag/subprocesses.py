"""Modules of ours in processes of their own, which the files in the working directory have no say in."""

import os
import sys


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module. -P: a stray json.py in the working directory is not to be run."""
    return [sys.executable, "-P", "-m", module, *arguments]


def module_environment() -> dict[str, str]:
    """The environment for that: this process's own, with its search path."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
