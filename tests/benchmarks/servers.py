"""The servers that jina_rag is measured against, in processes of their own, asked over HTTP."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tests.backends.processes import free_port
from tests.benchmarks.peer_worker import THREADS

BATCH = 512
START_S = 120


class Process:
    """A child, and the most memory it has held."""

    def __init__(self, command: Sequence[str], *, stdin: int | None = None, stdout: int = subprocess.DEVNULL) -> None:
        # OpenMP's settings are each way's own affair; jina_rag makes its own when it loads llama.cpp.
        env = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
        self.child = subprocess.Popen(
            command, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL, text=True, env=env
        )

    @property
    def peak_megabytes(self) -> int:
        """VmHWM: resident memory at its highest, mapped weights included, in 10^6 bytes."""
        lines = Path(f"/proc/{self.child.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 // 10**6 for line in lines if line.startswith("VmHWM:"))

    def close(self) -> None:
        """End it, whatever it does."""
        self.child.kill()
        self.child.communicate()

    def ended(self) -> RuntimeError:
        """What to raise when the child is gone."""
        return RuntimeError(f"{self.child.args!r} has ended; run it by hand to see why")


class Server(Process):
    """A server with OpenAI's interface, ready when this is made."""

    def __init__(self, command: Sequence[str], *, model: str = "x") -> None:
        port = free_port()
        super().__init__([*command, "--port", str(port)])
        self.url = f"http://127.0.0.1:{port}"
        self.model = model  # as a request names it; of those who serve one model only ours looks at it
        try:
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while not self._is_ready():
            if self.child.poll() is not None:
                raise self.ended()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.child.args!r} has not begun to answer in {START_S} s")
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            self.embed(["ready?"])
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:  # which says that the model is still loading
                raise
            return False
        except OSError:  # nobody listens yet
            return False
        return True

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """The vectors of the texts, asked for in one request; any status but 200 raises."""
        body = json.dumps({"input": texts, "model": self.model}).encode()
        request = urllib.request.Request(f"{self.url}/v1/embeddings", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=600) as answer:
            parsed: dict[str, Any] = json.load(answer)
        return [item["embedding"] for item in parsed["data"]]


def llama_cpp_python_server(model: Path) -> Server:
    """llama-cpp-python's own server, with the batch size that it is fastest with."""
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model), "--embedding", "true"]
    command += ["--n_ctx", str(BATCH), "--n_batch", str(BATCH)]
    command += ["--n_threads", str(THREADS), "--n_threads_batch", str(THREADS)]
    # A published file names its pooling and the small shape's does not: 3 is that of the last token.
    return Server([*command, "--kv_overrides", "qwen3.pooling_type=int:3"])


def llama_server(program: Path, model: Path, *, slots: int, longest: int) -> Server:
    """llama.cpp's own server.

    Args:
        program: Where llama-server is.
        model: A GGUF file.
        slots: As many texts are worked on at a time; what finds no slot waits.
        longest: Tokens of the longest text. The cache holds one such text for each slot, and no more, so that its
            memory is what this work needs. It is one cache for all ("unified", as llama-server has it by default):
            texts of different lengths then share a batch.
    """
    room = -(-(longest + 1) // 256) * 256  # llama-server wants one token to spare, and llama.cpp rounds up to this
    command = [str(program), "--model", str(model), "--embeddings", "--pooling", "last", "--kv-unified"]
    command += ["--parallel", str(slots), "-c", str(slots * room), "-b", str(BATCH), "-ub", str(BATCH)]
    # Else each new text has it copy the states of idle slots, up to 8 GiB of them, which embeddings never use again.
    command += ["--cache-ram", "0"]
    return Server([*command, "-t", str(THREADS)])
