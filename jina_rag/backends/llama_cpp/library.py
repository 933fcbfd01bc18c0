"""llama.cpp's shared library: loaded once, its log sent to `logging`, what it allocates given back.

Together with its neighbours the only place that imports llama_cpp.
"""

import ctypes
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from weakref import finalize

from jina_rag.errors import MissingDependencyError

_SPINS = "5000"
"""About 50 microseconds: nearly all waits are shorter."""


@cache
def library() -> Any:  # noqa: ANN401
    """The functions of `llama_cpp.llama_cpp`, one for each of the C interface.

    Raises:
        MissingDependencyError: llama-cpp-python is not installed, or cannot be loaded.
    """
    _set_waiting()
    try:
        from llama_cpp import llama_cpp
    except ImportError as error:
        raise MissingDependencyError(
            f"llama-cpp-python cannot be loaded ({error}). Install it with: pip install llama-cpp-python"
        ) from error
    llama_cpp.llama_backend_init()
    return llama_cpp


def _set_waiting() -> None:
    """How OpenMP's threads wait for each other, which it reads once, when it is loaded. Your own settings stay.

    GNU's lets them spin for 3 ms, which can cost several times the work itself when another process wants the core. But
    a short text has a thousand waits of some microseconds, and to sleep in each takes a tenth longer.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


@cache
def route_log() -> None:
    """Send llama.cpp's log to the logger `jina_rag.llama_cpp`, for good and for the whole process."""
    functions = library()
    _log.addHandler(logging.NullHandler())  # else Python prints warnings of loggers that nobody set up
    functions.llama_log_set(_log_callback(), ctypes.c_void_p(0))


class Native:
    """A pointer of llama.cpp's, freed when nothing refers to this object any more, or else at exit."""

    def __init__(self, pointer: Any, free: Callable[[Any], None]) -> None:  # noqa: ANN401
        self.pointer = pointer
        finalize(self, _free, os.getpid(), pointer, free)


def _free(pid: int, pointer: Any, free: Callable[[Any], None]) -> None:  # noqa: ANN401
    if pid == os.getpid():  # in a forked child the memory is still the parent's
        free(pointer)


def pointer(array: Any, kind: Any) -> Any:  # noqa: ANN401
    """The address of an array's numbers; the array must outlive its use."""
    return array.ctypes.data_as(ctypes.POINTER(kind))


_log = logging.getLogger("jina_rag.llama_cpp")

GGML_LOG_LEVEL_ERROR = 4
"""Of ggml.h's `enum ggml_log_level` (none, debug, info, warn, error, cont), which llama-cpp-python doesn't have."""


class _ErrorLists(threading.local):
    """Where this thread collects what llama.cpp logs as errors; a call logs in the thread that makes it."""

    def __init__(self) -> None:
        self.open: list[list[str]] = []


_error_lists = _ErrorLists()


@contextmanager
def collected_errors() -> Iterator[list[str]]:
    """The errors that llama.cpp logs during calls in this block, oldest first."""
    errors: list[str] = []
    _error_lists.open.append(errors)
    try:
        yield errors
    finally:
        _error_lists.open.pop()


def reason(errors: Sequence[str]) -> str:
    """Why a call failed, as the middle of a sentence: the first error says it, and later ones that it failed."""
    return errors[0] if errors else "it does not say why"


@cache
def _log_callback() -> Any:  # noqa: ANN401
    """The C function for llama.cpp's log, kept for ever because llama.cpp keeps its address."""

    def write(level: int, text: bytes, _user_data: object) -> None:
        message = text.decode(errors="replace").rstrip()
        is_error = level == GGML_LOG_LEVEL_ERROR
        if is_error and message:
            for errors in _error_lists.open:
                errors.append(message)
        # Its errors are warnings here, since ours follow; of the rest much is for its developers alone.
        _log.log(logging.WARNING if is_error else logging.DEBUG, "%s", message)

    return library().llama_log_callback(write)
