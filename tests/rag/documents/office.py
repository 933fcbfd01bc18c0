"""Office documents and books made by hand."""

from collections.abc import Mapping
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
OFFICE = "application/vnd.openxmlformats-officedocument.wordprocessingml"


def write_zip(path: Path, files: Mapping[str, str | bytes]) -> Path:
    """A zip file with these entries."""
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_docx(path: Path, body: str, prologue: str = "", parts: Mapping[str, str] | None = None) -> Path:
    """A Word document with the parts that make it one, and more by the kind of their relation, which is its id, too."""
    relation = RELATIONS
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="{name.replace(" ", "")}"><w:name w:val="{name}"/></w:style>'
        for name in ("Title", "heading 1", "heading 2")
    )
    parts = {"styles": f'<w:styles xmlns:w="{WORD}">{styles}</w:styles>', **(parts or {})}
    return write_zip(
        path,
        {
            "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{OFFICE}.document.main+xml"/></Types>',
            "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="r1" '
            f'Type="{relation}/officeDocument" Target="word/document.xml"/></Relationships>',
            "word/_rels/document.xml.rels": f'<Relationships xmlns="{PACKAGE}/relationships">'
            + "".join(f'<Relationship Id="{kind}" Type="{relation}/{kind}" Target="{kind}.xml"/>' for kind in parts)
            + f'<Relationship Id="web" Type="{relation}/hyperlink" Target="https://example.com/a" '
            'TargetMode="External"/></Relationships>',
            **{f"word/{kind}.xml": xml for kind, xml in parts.items()},
            "word/document.xml": f'{prologue}<w:document xmlns:w="{WORD}" xmlns:r="{RELATIONS}"><w:body>{body}'
            "</w:body></w:document>",
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
