"""OpenDocument texts: what is read of them as text, and what is noted."""

from pathlib import Path

import pytest

from jina_rag.errors import DocumentError
from jina_rag.rag.documents import Document, read_document
from tests.rag.documents.office import odf, write_odt, write_zip


def _read(folder: Path, body: str, styles: str = "", parts: dict[str, str] | None = None) -> Document:
    return read_document(write_odt(folder / "a.odt", body, styles, parts))


def _text(folder: Path, body: str, styles: str = "", parts: dict[str, str] | None = None) -> str:
    document = _read(folder, body, styles, parts)
    assert document.notes == ()
    return document.pages[0].text


STYLES = """
<style:style style:name="Raised"><style:text-properties style:text-position="super 58%"/></style:style>
<style:style style:name="Lowered"><style:text-properties style:text-position="-33% 58%"/></style:style>
<style:style style:name="Struck"><style:text-properties style:text-line-through-style="solid"/></style:style>
<style:style style:name="Secret"><style:text-properties text:display="none"/></style:style>
<style:style style:name="Child" style:parent-style-name="Secret"/>
<text:list-style style:name="Bullets"><text:list-level-style-bullet text:level="1"/>
<text:list-level-style-bullet text:level="2"/></text:list-style>
<text:list-style style:name="Clauses"><text:list-level-style-number text:level="1" style:num-format="1"
style:num-suffix="."/><text:list-level-style-number text:level="2" style:num-format="1" text:display-levels="2"/>
<text:list-level-style-number text:level="3" style:num-format="a" style:num-prefix="(" style:num-suffix=")"/>
</text:list-style>
<text:outline-style><text:outline-level-style text:level="1" style:num-format="I" style:num-suffix="."/>
<text:outline-level-style text:level="2" style:num-format="1" text:display-levels="2"/></text:outline-style>"""


@pytest.mark.parametrize(
    ("inline", "expected"),
    [
        ('10<text:span text:style-name="Raised">6</text:span>', "10^6"),
        ('H<text:span text:style-name="Lowered">2</text:span>O', "H_2O"),
        ('<text:span text:style-name="Struck">9</text:span> 8', "~~9~~ 8"),
        ('a\n  b<text:s text:c="2"/>c<text:tab/>d<text:line-break/>e', "a b  c\td\ne"),
        ('<text:a xlink:href="https://example.com">here</text:a>', "[here](https://example.com)"),
        ("<text:ruby><text:ruby-base>漢</text:ruby-base><text:ruby-text>かん</text:ruby-text></text:ruby>", "漢(かん)"),
        ("# no heading", r"\# no heading"),
        ("<draw:frame><draw:image/><svg:title>F</svg:title><svg:desc>A lamp</svg:desc></draw:frame>", "F: A lamp"),
        ("in <draw:frame><draw:text-box><text:p>a box</text:p></draw:text-box></draw:frame>", "in\n\na box"),
        ("<draw:g><draw:custom-shape><text:p>a shape</text:p></draw:custom-shape></draw:g>", "a shape"),
        ("<text:date>1 May</text:date>", "1 May"),
    ],
)  # fmt: skip
def test_a_line_says_what_a_reader_sees(tmp_path: Path, inline: str, expected: str) -> None:
    assert _text(tmp_path, f"<text:p>{inline}</text:p>", STYLES) == expected


def test_numbers_of_headings_and_lists_are_counted(tmp_path: Path) -> None:
    def clauses(content: str, more: str = "") -> str:
        return f'<text:list text:style-name="Clauses" {more}>{content}</text:list>'

    def item(content: str) -> str:
        return f"<text:list-item>{content}</text:list-item>"

    sub = f"<text:list>{item('<text:p>x</text:p><text:p>more</text:p>')}{item('<text:p>y</text:p>')}</text:list>"
    body = (
        '<text:h text:outline-level="1">Loan</text:h><text:h text:outline-level="2">Rate</text:h>'
        '<text:h text:outline-level="1">End</text:h><text:h text:outline-level="2">Notice</text:h>'
        + clauses(item("<text:p>one</text:p>") + item(f"<text:p>two</text:p>{sub}"), 'xml:id="first"')
        + "<text:p>between</text:p>"
        + clauses(item("<text:p>three</text:p>"), 'text:continue-list="first"')
        + clauses(item("<text:p>anew</text:p>"))
        + clauses(item(f"<text:p>a</text:p>{sub}") + item("<text:p>b</text:p>")).replace("Clauses", "Bullets")
    )
    assert _text(tmp_path, body, STYLES).split("\n\n") == [
        *("# I. Loan", "## I.1 Rate", "# II. End", "## II.1 Notice"),
        *("1. one", "2. two", "2.1 x", "more", "2.2 y", "between", "3. three", "1. anew"),
        *("- a\n  - x", "more", "  - y\n- b"),
    ]


def test_notes_comments_headers_and_metadata_are_read(tmp_path: Path) -> None:
    body = (
        "<text:p>In 1998<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>So they say."
        "</text:p></text:note-body></text:note>.<office:annotation><dc:creator>Ann</dc:creator><text:p>Really?</text:p>"
        "</office:annotation></text:p>"
    )
    page = "<style:header><text:p>Top</text:p></style:header><style:footer><text:p>Bottom</text:p></style:footer>"
    pages = f"<style:master-page>{page}</style:master-page><style:master-page>{page}</style:master-page>"
    meta = (
        "<dc:title>A report</dc:title><dc:creator>Editor</dc:creator>"
        "<meta:initial-creator>Ann Lee</meta:initial-creator>"
        "<meta:creation-date>2024-05-01T10:00:00</meta:creation-date><dc:date>2024-06-01</dc:date>"
        "<meta:keyword>a</meta:keyword><meta:keyword>b</meta:keyword>"
    )
    document = _read(tmp_path, body, pages, {"meta.xml": odf(meta)})
    assert document.pages[0].text.split("\n\n") == [
        *("Header: Top", "Footer: Bottom", "In 1998[1].", "[1] So they say.", "Comment by Ann: Really?"),
    ]
    assert document.title == "A report"
    assert document.metadata == {
        "author": "Ann Lee",
        "created": "2024-05-01T10:00:00",
        "modified": "2024-06-01",
        "title": "A report",
        "keywords": "a, b",
    }


def test_merged_cells_are_repeated(tmp_path: Path) -> None:
    def row(*cells: str) -> str:
        return f"<table:table-row>{''.join(cells)}</table:table-row>"

    def cell(text: str, attributes: str = "") -> str:
        return f"<table:table-cell {attributes}><text:p>{text}</text:p></table:table-cell>"

    covered = "<table:covered-table-cell/>"
    header = row(cell("Size", 'table:number-columns-spanned="2"'), covered)
    table = f"<table:table-header-rows>{header}</table:table-header-rows>"
    table += row(cell("Big", 'table:number-rows-spanned="2"'), cell("red")) + row(covered, cell("blue"))
    text = _text(tmp_path, f"<table:table>{table}</table:table>")
    assert text == "| Size | Size |\n| --- | --- |\n| Big | red |\n| Big | blue |"


def test_equations_and_charts_are_text(tmp_path: Path) -> None:
    frame = '<draw:frame><draw:object xlink:href="./{}"/><draw:image/></draw:frame>'
    cells = "".join(f"<table:table-cell><text:p>{text}</text:p></table:table-cell>" for text in ("May", "4"))
    table = (
        f"<table:table><table:table-rows><table:table-row>{cells}</table:table-row></table:table-rows></table:table>"
    )
    parts = {
        "F/content.xml": "<math><semantics><mi>x</mi><annotation>x over 2</annotation></semantics></math>",
        "C/content.xml": odf(
            "<office:body><office:chart><chart:chart><chart:title><text:p>Visits</text:p></chart:title>"
            f"{table}</chart:chart></office:chart></office:body>"
        ),
    }
    text = _text(tmp_path, f"<text:p>So {frame.format('F')}</text:p><text:p>{frame.format('C')}</text:p>", "", parts)
    assert text == "So x over 2\n\nVisits\n\n| May | 4 |\n| --- | --- |"


def test_what_is_left_out_is_noted(tmp_path: Path) -> None:
    body = (
        "<text:tracked-changes><text:changed-region><text:deletion><text:p>gone</text:p></text:deletion>"
        "</text:changed-region></text:tracked-changes>"
        "<text:section text:display='none'><text:p>no</text:p></text:section>"
        '<text:p text:style-name="Child">secret</text:p><text:p>Seen<draw:control/>'
        + "".join(f"<draw:frame><draw:{kind}/></draw:frame>" for kind in ("image", "plugin", "object-ole"))
        + "</text:p>"
    )
    document = _read(tmp_path, body, STYLES, {"Basic/Standard/Module1.xml": "<a/>"})
    assert document.pages[0].text == "Seen"
    assert document.notes == (
        "Left out: embedded objects (1), form fields (1), hidden sections (1), macros (1), "
        "pictures without a description (1), sounds and films (1), stretches of hidden text (1), "
        "tracked deletions (1).",
    )


def test_encrypted_and_other_files_are_refused(tmp_path: Path) -> None:
    encrypted = {"META-INF/manifest.xml": "<manifest:encryption-data/>", "content.xml": "x"}
    with pytest.raises(DocumentError, match="encrypted"):
        read_document(write_zip(tmp_path / "a.odt", encrypted))
    with pytest.raises(DocumentError, match="has no content"):
        read_document(write_zip(tmp_path / "b.odt", {"mimetype": "x"}))


def test_the_slides_of_a_presentation_are_pages(tmp_path: Path) -> None:
    style = "<style:drawing-page-properties presentation:visibility='hidden'/>"
    frame = "<draw:frame {}><draw:text-box><text:p>{}</text:p></draw:text-box></draw:frame>"
    notes = f"<presentation:notes><draw:page-thumbnail/>{frame.format('', 'Say it slowly')}</presentation:notes>"
    comment = "<office:annotation><dc:creator>Ann</dc:creator><text:p>Too long</text:p></office:annotation>"
    title = frame.format('presentation:class="title"', "The lamp")
    slides = (
        f"<draw:page>{comment}{frame.format('', 'Oil')}{title}{notes}</draw:page>"
        f"<draw:page draw:style-name='H'>{frame.format('', 'Spare')}</draw:page>"
    )
    content = odf(
        f"<office:automatic-styles><style:style style:name='H'>{style}</style:style></office:automatic-styles>"
        f"<office:body><office:presentation>{slides}</office:presentation></office:body>"
    )
    document = read_document(write_odt(tmp_path / "a.odp", "", parts={"content.xml": content}))
    texts = [page.text for page in document.pages]
    assert texts == ["# The lamp\n\nComment by Ann: Too long\n\nOil\n\nNotes: Say it slowly", "Spare"]
    assert document.title == "The lamp"
    assert document.notes == ("Slides that are hidden in the show were read: 2.",)
