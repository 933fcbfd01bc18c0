"""A file that hangs, grows or crashes its parser costs that file alone."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from jina_rag.errors import DocumentError
from jina_rag.rag.documents import READERS, ReadLimits, close_workers, read_document

# Python runs this in the child before anything else; the endings stand for bugs in a parser.
BROKEN_READERS = """
import ctypes, os, time
from jina_rag.rag.documents.formats import READERS
from jina_rag.rag.documents.types import Document, Page

def document(file, text):
    return Document(str(file.path), file.path.stem, (Page(None, text),))

def crash(file):
    ctypes.string_at(0)

def hang(file):
    time.sleep(1000)

def grow(file):
    return document(file, str(len(bytearray(2**29))))

def once(file):
    if READERS.pop(".done", None) is None:
        READERS[".done"] = once
        return document(file, "first")
    os.abort()

def chatter(file):
    print("not an answer")
    os.write(1, b'{"result": 1}\\n')
    return document(file, str(os.getpid()))

def odd(file):
    raise KeyError("page")

READERS.update({".crash": crash, ".hang": hang, ".grow": grow, ".once": once, ".chatter": chatter, ".odd": odd})
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of files whose readers misbehave."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BROKEN_READERS)
    monkeypatch.syspath_prepend(site)
    for name in ("crash", "hang", "grow", "once", "chatter", "odd", "txt"):
        (tmp_path / f"a.{name}").write_text("text")
        monkeypatch.setitem(READERS, f".{name}", READERS[".txt"])
    close_workers()
    yield tmp_path
    close_workers()


def _text(path: Path, limits: ReadLimits | None = None) -> str:
    return read_document(path, limits).pages[0].text


@pytest.mark.parametrize("kind", ["crash", "odd"])
def test_a_parser_that_fails_is_a_document_error(folder: Path, kind: str) -> None:
    reason = {"crash": r"crashed its reader \(SIGSEGV\)", "odd": r"damaged \(KeyError: 'page'\)"}[kind]
    with pytest.raises(DocumentError, match=reason):
        _text(folder / f"a.{kind}")
    assert _text(folder / "a.txt") == "text"


def test_a_parser_that_hangs_is_ended(folder: Path) -> None:
    with pytest.raises(DocumentError, match=r"longer than 0\.5 seconds"):
        _text(folder / "a.hang", ReadLimits(seconds=0.5))
    assert _text(folder / "a.txt") == "text"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds the limit")
def test_a_parser_that_grows_is_stopped(folder: Path) -> None:
    assert _text(folder / "a.grow") == str(2**29)
    with pytest.raises(DocumentError, match="more than 256 MB of memory"):
        _text(folder / "a.grow", ReadLimits(memory_bytes=2**28))
    assert _text(folder / "a.txt", ReadLimits(memory_bytes=2**28)) == "text"


def test_a_file_is_not_blamed_for_what_another_did_to_the_parser(folder: Path) -> None:
    assert _text(folder / "a.once") == "first"
    assert _text(folder / "a.once") == "first"  # crashes the worker that has read it before, not a new one


def test_what_a_parser_prints_is_no_answer(folder: Path) -> None:
    worker = _text(folder / "a.chatter")
    assert int(worker) != os.getpid()
    assert _text(folder / "a.chatter") == worker  # the same process serves again


def test_a_worker_that_died_waiting_is_replaced(folder: Path) -> None:
    worker = psutil.Process(int(_text(folder / "a.chatter")))
    worker.kill()
    assert _text(folder / "a.chatter") != str(worker.pid)


def test_threads_share_a_few_workers(folder: Path) -> None:
    with ThreadPoolExecutor(16) as threads:
        workers = set(threads.map(_text, [folder / "a.chatter"] * 64))
    assert 1 <= len(workers) <= max(2, os.cpu_count() or 1)


def test_workers_end_when_they_are_closed(folder: Path) -> None:
    worker = int(_text(folder / "a.chatter"))
    close_workers()
    assert not psutil.pid_exists(worker)
    assert _text(folder / "a.txt") == "text"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_workers_of_its_own(folder: Path) -> None:
    worker = _text(folder / "a.chatter")
    child = os.fork()
    if child == 0:
        os._exit(0 if _text(folder / "a.chatter") != worker else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert _text(folder / "a.chatter") == worker


def test_a_script_without_a_guard_can_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "json.py").write_text("raise SystemExit('the stray module was run')")
    script = tmp_path / "scripts" / "script.py"
    script.parent.mkdir()
    script.write_text(
        "import sys\nfrom jina_rag.rag.documents import read_document\n"
        "sys.stdout.write('run ' + read_document('a.txt').pages[0].text + '\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("run text\n", "", 0)


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    script = (
        "import os, psutil, signal\n"
        "from jina_rag.rag.documents import read_document\n"
        "read_document('a.txt')\n"
        "print(*[child.pid for child in psutil.Process().children()], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, timeout=60, check=False)
    (worker,) = map(int, done.stdout.split())
    while psutil.pid_exists(worker) and psutil.Process(worker).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)  # pytest's own limit ends this if the worker outlives its parent
