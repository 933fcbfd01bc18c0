"""Office documents and books made by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
DRAWING = "http://schemas.openxmlformats.org/drawingml/2006"
SPACES = (
    f'xmlns:w="{WORD}" xmlns:r="{RELATIONS}" xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
    f'xmlns:a="{DRAWING}/main" xmlns:c="{DRAWING}/chart" xmlns:dgm="{DRAWING}/diagram" '
    'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
)
"""Declares what prefixes stand for in the parts of office documents."""
HIDDEN = "hidden:"


def write_zip(path: Path, files: Mapping[str, str | bytes]) -> Path:
    """A zip file with these entries."""
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def relations(targets: Mapping[str, str]) -> str:
    """What a part refers to: a name or address for each kind of relation, which is its id, too."""
    entries = (
        f'<Relationship Id="{kind}" Type="{RELATIONS}/{kind}" Target="{target}"'
        + (' TargetMode="External"/>' if ":" in target else "/>")
        for kind, target in targets.items()
    )
    return f'<Relationships xmlns="{PACKAGE}/relationships">{"".join(entries)}</Relationships>'


def write_docx(
    path: Path, body: str, prologue: str = "", parts: Mapping[str, str] | None = None, properties: str = ""
) -> Path:
    """A Word document with the parts that make it one, and more by the kind of their relation, which is its id, too."""
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="{name.replace(" ", "")}"><w:name w:val="{name}"/></w:style>'
        for name in ("Title", "heading 1", "heading 2")
    )
    parts = {"styles": f"<w:styles {SPACES}>{styles}</w:styles>", **(parts or {})}
    return write_zip(
        path,
        {
            "_rels/.rels": relations({"officeDocument": "/word/document.xml", "core-properties": "core.xml"}),
            "core.xml": f"<properties {SPACES}>{properties}</properties>",
            "word/_rels/document.xml.rels": relations(
                {kind: f"{kind}.xml" for kind in parts} | {"hyperlink": "https://example.com/a"}
            ),
            **{f"word/{kind}.xml": xml for kind, xml in parts.items()},
            "word/document.xml": f"{prologue}<w:document {SPACES}><w:body>{body}</w:body></w:document>",
        },
    )


def docx_paragraph(text: str, style: str = "") -> str:
    """A paragraph of a Word document's body."""
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}<w:r><w:t>{text}</w:t></w:r></w:p>"


def write_epub(path: Path, **more: str) -> Path:
    """A book of two chapters, and other files in its archive."""
    chapter = '<html xmlns="http://www.w3.org/1999/xhtml"><body><h1>{0}</h1><p>The {0} text.</p></body></html>'
    return write_zip(
        path,
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
            "OEBPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf" '
            'xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata><dc:title>The\n Book</dc:title></metadata>'
            '<manifest><item id="a" href="one%20.xhtml"/><item id="b" href="../two.xhtml"/></manifest>'
            '<spine><itemref idref="b"/><itemref idref="a"/><itemref idref="missing"/></spine></package>',
            "OEBPS/one .xhtml": chapter.format("first"),
            "two.xhtml": chapter.format("second"),
            **more,
        },
    )


def write_pptx(path: Path, slides: Sequence[str], parts: Mapping[str, str] | None = None, properties: str = "") -> Path:
    """A presentation with these shapes on its slides.

    Args:
        path: Where to write it.
        slides: The shapes of each slide, with `HIDDEN` before them for a slide that is not shown.
        parts: What it and every slide refer to, by the kind of the relation, which is its id, too.
        properties: Its core properties.
    """
    parts = parts or {}
    names = {f"slide{number}": shapes for number, shapes in enumerate(slides)}
    listed = "".join(f'<p:sldId id="1" r:id="{name}"/>' for name in names)
    files = {
        "_rels/.rels": relations({"officeDocument": "ppt/presentation.xml", "core-properties": "core.xml"}),
        "core.xml": f"<properties {SPACES}>{properties}</properties>",
        "ppt/presentation.xml": f"<p:presentation {SPACES}><p:sldIdLst>{listed}</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": relations({name: f"{name}.xml" for name in (*names, *parts)}),
        **{f"ppt/{kind}.xml": xml for kind, xml in parts.items()},
    }
    for name, shapes in names.items():
        show = ' show="0"' if shapes.startswith(HIDDEN) else ""
        files[f"ppt/{name}.xml"] = f"<p:sld {SPACES}{show}>{shape_tree(shapes.removeprefix(HIDDEN))}</p:sld>"
        files[f"ppt/_rels/{name}.xml.rels"] = relations({kind: f"{kind}.xml" for kind in parts})
    return write_zip(path, files)


def shape_tree(shapes: str) -> str:
    """What is on a slide, a layout or a page of notes."""
    return f"<p:cSld><p:spTree>{shapes}</p:spTree></p:cSld>"


def shape(paragraphs: str, properties: str = "", placeholder: str = "") -> str:
    """A shape with text: paragraphs of DrawingML, attributes of its properties, attributes of a placeholder."""
    inherits = f"<p:ph {placeholder}/>" if placeholder else ""
    return (
        f"<p:sp><p:nvSpPr><p:cNvPr {properties}/><p:nvPr>{inherits}</p:nvPr></p:nvSpPr>"
        f"<p:txBody>{paragraphs}</p:txBody></p:sp>"
    )


def shape_paragraph(text: str, properties: str = "") -> str:
    """A paragraph of DrawingML."""
    return f"<a:p><a:pPr>{properties}</a:pPr><a:r><a:t>{text}</a:t></a:r></a:p>"


def write_odt(path: Path, body: str, styles: str = "", parts: Mapping[str, str] | None = None) -> Path:
    """An OpenDocument text with this body, these styles and master pages, and more parts by their names."""
    files = {
        "content.xml": odf(f"<office:body><office:text>{body}</office:text></office:body>"),
        "styles.xml": odf(styles),
    }
    return write_zip(path, {**files, **(parts or {})})


def odf(content: str) -> str:
    """A part of an OpenDocument file."""
    names = ("office", "style", "text", "table", "draw", "svg", "xlink", "chart", "meta", "dc", "presentation")
    spaces = " ".join(f'xmlns:{name}="urn:{name}"' for name in names)
    return f"<office:document {spaces}>{content}</office:document>"
