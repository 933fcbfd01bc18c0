"""Real servers in processes of their own: ours, llama-cpp-python's, and llama-server where there is one."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jina_rag.testing import TINY_SPEC

LLAMA_SERVER = os.environ.get("LLAMA_SERVER")
"""Where a llama-server is; the tests with it are skipped where this is not set."""

_SERVE = """
import sys
from jina_rag import Embedder, LlamaCppOptions, get_model_spec
from jina_rag.server.app import run
from jina_rag.server.settings import ServerSettings
from jina_rag.testing import TINY_SPEC
spec = TINY_SPEC if sys.argv[3] == TINY_SPEC.name else get_model_spec(sys.argv[3])
embedder = Embedder.from_file(sys.argv[1], spec, quantization="F32", options=LlamaCppOptions(n_threads=1))
run(embedder, ServerSettings(port=int(sys.argv[2])), on_ready=lambda url: None)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def start_ours(gguf: Path, port: int, model: str = TINY_SPEC.name) -> "subprocess.Popen[bytes]":
    """Start `jina-rag serve`, and don't wait."""
    return _started([sys.executable, "-c", _SERVE, str(gguf), str(port), model])


@contextmanager
def ours(gguf: Path, model: str = TINY_SPEC.name) -> Iterator[str]:
    port = free_port()
    with _stopped(start_ours(gguf, port, model)) as process:
        yield wait_until_ready(process, port, "/health")


@contextmanager
def llama_cpp_python(gguf: Path, *, n_batch: int = 512) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(gguf), "--embedding", "true"]
    command += ["--port", str(port), "--n_ctx", str(n_batch), "--n_batch", str(n_batch), "--verbose", "false"]
    command += ["--n_threads", "1", "--n_threads_batch", "1"]
    with _stopped(_started(command)) as process:
        yield wait_until_ready(process, port, "/v1/models")


@contextmanager
def llama_server(gguf: Path, *, pooling: str, options: Sequence[str] = ()) -> Iterator[str]:
    assert LLAMA_SERVER
    port = free_port()
    command = [LLAMA_SERVER, "--model", str(gguf), "--embeddings", "--pooling", pooling, "--port", str(port), *options]
    with _stopped(_started(command)) as process:
        yield wait_until_ready(process, port, "/health")


def _started(command: list[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def _stopped(process: "subprocess.Popen[bytes]") -> "Iterator[subprocess.Popen[bytes]]":
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until_ready(process: "subprocess.Popen[bytes]", port: int, path: str) -> str:
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended at once"
        try:
            with urllib.request.urlopen(url + path, timeout=5):
                return url
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError("the server did not begin to answer")
