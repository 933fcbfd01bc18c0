"""`jina-rag index`: documents into a store."""

import json
from pathlib import Path

import pytest

from jina_rag.rag.vector_stores import open_store
from jina_rag.testing import fake_embedder
from tests.cli.conftest import Run
from tests.distributed.conftest import assert_same
from tests.rag.vector_stores.conftest import rows_of

_MODEL = ("--model", "all-MiniLM-L6-v2")


def test_documents_go_into_a_store_and_are_brought_up_to_date(run: Run, notes: Path, chroma: str) -> None:
    command = ("index", "--source", str(notes), "--to", f"{chroma}/cli-index")
    first = run(*command, *_MODEL)
    assert first.exit_code == 0
    assert "2 documents (2 read)" in first.stdout
    (notes / "mars.md").write_text("# Mars\n\nMars has two moons.")
    (notes / "bad.pdf").write_bytes(b"no PDF")
    report = json.loads((second := run(*command, "--json")).stdout)  # the model of the shards
    assert second.exit_code == 1
    assert (report["n_read"], report["n_embedded"], report["n_chunks"]) == (2, 1, 2)
    assert [Path(failed["source"]).name for failed in report["failed"]] == ["bad.pdf"]


@pytest.mark.parametrize("kind", ["chroma", "lance"])
def test_sync_of_a_folder_writes_the_rows_that_index_writes(
    run: Run, request: pytest.FixtureRequest, notes: Path, tmp_path: Path, kind: str
) -> None:
    stores = f"lance://{tmp_path / 'lance'}#" if kind == "lance" else f"{request.getfixturevalue('chroma')}/"
    synced, indexed = f"{stores}cli-synced", f"{stores}cli-indexed"
    assert run("sync", str(notes), "--index", synced).exit_code == 0
    (notes / "mars.md").unlink()
    (notes / "moon.md").write_text("# Moon\n\nThe Moon goes around the Earth.")
    again = run("sync", str(notes), "--index", synced, "--json")
    assert [Path(source).name for source in json.loads(again.stdout)["removed"]] == ["mars.md"]
    assert run("index", "--source", str(notes), "--to", indexed, "--shards", str(tmp_path / "new")).exit_code == 0
    assert_same(synced, indexed)
    for options in (("--watch",), (str(notes), "--collection", "work")):
        refused = run("sync", *options, "--index", synced)
        assert (refused.exit_code, "A vector store needs PATH" in " ".join(refused.stderr.split())) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--source"),
        (("--source", "nowhere"), "nowhere"),
        (("--source", "nosuch://bucket"), "nosuch://bucket"),
        (("--to", "chroma://localhost/docs"), "--source"),
        (("--source", "notes", "--to", "postgres://db"), "chroma://"),
        (("--source", "notes", "--to", "chroma://127.0.0.1:9/docs?retry_timeout=1"), "127.0.0.1:9"),
    ],
)
def test_what_can_not_be_done_is_said_in_a_sentence(
    run: Run, notes: Path, arguments: tuple[str, ...], says: str
) -> None:
    assert notes.is_dir()
    result = run("index", *arguments, *_MODEL)
    assert result.exit_code in (1, 2)
    assert says in result.stderr


@pytest.mark.parametrize("kind", ["chroma", "lance"])
def test_a_store_is_searched_and_asked_by_its_address(
    run: Run, request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    store = f"lance://{tmp_path / 'lance'}" if kind == "lance" else f"{request.getfixturevalue('chroma')}/cli-search"
    missing = run("search", "ice", "--index", store)
    assert (missing.exit_code, "jina-rag index --to" in missing.stderr) == (1, True)
    with open_store(store, fake_embedder().fingerprint, create=True) as opened:
        opened.upsert(rows_of("/notes/mars.md", "Mars looks red because of iron rust."))
        opened.upsert(rows_of("/notes/saturn.txt", "Saturn has rings made of ice."))
    found = run("search", "rings of ice", "--index", store, "-k", "1", "--type", "txt", "--json")
    assert [each["chunk"]["source"] for each in json.loads(found.stdout)] == ["/notes/saturn.txt"]
    assert ("Chroma has no BM25" in found.stderr) == (kind == "chroma")
    answer = run("ask", "What are the rings made of?", "--llm", "none", "--index", store)
    assert "Saturn has rings made of ice." in answer.stdout
    assert answer.stderr.count("Chroma has no BM25") == (kind == "chroma")
    refused = run("add", ".", "--index", store)
    assert (refused.exit_code, f"--to {store}`" in " ".join(refused.stderr.split())) == (1, True)
