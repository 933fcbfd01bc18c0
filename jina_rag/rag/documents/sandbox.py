"""Parsers kept apart: each job runs in a child process, under limits of time and memory and without rights.

The children are started when they are needed, wait for the next job when they are done, and end with this process. They
are started as a module of their own, not by multiprocessing, which would run the caller's script again. They open no
files: the content goes to them through a pipe. What else they may not do on which system, `lockdown` says.
"""

import atexit
import json
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.machine import available_cores
from jina_rag.subprocesses import module_command, module_environment

_WORKER = "jina_rag.rag.documents.worker"
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # openpyxl loads numpy, which would start many
_KEPT_BYTES = 256 * 2**20
"""A worker that holds more memory than this after a job is not used again, for it may never give it back."""
_KEPT_SCAN_BYTES = 2**30
_IDLE_SCAN_SECONDS = 60
"""A worker that has loaded OCR's models holds half a gigabyte, and ends when it has waited for so long."""
SCAN = "scan"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ReadLimits:
    """What reading one file may take. The defaults let a book of a thousand pages pass.

    Attributes:
        max_bytes: Larger files are refused: they are hardly ever text.
        max_characters: How much text is kept of a file, or ten for each of its bytes if that is more; the rest is cut
            off, with a note.
        seconds: From the moment that its turn has come.
        memory_bytes: Beyond what the reading process needs anyway. Held on Linux; other systems offer no such limit.
        max_scans: How many pages of a file are read by OCR; the rest is left out, with a note.
        scan_seconds: What reading one page by OCR may take.
        scan_memory_bytes: The same in memory.
    """

    max_bytes: int = 100 * 2**20
    max_characters: int = 5_000_000
    seconds: float = 60.0
    memory_bytes: int = 2**30
    max_scans: int = 500
    scan_seconds: float = 120.0
    scan_memory_bytes: int = 3 * 2**30


def run_job(job: str, path: Path, data: bytes, limits: ReadLimits, **arguments: Any) -> Any:  # noqa: ANN401 - whatever the job gives
    """Run a job of the worker on the content of a file, and give its result.

    A worker that has done other jobs may have been harmed by them, so a file is blamed for a crash or for taking too
    much memory only by a new one.

    Raises:
        DocumentError: the job went over a limit, crashed its parser, or refused the file.
        MissingDependencyError: a package is not installed.
    """
    request = {
        "job": job,
        "path": str(path),
        "n_bytes": len(data),
        "arguments": arguments,
        "max_characters": limits.max_characters,
        "seconds": limits.seconds,
        "memory_bytes": limits.memory_bytes,
        "kept_bytes": _KEPT_SCAN_BYTES if job == SCAN else _KEPT_BYTES,
        "idle_seconds": _IDLE_SCAN_SECONDS if job == SCAN else 0,
    }
    for _ in range(2):
        with _borrowed_worker(_pool.idle_scanners if job == SCAN else _pool.idle) as worker:
            was_new = worker.is_new
            answer = worker.ask(request, data, limits.seconds)
        if was_new or answer.get("error") not in ("MemoryError", "Crash"):
            break
    if "error" in answer:
        raise _error(answer, path, limits)
    return answer["result"]


def _error(answer: dict[str, Any], path: Path, limits: ReadLimits) -> Exception:
    if answer.get("traceback"):
        _logger.debug("Reading %s failed.\n%s", path, answer["traceback"])
    if answer["error"] == "TimeUp":
        return DocumentError(f"{path} took longer than {limits.seconds:g} seconds to read. Split it, or leave it out.")
    if answer["error"] == "MemoryError":
        return DocumentError(
            f"{path} took more than {limits.memory_bytes / 2**20:,.0f} MB of memory to read. Split it, or leave it out."
        )
    if answer["error"] == "Crash":
        return DocumentError(f"{path} crashed its reader ({answer['message']}). Leave it out, or save it again.")
    if answer["error"] == MissingDependencyError.__name__:
        return MissingDependencyError(answer["message"])
    return DocumentError(answer["message"])


class _Worker:
    """A child process that does one job after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            module_command(_WORKER),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**module_environment(), **_ONE_THREAD},
            start_new_session=True,  # a group of its own, which is ended as a whole
        )
        assert self._process.stdin
        assert self._process.stdout
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self.is_new = True
        self.is_usable = True
        try:
            measures = json.loads(self._answers.readline())["ready"]
        except ValueError as error:
            self.close()
            raise DocumentError(
                f"The process that reads documents did not start. Run `python -m {_WORKER} </dev/null` to see why."
            ) from error
        _logger.debug("The process %d reads documents under: %s.", self._process.pid, ", ".join(measures) or "nothing")

    def ask(self, request: dict[str, Any], data: bytes, seconds: float) -> dict[str, Any]:
        """The worker's answer; {"error": "TimeUp" or "Crash"} if none came."""
        self.is_new = False
        time_up = threading.Event()

        def stop() -> None:
            time_up.set()
            self._kill()

        timer = threading.Timer(seconds, stop)
        timer.start()
        try:
            line = self._exchange(json.dumps(request).encode() + b"\n", data)
        finally:
            timer.cancel()
        if line.endswith(b"\n"):
            answer: dict[str, Any] = json.loads(line)
            self.is_usable = not (answer["is_last"] or time_up.is_set())
            return answer
        self.is_usable = False
        return {"error": "TimeUp"} if time_up.is_set() else {"error": "Crash", "message": self._end()}

    def _exchange(self, request: bytes, data: bytes) -> bytes:
        with suppress(BrokenPipeError):  # it was ended while it waited, or has no memory for so much and says so
            self._requests.write(request)
            self._requests.write(data)
            self._requests.flush()
        return self._answers.readline()

    def _end(self) -> str:
        """How the process ended, in words."""
        self._kill()
        code = self._process.wait()
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"exit status {code}"

    def _kill(self) -> None:
        """End the process and all that it may have started."""
        if self._process.returncode is None:  # else its number may be another's by now
            if hasattr(os, "killpg"):
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()

    def is_running(self) -> bool:
        """Whether the process has not ended, as it does when it waited for too long."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process."""
        self.is_usable = False
        self._kill()
        for pipe in (self._requests, self._answers):
            with suppress(BrokenPipeError):  # half a request was still to be written
                pipe.close()
        self._process.wait()

    def abandon(self) -> None:
        """In a process that was forked: leave the worker to the parent, whose child it is."""
        self._requests.close()
        self._answers.close()
        self._process.returncode = 0  # not ours to wait for


class _Pool:
    """The workers of this process: those that wait, those of OCR apart, and a semaphore for how many work at once."""

    def __init__(self) -> None:
        self.idle: list[_Worker] = []
        self.idle_scanners: list[_Worker] = []
        self.places = threading.BoundedSemaphore(max(2, available_cores()))


_pool = _Pool()


@contextmanager
def _borrowed_worker(idle: list[_Worker]) -> Iterator[_Worker]:
    """A worker for one job, a waiting one if there is any."""
    with _pool.places:
        worker = _waiting_worker(idle) or _Worker()
        try:
            yield worker
        except BaseException:  # Ctrl-C as well: whatever it was doing, its answer is no longer wanted
            worker.close()
            raise
        if worker.is_usable:
            idle.append(worker)
        else:
            worker.close()


def _waiting_worker(idle: list[_Worker]) -> _Worker | None:
    with suppress(IndexError):
        while True:
            worker = idle.pop()
            if worker.is_running():
                return worker
            worker.close()
    return None


def close_workers() -> None:
    """End the processes that wait for work; the next document starts a new one."""
    for idle in (_pool.idle, _pool.idle_scanners):
        while idle:
            idle.pop().close()


def _forget_workers() -> None:
    global _pool
    for worker in (*_pool.idle, *_pool.idle_scanners):
        worker.abandon()
    _pool = _Pool()


atexit.register(close_workers)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)
