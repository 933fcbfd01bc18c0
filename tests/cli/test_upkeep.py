import json
import shutil
from pathlib import Path

import pytest

from jina_rag.cli import prompts
from tests.cli.conftest import Run


def test_doctor_and_rebuild(index: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert index("doctor").stdout == "Nothing is wrong with .jina-rag/index.\n"
    assert json.loads(index("doctor", "--json").stdout) == []
    shutil.rmtree(tmp_path / ".jina-rag" / "index" / "chroma")
    ill = index("doctor")
    assert ill.exit_code == 1
    assert "  Cure: " in ill.stdout
    assert set(json.loads(index("doctor", "--json").stdout)[0]) == {"what", "why", "remedy"}

    alone = index("rebuild")
    assert alone.exit_code == 2
    assert "the vectors of 2 chunks in .jina-rag/index again, with fake" in alone.stderr
    assert "none has to be embedded" in alone.stderr
    assert "say --yes" in alone.stderr
    monkeypatch.setattr(prompts, "somebody_is_there", lambda: True)
    assert index("rebuild", stdin="n\n").exit_code == 3
    assert index("doctor").exit_code == 1
    assert index("rebuild", stdin="y\n").stdout == (
        "2 chunks made again, 0 of them embedded. .jina-rag/index is whole.\n"
    )
    assert index("doctor").exit_code == 0
    assert index("search", "rings of ice", "-k", "1").stdout.startswith("[1] notes/saturn.txt")


def test_rebuild_can_change_the_model(index: Run) -> None:
    result = json.loads(index("rebuild", "--dimensions", "32", "--yes", "--json").stdout)
    assert (result["chunks"], result["embedded"], result["model"]) == (2, 2, "fake")
    assert json.loads(index("status", "--json").stdout)["model"]["dimensions"] == 32
    assert index("search", "rings of ice", "-k", "1").stdout.startswith("[1] notes/saturn.txt")


def test_export_writes_chunks_with_their_places(index: Run, tmp_path: Path) -> None:
    chunks = [json.loads(line) for line in index("export").stdout.splitlines()]
    assert [chunk["title"] for chunk in chunks] == ["Mars", "saturn"]
    assert chunks[1]["text"] == "Saturn has rings made of ice."
    assert "vector" not in chunks[0]
    some = index("export", "some.jsonl", "--type", "md", "--vectors")
    assert some.stdout == ""
    assert "1 chunk written to some.jsonl." in some.stderr
    (line,) = (tmp_path / "some.jsonl").read_text().splitlines()
    assert len(json.loads(line)["vector"]) == 64
    again = index("export", "some.jsonl")
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert index("export", "some.jsonl", "--force").exit_code == 0
