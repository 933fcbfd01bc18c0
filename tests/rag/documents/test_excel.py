"""Workbooks: values as they are shown, under the columns that they belong to."""

from datetime import date, datetime, time, timedelta
from pathlib import Path
from zipfile import ZipFile

import pytest
from openpyxl import Workbook
from openpyxl.comments import Comment
from openpyxl.worksheet.worksheet import Worksheet

from jina_rag.rag.documents import Document, read_document
from tests.rag.documents.office import write_zip

ACCOUNTING = '_-* #,##0.00\\ "€"_-;-* #,##0.00\\ "€"_-;_-* "-"??\\ "€"_-;_-@_-'
SHOWN: list[tuple[object, str, str]] = [
    (0.075, "0.0%", "7.5%"),
    (123, "00000", "00123"),
    (1234.5, "#,##0.00", "1,234.50"),
    (1234.5, ACCOUNTING, "1,234.50 €"),
    (-1234.5, ACCOUNTING, "-1,234.50 €"),
    (0, ACCOUNTING, "- €"),
    (1234, "[$zł-415] #,##0", "zł 1,234"),
    (-1234.5, '"$"#,##0_);[Red]("$"#,##0)', "($1,235)"),
    (12_345_678, '0.0,,"M"', "12.3M"),
    (1500, '[<1000]0;[<1000000]0.0,"k";0.0,,"M"', "1.5k"),
    (123456, "0.00E+00", "1.23E+05"),
    (2125551234, "(000) 000-0000", "(212) 555-1234"),
    (2.5, "0", "3"),
    (-0.2, "0", "0"),
    (5, "0.##", "5"),
    (0.1 + 0.2, "General", "0.3"),
    (0, "#", "0"),
    (7, ";;;", "7"),
    ("17", '"INV-"@', "INV-17"),
    (True, "General", "TRUE"),
    (date(2025, 3, 1), "d/m/yyyy", "2025-03-01"),
    (date(2025, 3, 1), "mmm yyyy", "2025-03"),
    (datetime(2025, 3, 1, 14, 5), "m/d/yy h:mm", "2025-03-01 14:05"),
    (time(14, 5), "h:mm AM/PM", "14:05"),
    (timedelta(hours=36), "[h]:mm", "36:00"),
]


def _sheet(book: Workbook) -> Worksheet:
    sheet = book.active
    assert isinstance(sheet, Worksheet)
    return sheet


def _read(path: Path, book: Workbook) -> Document:
    book.save(path)
    return read_document(path)


def test_values_are_read_as_they_are_shown(tmp_path: Path) -> None:
    book = Workbook()
    for row, (value, code, _) in enumerate(SHOWN, start=1):
        cell = _sheet(book).cell(row, 2, value)
        cell.number_format = code
        _sheet(book).cell(row, 1, f"case {row}")
    lines = _read(tmp_path / "a.xlsx", book).pages[0].text.split("\n")
    for row, (value, code, shown) in enumerate(SHOWN, start=1):
        assert f"| case {row} | {shown} |" in lines, (value, code)


def test_tables_titles_and_merged_cells_of_a_sheet(tmp_path: Path) -> None:
    book = Workbook()
    sheet = _sheet(book)
    sheet.title = "Sales"
    for row in [
        ["Sales by region", None, None],
        [],
        ["Region", 2024, None, None, "City", "People"],
        [None, "Q1", "Q2", None, "Rome", 3],
        ["North", 1, 2, None, "Oslo", 1],
        [None, 3, 4],
        [],
        ["Name", "Code"],
        ["Ann", 7],
    ]:
        sheet.append(row)
    for merged in ("A1:C1", "A3:A4", "B3:C3", "A5:A6"):
        sheet.merge_cells(merged)
    assert _read(tmp_path / "a.xlsx", book).pages[0].text.split("\n\n") == [
        "# Sales",
        "## Sales by region",
        "| Region | 2024 Q1 | 2024 Q2 |\n| --- | --- | --- |\n| North | 1 | 2 |\n| North | 3 | 4 |",
        "| City | People |\n| --- | --- |\n| Rome | 3 |\n| Oslo | 1 |",
        "| Name | Code |\n| --- | --- |\n| Ann | 7 |",
    ]


@pytest.mark.parametrize("kind", [".xlsx", ".xlsm"])
def test_nothing_in_a_workbook_is_lost_without_a_note(tmp_path: Path, kind: str) -> None:
    book = Workbook()
    sheet = _sheet(book)
    sheet.title = "SheetWord"
    for row in [["HeaderWord", "Number"], ["CellWord", 5], ["HiddenRowWord", "=B2*2"], ["Half", 0.5]]:
        sheet.append(row)
    sheet["C1"] = "HiddenColumnWord"
    sheet["B4"].number_format = "# ?/?"
    sheet["A2"].comment = Comment("CommentWord", "CommentAuthor")
    sheet.row_dimensions[3].hidden = True
    sheet.column_dimensions["C"].hidden = True
    sheet.oddHeader.center.text = "PageHeaderWord"
    sheet.oddFooter.left.text = "PageFooterWord"
    book.create_sheet("HiddenSheetWord").sheet_state = "hidden"
    book.properties.title, book.properties.creator, book.properties.keywords = "TitleWord", "AuthorWord", "KeyWord"
    document = _read(tmp_path / f"a{kind}", book)
    found = " ".join([document.title, document.pages[0].text, *document.metadata.values(), *document.notes])
    words = "SheetWord HeaderWord CellWord HiddenRowWord HiddenColumnWord CommentWord CommentAuthor PageHeaderWord"
    for word in [*words.split(), "PageFooterWord", "HiddenSheetWord", "TitleWord", "AuthorWord", "KeyWord"]:
        assert word in found, word
    assert document.notes == (
        "Hidden sheets were left out: 'HiddenSheetWord'.",
        "Hidden rows (1) and columns (1) were read as well.",
        "Formulas without a saved value (1, the first in B3 of 'SheetWord') have no text. Open the file in Excel, save "
        "it and add it again.",
        "Cells in number formats that are not supported (1) have plain numbers: # ?/?.",
    )


def test_a_superscript_in_a_cell_is_written_as_such(tmp_path: Path) -> None:
    book, path = Workbook(), tmp_path / "a.xlsx"
    _sheet(book).append(["Power", "of ten"])
    _sheet(book).append(["million", 0])
    book.save(path)
    with ZipFile(path) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    files["xl/worksheets/sheet1.xml"] = files["xl/worksheets/sheet1.xml"].replace('r="B2" t="n"', 'r="B2" t="s"')
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    runs = '<r><t>10</t></r><r><rPr><vertAlign val="superscript"/></rPr><t>6</t></r>'
    files["xl/sharedStrings.xml"] = f'<sst xmlns="{main}"><si>{runs}</si></sst>'
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    part = f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kind}"/></Types>'
    files["[Content_Types].xml"] = files["[Content_Types].xml"].replace("</Types>", part)
    assert "| million | 10^6 |" in read_document(write_zip(path, files)).pages[0].text
