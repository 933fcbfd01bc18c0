"""`jina-rag index`: documents into a store."""

import json
from pathlib import Path

import pytest

from jina_rag.rag.vector_stores import open_store
from tests.cli.conftest import Run
from tests.distributed.conftest import assert_same

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


@pytest.mark.parametrize("kind", ["chroma", "lance"])
def test_on_another_machine_a_store_keeps_its_model(
    run: Run, request: pytest.FixtureRequest, notes: Path, tmp_path: Path, kind: str
) -> None:
    store = f"lance://{tmp_path / 'lance'}" if kind == "lance" else f"{request.getfixturevalue('chroma')}/cli-model"
    assert run("index", "--source", str(notes), "--to", store, *_MODEL).exit_code == 0
    (notes / "moon.md").write_text("# Moon\n\nThe Moon goes around the Earth.")
    elsewhere = ("index", "--source", str(notes), "--to", store, "--shards", "elsewhere", "--backend", "llama.cpp")
    for option, value, wanted, stored in (
        ("--model", "jina-v5-small", "jina-embeddings-v5-text-small-retrieval", "all-MiniLM-L6-v2"),
        ("--dimensions", "64", "64", "384"),
    ):
        refused = run(*elsewhere, option, value)
        says = f"{option} names {wanted}, and the store {store} was made with {stored}"
        assert (refused.exit_code, says in " ".join(refused.stderr.split())) == (1, True)
    followed = run(*elsewhere)
    assert (followed.exit_code, "auto takes" in followed.stderr) == (0, False)
    with open_store(store) as opened:
        assert opened.count() == 3
    refused = run(*elsewhere, "--dimensions", "64")
    assert "the folder of shards elsewhere was made with 384" in " ".join(refused.stderr.split())


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
    real_run: Run, request: pytest.FixtureRequest, notes: Path, tmp_path: Path, kind: str
) -> None:
    store = f"lance://{tmp_path / 'lance'}" if kind == "lance" else f"{request.getfixturevalue('chroma')}/cli-search"
    missing = real_run("search", "ice", "--index", store)
    assert (missing.exit_code, "jina-rag index --to" in missing.stderr) == (1, True)
    assert real_run("index", "--source", str(notes), "--to", store, *_MODEL).exit_code == 0
    found = real_run("search", "rings of ice", "--index", store, "-k", "1", "--type", "txt", "--json")
    assert [each["chunk"]["source"] for each in json.loads(found.stdout)] == [str(notes / "saturn.txt")]
    assert ("Chroma has no BM25" in found.stderr) == (kind == "chroma")
    answer = real_run("ask", "What are the rings made of?", "--llm", "none", "--index", store)
    assert "Saturn has rings made of ice." in answer.stdout
    assert answer.stderr.count("Chroma has no BM25") == (kind == "chroma")
    refused = real_run("add", ".", "--index", store)
    assert (refused.exit_code, f"--to {store}`" in " ".join(refused.stderr.split())) == (1, True)
