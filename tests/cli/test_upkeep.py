import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from jina_rag.cli import confirm
from tests.cli.conftest import Run
from tests.index_files import stored_vectors


def test_doctor_and_rebuild(index: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert index("doctor").stdout == "Nothing is wrong with .jina-rag/index.\n"
    assert json.loads(index("doctor", "--json").stdout) == []
    shutil.rmtree(tmp_path / ".jina-rag" / "index" / "chroma")
    ill = index("doctor")
    assert ill.exit_code == 1
    assert "  Fix: " in ill.stdout
    assert set(json.loads(index("doctor", "--json").stdout)[0]) == {"what", "why", "remedy"}

    alone = index("rebuild")
    assert alone.exit_code == 2
    assert "the vectors of 2 chunks in .jina-rag/index with fake, 64 dimensions: none" in alone.stderr
    assert "none must be embedded" in alone.stderr
    assert "Say --yes" in alone.stderr
    monkeypatch.setattr(confirm, "somebody_is_there", lambda: True)
    assert index("rebuild", stdin="n\n").exit_code == 3
    assert index("doctor").exit_code == 1
    assert index("rebuild", stdin="y\n").stdout == ("2 chunks recreated in .jina-rag/index, 0 of them embedded.\n")
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
    some = index("export", "some.jsonl", "--type", "md")
    assert some.stdout == ""
    assert "1 chunk written to some.jsonl." in some.stderr
    (line,) = (tmp_path / "some.jsonl").read_text().splitlines()
    assert json.loads(line) == chunks[0]
    again = index("export", "some.jsonl")
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert index("export", "some.jsonl", "--force").exit_code == 0


def test_export_writes_vectors_beside_the_chunks(index: Run, tmp_path: Path) -> None:
    both = index("export", "all.jsonl", "--vectors", "all.npy")
    assert "2 chunks written to all.jsonl and all.npy." in both.stderr
    ids = [json.loads(line)["id"] for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    vectors = np.load(tmp_path / "all.npy")
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, stored_vectors(tmp_path / ".jina-rag" / "index", ids))
    assert len(index("export", "--vectors", "alone.npy").stdout.splitlines()) == 2
    assert np.load(tmp_path / "alone.npy").shape == (2, 64)


@pytest.mark.parametrize(
    ("args", "exit_code", "message"),
    [
        (["--vectors", "there.npy"], 2, "there.npy exists. Name another file, or say --force."),
        (["same", "--vectors", "./same"], 2, "same can't hold both."),
        (["missing/a.jsonl"], 1, "missing/a.jsonl can't be written (No such file or directory). Make its folder"),
        (["a.jsonl", "--vectors", "missing/a.npy"], 1, "a.jsonl and missing/a.npy can't be written"),
        (["/proc/a.jsonl"], 1, "/proc/a.jsonl can't be written"),
        (["/dev/full"], 1, "/dev/full can't be written (No space left on device). Free some space"),
        (["--vectors", "/dev/full"], 1, "/dev/full can't be written (No space left on device). Free some space"),
        (["notes"], 1, "notes can't be written (Is a directory)."),
    ],
)
def test_export_says_why_a_file_cannot_be_written(
    index: Run, tmp_path: Path, args: list[str], exit_code: int, message: str
) -> None:
    (tmp_path / "there.npy").touch()
    result = index("export", *args)
    assert result.exit_code == exit_code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [".jina-rag", "notes", "there.npy"]
