"""Every other kind of file: what is kept of it, and what of it is refused."""

import io
import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from zipfile import ZipFile

import pytest
from openpyxl import Workbook
from pptx import Presentation
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from jina_rag.errors import DocumentError
from jina_rag.rag.documents import Document, ReadLimits, read_document
from tests.rag.documents.office import docx_paragraph, write_docx, write_epub, write_zip
from tests.rag.documents.pdf import write_pdf


def _write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _text(document: Document) -> str:
    (page,) = document.pages
    return page.text


def test_a_word_document_keeps_headings_and_tables(tmp_path: Path) -> None:
    cells = "".join(
        f"<w:tr><w:tc>{docx_paragraph(a)}</w:tc><w:tc>{docx_paragraph(b)}</w:tc></w:tr>" for a, b in ("AB", "12")
    )
    body = (
        docx_paragraph("The handbook", "Title")
        + docx_paragraph("Hours", "heading1")
        + docx_paragraph("Open &lt;daily&gt; from ten.")
        + docx_paragraph("Winter", "heading2")
        + f"<w:tbl>{cells}</w:tbl>"
    )
    document = read_document(write_docx(tmp_path / "a.docx", body))
    assert document.title == "The handbook"
    assert document.is_markdown
    text = _text(document)
    assert text.startswith("# The handbook\n\n# Hours\n\nOpen <daily> from ten.\n\n## Winter")
    assert "| 1 | 2 |" in text


def test_a_presentation_has_a_page_for_each_slide(tmp_path: Path) -> None:
    show = Presentation()
    first = show.slides.add_slide(show.slide_layouts[1])
    first.shapes.title.text = "Opening\nhours"
    first.placeholders[1].text = "Daily from ten\nClosed in winter"
    first.notes_slide.notes_text_frame.text = "Smile."
    second = show.slides.add_slide(show.slide_layouts[6])
    numbers = CategoryChartData()  # type: ignore[no-untyped-call]
    numbers.categories = ["Spring", "Autumn"]
    numbers.add_series("Visitors", (120, 80.5))  # type: ignore[no-untyped-call]
    chart = second.shapes.add_chart(XL_CHART_TYPE.PIE, Inches(1), Inches(5), Inches(3), Inches(2), numbers)
    chart.chart.has_title = True
    chart.chart.chart_title.text_frame.text = "Who came"
    table = second.shapes.add_table(2, 2, Inches(1), Inches(1), Inches(3), Inches(1)).table
    for row, texts in enumerate((("Ticket", "Price"), ("Adult", "12 | 14"))):
        for column, text in enumerate(texts):
            table.cell(row, column).text = text
    group = second.shapes.add_group_shape()
    group.shapes.add_textbox(Inches(1), Inches(4), Inches(1), Inches(1)).text_frame.text = "In a group"
    show.slides.add_slide(show.slide_layouts[6])
    show.save(str(tmp_path / "a.pptx"))

    document = read_document(tmp_path / "a.pptx")
    assert document.title == "Opening hours"
    assert [page.number for page in document.pages] == [1, 2, 3]
    assert document.pages[0].text == "# Opening hours\n\nDaily from ten\nClosed in winter\n\nNotes: Smile."
    assert document.pages[1].text == (
        "| Ticket | Price |\n| --- | --- |\n| Adult | 12 \\| 14 |\n\nIn a group\n\n"
        "Who came\n\n|  | Visitors |\n| --- | --- |\n| Spring | 120 |\n| Autumn | 80.5 |"
    )
    assert document.pages[2].text == ""


def test_a_workbook_has_a_page_for_each_visible_sheet(tmp_path: Path) -> None:
    book = Workbook()
    prices = book.active
    assert prices is not None
    prices.title = "Prices"
    for row in (["Ticket", "Price", "From", None], ["Adult", 12.5, date(2025, 3, 1)], [], ["Child", 5.0, None, None]):
        prices.append(row)
    book.create_sheet("Secret").sheet_state = "hidden"
    book["Secret"]["A1"] = "hidden words"
    book.create_sheet("Empty")
    book.save(tmp_path / "a.xlsx")

    document = read_document(tmp_path / "a.xlsx")
    assert [page.number for page in document.pages] == [1, 2]
    assert document.pages[0].text == (
        "# Prices\n\n| Ticket | Price | From |\n| --- | --- | --- |\n| Adult | 12.5 | 2025-03-01 |\n| Child | 5 |  |"
    )
    assert document.pages[1].text == ""
    assert document.notes == ("Hidden sheets were left out: 'Secret'.",)


def test_a_book_is_read_in_its_own_order(tmp_path: Path) -> None:
    document = read_document(write_epub(tmp_path / "a.epub"))
    assert document.title == "The Book"
    assert _text(document) == "# second\n\nThe second text.\n\n# first\n\nThe first text."
    assert document.notes == ("Chapters that the book lists and does not hold (1): missing.",)


def test_a_protected_book_is_refused(tmp_path: Path) -> None:
    encryption = '<encryption><CipherData><CipherReference URI="{}"/></CipherData></encryption>'
    fonts = {"META-INF/encryption.xml": encryption.format("OEBPS/font.otf")}
    assert read_document(write_epub(tmp_path / "fonts.epub", **fonts)).title == "The Book"
    text = {"META-INF/encryption.xml": encryption.format("OEBPS/one%20.xhtml")}
    with pytest.raises(DocumentError, match="protected by its seller"):
        read_document(write_epub(tmp_path / "text.epub", **text))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_finds_its_separator(tmp_path: Path, separator: str) -> None:
    rows = [["Ticket", "Price", ""], ["Adult, tall", "12"], ["", ""], ['"Child\n|"', "5"]]
    lines = [separator.join(f'"{cell}"' if separator in cell else cell for cell in row) for row in rows]
    document = read_document(_write(tmp_path / ("a.tsv" if separator == "\t" else "a.csv"), "\n".join(lines)))
    assert _text(document) == "| Ticket | Price |\n| --- | --- |\n| Adult, tall | 12 |\n| Child \\| | 5 |"


def test_a_long_table_repeats_its_header(tmp_path: Path) -> None:
    rows = [f"row {number},{number * number}" for number in range(200)]
    text = _text(read_document(_write(tmp_path / "a.csv", "\n".join(["Name,Square", *rows]))))
    tables = text.split("\n\n")
    assert len(tables) > 5
    assert all(table.startswith("| Name | Square |\n| --- | --- |\n| row") for table in tables)
    assert text.count("| row ") == 200
    assert max(map(len, tables)) < 600


def test_json_names_each_value_by_its_path(tmp_path: Path) -> None:
    value = {"museum": {"hours": ["10 to 18", "closed"], "rooms": [{"name": "Lens", "big": True}, {"floor": 2}]}}
    text = _text(read_document(_write(tmp_path / "a.json", json.dumps(value))))
    assert text.split("\n") == [
        "museum.hours: 10 to 18, closed",
        "museum.rooms.1.name: Lens",
        "museum.rooms.1.big: true",
        "museum.rooms.2.floor: 2",
    ]


def test_records_are_set_apart(tmp_path: Path) -> None:
    records = [{"name": "Mars", "moons": 2, "note": None}, {"name": "Venus", "mass": 4.867e24}]
    expected = "name: Mars\nmoons: 2\n\nname: Venus\nmass: 4.867e+24"
    assert _text(read_document(_write(tmp_path / "a.json", json.dumps(records)))) == expected
    lines = "\n".join(map(json.dumps, records))
    assert _text(read_document(_write(tmp_path / "a.jsonl", lines + "\n\n"))) == expected


def test_json_is_not_computed(tmp_path: Path) -> None:
    digits = "9" * 10_000
    assert _text(read_document(_write(tmp_path / "a.json", f"[{digits}, 1.10, 1e999]"))) == f"{digits}\n\n1.10\n\n1e999"
    assert _text(read_document(_write(tmp_path / "b.json", r'["half \ud83d of a pair"]'))) == "half \ufffd of a pair"


def test_source_code_is_read_as_it_stands(tmp_path: Path) -> None:
    code = "def f():\n\t# not a heading\n    return 1\n"
    document = read_document(_write(tmp_path / "tool.PY", code))
    assert (document.title, _text(document), document.is_markdown) == ("tool.PY", code, False)


# Malicious and damaged files.


@pytest.mark.parametrize("kind", [".docx", ".pptx", ".xlsx", ".epub"])
def test_zip_bombs_are_refused_unopened(tmp_path: Path, kind: str) -> None:
    zeros = bytes(64 * 2**20)
    with pytest.raises(DocumentError, match="as zip bombs do"):
        read_document(write_zip(tmp_path / f"one{kind}", {"word/document.xml": zeros}))
    with pytest.raises(DocumentError, match="10,001 files"):
        read_document(write_zip(tmp_path / f"many{kind}", {f"{number}": "" for number in range(10_001)}))


def _repeated_strings(path: Path) -> None:
    """A workbook whose thousand cells share one long string."""
    book = Workbook()
    book.save(path)
    with ZipFile(path) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    rows = ("<row>" + '<c t="s"><v>0</v></c>' * 10 + "</row>") * 100
    files["xl/worksheets/sheet1.xml"] = f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>'
    files["xl/sharedStrings.xml"] = f'<sst xmlns="{main}"><si><t>{"word " * 4000}</t></si></sst>'
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    part = f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kind}"/></Types>'
    files["[Content_Types].xml"] = files["[Content_Types].xml"].replace("</Types>", part)
    write_zip(path, files)


def _repeated_slide(path: Path) -> None:
    """A presentation that shows one slide a hundred times."""
    show = Presentation()
    show.slides.add_slide(show.slide_layouts[5]).shapes.title.text = "word " * 4000
    show.save(str(path))
    with ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    slide = re.compile(rb'<p:sldId [^>]*id="256"[^>]*/>')
    (entry,) = slide.findall(files["ppt/presentation.xml"])
    entries = b"".join(entry.replace(b"256", b"%d" % number) for number in range(256, 356))
    write_zip(path, {**files, "ppt/presentation.xml": slide.sub(entries, files["ppt/presentation.xml"])})


OUTGROWING: dict[str, Callable[[Path], object]] = {
    ".xlsx": _repeated_strings,
    ".pptx": _repeated_slide,
    ".json": lambda path: _write(path, json.dumps({"k" * 5000: [{"a": 1}] * 500})),
    ".csv": lambda path: _write(path, ",".join(["h" * 100] * 11) + ("\n" + ",".join("1" * 11)) * 2000),
}


@pytest.mark.parametrize("kind", OUTGROWING)
def test_text_that_outgrows_its_file_is_cut_and_noted(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a{kind}"
    OUTGROWING[kind](path)
    limit = max(1000, 10 * path.stat().st_size)
    document = read_document(path, ReadLimits(max_characters=1000, memory_bytes=2**28, seconds=30))
    assert sum(len(page.text) for page in document.pages) == limit
    assert f"Only the first {limit:,} characters were read" in document.notes[-1]
    assert sum(map(len, document.notes)) < 1000


def test_a_chapter_is_read_once_however_often_the_book_names_it(tmp_path: Path) -> None:
    path = write_epub(tmp_path / "a.epub")
    with ZipFile(path) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    once = _text(read_document(path))
    spine = files["OEBPS/book.opf"]
    files["OEBPS/book.opf"] = re.sub("(<itemref [^>]*/>)", lambda found: found[1] * 1000, spine)
    assert _text(read_document(write_zip(path, files))) == once


def test_below_a_long_header_each_value_has_its_name(tmp_path: Path) -> None:
    document = read_document(_write(tmp_path / "a.csv", "id," + "h" * 2000 + "\n" + ("7," + "b" * 390 + "\n") * 20))
    assert _text(document).count("h" * 2000) == 1
    assert _text(document).count(f"id: 7\n{'h' * 100}: {'b' * 390}\n") == 19


@pytest.mark.parametrize("kind", [".md", ".html", ".pdf"])
def test_a_long_title_is_cut_and_noted(tmp_path: Path, kind: str) -> None:
    title, path = "text " * 19_999 + "texts", tmp_path / f"a{kind}"
    contents = {".md": f"# {title}\n\ntext", ".html": f"<title>{title}</title><p>text"}
    _write(path, contents[kind]) if kind in contents else write_pdf(path, ["text"], title=title)
    document = read_document(path)
    assert len(document.title) <= 200
    assert kind == ".md" or "The title has 100,000 characters and was cut." in document.notes


@pytest.mark.parametrize("claimed", [100, 2**20])
def test_what_an_archive_unpacks_to_is_counted(tmp_path: Path, claimed: int) -> None:
    path = write_zip(tmp_path / "a.docx", {"word/document.xml": bytes(64 * 2**20)})
    path.write_bytes(path.read_bytes().replace((64 * 2**20).to_bytes(4, "little"), claimed.to_bytes(4, "little")))
    with ZipFile(path) as archive:
        assert archive.infolist()[0].file_size == claimed
    with pytest.raises(DocumentError, match="would unpack into more than 16 MB, as zip bombs do"):
        read_document(path)


def test_a_file_that_lies_about_its_size_is_damaged(tmp_path: Path) -> None:
    path = write_docx(tmp_path / "a.docx", docx_paragraph("x" * 50_000))
    data = path.read_bytes()
    with ZipFile(io.BytesIO(data)) as archive:
        size = archive.getinfo("word/document.xml").file_size
    path.write_bytes(data.replace(size.to_bytes(4, "little"), (100).to_bytes(4, "little")))
    with pytest.raises(DocumentError, match="damaged"):
        read_document(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_entities_are_refused(tmp_path: Path, encoding: str) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY b "bomb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
    path = write_docx(
        tmp_path / "a.docx", docx_paragraph("&c;"), prologue=f'<?xml version="1.0" encoding="{encoding}"?>{bomb}'
    )
    with ZipFile(path) as archive:
        files: dict[str, str | bytes] = {name: archive.read(name) for name in archive.namelist()}
    content = files["word/document.xml"]
    assert isinstance(content, bytes)
    files["word/document.xml"] = content.decode().encode(encoding)
    with pytest.raises(DocumentError, match="XML entities"):
        read_document(write_zip(path, files))


def test_entities_in_a_book_are_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY b "bomb">]><container><rootfile full-path="&b;"/></container>'
    with pytest.raises(DocumentError, match="damaged"):
        read_document(write_epub(tmp_path / "a.epub", **{"META-INF/container.xml": bomb}))


@pytest.mark.parametrize("kind", [".docx", ".pptx", ".xlsx", ".epub"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "damaged"),
        (b"MZ\x90\x00 a program", "damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "encrypted"),
    ],
    ids=["empty", "program", "password"],
)
def test_what_is_no_such_file_is_said(tmp_path: Path, kind: str, content: bytes, reason: str) -> None:
    with pytest.raises(DocumentError, match=reason):
        read_document(_write(tmp_path / f"a{kind}", content))
    with pytest.raises(DocumentError, match="damaged"):
        read_document(write_zip(tmp_path / f"b{kind}", {"a.txt": "some other archive"}))


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.html", "<div>" * 50_000 + "deep"), ("a.json", "[" * 200_000 + "]" * 200_000), ("b.json", '{"a":' * 50_000)],
)
def test_deep_nesting_harms_nobody(tmp_path: Path, name: str, content: str) -> None:
    path = _write(tmp_path / name, content)
    with pytest.raises(DocumentError, match=r"nested too deeply|no valid JSON|crashed its reader|longer than"):
        read_document(path, ReadLimits(seconds=20))
    assert _text(read_document(_write(tmp_path / "next.txt", "next"))) == "next"


def test_a_name_of_255_bytes_of_emoji_works(tmp_path: Path) -> None:
    path = _write(tmp_path / ("😀" * 62 + "abc.txt"), "text")
    assert len(path.name.encode()) == 255
    assert read_document(path).source == str(path)
