"""The task table: a real index, and an engine that needs no model."""

import io
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from jina_rag import Embedder
from jina_rag.errors import IndexFolderError
from jina_rag.rag import DocumentIndex
from jina_rag.rag.indexing.check import doctor
from jina_rag.rag.store.lock import sole_writer
from jina_rag.testing import fake_embedder
from tests.apps.conftest import APP
from tests.index_files import chroma_collection, nearest


@dataclass
class Owner:
    """What the app's service is to tasks."""

    folder: Path
    backend: str | None = None
    embedder: Embedder = field(default_factory=fake_embedder)
    opened: DocumentIndex | None = None
    tasks: Any = None

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

    def close(self) -> None:
        if self.opened:
            self.opened.close()
        self.opened = None


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    owner = Owner(tmp_path / "index")
    yield owner
    owner.close()


@pytest.fixture
def open_tasks(app_modules: None, owner: Owner) -> Iterator[Callable[[], Any]]:  # noqa: ARG001
    """`open_tasks()`: the task table of a server that has just started."""
    opened = []

    def open_() -> Any:
        opened.append(table(owner))
        owner.tasks = opened[-1]
        return opened[-1]

    yield open_
    for tasks in opened:
        tasks.close()


@pytest.fixture
def tasks(open_tasks: Callable[[], Any]) -> Any:
    return open_tasks()


def table(owner: Any) -> Any:
    from index_work import WORK
    from tasks import Tasks

    return Tasks(owner.folder, lambda running: WORK[running.task.kind](owner, running))


def start(tasks: Any, kind: str, *paths: Path | str, collection: str = "default") -> Any:
    from tasks import Kind

    return tasks.start(Kind(kind), list(map(str, paths)), collection)


def upload(owner: Any, files: dict[str, Any] | list[tuple[str, Any]], **collection: str) -> Any:
    from index_work import start_upload

    pairs = files.items() if isinstance(files, dict) else files
    contents = [(name, io.BytesIO(text.encode() if isinstance(text, str) else text)) for name, text in pairs]
    return start_upload(owner, owner.tasks, contents, **collection)


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


def over(tasks: Any, task_id: str) -> Any:
    """The task when it is over."""
    return until(lambda: next(task for task in tasks.all() if task.id == task_id and task.is_over))


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


def test_folder_makes_the_index_and_says_what_was_done(tasks: Any, owner: Owner, notes: Path) -> None:
    task = over(tasks, start(tasks, "add", notes, collection="work").id)
    assert (task.state, task.message, task.error) == ("done", "40 added.", "")
    assert owner.index.collections() == {"work": 40}
    assert tasks.running() is None


def test_tasks_run_one_at_a_time_in_order(tasks: Any, owner: Owner, notes: Path, gate: Event) -> None:
    asked = [start(tasks, "add", notes / f"{number:02}.md") for number in (3, 1, 2)]
    until(lambda: tasks.running().state == "running")
    assert [task.state for task in reversed(tasks.all())] == ["running", "queued", "queued"]
    assert tasks.running().id == asked[0].id
    gate.set()
    for task in asked:
        assert over(tasks, task.id).state == "done"
    added = sorted(owner.index.documents(), key=lambda document: document.added_at)
    assert {Path(document.source).name for document in added} == {"01.md", "02.md", "03.md"}


def test_failing_file_does_not_stop_the_rest(tasks: Any, owner: Owner, notes: Path) -> None:
    (notes / "07.md").write_bytes(b"\0\1\2")
    (notes / "08.pdf").write_bytes(b"no PDF at all")
    task = over(tasks, start(tasks, "add", notes).id)
    assert (task.state, task.message) == ("done", "39 added, 2 could not be read.")
    assert [Path(source).name for source, _ in task.failed] == ["07.md", "08.pdf"]
    assert all(reason for _, reason in task.failed)
    (notes / "07.md").write_text("The harbour master is Orla Penhale.")
    (notes / "08.pdf").unlink()
    assert over(tasks, start(tasks, "retry").id).message == "1 added."
    assert owner.index.status().failed == ()


def test_cancel_keeps_what_is_complete_and_it_can_go_on(tasks: Any, owner: Owner, notes: Path, gate: Event) -> None:
    task = start(tasks, "add", notes)
    waiting = start(tasks, "sync")
    until(lambda: tasks.running().state == "running")
    tasks.cancel(task.id)
    tasks.cancel(waiting.id)
    assert tasks.running().is_stopping
    gate.set()
    cancelled = over(tasks, task.id)
    assert cancelled.state == over(tasks, waiting.id).state == "cancelled"
    assert cancelled.message.startswith("Cancelled. ")
    assert len(names(owner)) < 40
    tasks.retry(task.id)
    assert over(tasks, task.id).state == "done"
    assert len(names(owner)) == 40


def test_server_that_ends_leaves_interrupted_tasks_to_the_next(
    open_tasks: Callable[[], Any], owner: Owner, notes: Path
) -> None:
    from tasks import Tasks

    owner.create_index()

    def work_until_stopped(running: Any) -> str:
        while not running.should_stop():
            time.sleep(0.01)
        return "Stopped."

    first: Any = Tasks(owner.folder, work_until_stopped)
    task = start(first, "add", notes)
    queued = start(first, "sync")
    until(lambda: first.running().state == "running")
    first.close()
    second = open_tasks()
    assert {(task.id, task.state) for task in second.all()} == {(task.id, "interrupted"), (queued.id, "interrupted")}
    assert second.running() is None
    second.retry(task.id)
    assert over(second, task.id).state == "done"
    assert len(names(owner)) == 40


_SERVER = """
import os, sys, time
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from pathlib import Path
from threading import Event
from tests.apps.test_tasks import Owner, start, table
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
start(table(owner), "add", sys.argv[4])
ending.wait(240)
"""


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "ending.set(); time.sleep(1); raise RuntimeError"])
def test_server_that_is_killed_or_told_to_end_leaves_a_task_that_can_be_resumed(
    open_tasks: Callable[[], Any], owner: Owner, notes: Path, end: str
) -> None:
    root = APP.parents[1]
    program = _SERVER.replace("END", end)
    command = [sys.executable, "-c", program, str(root), str(APP), str(owner.folder), str(notes)]
    assert subprocess.run(command, cwd=root, timeout=240).returncode == (-9 if "kill" in end else 0)
    tasks = open_tasks()
    (task,) = tasks.all()
    assert task.state == "interrupted"
    tasks.retry(task.id)
    assert over(tasks, task.id).state == "done"
    assert len(names(owner)) == 40
    assert doctor(owner.folder) == []


def test_second_server_sees_the_tasks_and_leaves_them_alone(
    open_tasks: Callable[[], Any], tasks: Any, notes: Path
) -> None:
    task = over(tasks, start(tasks, "add", notes).id)
    guest = open_tasks()
    assert guest.all() == [task]
    with pytest.raises(IndexFolderError, match="Another server of this app"):
        start(guest, "sync")
    tasks.close()
    assert over(guest, start(guest, "sync").id).message == "40 unchanged."
    assert [each.id for each in guest.all()][1:] == [task.id]


def test_lock_held_by_another_is_said_and_tried_again(tasks: Any, owner: Owner, notes: Path) -> None:
    owner.create_index()
    with sole_writer(owner.folder):
        task = over(tasks, start(tasks, "add", notes).id)
        assert task.state == "failed"
        assert f"process {os.getpid()}" in task.error
        assert task.error.endswith("Try again when it is done.")
    tasks.retry(task.id)
    assert over(tasks, task.id).state == "done"


def test_upload_is_kept_under_a_safe_name_beside_the_index(tasks: Any, owner: Owner) -> None:
    files = [("../../etc/Bees & hives.txt", b"Orla keeps the bees."), ("other/Bees & hives.txt", b"Ten hives.")]
    task = over(tasks, upload(owner, files, collection="bees").id)
    assert task.message == "2 added."
    assert names(owner) == ["Bees _ hives (2).txt", "Bees _ hives.txt"]
    assert owner.index.collections() == {"bees": 2}
    uploads = owner.folder / "uploads"
    assert sorted(path.name for path in uploads.rglob("*") if path.is_file()) == names(owner)


def test_uploads_of_one_name_never_take_the_place_of_another(tasks: Any, owner: Owner) -> None:
    named = ["bees (2).txt", "bees.txt", "Bees.txt", "bees.txt"]
    over(tasks, upload(owner, [(name, f"Hive {n}.") for n, name in enumerate(named)]).id)
    assert sorted(path.read_text() for path in (owner.folder / "uploads").glob("*.txt")) == [
        f"Hive {n}." for n in range(4)
    ]


def test_uploads_whose_names_differ_in_emoji_or_at_the_end_alone_are_two(tasks: Any, owner: Owner) -> None:
    for number, name in enumerate(("🐝" * 255, "🐞" * 255, "x" * 70 + "1", "x" * 70 + "2")):
        over(tasks, upload(owner, {f"{name}.txt": f"Hive {number}."}).id)
    assert len(names(owner)) == 4
    assert all(len(name.encode()) < 100 for name in names(owner))


def test_upload_takes_the_place_of_one_of_the_same_name_only_if_it_can_be_read(tasks: Any, owner: Owner) -> None:
    over(tasks, upload(owner, {"bees.txt": "Orla keeps the bees."}).id)
    task = over(tasks, upload(owner, {"bees.txt": b"\0\1", "empty.pdf": b"", "other.md": "Ten hives."}).id)
    assert task.message == "1 added, 2 could not be read."
    assert {name for name, _ in task.failed} == {"bees.txt", "empty.pdf"}
    assert not any(str(owner.folder) in reason for _, reason in task.failed)
    assert (owner.folder / "uploads" / "bees.txt").read_text() == "Orla keeps the bees."
    assert over(tasks, upload(owner, {"bees.txt": "Nobody keeps them now."}).id).message == "1 updated."
    assert not list((owner.folder / "uploads" / ".incoming").iterdir())


def test_uploads_of_a_task_that_failed_are_there_for_the_next_attempt(tasks: Any, owner: Owner) -> None:
    owner.create_index()
    with sole_writer(owner.folder):
        task = over(tasks, upload(owner, {"bees.txt": "Orla keeps the bees."}).id)
        assert task.state == "failed"
    tasks.retry(task.id)
    assert over(tasks, task.id).message == "1 added."


def test_removing_deletes_uploads_and_no_other_files(tasks: Any, owner: Owner, notes: Path) -> None:
    over(tasks, upload(owner, {"bees.txt": "Orla keeps the bees."}).id)
    over(tasks, start(tasks, "add", notes).id)
    task = over(tasks, start(tasks, "remove", str(owner.folder / "uploads" / "bees.txt"), str(notes / "00.md")).id)
    assert task.message == "2 removed."
    assert not (owner.folder / "uploads" / "bees.txt").exists()
    assert (notes / "00.md").exists()
    assert len(names(owner)) == 39


def test_sync_finds_what_has_changed(tasks: Any, notes: Path) -> None:
    over(tasks, start(tasks, "add", notes).id)
    (notes / "00.md").unlink()
    (notes / "01.md").write_text("Something else.")
    assert over(tasks, start(tasks, "sync").id).message == "1 updated, 1 removed, 38 unchanged."


def test_rebuild_mends_the_vectors_while_the_index_is_open(tasks: Any, owner: Owner, notes: Path) -> None:
    over(tasks, start(tasks, "add", notes).id)
    with chroma_collection(owner.folder) as vectors:
        vectors.delete(sorted(vectors.get()["ids"])[:5])
    assert "5 of 40 chunks have no vector" in doctor(owner.folder)[0].what
    task = over(tasks, start(tasks, "rebuild").id)
    assert task.state == "done"
    assert doctor(owner.folder) == []
    assert len(nearest(owner.index, "tide table", 50)) == 40


def test_program_fault_ends_the_task_and_not_the_queue(
    tasks: Any, owner: Owner, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.create_index()
    with monkeypatch.context() as patch:
        patch.setattr(DocumentIndex, "sync", lambda *_, **__: 1 / 0)
        task = over(tasks, start(tasks, "sync").id)
    assert (task.state, "ZeroDivisionError" in task.error) == ("failed", True)
    assert over(tasks, start(tasks, "add", notes).id).state == "done"


def stored_row(state: str) -> dict[str, Any]:
    """A row of `tasks.json`."""
    about = {"id": "0123456789ab", "kind": "upload", "paths": ["a.txt"], "collection": "c", "model": None}
    return {**about, "state": state, "message": "", "error": "", "failed": []}


def test_tasks_of_a_hostile_folder_are_not_taken(open_tasks: Callable[[], Any], owner: Owner) -> None:
    owner.create_index()
    row = stored_row("queued")
    hostile: list[dict[str, Any]] = [
        {"id": "../../notes"},
        {"id": "0" * 13},
        {"kind": "dance"},
        {"paths": ["/etc/passwd"]},
        {"paths": [".."]},
    ]
    for damage in ("{", "[1]", "[" * 100_000, *(json.dumps([row | change]) for change in hostile)):
        (owner.folder / "tasks.json").write_text(damage)
        tasks = open_tasks()
        assert tasks.all() == []
        tasks.close()
    (owner.folder / "tasks.json").write_text(json.dumps([row]))
    assert [task.state for task in open_tasks().all()] == ["interrupted"]


@pytest.mark.skipif(os.name != "posix", reason="links and modes")
def test_no_link_in_the_folder_is_followed(
    open_tasks: Callable[[], Any], owner: Owner, notes: Path, tmp_path: Path
) -> None:
    owner.create_index()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    secret = foreign / "secret.txt"
    secret.write_text("Mine.")
    for name in ("tasks.json", ".tasks.lock"):
        (owner.folder / name).unlink(missing_ok=True)
        (owner.folder / name).symlink_to(secret)
    (owner.folder / "uploads").symlink_to(foreign)
    tasks = open_tasks()
    with pytest.raises(IndexFolderError, match="is a link"):
        upload(owner, {"secret.txt": "Theirs."})
    task = over(tasks, start(tasks, "add", notes / "00.md").id)
    assert task.state == "done"
    over(tasks, start(tasks, "remove", owner.folder / "uploads" / "secret.txt").id)
    tasks.dismiss(task.id)
    assert secret.read_text() == "Mine."
    assert list(foreign.iterdir()) == [secret]


@pytest.mark.skipif(os.name != "posix", reason="links and modes")
def test_a_link_among_interrupted_uploads_is_not_read(
    open_tasks: Callable[[], Any], owner: Owner, tmp_path: Path
) -> None:
    owner.create_index()
    (tmp_path / "secret.txt").write_text("Mine.")
    incoming = owner.folder / "uploads" / ".incoming" / "0123456789ab"
    incoming.mkdir(parents=True)
    (incoming / "a.txt").symlink_to(tmp_path / "secret.txt")
    (owner.folder / "tasks.json").write_text(json.dumps([stored_row("running")]))
    tasks = open_tasks()
    tasks.retry(incoming.name)
    over(tasks, incoming.name)
    tasks.dismiss(incoming.name)
    assert names(owner) == []
    assert (tmp_path / "secret.txt").read_text() == "Mine."


@pytest.mark.skipif(os.name != "posix", reason="links and modes")
def test_files_beside_the_index_are_the_owners_alone(tasks: Any, owner: Owner) -> None:
    over(tasks, upload(owner, {"bees.txt": "Orla keeps the bees."}).id)
    uploads = owner.folder / "uploads"
    files = (uploads, *uploads.iterdir(), *owner.folder.iterdir())
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files}
    assert modes["uploads"] == modes[".incoming"] == 0o700
    assert modes["bees.txt"] == modes["tasks.json"] == 0o600


def test_uploads_that_wait_have_a_budget(
    owner: Owner, tasks: Any, gate: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uploads.MAX_PENDING_BYTES", 100)
    running = upload(owner, {"a.txt": "a" * 60})
    until((owner.folder / "uploads" / "a.txt").exists)
    queued = upload(owner, {"b.txt": "b" * 60})
    with pytest.raises(IndexFolderError, match="GB together"):
        upload(owner, {"c.txt": "c" * 60})
    tasks.cancel(queued.id)
    tasks.dismiss(queued.id)
    third = upload(owner, {"c.txt": "c" * 60})
    gate.set()
    assert over(tasks, running.id).state == over(tasks, third.id).state == "done"
    assert names(owner) == ["a.txt", "c.txt"]


def test_only_the_last_tasks_are_remembered(tasks: Any, owner: Owner, notes: Path) -> None:
    owner.create_index()
    for _ in range(23):
        task = over(tasks, start(tasks, "add", notes / "00.md").id)
    assert len(tasks.all()) <= 21
    tasks.dismiss(task.id)
    assert task.id not in {each.id for each in tasks.all()}
