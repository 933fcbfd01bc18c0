"""Word documents: what is read of them as text, and what is noted."""

from pathlib import Path

import pytest

from jina_rag.rag.documents import Document, read_document
from tests.rag.documents.office import SPACES, docx_paragraph, write_docx


def _read(folder: Path, body: str, **parts: str) -> Document:
    roots = {kind: f"<w:{kind} {SPACES}>{content}</w:{kind}>" for kind, content in parts.items()}
    return read_document(write_docx(folder / "a.docx", body, parts=roots))


def _text(folder: Path, body: str, **parts: str) -> str:
    document = _read(folder, body, **parts)
    assert document.notes == ()
    return document.pages[0].text


def _level(number: int, name: str, pattern: str, more: str = "") -> str:
    content = f'<w:start w:val="1"/><w:numFmt w:val="{name}"/>{more}<w:lvlText w:val="{pattern}"/>'
    return f'<w:lvl w:ilvl="{number}">{content}</w:lvl>'


def _numbered(text: str, list_id: int, level: int) -> str:
    numbering = f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{list_id}"/></w:numPr>'
    return f"<w:p><w:pPr>{numbering}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def _run(text: str, properties: str = "") -> str:
    return f"<w:r><w:rPr>{properties}</w:rPr><w:t>{text}</w:t></w:r>"


RAISED = '<w:vertAlign w:val="superscript"/>'
LOWERED = '<w:vertAlign w:val="subscript"/>'
RAISED_STYLE = '<w:rStyle w:val="Raised"/>'

NUMBERING = f"""
<w:abstractNum w:abstractNumId="7">
{_level(0, "decimal", "%1.", '<w:pStyle w:val="Article"/>')}
{_level(1, "decimal", "%1.%2", '<w:pStyle w:val="Clause"/>')}
{_level(2, "lowerLetter", "(%3)")}
{_level(3, "upperRoman", "%4)", '<w:lvlRestart w:val="0"/>')}
{_level(4, "bullet", "&#xF0B7;")}
{_level(5, "decimal", "%1-%3", "<w:isLgl/>")}
{_level(6, "chicago", "%7")}
</w:abstractNum>
<w:abstractNum w:abstractNumId="8">{_level(0, "bullet", "o")}{_level(1, "bullet", "o")}</w:abstractNum>
<w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num>
<w:num w:numId="2"><w:abstractNumId w:val="7"/>
<w:lvlOverride w:ilvl="2"><w:startOverride w:val="5"/></w:lvlOverride></w:num>
<w:num w:numId="3"><w:abstractNumId w:val="8"/></w:num>"""

STYLES = """
<w:style w:type="paragraph" w:styleId="h1"><w:name w:val="heading 1"/></w:style>
<w:style w:type="paragraph" w:styleId="Article"><w:name w:val="Article"/><w:basedOn w:val="h1"/>
<w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr></w:style>
<w:style w:type="paragraph" w:styleId="Clause"><w:name w:val="Clause"/><w:basedOn w:val="Article"/>
<w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style>
<w:style w:type="character" w:styleId="Secret"><w:name w:val="Secret"/><w:rPr><w:vanish/></w:rPr></w:style>
<w:style w:type="character" w:styleId="Raised"><w:name w:val="Raised"/>
<w:rPr><w:vertAlign w:val="superscript"/></w:rPr></w:style>"""


def test_clauses_have_the_numbers_that_word_shows(tmp_path: Path) -> None:
    body = "".join(
        [
            docx_paragraph("Loan", "Article"),
            docx_paragraph("Repayment", "Article"),
            docx_paragraph("Instalments", "Clause"),
            docx_paragraph("Interest", "Clause"),
            _numbered("at five per cent", 1, 2),
            _numbered("at the bank's rate", 1, 2),
            _numbered("first", 1, 3),
            docx_paragraph("Default", "Article"),
            _numbered("restarted", 2, 2),
            _numbered("goes on", 2, 2),
            _numbered("never restarted", 1, 3),
            _numbered("legal", 1, 5),
            docx_paragraph("Notice", "Clause"),
        ]
    )
    assert _text(tmp_path, body, numbering=NUMBERING, styles=STYLES).split("\n\n") == [
        *("# 1. Loan", "# 2. Repayment", "## 2.1 Instalments", "## 2.2 Interest"),
        *("(a) at five per cent", "(b) at the bank's rate", "I) first"),
        *("# 3. Default", "(e) restarted", "(f) goes on", "II) never restarted", "3-6 legal", "## 3.2 Notice"),
    ]


def test_lists_are_markdown(tmp_path: Path) -> None:
    body = docx_paragraph("Bring:") + _numbered("a coat", 3, 0) + _numbered("warm", 3, 1) + _numbered("a hat", 3, 0)
    assert _text(tmp_path, body, numbering=NUMBERING) == "Bring:\n\n- a coat\n  - warm\n- a hat"


def test_an_unknown_format_of_numbers_is_noted(tmp_path: Path) -> None:
    document = _read(tmp_path, _numbered("x", 1, 6), numbering=NUMBERING)
    assert document.pages[0].text == "1 x"
    assert document.notes == ("Automatic numbers of an uncommon format, written in digits: 1.",)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        (_run("10") + _run("6", RAISED), "10^6"),
        (_run("e") + _run("x+", RAISED_STYLE) + _run("1", RAISED_STYLE), "e^(x+1)"),
        (_run("H") + _run("2", LOWERED) + _run("O"), "H_2O"),
        (_run("100", "<w:strike/>") + _run(" 90"), "~~100~~ 90"),
        (_run("# no heading"), r"\# no heading"),
        ("<w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t><w:noBreakHyphen/><w:t>d</w:t></w:r>", "a\tb\nc-d"),
        ('<w:hyperlink r:id="hyperlink"><w:r><w:t>the page</w:t></w:r></w:hyperlink>', "[the page](https://example.com/a)"),
        (
            '<w:r><w:fldChar w:fldCharType="begin"/><w:instrText>HYPERLINK "http://b.c"</w:instrText>'
            '<w:fldChar w:fldCharType="separate"/><w:t>here</w:t><w:fldChar w:fldCharType="end"/></w:r>',
            "here (http://b.c)",
        ),
        ('<w:r><w:sym w:font="Wingdings" w:char="F0FE"/><w:t> Yes</w:t></w:r>', "☑ Yes"),
        (
            f"<w:sdt><w:sdtPr><w:alias/></w:sdtPr><w:sdtContent>{_run('in a control')}</w:sdtContent></w:sdt>",
            "in a control",
        ),
        (
            "<w:r><w:ruby><w:rubyPr/><w:rt><w:r><w:t>かんじ</w:t></w:r></w:rt>"
            "<w:rubyBase><w:r><w:t>漢字</w:t></w:r></w:rubyBase></w:ruby></w:r>",
            "漢字(かんじ)",
        ),
    ],
)  # fmt: skip
def test_a_line_says_what_word_shows(tmp_path: Path, runs: str, expected: str) -> None:
    assert _text(tmp_path, f"<w:p>{runs}</w:p>", styles=STYLES) == expected


@pytest.mark.parametrize(
    ("equation", "expected"),
    [
        ("<m:f><m:num><m:r><m:t>a+b</m:t></m:r></m:num><m:den><m:r><m:t>2</m:t></m:r></m:den></m:f>", "(a+b)/2"),
        (
            "<m:sSubSup><m:e><m:r><m:t>x</m:t></m:r></m:e><m:sub><m:r><m:t>i</m:t></m:r></m:sub>"
            "<m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:sSubSup>",
            "x_i^2",
        ),
        (
            '<m:nary><m:naryPr><m:chr m:val="∑"/></m:naryPr><m:sub><m:r><m:t>i=1</m:t></m:r></m:sub>'
            "<m:sup><m:r><m:t>n</m:t></m:r></m:sup><m:e><m:rad><m:deg/><m:e><m:r><m:t>i</m:t></m:r></m:e></m:rad></m:e></m:nary>",
            "∑_(i=1)^n √(i)",
        ),
        (
            '<m:d><m:dPr><m:begChr m:val="["/><m:endChr m:val=")"/><m:sepChr m:val=","/></m:dPr>'
            "<m:e><m:r><m:t>0</m:t></m:r></m:e><m:e><m:r><m:t>1</m:t></m:r></m:e></m:d>",
            "[0,1)",
        ),
        (
            "<m:m><m:mr><m:e><m:r><m:t>1</m:t></m:r></m:e><m:e><m:r><m:t>0</m:t></m:r></m:e></m:mr>"
            "<m:mr><m:e><m:r><m:t>0</m:t></m:r></m:e><m:e><m:r><m:t>1</m:t></m:r></m:e></m:mr></m:m>",
            "[1, 0; 0, 1]",
        ),
    ],
)
def test_equations_are_lines_of_text(tmp_path: Path, equation: str, expected: str) -> None:
    body = f"<w:p><w:r><w:t>So </w:t></w:r><m:oMath>{equation}</m:oMath></w:p>"
    assert _text(tmp_path, body) == f"So {expected}"


def test_notes_and_comments_follow_their_paragraph(tmp_path: Path) -> None:
    reference = '<w:r><w:rPr><w:vertAlign w:val="superscript"/></w:rPr><w:{}Reference w:id="{}"/></w:r>'
    body = (
        f"<w:p><w:r><w:t>Founded in 1998</w:t></w:r>{reference.format('footnote', 5)}{reference.format('comment', 1)}"
        f"<w:r><w:t>, closed.</w:t></w:r>{reference.format('endnote', 2)}</w:p>" + docx_paragraph("After.")
        + f"<w:p><w:r><w:t>More</w:t></w:r>{reference.format('footnote', 4)}</w:p>"
    )  # fmt: skip
    text = _text(
        tmp_path,
        body,
        footnotes=f'<w:footnote w:id="4">{docx_paragraph("Four.")}</w:footnote>'
        f'<w:footnote w:id="5">{docx_paragraph("Five.")}{docx_paragraph("Six.")}</w:footnote>',
        endnotes=f'<w:endnote w:id="2">{docx_paragraph("The end.")}</w:endnote>',
        comments=f'<w:comment w:id="1" w:author="Ann Lee">{docx_paragraph("Really?")}</w:comment>',
    )
    assert text.split("\n\n") == [
        *("Founded in 1998[1], closed.[i]", "[1] Five. Six.", "Comment by Ann Lee: Really?", "[i] The end."),
        *("After.", "More[2]", "[2] Four."),
    ]


def test_headers_and_footers_come_first_and_once(tmp_path: Path) -> None:
    section = '<w:sectPr><w:headerReference r:id="header"/><w:footerReference r:id="footer"/></w:sectPr>'
    body = f"<w:p><w:pPr>{section}</w:pPr><w:r><w:t>Body</w:t></w:r></w:p>{section}"
    path = tmp_path / "a.docx"
    parts = {kind: f"<w:x {SPACES}>{docx_paragraph(kind * 2)}</w:x>" for kind in ("header", "footer")}
    document = read_document(write_docx(path, body, parts=parts))
    assert document.pages[0].text == "Header: headerheader\n\nFooter: footerfooter\n\nBody"


def test_text_boxes_are_read_once_and_pictures_described(tmp_path: Path) -> None:
    box = f"<w:txbxContent>{docx_paragraph('In a box', 'heading2')}</w:txbxContent>"
    drawing = f'<w:drawing><w:docPr descr="A lamp"/>{box}</w:drawing>'
    old = f'<w:pict><w:shape alt="A lamp">{box}</w:shape></w:pict>'
    body = (
        f"<w:p><w:r><w:t>Before</w:t><w:AlternateContent><w:Choice>{drawing}</w:Choice><w:Fallback>{old}</w:Fallback>"
        "</w:AlternateContent><w:t>after</w:t></w:r></w:p>" + docx_paragraph("Next")
    )
    assert _text(tmp_path, body) == "Before A lamp after\n\n## In a box\n\nNext"


def test_merged_cells_are_repeated(tmp_path: Path) -> None:
    def cell(text: str, properties: str = "") -> str:
        return f"<w:tc><w:tcPr>{properties}</w:tcPr>{docx_paragraph(text)}</w:tc>"

    rows = [
        [cell("Size", '<w:gridSpan w:val="2"/>'), cell("Price")],
        [cell("Big", '<w:vMerge w:val="restart"/>'), cell("red"), cell("1")],
        [cell("", "<w:vMerge/>"), cell("blue"), cell("2")],
    ]
    table = "".join(f"<w:tr>{''.join(row)}</w:tr>" for row in rows)
    expected = "| Size | Size | Price |\n| --- | --- | --- |\n| Big | red | 1 |\n| Big | blue | 2 |"
    assert _text(tmp_path, f"<w:tbl>{table}</w:tbl>") == expected
    assert _text(tmp_path, f"<w:tbl><w:tr>{cell('A frame')}</w:tr></w:tbl>") == "A frame"


def test_what_is_deleted_or_hidden_is_out_and_noted(tmp_path: Path) -> None:
    body = (
        f"<w:tbl><w:tr><w:trPr><w:del/></w:trPr><w:tc>{docx_paragraph('gone')}</w:tc></w:tr></w:tbl>"
        "<w:p><w:r><w:t>Pay </w:t></w:r><w:del><w:r><w:delText>ten</w:delText></w:r></w:del>"
        "<w:ins><w:r><w:t>five</w:t></w:r></w:ins></w:p>"
        "<w:p><w:pPr><w:rPr><w:del/></w:rPr></w:pPr><w:r><w:t>Joined </w:t></w:r></w:p>"
        "<w:p>"
        + _run("lines")
        + _run("SECRET", "<w:vanish/>")
        + _run("SECRET", '<w:rStyle w:val="Secret"/>')
        + _run(" shown", '<w:vanish w:val="0"/>')
        + '<w:r><w:sym w:font="Symbol" w:char="F061"/><w:drawing><w:pic/></w:drawing></w:r>'
        '<w:r><w:object><w:OLEObject w:ProgID="Equation.3"/></w:object></w:r></w:p>'
    )
    document = _read(tmp_path, body, styles=STYLES)
    assert document.pages[0].text == "Pay five\n\nJoined lines shown�"
    assert document.notes == (
        "Characters of symbol fonts, written as �: 1.",
        "Left out: embedded objects (1), pictures without a description (1), stretches of hidden text (2), "
        "tracked deletions (2).",
    )
