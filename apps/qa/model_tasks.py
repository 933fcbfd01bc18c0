"""Downloads of models and measurements of this machine, in the background: a page that is closed does not end them."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, RLock, Thread
from time import monotonic
from typing import Generic, TypeVar

from library_rows import duration, size

from jina_rag.bench import BenchProgress, BenchResult, measure
from jina_rag.download import published_size
from jina_rag.errors import JinaRagError, ModelNotFoundError
from jina_rag.models import ModelSpec, parse_model_name

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

Report = Callable[[float | None, str], None]
"""Takes how far something is, from 0 to 1 or None if nobody knows, and what happens now; raises if it is to end."""

_DOWNLOAD = (sys.executable, "-m", "jina_rag.cli", "download")
_SECONDS_BETWEEN_LOOKS = 0.25
_SECONDS_TO_END = 5.0


class CancelledError(Exception):
    """Somebody asked for the end; raised inside the work, which then cleans up."""


class Task(Generic[Result]):
    """Work in a thread, whose state any page may read at any time.

    Attributes:
        title: What is being done, such as the model's name.
        fraction: From 0 to 1; None as long as nobody knows.
        sentence: What happens now, or how it ended.
        error: What went wrong and what to do; empty if nothing did.
        result: What came of it; None until it is done.
    """

    def __init__(self, title: str, work: Callable[[Report], Result]) -> None:
        """Begin at once."""
        self.title = title
        self.fraction: float | None = None
        self.sentence = "Beginning"
        self.error = ""
        self.result: Result | None = None
        self._cancelled = Event()
        self._thread = Thread(target=self._run, args=(work,), name=f"task {title}", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it goes on."""
        return self._thread.is_alive()

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to end and has not yet."""
        return self._cancelled.is_set() and self.is_running

    def cancel(self) -> None:
        """Ask for the end; it comes with the next report."""
        self._cancelled.set()

    def wait(self, timeout_s: float | None = None) -> None:
        """Return when it is over, or the time is."""
        self._thread.join(timeout_s)

    def _run(self, work: Callable[[Report], Result]) -> None:
        try:
            self.result = work(self._report)
            self.fraction, self.sentence = 1.0, "Done."
        except CancelledError:
            self.sentence = "Cancelled."
        except JinaRagError as error:
            self.error = str(error)
        except Exception as error:  # noqa: BLE001 - nothing else would tell a reader that the thread has died
            _log.exception("The task %s failed", self.title)
            self.error = (
                f"It failed unexpectedly ({type(error).__name__}). Try again; the server's log has the details."
            )

    def _report(self, fraction: float | None, sentence: str) -> None:
        if self._cancelled.is_set():
            raise CancelledError
        self.fraction, self.sentence = fraction, sentence


class ModelTasks:
    """The download and the measurement that run now or ran last: one of each at a time, for all who use the app."""

    def __init__(self) -> None:
        """Begin nothing."""
        self.downloading: Task[None] | None = None
        self.measuring: Task[BenchResult] | None = None
        self._lock = RLock()

    def download(self, name: str) -> Task[None]:
        """Fetch a model's file by `NAME:QUANTISATION`; while one is being fetched, that one is returned.

        Raises:
            UnknownModelError: there is no such model or quantisation.
        """
        spec, quantization = parse_model_name(name)
        with self._lock:
            if self.downloading is None or not self.downloading.is_running:
                self.downloading = Task(name, lambda report: _download(spec, quantization, report))
            return self.downloading

    def measure(self, model: str, quantization: str | None = None) -> Task[BenchResult]:
        """Measure a model as `jina-rag bench` does; while one is being measured, that one is returned."""
        title = f"{model}:{quantization}" if quantization else model
        with self._lock:
            if self.measuring is None or not self.measuring.is_running:
                self.measuring = Task(title, lambda report: _measure(model, quantization, report))
            return self.measuring

    def stop(self) -> None:
        """End all of it."""
        tasks = [task for task in (self.downloading, self.measuring) if task]
        for task in tasks:
            task.cancel()
        for task in tasks:
            task.wait(2 * _SECONDS_TO_END)


def _measure(model: str, quantization: str | None, report: Report) -> BenchResult:
    def show(progress: BenchProgress) -> None:
        report(min(1.0, progress.done / max(1, progress.total)), progress.stage)

    return measure(model, quantization=quantization, on_progress=show)


def _download(spec: ModelSpec, quantization: str | None, report: Report) -> None:
    """Fetch a file with `jina-rag download` in a process of its own, which can be ended while a server is silent."""
    report(None, "Asking the hub")
    total = published_size(spec, quantization)
    name = f"{spec.name}:{quantization}" if quantization else spec.name
    before, began = _partial_files(spec), monotonic()
    with _process((*_DOWNLOAD, name)) as process:
        try:
            problem = None
            while problem is None:
                n_bytes = sum(map(_file_size, _partial_files(spec) - before))
                report(*_progress(n_bytes, total, monotonic() - began))
                problem = _ended(process, _SECONDS_BETWEEN_LOOKS)
        except CancelledError:
            if not _interrupted(process):
                for path in _partial_files(spec) - before:
                    path.unlink(missing_ok=True)
            raise
    if process.returncode:
        raise ModelNotFoundError(_message(problem) or f"The download ended with code {process.returncode}. Try again.")


def _process(command: Sequence[str]) -> "subprocess.Popen[str]":
    # The command is our own; of the reader's it has the name of a model that exists.
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # noqa: S603


def _ended(process: "subprocess.Popen[str]", timeout_s: float) -> str | None:
    """What a process has written on stderr if it ends in time, else None."""
    try:
        return process.communicate(timeout=timeout_s)[1]
    except subprocess.TimeoutExpired:
        return None


def _interrupted(process: "subprocess.Popen[str]") -> bool:
    """End a process; whether it had the time to remove what it had begun."""
    if os.name == "posix":
        process.send_signal(signal.SIGINT)
        if _ended(process, _SECONDS_TO_END) is not None:
            return True
    process.kill()
    process.communicate()
    return False


def _partial_files(spec: ModelSpec) -> set[Path]:
    """What the hub's client keeps in its cache while it fetches a file of this model."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=spec.repo_id or "", repo_type="model") / "blobs"
    return set(folder.glob("*.incomplete"))


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # complete since we looked, and renamed
        return 0


def _progress(n_bytes: int, total: int | None, seconds: float) -> tuple[float | None, str]:
    rate = n_bytes / seconds if seconds else 0.0
    if not total:
        return None, f"{size(n_bytes)} so far, {size(rate)} a second"
    if n_bytes >= total:
        return 1.0, "Checking the file"
    left = f", {duration((total - n_bytes) / rate)} left" if rate else ""
    return n_bytes / total, f"{size(n_bytes)} of {size(total)}, {size(rate)} a second{left}"


def _message(stderr: str) -> str:
    """The message in what `jina-rag` wrote on stderr."""
    return stderr.rpartition("Error: ")[2].strip()
