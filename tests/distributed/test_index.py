"""From documents to shards to a store, in this process."""

import subprocess
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jina_rag import (
    BackendUnavailableError,
    DocumentError,
    Embedder,
    FingerprintMismatchError,
    IndexFolderError,
    MissingDependencyError,
    StoreError,
)
from jina_rag.backends.base import BackendResult
from jina_rag.distributed import IndexReport, RayEngine, index_documents
from jina_rag.distributed.shards import ShardFolder
from jina_rag.distributed.sources import SourceFile, read_source
from jina_rag.rag.documents.sandbox import ReadLimits
from jina_rag.rag.vector_stores import open_store
from jina_rag.testing import FAKE_SPEC, FakeBackend, fake_embedder
from tests.distributed.conftest import assert_same, contents, write_documents
from tests.distributed.test_embed_batch import Moody

_numbers = count()


@pytest.fixture(params=["chroma", "lance"])
def to(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A collection or table that is not there yet."""
    name = f"index-{next(_numbers)}"
    return (
        f"lance://{tmp_path / 'lance'}#{name}"
        if request.param == "lance"
        else f"{request.getfixturevalue('chroma')}/{name}"
    )


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return tmp_path / "shards"


def run(documents: Path | None, to: str | None, shards: Path, **options: Any) -> IndexReport:
    sources = [str(documents)] if documents else []
    return index_documents(sources, to, shards=str(shards), **{"embedder": fake_embedder, "shard_rows": 20, **options})


def test_a_store_equals_its_sources(documents: Path, to: str, shards: Path) -> None:
    report = run(documents, to, shards)
    stored = contents(to)
    assert report.n_documents == report.n_read == 30
    assert report.n_embedded == report.n_loaded == report.n_chunks == len(stored) > 60
    assert report.n_others == 0
    for metadata, vector in stored.values():
        assert metadata["source"] == str(documents / Path(metadata["source"]).name)
        assert vector == pytest.approx(fake_embedder().embed_documents([metadata["text"]])[0], abs=1e-6)
    again = run(documents, to, shards)
    assert (again.n_read, again.n_embedded, again.n_loaded) == (0, 0, 0)


def test_changes_follow(documents: Path, to: str, shards: Path) -> None:
    run(documents, to, shards)
    write_documents(documents, 2, paragraphs=2)  # two have become shorter
    (documents / "0005.md").unlink()
    (documents / "new.md").write_text("# New\n\nA document more.")
    report = run(documents, to, shards)
    assert report.n_read == 3
    assert report.removed == (str(documents / "0005.md"),)
    run(documents, f"{to}-afresh", shards.with_name("others"))
    assert_same(to, f"{to}-afresh")


def test_an_interrupted_run_continues(documents: Path, to: str, shards: Path) -> None:
    with pytest.raises(BackendUnavailableError):
        run(documents, to, shards, embedder=lambda: Embedder(GivesUp(), FAKE_SPEC))
    n_done = len(list((shards / "shards").iterdir()))
    assert n_done > 0
    report = run(documents, to, shards)
    assert report.n_read == 0
    assert report.n_embedded == report.n_chunks - 20 * n_done
    assert len(contents(to)) == report.n_chunks


def test_shards_fill_any_store(documents: Path, to: str, shards: Path) -> None:
    run(documents, None, shards)
    run(documents, to, shards)
    report = run(None, f"{to}-second", shards)
    assert report.n_embedded == 0
    assert_same(to, f"{to}-second")


def test_what_a_store_has_lost_is_written_again(documents: Path, to: str, shards: Path) -> None:
    run(documents, to, shards)
    before = contents(to)
    with open_store(to) as store:
        store.delete([id_ for id_, (row, _) in before.items() if row["position"] == 1])
    assert run(documents, to, shards).n_embedded == 0
    assert contents(to).keys() == before.keys()


def test_rows_of_other_runs_stay(documents: Path, tmp_path: Path, to: str, shards: Path) -> None:
    others = tmp_path / "others"
    write_documents(others, 2)
    n_others = run(others, to, tmp_path / "other-shards").n_chunks
    report = run(documents, to, shards)
    assert report.n_others == n_others
    assert len(contents(to)) == report.n_chunks + n_others


def test_a_store_that_loses_rows_is_refused(documents: Path, to: str, shards: Path) -> None:
    def lose(stage: str, *_: int) -> None:
        if stage == "Loading":
            with open_store(to) as store:
                store.delete(store.ids(str(documents / "0003.md")))

    with pytest.raises(StoreError, match="rows less than were written"):
        run(documents, to, shards, on_progress=lose)
    report = run(documents, to, shards)
    assert (report.n_others, len(contents(to))) == (0, report.n_chunks)


def test_shards_among_the_sources_are_no_documents(documents: Path) -> None:
    poisoned = {"embedder": lambda: Embedder(Moody("poisoned"), FAKE_SPEC)}
    (documents / "0001.md").write_text("A good paragraph.\n\n# Bad\n\nA poisoned one.")
    for _ in range(2):
        report = run(documents, None, documents / "made", **poisoned)
        assert (report.n_documents, len(report.failed)) == (30, 1)
    assert list((documents / "made" / "failures").iterdir())


def test_a_folder_that_is_no_longer_named_keeps_its_rows(
    documents: Path, tmp_path: Path, to: str, shards: Path
) -> None:
    others = tmp_path / "others"
    write_documents(others, 2)
    both = [str(documents), str(others)]
    n_rows = index_documents(both, to, shards=str(shards), embedder=fake_embedder).n_chunks
    with pytest.raises(DocumentError, match=r"others was a source .* --yes"):
        run(documents, to, shards)
    assert len(contents(to)) == n_rows
    assert len(run(documents, to, shards, allow_mass_removal=True).removed) == 2


def test_many_small_runs_leave_few_files(documents: Path, to: str, shards: Path) -> None:
    poisoned = {"embedder": lambda: Embedder(Moody("poisoned"), FAKE_SPEC)}
    for number in range(18):
        (documents / f"new-{number}.md").write_text(f"# New\n\nDocument {number}.\n\n# Bad\n\nIt is poisoned.")
        (documents / f"{number:04d}.md").write_text(f"# Changed\n\nA document of the run {number}.")
        report = run(documents, None, shards, **poisoned)
        assert (report.n_read, len(report.failed)) == (31 if number == 0 else 2, number + 1)
    assert len(list((shards / "chunks").iterdir())) < 8
    assert run(documents, to, shards, **poisoned).n_embedded == 0
    run(documents, f"{to}-afresh", shards.with_name("others"), **poisoned)
    assert_same(to, f"{to}-afresh")


def test_failures_are_reported_by_document(documents: Path, to: str, shards: Path) -> None:
    (documents / "0001.md").write_text("A good paragraph.\n\n# Bad\n\nA poisoned one.")
    (documents / "broken.pdf").write_bytes(b"no PDF")
    poisoned = {"embedder": lambda: Embedder(Moody("poisoned"), FAKE_SPEC)}
    for expected in (31, 0):
        report = run(documents, to, shards, **poisoned)
        assert report.n_read == expected
        assert sorted(Path(failed.source).name for failed in report.failed) == ["0001.md", "broken.pdf"]
        assert any("It went wrong" in failed.reason for failed in report.failed)
        assert len(contents(to)) == report.n_chunks
    (documents / "broken.pdf").unlink()
    assert run(documents, to, shards, retry_failed=True, **poisoned).n_read == 0


def test_a_document_whose_first_chunk_failed(documents: Path, to: str, shards: Path) -> None:
    headless = documents / "0001.md"
    headless.write_text("A poisoned paragraph.\n\n# Good\n\nA good one.")
    poisoned = {"embedder": lambda: Embedder(Moody("poisoned"), FAKE_SPEC)}
    loaded = [run(documents, to, shards, **poisoned).n_loaded for _ in range(2)]
    assert loaded == [len(contents(to)), 0]
    report = run(documents, to, shards, retry_failed=True)  # the engine is well again
    assert not report.failed
    assert (report.n_read, report.n_loaded, len(contents(to))) == (0, 1, report.n_chunks)

    run(documents, to, shards.with_name("others"), **poisoned)
    headless.unlink()
    report = run(documents, to, shards.with_name("others"), **poisoned)
    assert (report.n_others, len(contents(to))) == (0, report.n_chunks)


@pytest.mark.parametrize("afresh", [False, True], ids=["same-shards", "new-shards"])
def test_a_lost_disk_removes_nothing(documents: Path, to: str, shards: Path, afresh: bool) -> None:
    n_rows = run(documents, to, shards).n_chunks
    for number in range(20):
        (documents / f"{number:04d}.md").unlink()
    shards = shards.with_name("new") if afresh else shards
    with pytest.raises(DocumentError, match=r"20 of (the )?30 documents .* gone .* --yes"):
        run(documents, to, shards)
    assert len(contents(to)) == n_rows
    assert len(run(documents, to, shards, allow_mass_removal=True).removed) == 20


def test_another_model_is_refused(documents: Path, to: str, shards: Path) -> None:
    run(documents, to, shards)
    with pytest.raises(FingerprintMismatchError, match="--shards"):
        run(documents, None, shards, embedder=lambda: fake_embedder(32))
    assert ShardFolder(str(shards)).fingerprint() == fake_embedder().fingerprint
    with pytest.raises(FingerprintMismatchError, match=to.rpartition("/")[2]):
        run(documents, to, shards.with_name("others"), embedder=lambda: fake_embedder(32))


@pytest.mark.parametrize("folder", ["chunks", "shards"])
def test_a_damaged_file_is_named_and_made_again(documents: Path, to: str, shards: Path, folder: str) -> None:
    run(documents, None, shards)
    damaged = next((shards / folder).iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(IndexFolderError, match=damaged.name):
        run(documents, to, shards)
    damaged.unlink()
    report = run(documents, to, shards)
    assert len(contents(to)) == report.n_chunks


@pytest.mark.parametrize("name", ["sources.parquet", "chunks", "shards"])
def test_a_column_of_another_type_is_refused(documents: Path, to: str, shards: Path, name: str) -> None:
    run(documents, None, shards)
    path = shards / name if name.endswith("parquet") else next((shards / name).iterdir())
    table = pq.read_table(path)
    others = table["source"].cast(pa.binary())
    pq.write_table(table.set_column(table.schema.get_field_index("source"), "source", others), path)
    if name == "chunks":
        next((shards / "shards").glob(f"{path.stem}-00000.parquet")).unlink()
    with pytest.raises(IndexFolderError, match=f"{path.name} can't be read"):
        run(None if name == "sources.parquet" else documents, to, shards)


def test_links_in_the_folder_of_shards_are_refused(documents: Path, shards: Path) -> None:
    shards.mkdir()
    (shards / "unfinished").symlink_to(documents)
    with pytest.raises(IndexFolderError, match="is a link"):
        run(documents, None, shards)
    assert len(list(documents.iterdir())) == 30


@pytest.mark.parametrize("blocked", [".", "unfinished/folder", "chunks"])
def test_a_folder_of_shards_that_can_not_be_written(documents: Path, shards: Path, blocked: str) -> None:
    if blocked == "unfinished/folder":
        (shards / blocked).mkdir(parents=True)
    else:
        (shards / blocked).parent.mkdir(parents=True, exist_ok=True)
        (shards / blocked).write_text("No folder.")
    with pytest.raises(IndexFolderError, match="can't be written"):
        run(documents, None, shards)


def test_an_object_whose_size_is_unknown_is_read_to_the_limit() -> None:
    fsspec.filesystem("memory").pipe_file("/grown/a.md", b"word " * 2**20)
    file = SourceFile("memory:///grown/a.md", "1", 0, 0)
    assert len(read_source(file).data) == 5 * 2**20
    with pytest.raises(DocumentError, match="may have 1"):
        read_source(file, ReadLimits(max_bytes=2**20))


def test_loading_what_is_not_there(documents: Path, to: str, shards: Path) -> None:
    with pytest.raises(IndexFolderError, match="--source"):
        run(None, to, shards)
    run(documents, None, shards)
    next((shards / "shards").iterdir()).unlink()
    with pytest.raises(IndexFolderError, match="1 shard"):
        run(None, to, shards)


def test_objects_of_a_remote_store(to: str, shards: Path) -> None:
    bucket = fsspec.filesystem("memory")
    for name in ("a.md", "folder/b.txt", "folder/.hidden.md", "folder/c.bin", "credentials.json"):
        bucket.pipe_file(f"/bucket/docs/{name}", f"# {name}\n\nThe text of {name}.".encode())
    report = index_documents(["memory://bucket/docs"], to, shards=str(shards), embedder=fake_embedder)
    assert {row["source"] for row, _ in contents(to).values()} == {
        "memory:///bucket/docs/a.md",
        "memory:///bucket/docs/folder/b.txt",
    }
    assert index_documents(
        ["memory://bucket/docs/*.md"], None, shards="memory://shards", embedder=fake_embedder
    ).n_chunks
    bucket.pipe_file("/bucket/docs/a.md", b"Another text.")
    bucket.rm_file("/bucket/docs/folder/b.txt")
    report = index_documents(["memory://bucket/docs"], to, shards=str(shards), embedder=fake_embedder)
    assert report.removed == ("memory:///bucket/docs/folder/b.txt",)
    assert [row["text"] for row, _ in contents(to).values()] == ["Another text."]
    with pytest.raises(DocumentError, match="nothing at"):
        index_documents(["memory://bucket/no"], None, shards=str(shards), embedder=fake_embedder)


def test_without_the_extra_the_error_names_the_command(
    documents: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'jina-rag\[ray\]'"):
        run(documents, None, shards, engine=RayEngine())
    check = "import sys; sys.modules['pyarrow'] = None; from jina_rag.distributed import index_documents"
    failed = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert "the package pyarrow. Install it with: pip install 'jina-rag[ray]'" in failed.stderr


class GivesUp(FakeBackend):
    """An engine that goes away after three batches."""

    n_calls = 0

    def embed(self, texts: Sequence[str], **options: Any) -> BackendResult:
        self.n_calls += 1
        if self.n_calls > 3:
            raise BackendUnavailableError("It is gone.")
        return super().embed(texts, **options)
