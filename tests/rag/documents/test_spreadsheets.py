"""OpenDocument spreadsheets: values as they are shown, and what is noted."""

from pathlib import Path

from jina_rag.rag.documents import read_document
from tests.rag.documents.office import odf, write_zip

CELL = "<table:table-cell{}><text:p>{}</text:p></table:table-cell>"


def _row(*texts: str, attributes: str = "") -> str:
    cells = "".join(CELL.format("", text) if text else "<table:table-cell/>" for text in texts)
    return f"<table:table-row{attributes}>{cells}</table:table-row>"


def test_a_spreadsheet_is_read_as_it_is_shown(tmp_path: Path) -> None:
    comment = "<office:annotation><dc:creator>Ann</dc:creator><text:p>CommentWord</text:p></office:annotation>"
    wide = CELL.format(' table:number-columns-spanned="2"', "2024") + "<table:covered-table-cell/>"
    tall = (
        CELL.format(' table:number-rows-spanned="2"', "North").replace("<text:p>", f"{comment}<text:p>")
        + CELL.format("", "1<text:s/>€") * 2
    )
    covered = "<table:covered-table-cell/>" + CELL.format(' table:number-columns-repeated="2"', "7.5%")
    body = (
        '<office:automatic-styles><style:style style:name="h"><style:table-properties table:display="false"/>'
        "</style:style></office:automatic-styles><office:body><office:spreadsheet>"
        '<table:table table:name="SheetWord"><table:table-column table:number-columns-repeated="2"/>'
        f'<table:table-column table:visibility="collapse"/>{_row("Sales by region")}'
        '<table:table-row table:number-rows-repeated="1000000"><table:table-cell/></table:table-row>'
        f"<table:table-row>{CELL.format('', 'Region')}{wide}</table:table-row>{_row('', 'Q1', 'Q2')}"
        f"<table:table-row>{tall}</table:table-row><table:table-row>{covered}</table:table-row>"
        + _row("South", "5", "6", attributes=' table:visibility="filter"')
        + "<table:shapes><draw:frame><text:p>BoxWord</text:p></draw:frame></table:shapes>"
        f'</table:table><table:table table:name="HiddenWord" table:style-name="h">{_row("x")}</table:table>'
        "</office:spreadsheet></office:body>"
    )
    meta = odf("<dc:title>TitleWord</dc:title><meta:initial-creator>AuthorWord</meta:initial-creator>")
    document = read_document(write_zip(tmp_path / "a.ods", {"content.xml": odf(body), "meta.xml": meta}))
    assert (document.title, document.metadata) == ("TitleWord", {"author": "AuthorWord"})
    assert document.pages[0].text.split("\n\n") == [
        "# SheetWord",
        "## Sales by region",
        "| Region | 2024 Q1 | 2024 Q2 |\n| --- | --- | --- |\n"
        "| North | 1 € | 1 € |\n| North | 7.5% | 7.5% |\n| South | 5 | 6 |",
        "Comment by Ann: CommentWord",
        "BoxWord",
    ]
    assert document.notes == (
        "Hidden sheets were left out: 'HiddenWord'.",
        "Hidden rows (1) and columns (1) were read as well.",
    )
