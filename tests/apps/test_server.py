"""The app as people start it: a real server, asked over HTTP, from this checkout and from installed wheels."""

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.apps.conftest import APP

ROOT = APP.parents[1]
E7 = "What does fault code E7 mean?"


class Server:
    """A running app."""

    def __init__(self, port: int, process_id: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.process = psutil.Process(process_id)

    def get(self, path: str = "/") -> tuple[str, dict[str, str]]:
        """The body and the headers of an answer, once there is one."""
        deadline = time.monotonic() + 300
        while True:
            try:
                with urllib.request.urlopen(self.url + path, timeout=5) as response:
                    return response.read().decode(), {name.lower(): value for name, value in response.headers.items()}
            except OSError:  # not there yet, or too busy to answer
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def interact(self, **request: object) -> dict[str, Any]:
        """The page after what a reader does, as Streamlit's agent API tells it."""
        body, headers = json.dumps(request).encode(), {"Content-Type": "application/json"}
        post = urllib.request.Request(f"{self.url}/_stcore/agent/interact", body, headers)
        with urllib.request.urlopen(post, timeout=300) as response:
            page: dict[str, Any] = json.load(response)
        assert page["status"] == "ready", page
        return page

    def ask(self, question: str) -> str:
        """The page with the answer, in a session of its own that waits for the first start."""
        page = self.interact()
        while not any(action["key"] == "question" for action in page["actions"]):
            time.sleep(0.2)
            page = self.interact(session_id=page["session_id"])
        page = self.interact(session_id=page["session_id"], trigger={"key": "question", "value": question})
        return json.dumps(page["tree"])


@contextmanager
def started(command: Sequence[str], log: Path, cwd: Path, *flags: str, pages: Sequence[str] = ()) -> Iterator[Server]:
    """The server of a command that takes Streamlit's flags, or those of the launcher, then those of the pages."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    with log.open("w") as told:
        process = subprocess.Popen(
            [*command, *(flag.format(port=port) for flag in flags), *pages], cwd=cwd, stdout=told, stderr=told
        )
        try:
            server = Server(port, process.pid)
            server.get("/_stcore/health")
            yield server
        finally:
            process.terminate()
            process.wait(30)


def streamlit(script: str) -> list[str]:
    return [sys.executable, "-m", "streamlit", "run", script]


PORT, AGENT = ("--server.port", "{port}"), ("--server.enableAgentApi", "true")


@pytest.mark.parametrize(("script", "cwd"), [("streamlit_app.py", APP), ("apps/qa/streamlit_app.py", ROOT)])
def test_it_listens_on_this_machine_only_wherever_it_is_started(script: str, cwd: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with started(streamlit(script), log, cwd, *PORT, pages=["--", "--index", str(tmp_path / "index")]) as server:
        assert "<title>Streamlit</title>" in server.get()[0]
    told = log.read_text()
    assert server.url in told
    assert "Network URL" not in told
    assert "External URL" not in told
    assert "usage statistics" not in told


def test_headers_forbid_what_comes_from_elsewhere(tmp_path: Path) -> None:
    pages = ["--", "--index", str(tmp_path / "index")]
    with started(streamlit("apps/qa/streamlit_app.py"), tmp_path / "log", ROOT, *PORT, pages=pages) as server:
        _, headers = server.get()
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "img-src 'self' data: blob:" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_ten_sessions_at_once_are_all_answered(folder: Path, tmp_path: Path) -> None:
    pages = ["--", "--index", str(folder)]
    with started(streamlit("apps/qa/streamlit_app.py"), tmp_path / "log", ROOT, *PORT, *AGENT, pages=pages) as server:
        server.ask(E7)
        before = server.process.memory_info().rss
        with ThreadPoolExecutor(10) as ten:
            pages_shown = list(ten.map(server.ask, [E7] * 10))
        grown = server.process.memory_info().rss - before
    assert all("23.5 volts" in page for page in pages_shown)
    assert grown < 150 * 2**20
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_other_hosts_are_refused(folder: Path, tmp_path: Path) -> None:
    pages = ["--", "--index", str(folder)]
    with started(streamlit("apps/qa/streamlit_app.py"), tmp_path / "log", ROOT, *PORT, *AGENT, pages=pages) as server:
        server.get()
        stranger = urllib.request.Request(f"{server.url}/_stcore/agent/interact", b"{}", {"Host": "evil.test"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(stranger, timeout=5)
    refused.value.close()
    assert refused.value.code == 403


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of the library and the app, put into a folder by plain pip."""
    work = tmp_path_factory.mktemp("installed")
    for name, source in (("core", ROOT), ("app", APP)):
        ignored = shutil.ignore_patterns(
            "__pycache__", "dist", ".venv", ".git", ".jina-rag", "tests", "apps", "integrations"
        )
        shutil.copytree(source, work / name, ignore=ignored)
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(work / "dist")]
        subprocess.run(build, cwd=work / name, check=True, capture_output=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", work / "site", *(work / "dist").glob("*.whl")], check=True)
    return work / "site"


def test_first_start_from_installed_wheels_in_any_folder(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(installed), sysconfig.get_path("purelib")]))
    monkeypatch.setenv("STREAMLIT_SERVER_ENABLE_AGENT_API", "true")
    # -S leaves out the .pth files, and with them this checkout.
    command = [sys.executable, "-S", "-m", "jina_rag_app.launcher"]
    with started(command, tmp_path / "log", tmp_path, "--port", "{port}", pages=["--index", "mine"]) as server:
        assert "content-security-policy" in server.get()[1]
        answer = server.ask(E7)
    assert "23.5 volts" in answer
    assert "lamp" in answer
    assert {path.name for path in tmp_path.iterdir()} == {"log", "mine"}
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_command_line_mistakes_are_told_before_anything_starts() -> None:
    run = subprocess.run([sys.executable, APP / "launcher.py", "--bogus"], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "unrecognized arguments: --bogus" in run.stderr
