"""What a document can't do even if it has taken over its parser."""

import os
import platform
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jina_rag.rag.documents import READERS, close_workers, read_document
from jina_rag.rag.documents.lockdown import landlock_version

# Python runs this in the child before anything else: a reader whose documents are programs that have taken it over.
OBEDIENT_READER = """
from jina_rag.rag.documents.formats import READERS
from jina_rag.rag.documents.types import Document, Page

def obey(file):
    scope = {}
    try:
        exec(file.data, scope)
    except OSError as error:
        scope["result"] = type(error).__name__
    return Document(str(file.path), "", (Page(None, str(scope.get("result", "done"))),))

READERS[".do"] = obey
"""

needs_landlock = pytest.mark.skipif(not landlock_version(), reason="this kernel has no Landlock")
needs_seccomp = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"),
    reason="no seccomp filter for this machine",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(OBEDIENT_READER)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setitem(READERS, ".do", READERS[".txt"])
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    close_workers()
    yield tmp_path
    close_workers()


def _run(folder: Path, program: str) -> str:
    file = folder / "a.do"
    file.write_text(program)
    return read_document(file).pages[0].text


@needs_landlock
@pytest.mark.parametrize(
    "program",
    [
        "open('/etc/passwd')",
        "__import__('os').listdir('/')",
        "open('/proc/self/environ')",
        "open('{folder}/secret.txt')",
        "open('{folder}/new.txt', 'w')",
        "__import__('os').mkdir('{folder}/new')",
        "__import__('os').unlink('{folder}/secret.txt')",
        "__import__('os').symlink('/etc', '{folder}/new')",
    ],
)
def test_no_file_can_be_read_or_written(folder: Path, program: str) -> None:
    (folder / "secret.txt").write_text("secret")
    assert _run(folder, program.format(folder=folder)) == "PermissionError"
    assert (folder / "secret.txt").read_text() == "secret"
    assert not (folder / "new").exists()


@needs_seccomp
@pytest.mark.parametrize(
    "program",
    [
        "import socket; socket.create_connection(('127.0.0.1', {port}), timeout=5)",
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "import socket; socket.socket(socket.AF_UNIX)",
        "import os; os.fork() or os._exit(0)",
        "import os; os.posix_spawn('/bin/true', ['true'], {{}})",
        "import os; os.execv('/bin/true', ['true'])",
        "import os; os.kill(os.getppid(), 0)",
    ],
)
def test_no_network_and_no_process_can_be_reached(folder: Path, program: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert _run(folder, program.format(port=server.getsockname()[1])) == "PermissionError"


def test_no_keys_are_in_the_environment(folder: Path) -> None:
    assert os.environ["OPENAI_API_KEY"] == "sk-secret"
    assert _run(folder, "import os; result = os.environ.get('OPENAI_API_KEY')") == "None"
    assert _run(folder, "import os; result = 'secret' in str(os.environ)") == "False"


@pytest.mark.skipif(os.name == "nt", reason="there are no such limits and groups")
def test_limits_hold_for_a_process_in_a_group_of_its_own(folder: Path) -> None:
    program = """
import os, resource
kinds = resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_NPROC
result = [resource.getrlimit(kind) for kind in kinds], os.getpgrp() == os.getsid(0) == os.getpid()
"""
    assert _run(folder, program) == "([(0, 0), (0, 0), (0, 0)], True)"
    assert _run(folder, "files = [open('/dev/null') for _ in range(100)]") in ("OSError", "PermissionError")
