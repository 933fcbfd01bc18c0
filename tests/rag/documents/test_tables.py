"""Tables, and records that are nearly JSON: what each value belongs to, and nothing lost."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jina_rag.rag.documents import READERS, Document, read_document
from jina_rag.rag.documents.types import SourceFile

NO_HEADER = "A table has no header: its columns are numbered."
NO_END = "A quotation mark is never closed: quotation marks were read as part of the text."


def _read(path: Path, content: str) -> Document:
    path.write_text(content, encoding="utf-8")
    return read_document(path)


def _table(*rows: str) -> str:
    header, *others = (f"| {row} |" for row in rows)
    return "\n".join([header, "|" + " --- |" * (header.count("|") - 1), *others])


def test_values_stand_under_their_columns(tmp_path: Path) -> None:
    def read(content: str) -> tuple[str, tuple[str, ...]]:
        document = _read(tmp_path / "a.csv", content)
        return document.pages[0].text, document.notes

    units, people = _table("name | units", "A | 1", "B | 2"), _table("person | age", "Ann | 30")
    years = _table("Product | 2023 | 2024", "A | 1500 | 1600", "B | 1700 | 1800", "C | 1900 | 1950")
    numbered = _table("Column 1 | Column 2", "1,5 | a", "4,5 | b", "6,5 | c")
    assert read("sep=;\nname;price\nA, B;1,5\n") == (_table("name | price", "A, B | 1,5"), ())
    assert read("1,5;a\n4,5;b\n6,5;c") == (numbered, (NO_HEADER,))
    assert read("Sales; made in 2024\n\nname,units\nA,1\n\nB,2") == (f"## Sales; made in 2024\n\n{units}", ())
    assert read("name,units\nA,1\nB,2\n\nperson,age\nAnn,30") == (f"{units}\n\n{people}", ())
    assert read("Product,2023,2024\nA,1500,1600\nB,1700,1800\nC,1900,1950") == (years, ())
    assert read('note,n\n"one\ntwo",1\n"5"" pipe",2') == (_table("note | n", "one two | 1", '5" pipe | 2'), ())
    assert read('note,n\n"5 inch,1\nb,2') == (_table("note | n", '"5 inch | 1', "b | 2"), (NO_END,))


CELLS = st.sampled_from(["", "word", "Name;x", "7,50", '5" pipe', "2024-01-05", "2024", "a\nb", "|", "3"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(CELLS, max_size=5), max_size=8), st.sampled_from(",;\t|"))
def test_no_cell_is_lost(rows: list[list[str]], separator: str) -> None:
    content = io.StringIO(f"sep={separator}\n")
    content.seek(0, io.SEEK_END)
    csv.writer(content, delimiter=separator).writerows(rows)
    document = READERS[".csv"](SourceFile(Path("a.csv"), content.getvalue().encode(), 10_000))
    text = document.pages[0].text.replace("\\|", "|")
    assert all(" ".join(cell.split()) in text for row in rows for cell in row)


@pytest.mark.parametrize(
    ("name", "content", "text", "note"),
    [
        (
            "tsconfig.json",
            '{"a": [1, 2,], /* why */\n "b": "//no", // so\n}',
            "a: 1, 2\nb: //no\n\nwhy\n\nso",
            "Comments",
        ),
        ("twice.json", '{"a": 1, "a": 2}', "a: 1\na: 2", None),
        ("many.json", '{"a": 1}\n{"a": 2}', "a: 1\n\na: 2", None),
        ("open.json", '{"a":"' + r"\"" * 200_000, '{"a":"' + r"\"" * 200_000, "no valid JSON (Unterminated string"),
        ("python.json", "{'a': 1}", "{'a': 1}", "no valid JSON (Expecting property name"),
        (
            "a.jsonl",
            '{"a": 1}\n{"a": 2}\n{"a": "cut o',
            'a: 1\n\na: 2\n\n{"a": "cut o',
            "the first is line 3.",
        ),
    ],
)
def test_what_is_nearly_json_is_read_and_noted(
    tmp_path: Path, name: str, content: str, text: str, note: str | None
) -> None:
    document = _read(tmp_path / name, content)
    assert document.pages[0].text == text
    assert (note in document.notes[0]) if note else not document.notes
