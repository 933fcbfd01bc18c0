"""The page as `make app` starts it: a real server, asked over HTTP."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.apps.conftest import APP


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number: int = listener.getsockname()[1]
    return number


def test_server_starts_and_listens_on_this_machine_only(port: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.port", str(port)]
    with subprocess.Popen(
        [*command, "--", "--index", str(tmp_path)], cwd=APP, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        try:
            assert _answer(f"http://127.0.0.1:{port}/_stcore/health") == "ok"
            assert "<title>Streamlit</title>" in _answer(f"http://127.0.0.1:{port}/")
        finally:
            server.terminate()
        assert server.stdout is not None
        told = server.stdout.read()
    assert f"http://127.0.0.1:{port}" in told
    assert "Network URL" not in told
    assert "External URL" not in told


def _answer(url: str) -> str:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                body: str = response.read().decode()
                return body
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
