"""What each kind of task does with models: download one, test whether it answers."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from threading import Thread
from time import monotonic

from tasks import RunningTask

from jina_rag.backends.base import Message
from jina_rag.download import published_size
from jina_rag.errors import GenerationError, ModelNotFoundError
from jina_rag.formatting import duration, file_size
from jina_rag.models import DownloadableModel
from jina_rag.rag import make_generator
from jina_rag.rag.answering.chat_generator import ChatGenerator
from jina_rag.rag_models import parse_any_model_name

SECONDS_OF_SERVER, SECONDS_IN_PROCESS = 15.0, 60.0
"""How long a test may take; a model in this process has to be loaded first."""

_MESSAGES: list[Message] = [{"role": "user", "content": "Reply with one word: hello"}]
_DOWNLOAD = (sys.executable, "-m", "jina_rag.cli", "download")
_SECONDS_BETWEEN_CHECKS = 0.25
_SECONDS_TO_END = 5.0


def try_llm(running: RunningTask) -> str:
    """See whether a language model writes a word in time.

    Raises:
        GenerationError: it does not.
        Otherwise as `make_generator` does.
    """
    setting = running.task.model or ""
    generator = make_generator(setting, running.task.api_key)
    if not isinstance(generator, ChatGenerator):
        raise GenerationError("This is no language model.")
    limit = SECONDS_IN_PROCESS
    if setting.startswith(("http://", "https://")):
        limit = SECONDS_OF_SERVER
        with suppress(ImportError):  # which the model reports
            import openai  # noqa: F401 - takes seconds on a busy machine, and the limit is the server's
    began, has_answered = monotonic(), Future[bool]()
    Thread(target=_ask, args=(generator, has_answered), name="jina-rag-llm-test", daemon=True).start()
    try:
        while not has_answered.done():
            taken = monotonic() - began
            if running.should_stop():
                return ""
            if taken > limit:
                raise GenerationError(
                    f"The model did not answer within {limit:.0f} seconds. It may still be loading: test it again. If "
                    "that fails too, use a smaller model."
                )
            running.report(f"Testing the model, at most {limit:.0f} seconds", taken / limit)
            wait([has_answered], _SECONDS_BETWEEN_CHECKS)
        if not has_answered.result():
            raise GenerationError(f"{generator.name} wrote an empty answer. Use another model.")
        return f"Connected. It answered after {monotonic() - began:.1f} seconds."
    finally:
        Thread(target=generator.close, daemon=True).start()  # closing waits for a model that is being loaded


def _ask(generator: ChatGenerator, has_answered: "Future[bool]") -> None:
    try:
        has_answered.set_result(any(piece.strip() for piece in generator.model.stream(_MESSAGES)))
    except Exception as error:  # noqa: BLE001 - the task reports it
        has_answered.set_exception(error)


def download(running: RunningTask) -> str:
    """Download a model's file with `jina-rag download` in a process, which can be ended while a server is silent.

    Raises:
        ModelNotFoundError: the download failed.
        UnknownModelError: there is no such model or quantisation.
    """
    spec, quantization = parse_any_model_name(running.task.model or "")
    running.report("Asking the hub")
    total = published_size(spec, quantization)
    name = f"{spec.name}:{quantization}" if quantization else spec.name
    before, began, problem = _partial_files(spec), monotonic(), None
    with _process((*_DOWNLOAD, name)) as process:
        while problem is None:
            if running.should_stop():
                if not _interrupted(process):
                    for path in _partial_files(spec) - before:
                        path.unlink(missing_ok=True)
                return ""
            n_bytes = sum(map(_file_size, _partial_files(spec) - before))
            running.report(*_progress(n_bytes, total, monotonic() - began))
            problem = _ended(process, _SECONDS_BETWEEN_CHECKS)
    if process.returncode:
        raise ModelNotFoundError(_message(problem) or f"The download ended with code {process.returncode}. Try again.")
    return "Downloaded."


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


def _partial_files(spec: DownloadableModel) -> set[Path]:
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


def _progress(n_bytes: int, total: int | None, seconds: float) -> tuple[str, float | None]:
    rate = n_bytes / seconds if seconds else 0.0
    if not total:
        return f"{file_size(n_bytes)} so far, {file_size(rate)} a second", None
    if n_bytes >= total:
        return "Checking the file", 1.0
    left = f", {duration((total - n_bytes) / rate)} left" if rate else ""
    return f"{file_size(n_bytes)} of {file_size(total)}, {file_size(rate)} a second{left}", n_bytes / total


def _message(stderr: str) -> str:
    """The message in what `jina-rag` wrote on stderr."""
    return stderr.rpartition("Error: ")[2].strip()
