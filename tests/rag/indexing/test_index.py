import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import chromadb
import numpy as np
import pytest

from jina_rag import Embedder, get_model_spec
from jina_rag.errors import BackendError, DocumentError, FingerprintMismatchError, IndexFolderError
from jina_rag.model_files import ensure_model_file
from jina_rag.rag.indexing import ingest as ingestion
from jina_rag.rag.indexing import parsing
from jina_rag.rag.indexing.index import COLLECTION, AddProgress, DocumentIndex, load_index_embedder, read_index_settings
from jina_rag.rag.retrieval.retriever import Retriever
from jina_rag.rag.retrieval.search import SearchOptions
from jina_rag.rag.store.catalog import Catalog
from jina_rag.rag.store.chroma_store import VectorStore
from jina_rag.testing import fake_embedder
from tests.index_files import chroma_collection, database, nearest, stored_vectors, whole_contents


class Killed(BaseException):
    """Stands for a process that ends here: nothing in the index may catch it."""


def _die(*_: object, **__: object) -> NoReturn:
    raise Killed


def _names(sources: Sequence[str]) -> list[str]:
    return [Path(source).name for source in sources]


def _vectors(index: DocumentIndex) -> dict[str, str]:
    """What is in Chroma: texts by their ids."""
    with chroma_collection(index.folder) as vectors:
        stored = vectors.get(include=["documents"])
    assert stored["documents"] is not None
    return dict(zip(stored["ids"], stored["documents"], strict=True))


def _chunks(index: DocumentIndex) -> dict[str, str]:
    """What is in SQLite: texts by their ids."""
    return {chunk.id: chunk.text for document in index.documents() for chunk in index.chunks_of(document.source)}


def _assert_whole(index: DocumentIndex) -> None:
    assert len(whole_contents(index.folder)) == index.count_chunks()


def test_what_was_added_is_found(index: DocumentIndex, notes: Path) -> None:
    report = index.add([notes])
    assert _names(report.added) == ["mars.md", "saturn.txt", "venus.txt"]
    assert (report.updated, report.unchanged, report.failed) == ((), (), ())
    assert report.n_chunks == index.count_chunks() == 3
    best, *others = Retriever(index).retrieve("Why is Mars red?", SearchOptions(k=2, mode="dense"))
    assert best.chunk.source == str(notes / "mars.md")
    assert (best.chunk.title, best.chunk.heading, best.chunk.page) == ("Mars", "Mars", None)
    assert len(others) == 1
    assert 1 >= best.score > others[0].score
    _assert_whole(index)


def test_the_similarity_is_the_cosine(index: DocumentIndex, notes: Path, embedder: Embedder) -> None:
    index.add([notes])
    query = "iron moons and rings of ice"
    for result in Retriever(index).retrieve(query, SearchOptions(k=3)):
        vector = embedder.embed_documents([result.chunk.text])
        assert result.similarity == pytest.approx(embedder.similarity(embedder.embed_query(query), vector)[0], abs=1e-5)


def test_an_empty_index_finds_nothing(index: DocumentIndex) -> None:
    assert Retriever(index).retrieve("anything") == []
    assert index.documents() == []


def test_unchanged_files_are_neither_read_nor_embedded_again(
    index: DocumentIndex, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add([notes])
    os.utime(notes / "mars.md", ns=(1, 1))  # written again, with the same content
    monkeypatch.setattr(parsing, "parse_document", _die)
    assert _names(index.add([notes]).unchanged) == ["mars.md", "saturn.txt", "venus.txt"]
    monkeypatch.setattr(parsing, "read_file", _die)
    assert len(index.add([notes]).unchanged) == 3


def test_a_changed_file_replaces_its_old_chunks(index: DocumentIndex, notes: Path) -> None:
    index.add([notes])
    before = next(document for document in index.documents() if document.title == "Mars")
    (notes / "mars.md").write_text("# The red planet\n\nOlympus Mons is the tallest volcano.")
    report = index.add([notes])
    assert _names(report.updated) == ["mars.md"]
    assert _names(report.unchanged) == ["saturn.txt", "venus.txt"]
    after = next(document for document in index.documents() if document.source == before.source)
    assert after.title == "The red planet"
    assert after.sha256 != before.sha256
    assert not any("rust" in text for text in _vectors(index).values())
    _assert_whole(index)


def test_a_file_that_fails_is_set_aside_with_its_reason(index: DocumentIndex, notes: Path) -> None:
    (notes / "broken.pdf").write_bytes(b"%PDF nothing")
    (notes / "empty.txt").write_bytes(b"")
    report = index.add([notes])
    assert len(report.added) == 3
    assert _names([failed.source for failed in report.failed]) == ["broken.pdf", "empty.txt"]
    assert "damaged" in report.failed[0].reason
    _assert_whole(index)


def test_a_file_that_fails_later_keeps_what_is_known_of_it(index: DocumentIndex, notes: Path) -> None:
    index.add([notes])
    (notes / "venus.txt").write_bytes(b"\x00\x01")
    assert _names([failed.source for failed in index.add([notes]).failed]) == ["venus.txt"]
    assert Retriever(index).retrieve("thick clouds")[0].chunk.text == "Venus is covered in thick clouds."


def test_an_engine_that_fails_on_one_document_does_not_stop_the_others(
    tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = fake_embedder()
    embed = embedder.embed_documents

    def fail_on_saturn(texts: Sequence[str]) -> object:
        if any("Saturn" in text for text in texts):
            raise BackendError("The engine failed.")
        return embed(texts)

    with DocumentIndex.create_or_open(tmp_path / "index", embedder) as index:
        monkeypatch.setattr(embedder, "embed_documents", fail_on_saturn)
        report = index.add([notes])
        assert _names(report.added) == ["mars.md", "venus.txt"]
        assert report.failed[0].reason == "The engine failed."
        monkeypatch.undo()
        assert _names(index.add([notes]).added) == ["saturn.txt"]
        _assert_whole(index)


def test_paths_are_checked_before_anything_is_added(index: DocumentIndex, notes: Path) -> None:
    with pytest.raises(DocumentError):
        index.add([notes, notes / "nowhere.md"])
    assert index.documents() == []


def test_progress_counts_documents_chunks_and_bytes(
    index: DocumentIndex, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingestion, "SMALLEST_BATCH", 2)
    monkeypatch.setattr(ingestion, "LARGEST_BATCH", 2)
    (notes / "mars.md").write_text("\n\n".join(f"# Part {part}\n\n" + "many words here. " * 100 for part in range(5)))
    index.add([notes / "venus.txt"])
    seen: list[AddProgress] = []
    report = index.add([notes], seen.append)
    assert {state.documents_total for state in seen} == {3}
    assert len([state for state in seen if state.source.endswith("mars.md")]) > 3
    for name in ("documents_done", "chunks_done", "bytes_done", "fraction", "seconds"):
        values = [getattr(state, name) for state in seen]
        assert values == sorted(values), name
    last = seen[-1]
    assert (last.documents_done, last.chunks_done, last.fraction) == (3, report.n_chunks, 1.0)
    assert last.bytes_total == sum((notes / name).stat().st_size for name in ("mars.md", "saturn.txt"))
    assert last.seconds_left == 0
    assert seen[0].seconds_left is None or seen[0].seconds_left > 0


def test_removed_documents_are_gone(index: DocumentIndex, notes: Path) -> None:
    index.add([notes])
    assert index.remove([str(notes / "mars.md"), "/never/added.md"]) == 1
    assert _names([document.source for document in index.documents()]) == ["saturn.txt", "venus.txt"]
    assert (notes / "mars.md").exists()
    _assert_whole(index)


def test_an_index_stays_when_it_is_closed(tmp_path: Path, notes: Path, embedder: Embedder) -> None:
    folder = tmp_path / "index"
    with DocumentIndex.create_or_open(folder, embedder) as index:
        index.add([notes])
    with DocumentIndex.open(str(folder), embedder) as index:
        assert len(index.add([notes]).unchanged) == 3
        assert Retriever(index).retrieve("rings of ice")[0].chunk.text == "Saturn has rings made of ice."


def test_any_chroma_client_can_read_the_vectors(tmp_path: Path, notes: Path, embedder: Embedder) -> None:
    folder = tmp_path / "index"
    with DocumentIndex.create_or_open(folder, embedder) as index:
        index.add([notes])
    with chromadb.PersistentClient(folder / "chroma") as client:  # type: ignore[attr-defined]
        found = client.get_collection(COLLECTION, embedding_function=None).get(where={"title": "Mars"})
    assert found["documents"] == [(notes / "mars.md").read_text()]
    source = str(notes / "mars.md")
    kept = {"collections": ["default"], "kind": ".md"}
    place = {"title": "Mars", "heading": "Mars", "position": 0, "start": 0, "end": len(found["documents"][0])}
    assert found["metadatas"] == [{"source": source, "document_id": source, **place, **kept}]


def test_what_it_was_made_with_can_be_read_without_a_model(index: DocumentIndex, embedder: Embedder) -> None:
    made_with = read_index_settings(index.folder)
    assert made_with == embedder.fingerprint
    assert (made_with.model, made_with.dimensions) == ("fake", 64)


def test_an_index_opens_with_its_own_model(tmp_path: Path, notes: Path, minilm: Embedder) -> None:
    with DocumentIndex.create_or_open(tmp_path / "index", minilm) as index:
        index.add([notes])
    assert load_index_embedder(tmp_path / "index").fingerprint == minilm.fingerprint
    with DocumentIndex.open(tmp_path / "index") as index:
        assert Retriever(index).retrieve("Which planet is the colour of rust?")[0].chunk.title == "Mars"


def test_an_index_of_a_file_opens_with_that_file_and_by_its_models_name(tmp_path: Path, notes: Path) -> None:
    file = ensure_model_file(get_model_spec("minilm"))
    for _ in range(2):
        with (
            Embedder.from_file(file, "minilm") as embedder,
            DocumentIndex.create_or_open(tmp_path / "index", embedder) as index,
        ):
            index.add([notes])
    assert load_index_embedder(tmp_path / "index").quantization == "F32"


def test_another_model_is_refused(index: DocumentIndex) -> None:
    other = fake_embedder(dimensions=32)
    for opening in (DocumentIndex.open, DocumentIndex.create_or_open):
        with pytest.raises(FingerprintMismatchError, match=r"dimensions 64 there and 32 here.*own model \(fake"):
            opening(index.folder, other)


def test_vectors_of_another_index_are_not_opened(
    tmp_path: Path, notes: Path, embedder: Embedder, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody put the chroma folder of another index in here."""
    for name, other in (("a", embedder), ("b", fake_embedder(dimensions=32))):
        with DocumentIndex.create_or_open(tmp_path / name, other) as index:
            index.add([notes])
    (tmp_path / "a" / "chroma").rename(tmp_path / "old")
    (tmp_path / "b" / "chroma").rename(tmp_path / "a" / "chroma")
    with DocumentIndex.open(tmp_path / "a", embedder) as index:
        assert nearest(index, "rings of ice")[0].title == "saturn"
        assert "was not written on this machine" in caplog.text
        index.sync()
        _assert_whole(index)


def test_lost_vectors_are_made_again_without_embedding(
    tmp_path: Path,
    notes: Path,
    embedder: Embedder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with DocumentIndex.create_or_open(tmp_path / "index", embedder) as index:
        index.add([notes])
        vectors = _vectors(index)
    (tmp_path / "index" / "chroma").rename(tmp_path / "lost")
    (notes / "mars.md").unlink()
    monkeypatch.setattr(embedder, "embed_documents", _die)
    with DocumentIndex.open(tmp_path / "index", embedder) as index:
        assert nearest(index, "rings of ice", 3)[0].title == "saturn"
        assert "jina-rag rebuild" in caplog.text
        assert _names(index.add([notes / "venus.txt"]).unchanged) == ["venus.txt"]
        assert _vectors(index) == vectors
        _assert_whole(index)


def test_a_folder_without_an_index_says_how_to_make_one(tmp_path: Path, embedder: Embedder) -> None:
    for attempt in (lambda: DocumentIndex.open(tmp_path / "none", embedder), lambda: read_index_settings(tmp_path)):
        with pytest.raises(IndexFolderError, match="make one with `jina-rag add PATH`"):
            attempt()
    assert not (tmp_path / "none").exists()


def test_a_folder_with_other_things_is_not_written_to(tmp_path: Path, embedder: Embedder) -> None:
    (tmp_path / "thesis.docx").write_text("precious")
    with pytest.raises(IndexFolderError, match=r"holds other things \(thesis.docx\)"):
        DocumentIndex.create_or_open(tmp_path, embedder)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_a_damaged_catalog_is_reported(index: DocumentIndex, embedder: Embedder) -> None:
    (index.folder / "index.sqlite3").write_bytes(b"not a database, but long enough to look like one" * 10)
    with pytest.raises(IndexFolderError, match=r"is damaged .*Move its folder away"):
        DocumentIndex.open(index.folder, embedder)


def test_an_index_of_a_later_version_is_left_alone(index: DocumentIndex, embedder: Embedder) -> None:
    with database(index.folder) as connection:
        connection.executescript("PRAGMA user_version = 99; CREATE TABLE of_that_version (x)")
    with pytest.raises(IndexFolderError, match="another version"):
        DocumentIndex.create_or_open(index.folder, embedder)


def test_a_creation_that_was_killed_is_taken_up(
    tmp_path: Path, notes: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Catalog, "create", _die)
    with pytest.raises(Killed):
        DocumentIndex.create_or_open(tmp_path / "index", embedder)
    monkeypatch.undo()
    (tmp_path / "index" / "index.sqlite3").touch()
    with DocumentIndex.create_or_open(tmp_path / "index", embedder) as index:
        assert len(index.add([notes]).added) == 3


DEATHS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before anything": lambda patch: patch.setattr(Catalog, "replace", _die),
    "before any vector": lambda patch: patch.setattr(VectorStore, "upsert", _die),
    "between vectors": lambda patch: _die_at_the_second_group(patch),
    "before the note is gone": lambda patch: patch.setattr(Catalog, "clear_dirty", _die),
}


def _die_at_the_second_group(patch: pytest.MonkeyPatch) -> None:
    upsert, calls = VectorStore.upsert, []

    def once(self: VectorStore, *arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) > 1:
            raise Killed
        upsert(self, *arguments)

    patch.setattr(VectorStore, "upsert", once)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestion, "SMALLEST_BATCH", 1)
    monkeypatch.setattr(ingestion, "LARGEST_BATCH", 1)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("death", DEATHS)
def test_a_killed_add_loses_nothing_and_doubles_nothing(
    index: DocumentIndex, notes: Path, monkeypatch: pytest.MonkeyPatch, death: str
) -> None:
    long_text = "\n\n".join(f"# Part {part}\n\n" + f"word{part} and others. " * 60 for part in range(4))
    (notes / "mars.md").write_text("# Old\n\nThe old text of Mars.")
    index.add([notes])
    (notes / "mars.md").write_text(long_text)
    (notes / "jupiter.md").write_text(long_text.replace("word", "storm"))
    with monkeypatch.context() as patch:
        DEATHS[death](patch)
        with pytest.raises(Killed):
            index.add([notes])

    for document in index.documents():  # the old text or the new one, and as a whole
        chunks = index.chunks_of(document.source)
        assert len(chunks) == document.n_chunks
        for chunk in chunks:
            (vector,) = stored_vectors(index.folder, [chunk.id])
            assert index.candidates("", vector, 1, mode="dense")[0].chunk.text == chunk.text
    assert len(Retriever(index).retrieve("storm0 word0 and others", SearchOptions(k=3))) == 3
    index.add([notes])
    _assert_whole(index)
    assert index.count_chunks() == 2 + sum(
        document.n_chunks > 1 and document.n_chunks for document in index.documents()
    )


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("death", DEATHS)
def test_a_killed_update_is_mended_when_the_file_is_what_it_was_or_not_named(
    index: DocumentIndex, notes: Path, monkeypatch: pytest.MonkeyPatch, death: str
) -> None:
    index.add([notes])
    vectors, old_text = _vectors(index), (notes / "mars.md").read_text()
    old_saturn = (notes / "saturn.txt").read_text()
    for paths in ([notes], [notes / "venus.txt"]):
        (notes / "mars.md").write_text("\n\n".join(f"# Part {n}\n\n" + f"new{n} words. " * 80 for n in range(3)))
        (notes / "saturn.txt").write_text("Saturn would float on water.")
        with monkeypatch.context() as patch:
            DEATHS[death](patch)
            with pytest.raises(Killed):
                index.add([notes])
        (notes / "mars.md").write_text(old_text)
        (notes / "saturn.txt").write_text(old_saturn)
        index.add(paths)
        _assert_whole(index)
        index.sync()
        assert _vectors(index) == vectors
        _assert_whole(index)


@pytest.mark.usefixtures("small_batches")
def test_what_was_embedded_before_the_kill_is_not_embedded_again(
    index: DocumentIndex, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (notes / "long.txt").write_text("\n\n".join(f"word{n} and others. " * 60 for n in range(5)))
    replace = Catalog.replace

    def die_when_complete(self: Catalog, documents: Sequence[Any], vectors: Any) -> None:
        if documents:
            raise Killed
        replace(self, documents, vectors)

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "replace", die_when_complete)
        with pytest.raises(Killed):
            index.add([notes / "long.txt"])
    report = index.add([notes / "long.txt"])
    assert (_names(report.added), report.n_embedded) == (["long.txt"], 1)  # the last one
    _assert_whole(index)


SLOW_ADD = """
import sys, time
from jina_rag.rag import DocumentIndex
from jina_rag.rag.indexing import ingest as ingestion
from jina_rag.testing import fake_embedder
embedder = fake_embedder()
embed = embedder.embed_documents
def slowly(texts):
    print(len(texts), flush=True)
    time.sleep(0.2)
    return embed(texts)
embedder.embed_documents = slowly
ingestion.SMALLEST_BATCH = ingestion.LARGEST_BATCH = 2
with DocumentIndex.create_or_open(sys.argv[1], embedder) as opened:
    opened.add([sys.argv[2]])
"""


def test_a_process_killed_while_adding_can_be_followed_by_another(tmp_path: Path, embedder: Embedder) -> None:
    notes, folder = tmp_path / "notes", tmp_path / "index"
    notes.mkdir()
    for name in "abc":
        text = "\n\n".join(f"# Part {part}\n\n" + f"{name}{part} is a word. " * 50 for part in range(6))
        (notes / f"{name}.md").write_text(text)
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_ADD, str(folder), str(notes)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(8):  # of some eighteen
            assert process.stdout.readline()
        with (
            DocumentIndex.open(folder, embedder) as index,
            pytest.raises(IndexFolderError, match=rf"Another process .*process {process.pid} on .* since 20"),
        ):
            index.add([notes])
        process.kill()
    with DocumentIndex.open(folder, embedder) as index:
        assert len(index.documents()) < 3
        report = index.add([notes])
        assert len(report.added) + len(report.unchanged) == 3
        _assert_whole(index)
        resumed = _vectors(index)
    with DocumentIndex.create_or_open(tmp_path / "fresh", embedder) as fresh:
        fresh.add([notes])
        assert _vectors(fresh) == resumed


def test_two_writers_in_one_process_do_not_mix(index: DocumentIndex, notes: Path, embedder: Embedder) -> None:
    def write_too(_: AddProgress) -> None:
        with (
            DocumentIndex.open(index.folder, embedder) as other,
            pytest.raises(IndexFolderError, match="Another process"),
        ):
            other.remove([str(notes / "mars.md")])

    index.add([notes], write_too)
    _assert_whole(index)


def test_searches_go_on_while_documents_are_added(index: DocumentIndex, notes: Path) -> None:
    index.add([notes / "saturn.txt"])
    for number in range(20):
        (notes / f"{number}.txt").write_text(f"Moon {number} is covered in dust.")
    retriever = Retriever(index)
    with ThreadPoolExecutor(4) as threads:
        adding = threads.submit(index.add, [notes])
        while not adding.done():
            found = list(threads.map(retriever.retrieve, ["Saturn has rings made of ice."] * 3))
            assert {results[0].chunk.title for results in found} == {"saturn"}
        assert len(adding.result().added) == 22
    _assert_whole(index)


READ_FOREVER = """
import sys
from jina_rag.rag import DocumentIndex, Retriever
from jina_rag.testing import fake_embedder
with DocumentIndex.open(sys.argv[1], fake_embedder()) as index:
    for line in sys.stdin:
        print(Retriever(index).retrieve(line)[0].chunk.text.splitlines()[-1], flush=True)
"""


def test_a_reader_in_another_process_sees_what_is_added(index: DocumentIndex, notes: Path) -> None:
    index.add([notes])
    with subprocess.Popen(
        [sys.executable, "-c", READ_FOREVER, str(index.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:

        def ask(question: str) -> str:
            assert reader.stdin is not None
            assert reader.stdout is not None
            reader.stdin.write(question + "\n")
            reader.stdin.flush()
            return reader.stdout.readline().strip()

        assert ask("rings of ice") == "Saturn has rings made of ice."
        (notes / "neptune.txt").write_text("Neptune has the fastest winds.")
        (notes / "saturn.txt").write_text("Saturn would float on water.")
        index.add([notes])
        assert ask("fastest winds") == "Neptune has the fastest winds."
        assert ask("Saturn float on water") == "Saturn would float on water."


def test_words_are_embedded_whole(index: DocumentIndex, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("The **N**orthern exam-\nple of the o\ufb03ce.", encoding="utf-8")
    index.add([tmp_path / "a.md"])
    (chunk,) = index.chunks_of(index.documents()[0].source)
    assert chunk.text == "The **N**orthern exam-\nple of the o\ufb03ce."
    whole = index.embedder.embed_documents(["The Northern example of the office."])
    np.testing.assert_array_equal(stored_vectors(index.folder, [chunk.id]), whole)
