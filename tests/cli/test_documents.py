import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from jina_rag import Embedder
from jina_rag.cli import confirm
from jina_rag.rag import watch
from jina_rag.rag.indexing.contents import IndexContents
from jina_rag.vectors import FloatArray
from tests.cli.conftest import Run
from tests.rag.documents.pdf import PICTURE, write_contents


@pytest.mark.usefixtures("notes")
def test_add_makes_an_index_and_brings_it_up_to_date(run: Run, tmp_path: Path) -> None:
    first = run("add", "notes")
    assert first.stdout == "2 added. The index .jina-rag/index has 2 chunks.\n"
    assert first.stderr == "auto takes fake: it is a test.\n"
    (tmp_path / "notes" / "mars.md").write_text("# Mars\n\nMars has two moons.")
    (tmp_path / "notes" / "bad.txt").write_bytes(b"\x00")
    second = run("add", "notes")
    assert second.exit_code == 1
    assert second.stdout == "1 updated, 1 unchanged, 1 failed. The index .jina-rag/index has 2 chunks.\n"
    assert "Failed: " in second.stderr
    assert "bad.txt is not a text file" in second.stderr


@pytest.mark.usefixtures("notes")
def test_add_as_json(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes" / "bad.txt").write_bytes(b"\x00")
    result = run("add", "notes", "--json", "--exclude", "*.md", "--collection", "space")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["added"] == [str(tmp_path / "notes" / "saturn.txt")]
    assert [failed["source"] for failed in report["failed"]] == [str(tmp_path / "notes" / "bad.txt")]
    assert report["chunks_in_index"] == 1
    assert {"updated", "moved", "removed", "unchanged", "chunks_embedded"} < set(report)
    assert json.loads(run("status", "--json").stdout)["collections"] == {"space": 1}


def test_sync_takes_in_what_changed_and_out_what_is_gone(index: Run, notes: Path) -> None:
    assert index("sync").stdout == "2 unchanged. The index .jina-rag/index has 2 chunks.\n"
    (notes / "mars.md").unlink()
    (notes / "saturn.txt").rename(notes / "rings.txt")
    (notes / "venus.txt").write_text("Venus is hot.")
    assert index("sync").stdout == "1 added, 1 moved, 1 removed. The index .jina-rag/index has 2 chunks.\n"
    report = json.loads(index("sync", "notes", "--json").stdout)
    assert len(report["unchanged"]) == 2


def test_rm_asks_first(index: Run, monkeypatch: pytest.MonkeyPatch, notes: Path) -> None:
    alone = index("rm", "notes/mars.md")
    assert alone.exit_code == 2
    assert "Say --yes" in alone.stderr
    monkeypatch.setattr(confirm, "somebody_is_there", lambda: True)
    declined = index("rm", "notes/mars.md", stdin="n\n")
    assert declined.exit_code == 3
    assert "  notes/mars.md\n" in declined.stderr
    assert "Nothing was changed." in declined.stderr
    agreed = index("rm", "notes/mars.md", stdin="y\n")
    assert (agreed.exit_code, agreed.stdout) == (0, "1 removed. The index .jina-rag/index has 1 chunk.\n")
    assert (notes / "mars.md").exists()


def test_rm_takes_folders_and_collections(index: Run, notes: Path) -> None:
    assert index("rm", "nowhere").exit_code == 3
    assert json.loads(index("rm", "notes", "--yes", "--json").stdout) == {
        "removed": [str(notes / "mars.md"), str(notes / "saturn.txt")],
        "chunks_in_index": 0,
    }
    index("add", "notes", "--collection", "space")
    unknown = index("rm", "--collection", "other", "--yes")
    assert unknown.exit_code == 1
    assert "There is no collection other in the index. It has: space." in unknown.stderr
    assert index("rm", "--collection", "space", "--yes").stdout.startswith("2 removed.")


def test_rm_knows_a_file_by_any_of_its_paths(index: Run, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (notes / "deep").mkdir()
    monkeypatch.setenv("JINA_RAG_INDEX", str(notes.parent / ".jina-rag" / "index"))
    monkeypatch.chdir(notes / "deep")
    (notes / "mars.md").unlink()
    assert index("rm", "../mars.md", "--yes").stdout.startswith("1 removed.")


def test_an_index_is_found_from_the_folders_below_it(
    index: Run, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (notes / "deep").mkdir()
    monkeypatch.chdir(notes / "deep")
    assert json.loads(index("status", "--json").stdout)["documents"] == 2
    assert index("search", "rings").stdout
    (notes / "deep" / "pluto.txt").write_text("Pluto is far away.")
    assert f"1 added. The index {tmp_path / '.jina-rag' / 'index'} has 3 chunks." in index("add", ".").stdout
    assert index("status", "--index", ".jina-rag/index").exit_code == 1
    monkeypatch.setenv("JINA_RAG_INDEX", ".jina-rag/index")
    assert index("status").exit_code == 1


def test_names_that_the_index_does_not_have_are_refused_with_those_that_it_has(index: Run) -> None:
    for command in (["search", "rings"], ["export"]):
        wrong = index(*command, "--type", "text")
        assert (wrong.exit_code, wrong.stdout) == (1, "")
        assert "There is no file of the type .text in the index. It has: .md, .txt." in wrong.stderr
        assert (
            "There is no collection nope in the index. It has: default."
            in index(*command, "--collection", "nope").stderr
        )


def test_of_many_notes_some_are_shown(index: Run, notes: Path) -> None:
    for number in range(25):
        (notes / f"{number}.json").write_text(f'{{"number": {number}}} // a comment')
    shown = index("add", "notes").stderr
    assert shown.count("Note: ") == 20
    assert "5 more notes. See them with: jina-rag status --documents" in shown
    assert "Notes        on 25 documents; --documents shows them" in index("status").stdout
    assert index("status", "--documents").stderr.count("Note: ") == 25


def test_what_is_not_read_removed_or_gone_is_reported(index: Run, notes: Path) -> None:
    (notes / "old.doc").write_text("")
    added = index("add", "notes", "--collection", "space")
    assert "Collections of 2 documents: default → space" in added.stdout
    assert "Not read: 1 .doc." in added.stderr
    assert "Not read" in index("status").stdout
    index("rm", "notes/mars.md", "--yes")
    assert "because you removed them from the index: 1 file. To bring one back" in index("sync").stderr
    assert "notes/mars.md" in index("status").stdout
    assert index("add", "notes", "--restore").stdout.startswith("1 added, 1 unchanged.")
    for file in notes.glob("*.*"):
        file.rename(notes.parent / file.name)
    (notes / "stray.txt").write_text("A stray file.")
    refused = index("sync")
    assert refused.exit_code == 1
    assert "a disk may not be mounted" in " ".join(refused.stderr.split())
    assert "jina-rag sync --yes" in refused.stderr
    assert json.loads(index("sync", "--json").stdout)["withheld"] == [str(notes / "mars.md"), str(notes / "saturn.txt")]
    assert index("sync", "--yes").stdout.startswith("2 removed, 1 unchanged.")


def test_a_folder_that_cannot_be_listed_does_not_stop_the_rest(
    run: Run, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (notes / "closed").mkdir()
    scandir = os.scandir

    def refuse(path: Path | str) -> "os._ScandirIterator[str]":
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    result = run("add", "notes")
    assert result.exit_code == 1
    assert result.stdout.startswith("2 added, 1 failed.")
    assert "closed can't be listed (Permission denied)" in result.stderr


def test_scanned_pages_are_said_aloud(run: Run, tmp_path: Path) -> None:
    write_contents(tmp_path / "half.pdf", ["BT /F1 12 Tf 72 720 Td (Some text) Tj ET", PICTURE])
    added = run("add", "half.pdf")
    assert added.exit_code == 0
    assert "Note: half.pdf: " in added.stderr
    assert "Note: half.pdf: " in run("status", "--documents").stderr
    again = json.loads(run("add", "half.pdf", "--json").stdout)
    assert again["notes"] == []


def test_status_says_what_is_there(index: Run, notes: Path) -> None:
    (notes / "bad.txt").write_bytes(b"\x00")
    index("sync")
    shown = index("status", "--documents")
    lines = {line.split("  ")[0]: line for line in shown.stdout.splitlines()}
    assert lines["Documents"].split("  ")[-1] == "2 in 2 chunks"
    assert lines["Collections"].endswith("default (2)")
    assert "fake" in lines["Model"]
    assert lines["Added from"].endswith("notes")
    assert "bad.txt is not a text file" in shown.stderr
    assert lines["notes/mars.md"].split()[1:3] == ["default", "1"]
    state = json.loads(index("status", "--json", "--documents").stdout)
    assert state["documents"] == state["chunks"] == 2
    assert state["model"]["model"] == "fake"
    assert state["tracked_paths"][0]["path"] == str(notes)
    assert [Path(failed["source"]).name for failed in state["failed"]] == ["bad.txt"]
    assert [Path(document["source"]).name for document in state["listed"]] == ["mars.md", "saturn.txt"]


def test_an_existing_index_keeps_its_model(run: Run, notes: Path) -> None:
    run("add", "notes", "--dimensions", "32")
    assert "2 unchanged" in run("add", str(notes), "--model", "auto").stdout
    assert run("search", "ice").exit_code == 0
    for option, value in (("--model", "minilm"), ("--dimensions", "64"), ("--quantization", "Q8_0")):
        result = run("add", "notes", option, value)
        assert result.exit_code == 1
        assert f"leave {option} out" in result.stderr


@pytest.mark.usefixtures("notes")
def test_the_index_can_be_named_by_option_and_environment(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("add", "notes/mars.md", "--index", "one")
    monkeypatch.setenv("JINA_RAG_INDEX", str(tmp_path / "two"))
    run("add", "notes/saturn.txt")
    assert len(json.loads(run("search", "planet", "--json").stdout)) == 1
    assert json.loads(run("search", "planet", "--json", "--index", "one").stdout)[0]["chunk"]["title"] == "Mars"
    assert not (tmp_path / ".jina-rag").exists()


@pytest.mark.parametrize(
    "command", ["search x", "ask x", "chat", "sync", "rm x", "status", "doctor", "rebuild", "export"]
)
def test_without_an_index_every_command_says_how_to_make_one(run: Run, command: str) -> None:
    result = run(*command.split())
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: No index at .jina-rag/index: make one with `jina-rag add PATH`, or name ")
    assert "JINA_RAG_INDEX" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["add", "nowhere"], "There is no file or folder nowhere."),
        (["add", "."], "There are no documents in . (these kinds are read: "),
        (["add", "."], "; not read: 1 .doc). Name another place."),
    ],
)
def test_errors_are_told_in_words(run: Run, tmp_path: Path, args: list[str], message: str) -> None:
    (tmp_path / "old.doc").write_text("")
    result = run(*args)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_sync_watch_follows_the_disk_until_ctrl_c(index: Run, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change_and_stop() -> None:
        (notes / "pluto.txt").write_text("Pluto is far away.")
        end = time.monotonic() + 60
        with IndexContents.open(notes.parent / ".jina-rag" / "index") as contents:
            while len(contents.documents()) < 3 and time.monotonic() < end:
                time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    def watch_while_something_changes(*args: Any, **options: Any) -> None:
        Thread(target=change_and_stop).start()
        watch(*args, **options)

    monkeypatch.setattr("jina_rag.rag.indexing.watch.watch", watch_while_something_changes)
    result = index("sync", "--watch")
    assert result.exit_code == 0
    assert [line.partition(".")[0] for line in result.stdout.splitlines()] == ["2 unchanged", "1 added, 2 unchanged"]
    assert index("sync", "notes", "--watch").exit_code == 2


def test_ctrl_c_stops_an_add_that_can_go_on_later(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pressed while the second batch is embedded: the first is kept, the rest comes next time."""
    (tmp_path / "notes").mkdir()
    for number in range(300):
        (tmp_path / "notes" / f"{number:03}.txt").write_text(f"Planet number {number} is far away.")
    embed = Embedder.embed_documents
    calls = 0

    def embed_and_interrupt(self: Embedder, texts: Sequence[str]) -> FloatArray:
        nonlocal calls
        calls += 1
        if calls == 2:
            signal.raise_signal(signal.SIGINT)
        return embed(self, texts)

    monkeypatch.setattr(Embedder, "embed_documents", embed_and_interrupt)
    stopped = run("add", "notes", "--json")
    assert stopped.exit_code == 130
    assert "Press Ctrl-C again" in stopped.stderr
    assert "the same command continues from there" in stopped.stderr
    report = json.loads(stopped.stdout)
    assert report["stopped"] is True
    assert 0 < len(report["added"]) < 300
    assert json.loads(run("add", "notes", "--json").stdout)["chunks_in_index"] == 300
