"""The queue of work on an index: a real index, and an engine that needs no model."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any

import pytest

from jina_rag import Embedder
from jina_rag.errors import IndexFolderError
from jina_rag.rag import DocumentIndex
from jina_rag.rag.store.lock import sole_writer
from jina_rag.testing import fake_embedder
from tests.apps.conftest import APP
from tests.index_files import chroma_collection


@dataclass
class Owner:
    """What the app's service is to the jobs."""

    folder: Path
    backend: str | None = None
    embedder: Embedder = field(default_factory=fake_embedder)
    opened: DocumentIndex | None = None

    @property
    def index(self) -> DocumentIndex:
        self.opened = self.opened or DocumentIndex.open(self.folder, self.embedder)
        return self.opened

    def has_index(self) -> bool:
        return (self.folder / "index.sqlite3").exists()

    def create_index(self) -> DocumentIndex:
        if not self.has_index():
            self.opened = DocumentIndex.create_or_open(self.folder, self.embedder)
        return self.index

    def reopen(self) -> None:
        if self.opened:
            self.opened.close()
        self.opened = None


@pytest.fixture
def module(app_modules: None) -> ModuleType:  # noqa: ARG001
    import jobs

    return jobs


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    owner = Owner(tmp_path / "index")
    yield owner
    owner.reopen()


@pytest.fixture
def open_jobs(module: ModuleType, owner: Owner) -> Iterator[Callable[[], Any]]:
    """`open_jobs()`: the jobs of a server that has just started."""
    opened = []

    def open_() -> Any:
        opened.append(module.Jobs(owner))
        return opened[-1]

    yield open_
    for jobs in opened:
        jobs.stop()


@pytest.fixture
def jobs(open_jobs: Callable[[], Any]) -> Any:
    return open_jobs()


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number:02}.md").write_text(f"# Note {number}\n\nThe tide table of harbour {number}.")
    return folder


@pytest.fixture
def gate(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> Iterator[Event]:
    """While it is not set, the model waits."""
    gate = Event()
    embed = owner.embedder.backend.embed

    def wait_and_embed(*arguments: Any, **options: Any) -> Any:
        assert gate.wait(240)
        return embed(*arguments, **options)

    monkeypatch.setattr(owner.embedder.backend, "embed", wait_and_embed)
    yield gate
    gate.set()


def over(jobs: Any, job_id: str) -> Any:
    """The job when it is over."""
    return until(lambda: next(job for job in jobs.all() if job.id == job_id and job.is_over))


def until(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 240
    while True:
        try:
            if result := found():
                return result
        except StopIteration:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.01)


def names(owner: Owner) -> list[str]:
    return [Path(document.source).name for document in owner.index.documents()]


def upload(jobs: Any, **files: str | bytes) -> Any:
    contents = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    return jobs.upload([(name.replace("__", "."), io.BytesIO(content)) for name, content in contents.items()])


def test_folder_makes_the_index_and_says_what_was_done(jobs: Any, owner: Owner, notes: Path) -> None:
    job = over(jobs, jobs.add([notes], "work").id)
    assert (job.state, job.sentence, job.error) == ("done", "40 added.", "")
    assert (job.fraction, job.documents_done, job.documents_total, job.chunks_done) == (1.0, 40, 40, 40)
    assert owner.index.collections() == {"work": 40}
    assert jobs.running() is None


def test_jobs_run_one_at_a_time_in_order(jobs: Any, owner: Owner, notes: Path, gate: Event) -> None:
    asked = [jobs.add([notes / f"{number:02}.md"]) for number in (3, 1, 2)]
    until(lambda: jobs.running().state == "running")
    assert [job.state for job in reversed(jobs.all())] == ["running", "waiting", "waiting"]
    assert jobs.running().id == asked[0].id
    gate.set()
    for job in asked:
        assert over(jobs, job.id).state == "done"
    added = sorted(owner.index.documents(), key=lambda document: document.added_at)
    assert {Path(document.source).name for document in added} == {"01.md", "02.md", "03.md"}


def test_failing_file_does_not_stop_the_rest(jobs: Any, owner: Owner, notes: Path) -> None:
    (notes / "07.md").write_bytes(b"\0\1\2")
    (notes / "08.pdf").write_bytes(b"no PDF at all")
    job = over(jobs, jobs.add([notes]).id)
    assert (job.state, job.sentence) == ("done", "39 added, 2 could not be read.")
    assert [Path(source).name for source, _ in job.failed] == ["07.md", "08.pdf"]
    assert all(reason for _, reason in job.failed)
    (notes / "07.md").write_text("The harbour master is Orla Penhale.")
    (notes / "08.pdf").unlink()
    assert over(jobs, jobs.retry_failed().id).sentence == "1 added."
    assert owner.index.status().failed == ()


def test_cancel_keeps_what_is_complete_and_it_can_go_on(jobs: Any, owner: Owner, notes: Path, gate: Event) -> None:
    job = jobs.add([notes])
    waiting = jobs.sync()
    until(lambda: jobs.running().state == "running")
    jobs.cancel(job.id)
    jobs.cancel(waiting.id)
    assert jobs.running().is_stopping
    gate.set()
    cancelled = over(jobs, job.id)
    assert cancelled.state == over(jobs, waiting.id).state == "cancelled"
    assert cancelled.sentence.startswith("Cancelled. ")
    assert len(names(owner)) < 40
    jobs.again(job.id)
    assert over(jobs, job.id).state == "done"
    assert len(names(owner)) == 40


def test_server_that_ends_leaves_an_interrupted_job_to_the_next(
    open_jobs: Callable[[], Any], owner: Owner, notes: Path, gate: Event
) -> None:
    first = open_jobs()
    job = first.add([notes])
    until(lambda: first.running().state == "running" and owner.has_index())
    waiting = first.sync()
    first._stopping = True  # the signal has come; the model still works
    gate.set()
    first.stop()
    second = open_jobs()
    assert {(job.id, job.state) for job in second.all()} == {(job.id, "interrupted"), (waiting.id, "interrupted")}
    assert second.running() is None
    second.again(job.id)
    assert over(second, job.id).state == "done"
    assert len(names(owner)) == 40


_SERVER = """
import os, sys, time
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from pathlib import Path
from threading import Event
from tests.apps.test_jobs import Owner
from jobs import Jobs
owner, ending = Owner(Path(sys.argv[3])), Event()
n_calls = 0
embed = owner.embedder.backend.embed
def embed_or_end(*arguments, **options):
    global n_calls
    n_calls += 1
    if n_calls == 2:
        END
    return embed(*arguments, **options)
owner.embedder.backend.embed = embed_or_end
Jobs(owner).add([sys.argv[4]])
ending.wait(30)
"""


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "ending.set(); time.sleep(1); raise RuntimeError"])
def test_server_that_is_killed_or_told_to_end_leaves_a_job_that_can_be_resumed(
    open_jobs: Callable[[], Any], owner: Owner, notes: Path, end: str
) -> None:
    root = APP.parents[1]
    program = _SERVER.replace("END", end)
    command = [sys.executable, "-c", program, str(root), str(APP), str(owner.folder), str(notes)]
    assert subprocess.run(command, cwd=root, timeout=60).returncode == (-9 if "kill" in end else 0)
    jobs = open_jobs()
    (job,) = jobs.all()
    assert job.state == "interrupted"
    jobs.again(job.id)
    assert over(jobs, job.id).state == "done"
    assert len(names(owner)) == 40
    assert owner.index.doctor() == []


def test_second_server_sees_the_jobs_and_leaves_them_alone(
    open_jobs: Callable[[], Any], jobs: Any, notes: Path
) -> None:
    job = over(jobs, jobs.add([notes]).id)
    guest = open_jobs()
    assert guest.all() == [job]
    with pytest.raises(IndexFolderError, match="Another server of this app"):
        guest.sync()
    jobs.stop()
    assert over(guest, guest.sync().id).sentence == "40 known already."
    assert [each.id for each in guest.all()][1:] == [job.id]


def test_lock_held_by_another_is_said_and_tried_again(jobs: Any, owner: Owner, notes: Path) -> None:
    owner.create_index()
    with sole_writer(owner.folder):
        job = over(jobs, jobs.add([notes]).id)
        assert job.state == "failed"
        assert f"process {os.getpid()}" in job.error
        assert job.error.endswith("Try again when it is done.")
    jobs.again(job.id)
    assert over(jobs, job.id).state == "done"


def test_upload_is_kept_under_a_safe_name_beside_the_index(jobs: Any, owner: Owner) -> None:
    files = [("../../etc/Bees & hives.txt", b"Orla keeps the bees."), ("other/Bees & hives.txt", b"Ten hives.")]
    job = over(jobs, jobs.upload([(name, io.BytesIO(text)) for name, text in files], "bees").id)
    assert job.sentence == "2 added."
    assert names(owner) == ["Bees _ hives (2).txt", "Bees _ hives.txt"]
    assert owner.index.collections() == {"bees": 2}
    uploads = owner.folder / "uploads"
    assert sorted(path.name for path in uploads.rglob("*") if path.is_file()) == names(owner)


def test_uploads_of_one_name_never_take_the_place_of_another(jobs: Any, owner: Owner) -> None:
    named = ["bees (2).txt", "bees.txt", "Bees.txt", "bees.txt"]
    over(jobs, jobs.upload([(name, io.BytesIO(f"Hive {n}.".encode())) for n, name in enumerate(named)]).id)
    assert sorted(path.read_text() for path in (owner.folder / "uploads").glob("*.txt")) == [
        f"Hive {n}." for n in range(4)
    ]


def test_uploads_whose_names_differ_in_emoji_or_at_the_end_alone_are_two(jobs: Any, owner: Owner) -> None:
    for number, name in enumerate(("🐝" * 255, "🐞" * 255, "x" * 70 + "1", "x" * 70 + "2")):
        over(jobs, jobs.upload([(f"{name}.txt", io.BytesIO(f"Hive {number}.".encode()))]).id)
    assert len(names(owner)) == 4
    assert all(len(name.encode()) < 100 for name in names(owner))


def test_upload_takes_the_place_of_one_of_the_same_name_only_if_it_can_be_read(jobs: Any, owner: Owner) -> None:
    over(jobs, upload(jobs, bees__txt="Orla keeps the bees.").id)
    job = over(jobs, upload(jobs, bees__txt=b"\0\1", empty__pdf=b"", other__md="Ten hives.").id)
    assert job.sentence == "1 added, 2 could not be read."
    assert {name for name, _ in job.failed} == {"bees.txt", "empty.pdf"}
    assert not any(str(owner.folder) in reason for _, reason in job.failed)
    assert (owner.folder / "uploads" / "bees.txt").read_text() == "Orla keeps the bees."
    assert over(jobs, upload(jobs, bees__txt="Nobody keeps them now.").id).sentence == "1 brought up to date."
    assert not list((owner.folder / "uploads" / ".incoming").iterdir())


def test_uploads_of_a_job_that_failed_are_there_for_the_next_attempt(jobs: Any, owner: Owner) -> None:
    owner.create_index()
    with sole_writer(owner.folder):
        job = over(jobs, upload(jobs, bees__txt="Orla keeps the bees.").id)
        assert job.state == "failed"
    jobs.again(job.id)
    assert over(jobs, job.id).sentence == "1 added."


def test_removing_deletes_uploads_and_no_other_files(jobs: Any, owner: Owner, notes: Path) -> None:
    over(jobs, upload(jobs, bees__txt="Orla keeps the bees.").id)
    over(jobs, jobs.add([notes]).id)
    job = over(jobs, jobs.remove([str(owner.folder / "uploads" / "bees.txt"), str(notes / "00.md")]).id)
    assert job.sentence == "2 taken out."
    assert not (owner.folder / "uploads" / "bees.txt").exists()
    assert (notes / "00.md").exists()
    assert over(jobs, jobs.remove_collection("default").id).sentence == "39 taken out."
    assert names(owner) == []


def test_sync_finds_what_has_changed(jobs: Any, notes: Path) -> None:
    over(jobs, jobs.add([notes]).id)
    (notes / "00.md").unlink()
    (notes / "01.md").write_text("Something else.")
    assert over(jobs, jobs.sync().id).sentence == "1 brought up to date, 1 taken out, 38 known already."


def test_rebuild_mends_the_vectors_while_the_index_is_open(jobs: Any, owner: Owner, notes: Path) -> None:
    over(jobs, jobs.add([notes]).id)
    index = owner.index
    with chroma_collection(index.folder) as vectors:
        vectors.delete(sorted(vectors.get()["ids"])[:5])
    assert "5 of 40 chunks have no vector" in index.doctor()[0].what
    job = over(jobs, jobs.rebuild().id)
    assert (job.state, job.chunks_done, job.fraction) == ("done", 40, 1.0)
    assert owner.index.doctor() == []
    assert len(owner.index.nearest(owner.embedder.embed_query("tide table"), 50)) == 40


def test_program_fault_ends_the_job_and_not_the_queue(
    jobs: Any, owner: Owner, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.create_index()
    with monkeypatch.context() as patch:
        patch.setattr(DocumentIndex, "sync", lambda *_, **__: 1 / 0)
        job = over(jobs, jobs.sync().id)
    assert (job.state, "ZeroDivisionError" in job.error) == ("failed", True)
    assert over(jobs, jobs.add([notes]).id).state == "done"


def test_damaged_record_is_begun_anew(open_jobs: Callable[[], Any], owner: Owner) -> None:
    owner.create_index()
    for damage in ("{", "[1]", json.dumps([{"id": "x", "kind": "dance", "paths": [], "failed": []}])):
        (owner.folder / "jobs.json").write_text(damage)
        jobs = open_jobs()
        assert jobs.all() == []
        jobs.stop()


def test_only_the_last_jobs_are_remembered(jobs: Any, owner: Owner, notes: Path) -> None:
    owner.create_index()
    for _ in range(23):
        job = over(jobs, jobs.add([notes / "00.md"]).id)
    assert len(jobs.all()) <= 21
    jobs.forget(job.id)
    assert job.id not in {each.id for each in jobs.all()}
