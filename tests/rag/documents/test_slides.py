"""Presentations: what is read of them as text, and what is noted."""

from pathlib import Path

import pytest

from jina_rag.rag.documents import read_document
from tests.rag.documents.office import HIDDEN, SPACES, shape, shape_paragraph, shape_tree, write_pptx

LETTERED = '<a:buAutoNum type="alphaLcParenR" startAt="2"/>'


def _run(text: str, properties: str = "") -> str:
    return f"<a:r><a:rPr {properties}/><a:t>{text}</a:t></a:r>"


def _paragraph(*contents: str, tag: str = "") -> str:
    content = "".join(contents)
    return shape(f"<a:p>{f'<{tag}>{content}</{tag}>' if tag else content}</a:p>")


def _slide(folder: Path, shapes: str, **parts: str) -> str:
    document = read_document(write_pptx(folder / "a.pptx", [shapes], parts))
    assert document.notes == ()
    (page,) = document.pages
    return page.text


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        (_paragraph(_run("10"), _run("6", "baseline='30000'")), "10^6"),
        (_paragraph(_run("H"), _run("2", "baseline='-25000'")), "H_2"),
        (_paragraph(_run("9", "strike='sngStrike'"), "<a:br/><a:fld><a:t>8</a:t></a:fld>"), "~~9~~\n8"),
        (_paragraph(f"<m:sSup><m:e>{_run('x')}</m:e><m:sup>{_run('2')}</m:sup></m:sSup>", tag="m:oMath"), "x^2"),
        (shape(shape_paragraph("# no heading")), r"\# no heading"),
        (shape("".join(shape_paragraph(text, LETTERED) for text in "xy")), "b) x\nc) y"),
        (shape("<a:p><a:r><a:rPr><a:hlinkClick r:id='hyperlink'/></a:rPr><a:t>a page</a:t></a:r></a:p>"), "a page"),
        (shape(shape_paragraph("3"), placeholder='type="sldNum"'), ""),
        (shape(shape_paragraph("text"), 'descr="An arrow"'), "text\n\nAn arrow"),
        ('<p:pic><p:nvPicPr><p:cNvPr descr="A lamp" title="Fig. 1"/></p:nvPicPr></p:pic>', "Fig. 1: A lamp"),
        (f"<p:grpSp><p:grpSp>{shape(shape_paragraph('deep'))}</p:grpSp></p:grpSp>", "deep"),
        (
            '<p:graphicFrame><a:tbl><a:tr><a:tc gridSpan="2">{0}</a:tc><a:tc hMerge="1">{1}</a:tc></a:tr>'
            '<a:tr><a:tc rowSpan="2">{0}</a:tc><a:tc>{0}</a:tc></a:tr>'
            '<a:tr><a:tc vMerge="1">{1}</a:tc><a:tc>{0}</a:tc></a:tr>'
            "</a:tbl></p:graphicFrame>".format(f"<a:txBody>{shape_paragraph('A')}</a:txBody>", "<a:txBody/>"),
            "| A | A |\n| --- | --- |\n| A | A |\n| A | A |",
        ),
    ],
)  # fmt: skip
def test_a_slide_says_what_powerpoint_shows(tmp_path: Path, shapes: str, expected: str) -> None:
    assert _slide(tmp_path, shape(shape_paragraph("end"), 'id="2"') + shapes).removeprefix("end").strip() == expected


def test_charts_and_diagrams_are_text(tmp_path: Path) -> None:
    frame = (
        "<p:graphicFrame><p:nvGraphicFramePr><p:cNvPr/></p:nvGraphicFramePr><a:graphic>{}</a:graphic></p:graphicFrame>"
    )

    def points(*values: str) -> str:
        return "".join(f'<c:pt idx="{place}"><c:v>{value}</c:v></c:pt>' for place, value in enumerate(values))

    def series(name: str, code: str, *values: str) -> str:
        dates = f"<c:numCache><c:formatCode>d/m/yyyy</c:formatCode>{points('45413', '45414')}</c:numCache>"
        code = f"<c:formatCode>{code}</c:formatCode>" if code else ""
        return (
            f"<c:ser><c:tx><c:strRef><c:strCache>{points(name)}</c:strCache></c:strRef></c:tx>"
            f"<c:cat><c:numRef>{dates}</c:numRef></c:cat><c:val><c:numLit>{code}{points(*values)}</c:numLit></c:val></c:ser>"
        )

    chart = (
        f"<c:chartSpace {SPACES}><c:chart><c:title><c:rich>{shape_paragraph('Visitors')}</c:rich></c:title>"
        f"{series('Adults', '', '4.4000000000000004', '2.0')}{series('Part', '0.0%', '0.075', '1')}"
        "</c:chart></c:chartSpace>"
    )
    diagram = f"<dgm:dataModel {SPACES}><dgm:pt><dgm:t>{shape_paragraph('Plan')}</dgm:t></dgm:pt></dgm:dataModel>"
    shapes = frame.format('<c:chart r:id="chart"/>') + frame.format('<dgm:relIds r:dm="diagramData"/>')
    text = _slide(tmp_path, shapes, chart=chart, diagramData=diagram)
    assert text == (
        "Visitors\n\n|  | Adults | Part |\n| --- | --- | --- |\n| 2024-05-01 | 4.4 | 7.5% |\n"
        "| 2024-05-02 | 2 | 100.0% |\n\nPlan"
    )


def test_notes_comments_and_layouts_are_read(tmp_path: Path) -> None:
    number = shape(shape_paragraph("7"), placeholder='type="sldNum"')
    place = '<p:spPr><a:xfrm><a:off x="0" y="9"/></a:xfrm></p:spPr><p:txBody>'
    layout = shape(shape_paragraph("Click to add"), placeholder='type="body" idx="5"').replace("<p:txBody>", place)
    notes = shape(shape_paragraph("Smile."), placeholder='idx="1"') + number
    reply = f"<p:reply authorId='4'><p:txBody>{shape_paragraph('Now.')}</p:txBody></p:reply>"
    parts = {
        "notesSlide": f"<p:notes {SPACES}>{shape_tree(notes)}</p:notes>",
        "commentAuthors": f'<p:cmAuthorLst {SPACES}><p:cmAuthor id="4" name="Ann"/></p:cmAuthorLst>',
        "comments": f'<p:cmLst {SPACES}><p:cm authorId="4"><p:text>Why?</p:text></p:cm>'
        f"<p:cm authorId='5'><p:txBody>{shape_paragraph('When?')}</p:txBody>{reply}</p:cm></p:cmLst>",
        "slideLayout": f"<p:sldLayout {SPACES}>{shape_tree(layout + shape(shape_paragraph('Draft')))}</p:sldLayout>",
    }  # fmt: skip
    first = shape(shape_paragraph("low"), placeholder='idx="5"') + shape(shape_paragraph("high"))
    title = shape(shape_paragraph("The title"), placeholder='type="title" idx="0"')
    path = write_pptx(tmp_path / "a.pptx", [first + title, HIDDEN + shape(shape_paragraph("hush"))], parts)
    document = read_document(path)
    more = "Notes: Smile.\n\nComment by Ann: Why?\n\nComment: When?\n\nComment by Ann: Now."
    assert document.title == "The title"
    assert document.pages[0].text == f"# The title\n\nhigh\n\nlow\n\nDraft\n\n{more}"
    assert document.pages[1].text == f"hush\n\n{more}"
    assert document.notes == ("Slides that are hidden in the show were read: 2.",)


def test_what_is_no_text_is_noted(tmp_path: Path) -> None:
    picture = "<p:pic><p:nvPicPr><p:cNvPr/><p:nvPr>{}</p:nvPr></p:nvPicPr></p:pic>"
    shapes = (
        shape(shape_paragraph("Shown")) + shape(shape_paragraph("secret"), 'hidden="1"') + picture.format("")
        + picture.format("<a:videoFile/>") + "<p:contentPart/><p:graphicFrame><p:oleObj/></p:graphicFrame>"
    )  # fmt: skip
    document = read_document(write_pptx(tmp_path / "a.pptm", [shapes], {"vbaProject": ""}))
    assert document.pages[0].text == "Shown"
    assert document.notes == (
        "Left out: embedded objects (1), handwritten drawings (1), hidden shapes (1), macros (1), "
        "pictures without a description (1), sounds and films (1).",
    )
