"""The app as people start it: a process of its own on a free port of this machine."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

APP = Path(__file__).parents[2] / "apps" / "qa"
SAMPLES = APP / "sample_documents"
SECONDS_TO_START = 300  # of patience


@dataclass(frozen=True)
class RunningApp:
    """A server that answers.

    Attributes:
        url: Its address, with no slash at the end.
        query: What follows the address that it printed: the token.
        index: The folder of its index.
        process: Its process.
    """

    url: str
    query: str
    index: Path
    process: psutil.Process

    def link(self, page: str = "") -> str:
        """What opens a page in a browser that has not been there."""
        return f"{self.url}/{page}{'&' if '?' in page else '?'}{self.query}"

    def resident_megabytes(self) -> float:
        """The memory that it occupies, in MB."""
        return float(self.process.memory_info().rss) / 1e6


@contextmanager
def running_app(index: Path, scratch: Path, *arguments: str, ollama: str = "") -> Iterator[RunningApp]:
    """The app on an index folder, there or not, until the end of the block.

    Args:
        index: The folder of the index.
        scratch: A folder for what the server writes, and for an empty cache of models.
        arguments: More of the command line.
        ollama: Where a stand-in for Ollama listens; without one, no language model is searched for.
    """
    port, log = free_port(), scratch / "server.log"
    command = [sys.executable, "launcher.py", "--port", str(port), "--index", str(index), *arguments]
    # No model but the bundled one, whatever this machine has.
    environment = {**os.environ, "HF_HOME": str(scratch / "hub"), "HF_HUB_OFFLINE": "1", "OLLAMA_HOST": ollama}
    environment["JINA_RAG_DISCOVER"] = "1" if ollama else "0"
    with log.open("w") as told:
        server = subprocess.Popen(
            command,
            cwd=APP,
            env=environment,
            stdout=told,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/_stcore/health", server, log)
        address = re.search(r"(http://127\.0\.0\.1:\d+)/\?(token=\S+)", log.read_text())
        assert address, log.read_text()
        yield RunningApp(address[1], address[2], index, psutil.Process(server.pid))
        assert server.poll() is None, f"The server has ended:\n{log.read_text()}"
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        server.terminate()
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number: int = listener.getsockname()[1]
    return number


def _wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:  # not there yet, or too busy to answer
            assert server.poll() is None, f"The server has ended:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"The server does not answer:\n{log.read_text()}"
            time.sleep(0.05)
