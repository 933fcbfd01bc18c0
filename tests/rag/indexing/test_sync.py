"""What `add` and `sync` do about files that come, change, move, go or fail."""

import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jina_rag import Embedder
from jina_rag.errors import DocumentError, IndexFolderError
from jina_rag.rag import Filters
from jina_rag.rag.documents.discovery import IGNORE_FILE
from jina_rag.rag.documents.reading import read_file
from jina_rag.rag.documents.types import FileContent
from jina_rag.rag.indexing import ingest as ingestion
from jina_rag.rag.indexing import parsing
from jina_rag.rag.indexing.index import DocumentIndex, SyncReport
from jina_rag.rag.store import keeping
from jina_rag.testing import fake_embedder
from jina_rag.vectors import FloatArray
from tests.index_files import chroma_collection, database, nearest, stored_vectors, whole_contents


class CountingEmbedder(Embedder):
    """Remembers what it embedded."""

    texts: list[str]

    def embed_documents(self, texts: Iterable[str]) -> FloatArray:
        texts = list(texts)
        self.texts += texts
        return super().embed_documents(texts)


@pytest.fixture
def embedder() -> CountingEmbedder:
    fake = fake_embedder()
    counting = CountingEmbedder(fake.backend, fake.spec)
    counting.texts = []
    return counting


@pytest.fixture
def index(tmp_path: Path, embedder: CountingEmbedder) -> Iterator[DocumentIndex]:
    with DocumentIndex.create_or_open(tmp_path / "index", embedder) as opened:
        yield opened
        whole_contents(opened.folder)


def _counts(report: SyncReport) -> dict[str, int]:
    names = ("added", "updated", "unchanged", "removed", "moved", "failed")
    return {name: n for name in names if (n := len(getattr(report, name)))}


def _sections(*numbers: int) -> str:
    return "\n\n".join(f"# Part {number}\n\n" + f"Sentence {number} of many. " * 35 for number in numbers)


def test_sync_does_what_the_disk_did(index: DocumentIndex, notes: Path, embedder: CountingEmbedder) -> None:
    assert _counts(index.add([notes])) == {"added": 3}
    embedder.texts.clear()
    (notes / "saturn.txt").unlink()
    (notes / "venus.txt").rename(notes / "morning star.txt")
    shutil.copy(notes / "mars.md", notes / "mars copy.md")
    (notes / "neptune.txt").write_text("Neptune has the fastest winds.")
    report = index.sync()
    assert _counts(report) == {"added": 2, "unchanged": 1, "removed": 1, "moved": 1}
    assert report.moved == ((str(notes / "venus.txt"), str(notes / "morning star.txt")),)
    assert embedder.texts == ["Neptune has the fastest winds."]
    query = embedder.embed_query("Venus thick clouds")
    assert {chunk.title for chunk in nearest(index, "Venus thick clouds", 9)} == {"Mars", "morning star", "neptune"}
    assert [found.chunk.title for found in index.candidates("clouds", query, 9, mode="lexical")] == ["morning star"]
    assert _counts(index.sync()) == {"unchanged": 4}


def test_a_copy_that_is_added_has_not_moved(index: DocumentIndex, notes: Path, embedder: CountingEmbedder) -> None:
    index.add([notes])
    embedder.texts.clear()
    copy = Path(shutil.copy(notes / "mars.md", notes.parent / "copy.md"))
    assert _counts(index.add([copy])) == {"added": 1}
    assert embedder.texts == []


def test_of_two_copies_of_a_file_that_is_gone_one_has_moved(index: DocumentIndex, notes: Path) -> None:
    index.add([notes])
    for name in ("a.md", "b.md"):
        shutil.copy(notes / "mars.md", notes / name)
    (notes / "mars.md").unlink()
    report = index.sync()
    assert report.moved == ((str(notes / "mars.md"), str(notes / "a.md")),)
    assert report.added == (str(notes / "b.md"),)
    assert report.removed == ()


def test_an_address_and_a_pattern_are_remembered_as_what_they_name(index: DocumentIndex, notes: Path) -> None:
    folder = notes.parent / "more"
    folder.mkdir()
    (folder / "pluto.md").write_text("Pluto is a dwarf planet.")
    index.add([notes.as_uri(), str(folder / "*.md")], exclude=["x*"])
    assert [root.path for root in index.status().tracked_paths] == [str(folder / "pluto.md"), str(notes)]
    (notes / "uranus.txt").write_text("Uranus lies on its side.")
    (folder / "ceres.md").write_text("Ceres is a dwarf planet, too.")
    assert index.sync([notes.as_uri()]).added == (str(notes / "uranus.txt"),)
    assert index.sync([str(folder / "*.md")]).added == (str(folder / "ceres.md"),)


def test_a_document_is_removed_by_whatever_path_leads_there(index: DocumentIndex, notes: Path) -> None:
    index.add([notes])
    (notes.parent / "link").symlink_to(notes)
    assert index.remove([notes / ".." / notes.name / "mars.md"]) == 1
    assert index.remove([(notes / "saturn.txt").as_uri()]) == 1
    assert index.remove([notes.parent / "link"]) == 1
    assert index.documents() == []


def test_adding_what_is_unchanged_lists_each_folder_and_checks_each_file_once(
    index: DocumentIndex, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (notes / "sub").mkdir()
    (notes / "sub" / "a.md").write_text("text")
    index.add([notes])
    checked: Counter[str] = Counter()

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def count(path: Any = ".", *arguments: Any, **options: Any) -> Any:
            checked[f"{function.__name__} {os.fspath(path)}"] += 1
            return function(path, *arguments, **options)

        return count

    for name in ("stat", "lstat", "scandir", "listdir"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    assert _counts(index.add([notes])) == {"unchanged": 4}
    below = {call: n for call, n in checked.items() if str(notes) + os.sep in call and IGNORE_FILE not in call}
    assert below == {f"stat {notes / name}": 1 for name in ("mars.md", "saturn.txt", "venus.txt", "sub/a.md")} | {
        f"scandir {notes / 'sub'}": 1
    }
    assert checked[f"scandir {notes}"] == 1


def test_a_tracked_path_that_cannot_be_read_any_more_leaves_the_others_alone(index: DocumentIndex, notes: Path) -> None:
    empty = notes / "empty"
    empty.mkdir()
    index.add([empty, notes / "mars.md"])
    empty.rmdir()
    (notes / "mars.md").write_text("New.")
    report = index.sync()
    assert report.updated == (str(notes / "mars.md"),)
    assert [item.source for item in report.failed] == [str(empty)]
    with pytest.raises(DocumentError, match=r"no file or folder .*empty"):
        index.sync([empty])


def test_a_file_whose_name_looks_like_a_pattern_is_itself(index: DocumentIndex, notes: Path) -> None:
    odd, other = notes / "notes [1].md", notes / "notes 1.md"
    odd.write_text("")  # without text, so it fails
    assert _counts(index.add([odd])) == {"failed": 1}
    odd.unlink()
    other.write_text("Another one.")
    assert index.sync().added == ()  # the pattern would match the other one
    odd.write_text("The odd one.")
    assert index.add([odd]).added == (str(odd),)
    odd.unlink()
    assert index.sync([odd]).removed == (str(odd),)
    assert index.documents() == []


def test_a_file_too_large_to_be_read_is_not_tried_again(index: DocumentIndex, notes: Path) -> None:
    with (notes / "large.txt").open("wb") as file:
        file.truncate(200 * 2**20)
    (failed,) = index.add([notes]).failed
    assert "has 200 MB and a document may have 100" in failed.reason
    assert index.sync().failed == (failed,)
    assert _counts(index.sync()) == {"unchanged": 3, "failed": 1}


def test_add_removes_nothing(index: DocumentIndex, notes: Path) -> None:
    index.add([notes])
    (notes / "saturn.txt").unlink()
    assert _counts(index.add([notes])) == {"unchanged": 2}
    assert len(index.documents()) == 3
    assert _counts(index.sync([notes])) == {"unchanged": 2, "removed": 1}


def test_only_the_changed_chunks_of_a_changed_file_are_embedded(
    index: DocumentIndex, notes: Path, embedder: CountingEmbedder
) -> None:
    (notes / "long.md").write_text(_sections(0, 1, 2, 3))
    index.add([notes])
    before = {chunk.text: stored_vectors(index.folder, [chunk.id]) for chunk in index.chunks_of(str(notes / "long.md"))}
    embedder.texts.clear()
    (notes / "long.md").write_text(_sections(7, 0, 1, 9, 3))
    report = index.sync()
    assert [text.splitlines()[0] for text in embedder.texts] == ["# Part 7", "# Part 9"]
    assert report.n_embedded == 2
    after = index.chunks_of(str(notes / "long.md"))
    assert [chunk.text.splitlines()[0] for chunk in after] == [f"# Part {number}" for number in (7, 0, 1, 9, 3)]
    for chunk in after:
        expected = embedder.embed_documents([chunk.text])
        np.testing.assert_allclose(stored_vectors(index.folder, [chunk.id]), expected, atol=1e-6)
        if chunk.text in before:
            np.testing.assert_array_equal(stored_vectors(index.folder, [chunk.id]), before[chunk.text])


def test_what_stands_beside_an_unchanged_chunk_is_renewed(index: DocumentIndex, notes: Path) -> None:
    """Its text and position, and so its id, are as they were; where it begins is not."""
    (notes / "long.txt").write_text("The first words.\n")
    index.add([notes])
    (notes / "long.txt").write_text("\n\n\nThe first words.\n")
    assert _counts(index.sync()) == {"updated": 1, "unchanged": 3}
    (chunk,) = index.chunks_of(str(notes / "long.txt"))
    with chroma_collection(index.folder) as vectors:
        stored = vectors.get(ids=[chunk.id])["metadatas"]
    assert stored is not None
    assert chunk.start == stored[0]["start"] == 3


def test_the_same_text_is_embedded_once(index: DocumentIndex, tmp_path: Path, embedder: CountingEmbedder) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.txt").write_text("A notice that stands in every folder.")
    report = index.add([folder])
    assert (len(report.added), report.n_embedded, len(embedder.texts)) == (40, 1, 1)


def test_a_failing_file_is_not_read_again_until_it_changes(
    index: DocumentIndex, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = notes / "broken.pdf"
    broken.write_bytes(b"%PDF nothing")
    (failed,) = index.add([notes]).failed
    read: list[Path] = []

    def note(path: Path) -> FileContent:
        read.append(path)
        return read_file(path)

    monkeypatch.setattr(parsing, "read_file", note)
    assert index.sync().failed == (failed,)
    assert index.status().failed == (failed,)
    assert read == []
    assert len(index.sync(retry_failed=True).failed) == 1
    assert read == [broken]
    broken.write_bytes(b"%PDF still nothing")
    assert index.sync().failed[0].size == 18
    assert read == [broken, broken]
    broken.unlink()
    assert index.sync().failed == index.status().failed == ()


def test_a_file_that_changes_while_it_is_read_is_read_again(
    index: DocumentIndex, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growing, n_times, fstat = notes / "mars.md", 0, os.fstat

    def grow(descriptor: int) -> os.stat_result:
        nonlocal n_times
        status = fstat(descriptor)
        if status.st_ino == growing.stat().st_ino and (n_times := n_times + 1) <= n_growths:
            with growing.open("a") as file:
                file.write("\n\nOne more line.")
        return status

    monkeypatch.setattr(os, "fstat", grow)
    n_growths = 1
    assert _counts(index.add([notes])) == {"added": 3}
    assert "One more line." in index.chunks_of(str(growing))[0].text
    n_growths = 99
    growing.write_text("Again.")
    report = index.sync()
    assert report.failed[0].reason.endswith("changes while it is read. Add it again when it is finished.")
    assert "One more line." in index.chunks_of(str(growing))[0].text


@pytest.mark.parametrize("loss", ["vanished", "empty"])
def test_a_disk_that_is_not_mounted_is_no_deletion(
    index: DocumentIndex, notes: Path, tmp_path: Path, loss: str
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.txt").write_text("Something else.")
    index.add([notes])
    index.add([other])
    notes.rename(tmp_path / "away")
    if loss == "empty":
        notes.mkdir()
    (other / "b.txt").write_text("Something new.")
    report = index.sync()
    assert _counts(report) == {"added": 1, "unchanged": 1, "failed": 1}
    assert report.failed[0].source == str(notes)
    assert f"jina-rag rm {notes}" in report.failed[0].reason
    with pytest.raises(DocumentError, match="is a disk not mounted"):
        index.sync([notes])
    assert len(index.documents()) == 5
    assert index.remove([str(notes)]) == 3
    assert _counts(index.sync()) == {"unchanged": 2}


def test_what_was_removed_stays_out_until_it_is_named(index: DocumentIndex, notes: Path) -> None:
    (notes / "deep").mkdir()
    for name in ("pluto", "eris"):
        (notes / "deep" / f"{name}.txt").write_text(f"{name} is far away.")
    index.add([notes])
    assert index.remove([notes / "mars.md", notes / "deep", notes / "nowhere"]) == 3
    assert index.status().removed == (str(notes / "deep"), str(notes / "mars.md"))
    (notes / "mars.md").write_text("Changed.")
    for report in (index.sync(), index.add([notes]), index.sync([notes]), index.sync([notes / "mars.md"])):
        assert (report.added, report.removed) == ((), ())
        assert str(notes / "mars.md") in report.left_out
    assert index.add([notes / "deep" / "eris.txt"]).added == (str(notes / "deep" / "eris.txt"),)
    assert _counts(index.sync()) == {"unchanged": 3}
    assert index.add([str(notes / "*.md")]).added == (str(notes / "mars.md"),)
    assert index.add([notes], restore=True).added == (str(notes / "deep" / "pluto.txt"),)
    assert index.status().removed == ()
    assert _counts(index.sync()) == {"unchanged": 5}

    index.remove([notes / "mars.md"])
    (notes / "mars.md").unlink()
    index.sync()
    assert index.status().removed == ()  # it is gone, and a new file of its name is another one
    assert index.remove([notes]) == 4
    assert index.status().removed == ()  # nothing would bring it back
    assert _counts(index.add([notes])) == {"added": 4}


def _stray(notes: Path) -> None:
    (notes.parent / "away").mkdir()
    for file in list(notes.iterdir()):
        file.rename(notes.parent / "away" / file.name)
    (notes / "lost+found.txt").write_text("A stray file.")


def _deleted(notes: Path) -> None:
    (notes / "mars.md").unlink()
    (notes / "venus.txt").unlink()


@pytest.mark.parametrize("named", [".", "*"], ids=["a folder", "its files"])
@pytest.mark.parametrize(("loss", "n_lost"), [(_stray, 3), (_deleted, 2)])
def test_more_than_half_of_a_folder_is_removed_only_where_that_is_allowed(
    index: DocumentIndex, notes: Path, named: str, loss: Callable[[Path], None], n_lost: int
) -> None:
    index.add([notes / named])
    loss(notes)
    for report in (index.sync(), index.sync([notes])):
        assert (report.removed, len(report.withheld)) == ((), n_lost)
        assert f"{n_lost} documents of {notes} are gone" in report.failed[0].reason
    assert len(index.documents()) >= 3
    report = index.sync(allow_mass_removal=True)
    assert (len(report.removed), report.withheld, report.failed) == (n_lost, (), ())


def test_a_folder_that_is_suddenly_empty_is_not_removed_either(index: DocumentIndex, notes: Path) -> None:
    (notes / "usb").mkdir()
    for name in ("a.txt", "b.txt"):
        (notes / "usb" / name).write_text(name)
    index.add([notes])
    for file in (notes / "usb").iterdir():
        file.unlink()
    assert _counts(index.sync()) == {"unchanged": 3, "failed": 1}
    (notes / "usb").rmdir()
    assert _counts(index.sync()) == {"unchanged": 3, "removed": 2}


def test_a_folder_that_comes_back_is_not_embedded_again(
    index: DocumentIndex, notes: Path, tmp_path: Path, embedder: CountingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (notes / "usb" / "deep").mkdir(parents=True)
    for name in ("a.txt", "deep/b.txt"):
        (notes / "usb" / name).write_text(f"The text of {name}.")
    index.add([notes])
    embedder.texts.clear()

    def go_and_come_back() -> None:
        (notes / "usb").rename(tmp_path / "away")
        report = index.sync()
        assert (len(report.removed), report.gone_folders) == (2, (str(notes / "usb"),))
        (tmp_path / "away").rename(notes / "usb")
        assert _counts(index.sync()) == {"added": 2, "unchanged": 3}

    go_and_come_back()
    assert embedder.texts == []
    monkeypatch.setattr(keeping, "MOST_VECTORS", 1)
    go_and_come_back()
    assert len(embedder.texts) == 1
    embedder.texts.clear()
    monkeypatch.setattr(keeping, "DAYS_KEPT", -1)
    go_and_come_back()
    assert len(embedder.texts) == 2

    embedder.texts.clear()
    index.remove([notes / "mars.md"])  # at the user's wish: nothing is kept
    index.add([notes / "mars.md"])
    assert len(embedder.texts) == 1


def test_what_another_version_has_read_is_read_again(
    index: DocumentIndex, notes: Path, embedder: CountingEmbedder
) -> None:
    index.add([notes])
    with database(index.folder) as connection:
        connection.execute("UPDATE documents SET reading_version = 0 WHERE kind = '.txt'")
    assert index.status().n_outdated == 2
    embedder.texts.clear()
    assert _counts(index.sync()) == {"updated": 2, "unchanged": 1}
    assert (index.status().n_outdated, embedder.texts) == (0, [])


def test_files_that_move_are_not_lost(index: DocumentIndex, notes: Path) -> None:
    index.add([notes])
    (notes / "deep").mkdir()
    for file in list(notes.glob("*.*")):
        file.rename(notes / "deep" / file.name)
    assert _counts(index.sync()) == {"moved": 3}


def test_a_file_that_was_added_by_itself_may_go(index: DocumentIndex, notes: Path) -> None:
    index.add([notes / "mars.md", notes / "venus.txt"])
    (notes / "mars.md").unlink()
    assert _counts(index.sync()) == {"unchanged": 1, "removed": 1}
    assert [root.path for root in index.status().tracked_paths] == [str(notes / "venus.txt")]


def test_a_folder_that_can_not_be_looked_through_keeps_its_documents(
    index: DocumentIndex, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (notes / "deep").mkdir()
    (notes / "deep" / "pluto.txt").write_text("Pluto is far away.")
    index.add([notes])
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = index.sync()
    assert [failed.source for failed in report.failed] == [str(notes / "deep")]
    assert (report.removed, len(index.documents())) == ((), 4)


def test_nothing_added_yet(index: DocumentIndex) -> None:
    with pytest.raises(DocumentError, match="jina-rag sync FOLDER"):
        index.sync()


def test_exclusions_are_remembered(index: DocumentIndex, notes: Path) -> None:
    assert _counts(index.add([notes], exclude=["*.txt"])) == {"added": 1}
    assert _counts(index.sync()) == {"unchanged": 1}
    assert _counts(index.sync([notes], exclude=[])) == {"added": 2, "unchanged": 1}
    assert _counts(index.sync([notes], exclude=["mars*"])) == {"unchanged": 2, "removed": 1}
    assert _counts(index.sync()) == {"unchanged": 2}


def test_a_document_is_in_the_collections_of_all_that_it_was_added_with(
    index: DocumentIndex, notes: Path, embedder: CountingEmbedder
) -> None:
    deep = notes / "deep"
    deep.mkdir()
    pluto = deep / "pluto.txt"
    pluto.write_text("Pluto is far away.")
    index.add([notes])
    assert index.collections() == {"default": 4}
    embedder.texts.clear()
    assert len(index.add([notes], collections=["planets"]).regrouped) == 4
    report = index.add([deep], collections=["dwarfs"])
    assert report.regrouped == ((str(pluto), ("planets",), ("dwarfs", "planets")),)
    assert embedder.texts == []
    assert index.collections() == {"dwarfs": 1, "planets": 4}
    with chroma_collection(index.folder) as vectors:
        stored = vectors.get(where={"collections": {"$contains": "dwarfs"}})  # type: ignore[dict-item]
    assert stored["documents"] == ["Pluto is far away."]

    (deep / "eris.txt").write_text("Eris is farther.")
    index.sync()
    for report in (index.sync(), index.add([notes]), index.sync([deep]), index.add([pluto])):
        assert report.regrouped == ()
    assert [Path(document.source).name for document in index.documents("dwarfs")] == ["eris.txt", "pluto.txt"]
    assert len(index.sync([notes], collections=["all"]).regrouped) == 5
    assert index.collections() == {"all": 5, "dwarfs": 2}


def test_of_a_collection_only_the_documents_that_are_in_no_other_are_removed(index: DocumentIndex, notes: Path) -> None:
    index.add([notes], collections=["planets"])
    index.add([notes / "mars.md"], collections=["red"])
    assert index.remove_collection("red") == 0
    assert index.collections() == {"planets": 3}
    index.add([notes / "mars.md"], collections=["red"])
    assert index.remove_collection("planets") == 2
    assert index.collections() == {"red": 1}
    assert _counts(index.sync()) == {"unchanged": 1}


def test_filters(index: DocumentIndex, notes: Path, embedder: CountingEmbedder) -> None:
    index.add([notes / "mars.md"], collections=["red"])
    index.add([notes / "venus.txt", notes / "saturn.txt"])
    os.utime(notes / "saturn.txt", (0, datetime(2024, 5, 1).timestamp()))
    index.sync()

    def found(**restrictions: object) -> set[str]:
        filters = Filters(**restrictions)  # type: ignore[arg-type]
        query = "Mars Venus Saturn"
        found = index.candidates(query, embedder.embed_query(query), 9, filters=filters)
        assert all(candidate.dense and candidate.lexical for candidate in found)
        return {Path(candidate.chunk.source).name for candidate in found}

    assert found() == {"mars.md", "venus.txt", "saturn.txt"}
    assert found(file_types=("TXT",)) == {"venus.txt", "saturn.txt"}
    assert found(collections=("red", "none")) == {"mars.md"}
    assert found(sources=(str(notes / "mars.md"),)) == {"mars.md"}
    assert found(sources=(str(notes),)) == found(sources=("notes",)) == found()
    assert found(sources=("*.md", "venus.txt")) == {"mars.md", "venus.txt"}
    assert found(sources=("otes",)) == found(sources=("/otes",)) == set()
    assert found(modified_before=datetime(2024, 5, 2)) == {"saturn.txt"}
    assert found(modified_after=datetime(2024, 5, 2), file_types=(".txt",)) == {"venus.txt"}
    assert not Filters()


def test_stopping_leaves_a_whole_index(
    index: DocumentIndex, tmp_path: Path, embedder: CountingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingestion, "SMALLEST_BATCH", 3)
    monkeypatch.setattr(ingestion, "LARGEST_BATCH", 3)
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.md").write_text(_sections(*range(number * 5, number * 5 + 5)))
    report = index.add([folder], should_stop=lambda: len(embedder.texts) > 12)
    assert report.stopped
    assert 1 <= len(report.added) == len(index.documents()) < 6
    assert len(whole_contents(index.folder)) == index.count_chunks() == 5 * len(report.added)
    n_before = len(embedder.texts)
    assert not index.sync().stopped
    assert len(embedder.texts) == len(set(embedder.texts)) == 30  # nothing was embedded twice
    assert n_before < 30
    assert len(index.documents()) == 6


def test_neighbours_and_samples(index: DocumentIndex, notes: Path) -> None:
    (notes / "long.md").write_text(_sections(*range(6)))
    index.add([notes])
    chunks = index.chunks_of(str(notes / "long.md"))
    assert index.neighbours(chunks[2], 2) == [chunks[0], chunks[1], chunks[3], chunks[4]]
    assert index.neighbours(chunks[0], 1) == [chunks[1]]
    assert index.chunk(chunks[3].id) == chunks[3]
    assert index.chunk("unknown") is None
    assert len(index.sample(4)) == 4 == len({chunk.id for chunk in index.sample(4)})
    assert len(index.sample(99)) == index.count_chunks() == 9


def test_export(index: DocumentIndex, notes: Path, tmp_path: Path) -> None:
    index.add([notes], collections=["planets"])
    stream = io.StringIO()
    assert index.export(stream, filters=Filters(file_types=(".md",))) == 1
    (row,) = map(json.loads, stream.getvalue().splitlines())
    assert (row["title"], row["collections"], row["text"]) == ("Mars", ["planets"], (notes / "mars.md").read_text())
    assert index.export(tmp_path / "all.jsonl", vectors=tmp_path / "all.npy") == 3
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    vectors = np.load(tmp_path / "all.npy", allow_pickle=False)
    assert (vectors.dtype, vectors.shape) == (np.float32, (3, 64))
    np.testing.assert_array_equal(vectors, stored_vectors(index.folder, [row["id"] for row in rows]))


def test_an_export_is_the_index_of_one_moment(index: DocumentIndex, notes: Path, tmp_path: Path) -> None:
    """Another writer adds and removes documents while it runs."""
    index.add([notes])

    class Interrupting(io.StringIO):
        n_lines = 0

        def write(self, line: str) -> int:
            if self.n_lines == 0:
                (notes / "zeus.txt").write_text("Zeus is no planet.")
                index.add([notes / "zeus.txt"])
                index.remove([notes / "venus.txt"])
            self.n_lines += 1
            return super().write(line)

    stream = Interrupting()
    assert index.export(stream, vectors=tmp_path / "all.npy") == 3
    assert [json.loads(line)["title"] for line in stream.getvalue().splitlines()] == ["Mars", "saturn", "venus"]
    assert np.load(tmp_path / "all.npy").shape == (3, 64)


def test_an_export_that_fails_leaves_what_was_there(index: DocumentIndex, notes: Path, tmp_path: Path) -> None:
    index.add([notes])
    target, vectors = tmp_path / "all.jsonl", tmp_path / "all.npy"
    target.write_text("before")
    with database(index.folder) as connection:
        kept = connection.execute("SELECT * FROM vectors").fetchall()
        connection.execute("DELETE FROM vectors")
    with pytest.raises(IndexFolderError, match="no vector of the chunk"):
        index.export(target, vectors=vectors)
    assert target.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.jsonl", "index", "notes"]
    assert index.export(target) == 3
    with database(index.folder) as connection:
        connection.executemany("INSERT INTO vectors VALUES (?, ?)", kept)


def test_vectors_of_nothing_are_an_empty_table(index: DocumentIndex, tmp_path: Path) -> None:
    assert index.export(tmp_path / "none.jsonl", vectors=tmp_path / "none.npy") == 0
    assert np.load(tmp_path / "none.npy").shape == (0, 64)
