"""`jina-rag index`: documents into a store."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run

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
