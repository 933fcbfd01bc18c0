"""What the commands print with --json is what docs/json.md says."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Run

DOCUMENTED = (Path(__file__).parents[2] / "docs" / "json.md").read_text()


def documented(section: str) -> set[str]:
    """The keys in the first column of a section's table."""
    text = re.split(rf"^## {section}$", DOCUMENTED, flags=re.MULTILINE)[1].partition("\n## ")[0]
    return {key for cell in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for key in re.findall(r"`(\w+)`", cell)}


@pytest.mark.parametrize(
    ("section", "command"),
    [
        ("search", ["search", "ice"]),
        ("ask", ["ask", "Why does Mars look red?"]),
        ("add, sync", ["sync"]),
        ("status", ["status", "--documents"]),
        ("get", ["get", "mars.md"]),
        ("doctor", ["doctor"]),
        ("rebuild", ["rebuild", "--yes"]),
        ("rm", ["rm", "notes/mars.md", "--yes"]),
    ],
)
def test_the_keys_are_the_documented_ones(index: Run, tmp_path: Path, section: str, command: list[str]) -> None:
    if section == "doctor":
        shutil.rmtree(tmp_path / ".jina-rag" / "index" / "chroma")
    printed = json.loads(index(*command, "--json").stdout)
    printed = printed[0] if isinstance(printed, list) else printed
    assert set(printed) == documented(section) - ({"pages"} if section == "get" else set())
    if "chunk" in printed:
        assert set(printed["chunk"]) == documented("chunk")


def test_export_prints_chunks(index: Run) -> None:
    assert set(json.loads(index("export").stdout.splitlines()[0])) == {
        *documented("chunk"),
        "collections",
        "sha256",
        "metadata",
    }
