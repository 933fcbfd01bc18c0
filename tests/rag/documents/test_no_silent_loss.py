"""Whatever word is written into any part of an office document is in its text or metadata, or named in a note."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from jina_rag.rag.documents import read_document
from tests.rag.documents.office import (
    SPACES,
    docx_paragraph,
    odf,
    shape,
    shape_paragraph,
    shape_tree,
    write_docx,
    write_odt,
    write_pptx,
)
from tests.rag.documents.pdf import PDF_PRINT, PDF_STRINGS, write_full_pdf

Words = Mapping[str, str]

RUN = "<w:r><w:t>%s</w:t></w:r>"
DOCX_BODY = {
    "paragraph": docx_paragraph("%s"),
    "heading": docx_paragraph("%s", "heading1"),
    "cell": f"<w:tbl><w:tr><w:tc/><w:tc>{docx_paragraph('%s')}</w:tc></w:tr></w:tbl>",
    "table in a cell": "<w:tbl><w:tr><w:tc/><w:tc><w:tbl><w:tr><w:tc>"
    f"{docx_paragraph('%s')}</w:tc></w:tr></w:tbl></w:tc></w:tr></w:tbl>",
    "content control": f"<w:sdt><w:sdtContent>{docx_paragraph('%s')}</w:sdtContent></w:sdt>",
    "insertion": f"<w:p><w:ins>{RUN}</w:ins></w:p>",
    "link": f'<w:p><w:hyperlink r:id="hyperlink">{RUN}</w:hyperlink></w:p>',
    "field": f"<w:p><w:fldSimple>{RUN}</w:fldSimple></w:p>",
    "equation": "<w:p><m:oMath><m:sSup><m:sup><m:r><m:t>%s</m:t></m:r></m:sup></m:sSup></m:oMath></w:p>",
    "text box": f"<w:p><w:r><w:drawing><w:txbxContent>{docx_paragraph('%s')}</w:txbxContent></w:drawing></w:r></w:p>",
    "old text box": f"<w:p><w:r><w:pict><w:txbxContent>{docx_paragraph('%s')}</w:txbxContent></w:pict></w:r></w:p>",
    "alternative text": '<w:p><w:r><w:drawing><w:docPr descr="%s"/></w:drawing></w:r></w:p>',
    "tracked deletions": "<w:p><w:del><w:r><w:delText>%s</w:delText></w:r></w:del></w:p>",
    "hidden text": "<w:p><w:r><w:rPr><w:vanish/></w:rPr><w:t>%s</w:t></w:r></w:p>",
}
CHART = f"<c:chart {SPACES}><c:title>{shape_paragraph('%s')}</c:title></c:chart>"
DIAGRAM = f"<dgm:dataModel {SPACES}><dgm:pt><dgm:t>{shape_paragraph('%s')}</dgm:t></dgm:pt></dgm:dataModel>"
DOCX_PARTS = {
    "header": f"<w:hdr {SPACES}>{docx_paragraph('%s')}</w:hdr>",
    "footer": f"<w:ftr {SPACES}>{docx_paragraph('%s')}</w:ftr>",
    "footnotes": f"<w:footnotes {SPACES}><w:footnote w:id='1'>{docx_paragraph('%s')}</w:footnote></w:footnotes>",
    "endnotes": f"<w:endnotes {SPACES}><w:endnote w:id='1'>{docx_paragraph('%s')}</w:endnote></w:endnotes>",
    "comments": f"<w:comments {SPACES}><w:comment w:id='1'>{docx_paragraph('%s')}</w:comment></w:comments>",
    "chart": CHART,
    "diagramData": DIAGRAM,
}
DOCX_REFERENCES = (
    "<w:p><w:r><w:footnoteReference w:id='1'/><w:endnoteReference w:id='1'/><w:commentReference w:id='1'/>"
    "<w:drawing><c:chart r:id='chart'/></w:drawing><w:drawing><dgm:relIds r:dm='diagramData'/></w:drawing></w:r></w:p>"
    "<w:sectPr><w:headerReference r:id='header'/><w:footerReference r:id='footer'/></w:sectPr>"
)
PROPERTIES = {name: f"<{name}>%s</{name}>" for name in ("title", "creator", "subject", "keywords", "description")}

FRAME = "<p:graphicFrame><p:nvGraphicFramePr><p:cNvPr/></p:nvGraphicFramePr>{}</p:graphicFrame>"
PPTX_SHAPES = {
    "title": shape(shape_paragraph("%s"), placeholder='type="title"'),
    "box": shape(shape_paragraph("%s")),
    "group": f"<p:grpSp>{shape(shape_paragraph('%s'))}</p:grpSp>",
    "alternative text": '<p:pic><p:nvPicPr><p:cNvPr descr="%s"/></p:nvPicPr></p:pic>',
    "cell": FRAME.format(
        f"<a:tbl><a:tr><a:tc/><a:tc><a:txBody>{shape_paragraph('%s')}</a:txBody></a:tc></a:tr></a:tbl>"
    ),
    "equation": shape("<a:p><m:oMath><m:r><m:t>%s</m:t></m:r></m:oMath></a:p>"),
    "hidden shapes": shape(shape_paragraph("%s"), 'hidden="1"'),
}
PPTX_PARTS = {
    "notesSlide": f"<p:notes {SPACES}>{shape_tree(shape(shape_paragraph('%s')))}</p:notes>",
    "comments": f"<p:cmLst {SPACES}><p:cm><p:text>%s</p:text></p:cm></p:cmLst>",
    "slideLayout": f"<p:sldLayout {SPACES}>{shape_tree(shape(shape_paragraph('%s')))}</p:sldLayout>",
    "chart": CHART,
    "diagramData": DIAGRAM,
}
PPTX_REFERENCES = FRAME.format('<c:chart r:id="chart"/>') + FRAME.format('<dgm:relIds r:dm="diagramData"/>')

ODT_BODY = {
    "paragraph": "<text:p>%s</text:p>",
    "heading": "<text:h>%s</text:h>",
    "list": "<text:list><text:list-item><text:p>%s</text:p></text:list-item></text:list>",
    "cell": "<table:table><table:table-row><table:table-cell/><table:table-cell><text:p>%s</text:p></table:table-cell>"
    "</table:table-row></table:table>",
    "division": "<text:section><text:p>%s</text:p></text:section>",
    "index": "<text:table-of-content><text:index-body><text:p>%s</text:p></text:index-body></text:table-of-content>",
    "note": "<text:p><text:note><text:note-body><text:p>%s</text:p></text:note-body></text:note></text:p>",
    "comment": "<text:p><office:annotation><text:p>%s</text:p></office:annotation></text:p>",
    "text box": "<text:p><draw:frame><draw:text-box><text:p>%s</text:p></draw:text-box></draw:frame></text:p>",
    "box on the page": "<draw:frame><draw:text-box><text:p>%s</text:p></draw:text-box></draw:frame>",
    "drawn box": "<text:p><draw:custom-shape><text:p>%s</text:p></draw:custom-shape></text:p>",
    "alternative text": "<text:p><draw:frame><draw:image/><svg:desc>%s</svg:desc></draw:frame></text:p>",
    "link": "<text:p><text:a xlink:href='https://example.com'>%s</text:a></text:p>",
    "tracked deletions": "<text:tracked-changes><text:deletion><text:p>%s</text:p></text:deletion>"
    "</text:tracked-changes>",
    "hidden sections": "<text:section text:display='none'><text:p>%s</text:p></text:section>",
}
ODT_PAGES = {
    "header": "<style:master-page><style:header><text:p>%s</text:p></style:header></style:master-page>",
    "footer": "<style:master-page><style:footer><text:p>%s</text:p></style:footer></style:master-page>",
}
ODT_META = {
    "author": "<meta:initial-creator>%s</meta:initial-creator>",
    **{name: f"<dc:{name}>%s</dc:{name}>" for name in ("title", "subject", "description")},
}

ODP_BODY = {
    "title": '<draw:frame presentation:class="title"><draw:text-box><text:p>%s</text:p></draw:text-box></draw:frame>',
    "cell": "<draw:frame><table:table><table:table-row><table:table-cell/><table:table-cell><text:p>%s</text:p>"
    "</table:table-cell></table:table-row></table:table></draw:frame>",
    "group": "<draw:g><draw:custom-shape><text:p>%s</text:p></draw:custom-shape></draw:g>",
    **{name: ODT_BODY[name] for name in ("comment", "box on the page")},
    "alternative text": "<draw:frame><draw:image/><svg:desc>%s</svg:desc></draw:frame>",
    "speaker": "<presentation:notes><draw:page-thumbnail/><draw:frame presentation:class='notes'><draw:text-box>"
    "<text:p>%s</text:p></draw:text-box></draw:frame></presentation:notes>",
}
ODP_MASTER = {"master": "<draw:custom-shape><text:p>%s</text:p></draw:custom-shape>"}
ODP_FOOTERS = {"footer": "<presentation:footer-decl presentation:name='f'>%s</presentation:footer-decl>"}

RTF = {
    "title": r"{\info{\title %s}}",
    "author": r"{\info{\author %s}}",
    "keywords": r"{\info{\keywords %s}}",
    "header": r"{\header %s\par}",
    "footer": r"{\footerf %s\par}",
    "paragraph": r"%s\par",
    "footnote": r"{\footnote %s}\par",
    "comment": r"{\*\annotation %s}\par",
    "field": r"{\field{\*\fldinst X}{\fldrslt %s}}\par",
    "cell": r"\trowd\cellx1\intbl a\cell %s\cell\row\pard",
    "text box": r"{\shp{\*\shpinst{\shptxt %s\par}}}\par",
    "description": r"{\*\shppict{\pict{\*\picprop{\sp{\sn wzDescription}{\sv %s}}}ff}}\par",
    "equation": r"{\mmath{\*\moMath{\mf{\mden{\mr %s}}}}}\par",
    "list": r"{\listtext %s\tab}x\par",
    "hidden text": r"{\v %s}\par",
    "tracked deletions": r"{\deleted %s}\par",
}


def _filled(templates: Words, words: Words) -> dict[str, str]:
    return {name: template % words[name] for name, template in templates.items()}


def _all(templates: Words, words: Words) -> str:
    return "".join(_filled(templates, words).values())


def _write_docx(path: Path, words: Words) -> object:
    body = _all(DOCX_BODY, words) + DOCX_REFERENCES
    return write_docx(path, body, parts=_filled(DOCX_PARTS, words), properties=_all(PROPERTIES, words))


def _write_pptx(path: Path, words: Words) -> object:
    shapes = _all(PPTX_SHAPES, words) + PPTX_REFERENCES
    properties = _all({name: text for name, text in PROPERTIES.items() if name != "title"}, words)
    return write_pptx(path, [shapes], _filled(PPTX_PARTS, words), properties)


def _write_odt(path: Path, words: Words) -> object:
    return write_odt(path, _all(ODT_BODY, words), _all(ODT_PAGES, words), {"meta.xml": odf(_all(ODT_META, words))})


def _write_odp(path: Path, words: Words) -> object:
    page = f'<draw:page draw:master-page-name="M">{_all(ODP_BODY, words)}</draw:page>'
    content = f"<office:presentation>{_all(ODP_FOOTERS, words)}{page}{page}</office:presentation>"
    master = f'<style:master-page style:name="M">{_all(ODP_MASTER, words)}</style:master-page>'
    parts = {"content.xml": odf(f"<office:body>{content}</office:body>"), "meta.xml": odf(_all(ODT_META, words))}
    return write_odt(path, "", master, parts)


def _write_rtf(path: Path, words: Words) -> object:
    units = {name: memoryview(word.encode("utf-16-le")).cast("H") for name, word in words.items()}
    escaped = {name: "".join(f"\\u{unit - 65536 * (unit > 32767)}?" for unit in word) for name, word in units.items()}
    return path.write_text(rf"{{\rtf1 {_all(RTF, escaped)}}}", encoding="ascii")


FORMATS: dict[str, tuple[Callable[[Path, Words], object], list[str]]] = {
    ".pdf": (write_full_pdf, [*PDF_PRINT, *PDF_STRINGS]),
    ".docx": (_write_docx, [*DOCX_BODY, *DOCX_PARTS, *PROPERTIES]),
    ".pptx": (_write_pptx, [*PPTX_SHAPES, *PPTX_PARTS, *PROPERTIES]),
    ".odt": (_write_odt, [*ODT_BODY, *ODT_PAGES, *ODT_META]),
    ".odp": (_write_odp, [*ODP_BODY, *ODP_MASTER, *ODP_FOOTERS, *ODT_META]),
    ".rtf": (_write_rtf, list(RTF)),
}
WILD = st.text(st.characters(categories=["L", "Nd"]), max_size=12)
PRINTABLE = st.text(st.characters(categories=["L", "Nd"], max_codepoint=255), max_size=12)


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=5, deadline=None, phases=[Phase.generate])  # a failure names the part, shrinking adds nothing
@given(data=st.data())
def test_every_word_is_found_or_noted(tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject) -> None:
    write, parts = FORMATS[kind]
    narrow = PDF_PRINT if kind == ".pdf" else ()
    drawn = {name: data.draw(PRINTABLE if name in narrow else WILD) for name in parts}
    words = {name: f"q{number}x{word}q" for number, (name, word) in enumerate(drawn.items())}
    path = tmp_path_factory.mktemp("lost") / f"a{kind}"
    write(path, words)
    document = read_document(path)
    text = "\n".join((*(page.text for page in document.pages), *document.metadata.values()))
    for name, word in words.items():
        assert (word in text) != any(name in note for note in document.notes), name
