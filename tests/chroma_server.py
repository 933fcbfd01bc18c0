"""A real Chroma server in a process of its own."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.backends.processes import free_port

CHROMA = Path(sys.executable).with_name("chroma")


def start_chroma(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    """Start `chroma run`, and wait until it answers."""
    command = [str(CHROMA), "run", "--path", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "ANONYMIZED_TELEMETRY": "False"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/heartbeat", timeout=5):
                return process
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise
            time.sleep(0.05)


@contextmanager
def chroma_server(folder: Path) -> Iterator[str]:
    """The beginning of its stores' addresses."""
    port = free_port()
    process = start_chroma(folder, port)
    try:
        yield f"chroma://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
