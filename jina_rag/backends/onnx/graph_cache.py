"""Graphs kept on the disk: each is made once from its GGUF file, and again only where the kept one is damaged.

A folder holds the graph, its weights and `origin.json`: the file that it was made from, and the checksums of what was
written. Graphs of files that are gone or changed, and those of older code, are removed when another is made.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR
from typing import Any, TypeVar

from jina_rag.backends.llama_cpp.gguf_backend import file_state
from jina_rag.backends.onnx.graph import GRAPH_FILE, GRAPH_VERSION, WEIGHTS_FILE, write_graph
from jina_rag.backends.onnx.network import Network
from jina_rag.backends.onnx.weights import Weights
from jina_rag.backends.remote.address import Precision
from jina_rag.errors import ModelLoadError
from jina_rag.locations import file_sha256
from jina_rag.machine import cache_root

Session = TypeVar("Session")

_ORIGIN_FILE = "origin.json"
_UNFINISHED = ".making-"
_GIVEN_UP_AFTER_S = 24 * 3600  # far longer than a graph takes
_logger = logging.getLogger("jina_rag")


@dataclass(frozen=True)
class GraphSource:
    """What a graph is made from.

    Attributes:
        path: The GGUF file.
        state: `file_state` of it before its header was read.
        network: What it holds.
        weights: Its tensors.
    """

    path: Path
    state: tuple[int, int]
    network: Network
    weights: Weights


def open_graph(source: GraphSource, precision: Precision, open_session: Callable[[Path], Session]) -> Session:
    """What `open_session` makes of a file's graph, which is written first if it is not kept.

    Raises:
        ModelLoadError: it can't be opened though it is whole, or not be written; or the file has changed.
        MissingDependencyError: the package that writes graphs is not installed.
    """
    folder = cache_root() / "onnx" / f"{file_sha256(source.path)}-{precision}-{GRAPH_VERSION}"
    _refuse_foreign(folder)
    if folder.is_dir():
        try:
            return open_session(folder / GRAPH_FILE)
        except Exception as error:  # ONNX Runtime's errors have no class in common but this
            if _is_whole(folder):
                raise _cannot_open(source.path, error) from error
        _logger.warning("%s is damaged and is made again", folder)
        shutil.rmtree(folder, ignore_errors=True)
    _make(folder, source, precision)
    try:
        return open_session(folder / GRAPH_FILE)
    except Exception as error:  # as above
        raise _cannot_open(source.path, error) from error


def remove_stale() -> None:
    """Remove graphs of files that are gone or changed, of older code, and what processes left that were killed."""
    for folder in (cache_root() / "onnx").glob("*"):
        with suppress(FileNotFoundError):  # another process has just finished or removed it
            if _is_stale(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _cannot_open(path: Path, error: Exception) -> ModelLoadError:
    return ModelLoadError(
        f"ONNX Runtime cannot load the graph of {path} ({error}). If memory is short, close other programs or take "
        "precision=int8; else upgrade onnxruntime, or leave out the backend, which lets llama.cpp run the file."
    )


def _make(folder: Path, source: GraphSource, precision: Precision) -> None:
    """Write the graph beside its folder, and let it appear there whole."""
    parent = folder.parent
    try:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        remove_stale()
        made = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=parent))
        try:
            write_graph(made, source.network, source.weights, precision)
            _write_origin(made, source)
            if file_state(source.path) != source.state:  # else the weights of two files may be in it
                raise ModelLoadError(f"{source.path} has changed while it was read. Load it again.")
            made.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was quicker
                raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise ModelLoadError(
            f"The graph of {source.path} can't be written to {parent} ({error.strerror}). It takes up to four bytes "
            "for each weight: make room, or name another folder in JINA_RAG_CACHE."
        ) from error


def _write_origin(folder: Path, source: GraphSource) -> None:
    origin = {"file": str(source.path.resolve()), "state": source.state, "sha256": _checksums(folder)}
    (folder / _ORIGIN_FILE).write_text(json.dumps(origin), encoding="utf-8")


def _origin(folder: Path) -> dict[str, Any]:
    """What `_write_origin` wrote; nothing where that can't be read."""
    try:
        origin = json.loads((folder / _ORIGIN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return origin if isinstance(origin, dict) else {}


def _checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of the graph and of its weights, as they are now: `file_sha256` may remember what was."""
    checksums = {}
    for name in (GRAPH_FILE, WEIGHTS_FILE):
        with (folder / name).open("rb") as file:
            checksums[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return checksums


def _is_whole(folder: Path) -> bool:
    try:
        return _origin(folder).get("sha256") == _checksums(folder)
    except OSError:
        return False


def _is_stale(folder: Path) -> bool:
    if folder.name.startswith(_UNFINISHED):
        return time.time() - folder.stat().st_mtime > _GIVEN_UP_AFTER_S
    if not folder.name.endswith(f"-{GRAPH_VERSION}"):
        return True
    origin = _origin(folder)
    try:
        return list(file_state(Path(str(origin.get("file"))))) != origin.get("state")
    except (OSError, ValueError):  # ValueError: a name with a zero in it
        return True


def _refuse_foreign(folder: Path) -> None:
    """Refuse a graph that somebody else could have put there: nothing tells whose weights are in it.

    Raises:
        ModelLoadError: the folder is a link, another user's (the system's own aside), or others may write into it.
    """
    if not hasattr(os, "getuid") or not os.path.lexists(folder):  # Windows keeps a user's cache to that user
        return
    status = folder.lstat()
    if not S_ISDIR(status.st_mode) or status.st_uid not in (0, os.getuid()) or status.st_mode & 0o022:
        raise ModelLoadError(
            f"{folder} is not a folder that only you can write into, so the graph in it may be anybody's. Remove it, "
            "or name a folder of your own in JINA_RAG_CACHE."
        )
