"""With sockets blocked everywhere, documents are indexed, searched and asked about: in a terminal, in the app."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

APP = Path(__file__).parents[1] / "apps" / "qa"

BLOCK_SOCKETS = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "socket.sendmsg"):
        raise OSError(f"sockets are blocked: {event} {arguments[-1]}")

sys.addaudithook(refuse)
"""

ASK_IN_THE_APP = """
import sys
import session
from streamlit import config
from streamlit.testing.v1 import AppTest

config.set_option("server.address", "127.0.0.1")
session.reader = lambda: "0" * 32  # no browser has a cookie here
page, question = sys.argv[1], "What does fault code E7 mean?"
sys.argv = ["streamlit_app.py", "--index", ".jina-rag/index"]
app = AppTest.from_file(page, default_timeout=60).run()
app.chat_input(key="question").set_value(question).run()
while app.chat_input(key="question").disabled:
    app.run()
assert not app.exception, app.exception
print([part.proto.body for part in app.get("html")])
"""


@pytest.fixture
def blocked(tmp_path: Path) -> dict[str, str]:
    """The environment of processes that can't open a connection, nor can those that they start."""
    start = tmp_path / "start"
    start.mkdir()
    (start / "sitecustomize.py").write_text(BLOCK_SOCKETS)
    path = os.pathsep.join([str(start), str(APP), *(entry for entry in sys.path if entry)])
    left_out = ("HF_HUB_OFFLINE", "JINA_RAG_INDEX", "JINA_RAG_BACKEND")
    return {**{name: value for name, value in os.environ.items() if name not in left_out}, "PYTHONPATH": path}


def test_the_block_holds(blocked: dict[str, str]) -> None:
    code = "import socket; socket.create_connection(('127.0.0.1', 9))"
    done = subprocess.run([sys.executable, "-c", code], env=blocked, capture_output=True, text=True, check=False)
    assert "sockets are blocked" in done.stderr


def test_everything_works_with_sockets_blocked(blocked: dict[str, str], tmp_path: Path) -> None:
    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], env=blocked, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    cli = ("-m", "jina_rag.cli")
    assert run(*cli, "add", str(APP / "sample_documents" / "lamp-manual.pdf")).startswith("1 added.")
    assert "Fault codes" in run(*cli, "search", "What does fault code E7 mean?", "-k", "1")
    assert "  > Code E7: The battery voltage is below 23.5 volts." in run(*cli, "ask", "What does fault code E7 mean?")
    assert "Code E7" in run("-c", ASK_IN_THE_APP, str(APP / "streamlit_app.py"))
