"""An index that follows the disk by itself."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from jina_rag import Embedder
from jina_rag.errors import JinaRagError
from jina_rag.rag import DocumentIndex, watch
from jina_rag.rag.indexing.index import SyncReport
from jina_rag.rag.store.lock import sole_writer
from tests.index_files import whole_contents

_PATIENCE = 60  # seconds, for a busy machine


class Watching:
    """What a thread that watches has reported."""

    def __init__(self) -> None:
        self.reports: list[SyncReport] = []
        self.errors: list[JinaRagError] = []


@contextmanager
def _watching(index: DocumentIndex) -> Iterator[Watching]:
    seen, stop = Watching(), Event()
    options = {"on_report": seen.reports.append, "on_error": seen.errors.append}
    thread = Thread(target=watch, args=(index, stop), kwargs=options)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def _names(index: DocumentIndex) -> set[str]:
    return {Path(document.source).name for document in index.documents()}


def test_bursts_of_changes_end_in_an_index_like_a_fresh_one(
    index: DocumentIndex, notes: Path, tmp_path: Path, embedder: Embedder
) -> None:
    index.add([notes])
    with _watching(index) as seen:
        for number in range(100):
            (notes / f"{number}.txt").write_text(f"Number {number}.")
        _wait_for(lambda: len(index.documents()) == 103)
        (notes / "deep").mkdir()
        for number in range(10):
            (notes / f"{number}.txt").rename(notes / "deep" / f"{number}.txt")
        for number in range(10, 15):
            (notes / f"{number}.txt").unlink()
        (notes / "mars.md").write_text("Mars has two moons.")
        _wait_for(
            lambda: len(index.documents()) == 98 and "two moons" in index.chunks_of(str(notes / "mars.md"))[0].text
        )
        assert len(seen.reports) < 20
    with DocumentIndex.create_or_open(tmp_path / "fresh", embedder) as fresh:
        fresh.add([notes])
        assert whole_contents(fresh.folder) == whole_contents(index.folder)


def test_hidden_files_and_the_index_itself_are_not_watched(notes: Path, embedder: Embedder) -> None:
    with DocumentIndex.create_or_open(notes / "index", embedder) as index:
        index.add([notes])
        with _watching(index) as seen:
            (notes / "pluto.txt").write_text("Pluto is far away.")
            _wait_for(lambda: "pluto.txt" in _names(index))
            (notes / ".hidden.txt").write_text("Hidden.")
            (notes / "photo.jpg").write_text("A picture.")
            (notes / "eris.txt").write_text("Eris is farther.")
            _wait_for(lambda: "eris.txt" in _names(index))
        assert [len(report.added) for report in seen.reports] == [1, 1]


def test_what_is_added_meanwhile_is_watched_and_what_vanishes_is_kept(
    index: DocumentIndex, notes: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.txt").write_text("The first.")
    with _watching(index) as seen:
        index.add([notes])
        index.add([other / "a.txt"])
        (notes / "pluto.txt").write_text("Pluto is far away.")
        (other / "a.txt").write_text("Changed.")
        _wait_for(lambda: "pluto.txt" in _names(index) and index.chunks_of(str(other / "a.txt"))[0].text == "Changed.")
        notes.rename(tmp_path / "away")
        _wait_for(lambda: any(failed.source == str(notes) for report in seen.reports for failed in report.failed))
        (tmp_path / "away" / "eris.txt").write_text("Eris is farther.")
        (tmp_path / "away").rename(notes)
        _wait_for(lambda: "eris.txt" in _names(index))
    assert len(index.documents()) == 6
    assert not any(report.removed for report in seen.reports)


def test_it_waits_for_another_writer(index: DocumentIndex, notes: Path) -> None:
    index.add([notes])
    with _watching(index) as seen:
        with sole_writer(index.folder):
            (notes / "pluto.txt").write_text("Pluto is far away.")
            _wait_for(lambda: bool(seen.errors))
        _wait_for(lambda: "pluto.txt" in _names(index))
    assert [str(error).partition(" (")[0] for error in seen.errors] == [f"Another process is writing to {index.folder}"]
