"""Processes that are killed, disks that are full, folders that can't be written: nothing is lost, and it is said."""

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from jina_rag import Embedder
from jina_rag.errors import FingerprintMismatchError, IndexFolderError
from jina_rag.rag import DocumentIndex, Filters, Retriever, SearchOptions
from jina_rag.rag.indexing.check import doctor
from jina_rag.rag.indexing.index import rebuild
from jina_rag.rag.store.lock import LOCK
from jina_rag.testing import fake_embedder
from tests.index_files import database, nearest, whole_contents

N_KILLS = int(os.environ.get("JINA_RAG_KILLS", "2"))
MEGABYTES = int(os.environ.get("JINA_RAG_DISK", "6"))

ADD = """
import sys, time
from jina_rag.rag import DocumentIndex
from jina_rag.rag.indexing import ingest as ingestion
from jina_rag.testing import fake_embedder
ingestion.LARGEST_BATCH = 64
with DocumentIndex.create_or_open(sys.argv[1], fake_embedder()) as index:
    print("begins", flush=True)
    index.add([sys.argv[2]])
"""

REBUILD = """
import sys
from jina_rag.rag.indexing.index import rebuild
from jina_rag.testing import fake_embedder
print("begins", flush=True)
rebuild(sys.argv[1], fake_embedder(32))
"""


def _write_documents(folder: Path, n_documents: int = 24, n_sections: int = 50) -> Path:
    folder.mkdir()
    words = random.Random(0)
    for number in range(n_documents):
        sections = (
            f"# Part {section}\n\n" + " ".join(f"word{words.randrange(5000)}" for _ in range(110))
            for section in range(n_sections)
        )
        (folder / f"{number}.md").write_text("\n\n".join(sections))
    return folder


def _contents(index: DocumentIndex) -> dict[str, tuple[str, bytes]]:
    """Texts and vectors of all chunks by their ids; Chroma and the words must agree."""
    assert doctor(index.folder) == []
    return whole_contents(index.folder)


def _kill_at(moment: float, code: str, *arguments: object) -> None:
    """Run `code`, and kill it `moment` seconds after it begins."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        time.sleep(moment)
        process.kill()


@pytest.mark.timeout(300 + 60 * N_KILLS)
def test_killed_at_random_moments_it_resumes(tmp_path: Path) -> None:
    documents, embedder = _write_documents(tmp_path / "documents"), fake_embedder()
    with DocumentIndex.create_or_open(tmp_path / "whole", embedder) as index:
        started = time.monotonic()
        index.add([documents])
        seconds = time.monotonic() - started
        expected = _contents(index)
    moments = random.Random(1)
    for attempt in range(N_KILLS):
        folder = tmp_path / f"killed {attempt}"
        for _ in range(1 + attempt % 2):  # every other one is killed again when it resumes
            _kill_at(moments.uniform(0, seconds * 1.1), ADD, folder, documents)
        with DocumentIndex.create_or_open(folder, embedder) as index:
            index.add([documents])
            report = index.sync()
            assert (len(report.unchanged), report.n_embedded) == (24, 0)
            assert _contents(index) == expected
        shutil.rmtree(folder)


def test_a_rebuild_that_is_killed_leaves_the_index_as_it_was(tmp_path: Path) -> None:
    documents, embedder, narrow = _write_documents(tmp_path / "documents", 4), fake_embedder(), fake_embedder(32)
    folder = tmp_path / "index"
    with DocumentIndex.create_or_open(folder, embedder) as index:
        index.add([documents])
        before = _contents(index)
    for moment in (0.05, 0.6):
        _kill_at(moment, REBUILD, folder)
        try:
            with DocumentIndex.open(folder, embedder) as index:
                assert {id_ for id_, _ in _contents_but_for_the_rebuild(index)} == set(before)
        except FingerprintMismatchError:
            break  # it was quick, and has the new model
    rebuild(folder, narrow)
    with DocumentIndex.open(folder, narrow) as index, DocumentIndex.create_or_open(tmp_path / "b", narrow) as fresh:
        fresh.add([documents])
        assert _contents(index) == _contents(fresh)


def _contents_but_for_the_rebuild(index: DocumentIndex) -> list[tuple[str, str]]:
    assert {problem.what for problem in doctor(index.folder)} <= {"A rebuild was interrupted."}
    with database(index.folder) as connection:
        return connection.execute("SELECT id, text FROM chunks").fetchall()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("Only root may mount file systems.")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_loses_nothing(tmp_path: Path, small_disk: Path, embedder: Embedder) -> None:
    documents, folder = _write_documents(tmp_path / "documents"), small_disk / "index"
    few = tmp_path / "few"
    few.mkdir()
    (few / "mars.md").write_text("Mars looks red because of iron rust.")
    with DocumentIndex.create_or_open(folder, embedder) as index:
        index.add([few])
        with pytest.raises(IndexFolderError, match=r"disk .* is full\. Free some space and run the same command again"):
            index.add([documents])
    with DocumentIndex.open(folder, embedder) as index:
        assert nearest(index, "Why is Mars red?")[0].title == "mars"
        assert Retriever(index).retrieve("Why is Mars red?")[0].chunk.title == "mars"
    subprocess.run(["mount", "-o", "remount,size=200m", small_disk], check=True)
    with DocumentIndex.open(folder, embedder) as index:
        index.add([documents])
        resumed = _contents(index)
    with DocumentIndex.create_or_open(tmp_path / "fresh", embedder) as fresh:
        fresh.add([few, documents])
        assert _contents(fresh) == resumed


@pytest.fixture
def read_only(tmp_path: Path, notes: Path, embedder: Embedder) -> Iterator[Path]:
    """An index in a folder that not even root may write to."""
    with DocumentIndex.create_or_open(tmp_path / "index", embedder) as index:
        index.add([notes])
    folder = tmp_path / "read only"
    folder.mkdir()
    commands = (
        ["mount", "--bind", str(tmp_path / "index"), str(folder)],
        ["mount", "-o", "remount,bind,ro", str(folder)],
    )
    for command in commands:
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("Only root may mount folders.")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_others_have_filled_can_be_searched(
    small_disk: Path, notes: Path, embedder: Embedder, caplog: pytest.LogCaptureFixture
) -> None:
    with DocumentIndex.create_or_open(small_disk / "index", embedder) as index:
        index.add([notes])
    with pytest.raises(OSError, match="No space"):
        (small_disk / "filling").write_bytes(bytes(MEGABYTES * 2**20))
    with DocumentIndex.open(small_disk / "index", embedder) as index:
        assert Retriever(index).retrieve("Why is Mars red?")[0].chunk.title == "Mars"
        options = SearchOptions(filters=Filters(file_types=["txt"]))
        assert len(Retriever(index).retrieve("Why is Mars red?", options)) == 2
        assert caplog.text.count("is full") == 1
        with pytest.raises(IndexFolderError, match="is full"):
            index.remove([notes])


def test_a_read_only_folder_can_be_searched_and_says_so(
    read_only: Path, notes: Path, embedder: Embedder, caplog: pytest.LogCaptureFixture
) -> None:
    with DocumentIndex.open(read_only, embedder) as index:
        assert Retriever(index).retrieve("Why is Mars red?")[0].chunk.title == "Mars"
        assert "can't be written" in caplog.text
        with pytest.raises(IndexFolderError, match="can't be written"):
            index.add([notes])
    with pytest.raises(IndexFolderError, match="can't be written"):
        rebuild(read_only, embedder)


READ = """
import sys
from jina_rag.rag import DocumentIndex, Retriever
from jina_rag.testing import fake_embedder
with DocumentIndex.open(sys.argv[1], fake_embedder()) as index:
    print("begins", flush=True)
    n = 0
    while not sys.stdin.closed and n < 400:
        results = Retriever(index).retrieve("Mars looks red because of iron rust.")
        assert results[0].chunk.title == "mars", results
        n += 1
        if index.count_chunks() > 1000:
            break
    print(n, index.count_chunks())
"""


def test_readers_of_other_processes_find_all_the_while(tmp_path: Path, embedder: Embedder) -> None:
    documents, folder, few = _write_documents(tmp_path / "documents"), tmp_path / "index", tmp_path / "few"
    few.mkdir()
    (few / "mars.md").write_text("Mars looks red because of iron rust.")
    with DocumentIndex.create_or_open(folder, embedder) as index:
        index.add([few])
        command = [sys.executable, "-c", READ, str(folder)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "begins\n"
            index.add([documents])
            out, errors = reader.communicate(timeout=120)
        assert reader.returncode == 0, errors
        assert int(out.split()[0]) > 3
        _contents(index)


def test_two_writers_in_two_processes(tmp_path: Path, notes: Path, embedder: Embedder) -> None:
    documents, folder = _write_documents(tmp_path / "documents"), tmp_path / "index"
    command = [sys.executable, "-c", ADD, str(folder), str(documents)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        time.sleep(0.2)
        with DocumentIndex.open(folder, embedder) as index:
            with pytest.raises(IndexFolderError, match=rf"process {process.pid} on \S+, `-c {folder}`, since 20\d\d-"):
                index.add([notes])
            assert process.wait() == 0
            index.add([notes])
            assert len(index.documents()) == 27
            _contents(index)


def test_asking_whether_somebody_writes_stops_no_writer(index: DocumentIndex, notes: Path) -> None:
    """Who asks holds the lock for a moment."""
    lock = FileLock(index.folder / LOCK, thread_local=False)  # another thread lets go of it
    lock.acquire()
    released = threading.Timer(0.1, lock.release)
    released.start()
    assert len(index.add([notes]).added) == 3
    released.join()


def test_files_in_the_working_directory_are_not_run(
    index: DocumentIndex, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add([notes])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise SystemExit('I am run')")
    assert doctor(index.folder) == []
