import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.rag.documents.pdf import write_pdf


def test_get_prints_a_document_or_some_lines_of_it(run: Run, notes: Path) -> None:
    (notes / "long.txt").write_text("".join(f"Line {number}.\n" for number in range(1, 31)))
    (notes / "deep").mkdir()
    (notes / "deep" / "long.txt").write_text("Another one.")
    run("add", "notes")
    assert run("get", "notes/mars.md").stdout == (notes / "mars.md").read_text() + "\n"
    assert run("get", "notes/long.txt:3").stdout == "Line 3.\n"
    assert run("get", f"{notes}/long.txt:29-").stdout == "Line 29.\nLine 30.\n\n"
    assert json.loads(run("get", "deep/long.txt:1-99", "--json").stdout) == {
        "source": str(notes / "deep" / "long.txt"),
        "title": "long",
        "lines": [1, 1],
        "text": "Another one.",
    }
    (notes / "mars.md").write_text("Changed.")
    changed = run("get", "mars.md")
    assert (changed.stdout, "has changed since it was indexed" in changed.stderr) == ("Changed.\n", True)
    (notes / "saturn.txt").unlink()
    gone = run("get", "saturn.txt")
    assert gone.stdout.startswith("Saturn")
    assert "These are its passages in the index." in gone.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mras.md", "There is no document mras.md in the index. Do you mean {notes}/mars.md?"),
        ("nothing like it", "There is no document nothing like it in the index.\n"),
        ("mars.md:9", "mars.md has the lines 1 to "),
        ("mars.md:0", "mars.md has the lines 1 to "),
        ("https://example.com/mars.md", "is an address"),
    ],
)
def test_get_says_what_there_is_instead(index: Run, notes: Path, name: str, message: str) -> None:
    result = index("get", name)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message.format(notes=notes) in result.stderr


def test_get_takes_pages_of_a_document_that_has_them(run: Run, notes: Path) -> None:
    write_pdf(notes / "report.pdf", ["First page.", "Second page.", "Third page."])
    run("add", "notes")
    assert run("get", "report.pdf:2").stdout == "Second page.\n"
    assert run("get", "report.pdf:2-").stdout == "Second page.\n\nThird page.\n"
    assert "has the pages 1 to 3" in run("get", "report.pdf:4").stderr
