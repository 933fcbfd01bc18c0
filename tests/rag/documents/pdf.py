"""PDF files made by hand, small enough to read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont


class PdfLine(NamedTuple):
    """A line of print: where it begins, in points from the lower left corner of the page, and its size."""

    text: str
    left: float = 72
    bottom: float = 720
    size: float = 12


PICTURE = "q 400 0 0 600 72 100 cm BI /W 1 /H 1 /CS /G /BPC 8 ID x EI Q"
"""What a scanner puts on a page."""


def write_pdf(path: Path, pages: Sequence[str], *, title: str = "", encrypted: bool = False) -> Path:
    """A PDF with one text on each page, a line for each of its lines; Latin-1 only."""
    contents = []
    for text in pages:
        lines = "".join(f"({line}) Tj T* " for line in text.split("\n"))
        contents.append(f"BT /F1 12 Tf 14 TL 72 720 Td {lines}ET")
    return write_contents(path, contents, title=title, encrypted=encrypted)


def write_laid_out_pdf(path: Path, pages: Sequence[Sequence[PdfLine]]) -> Path:
    """A PDF whose lines stand where they are told to."""
    return write_contents(
        path,
        [
            "".join(f"BT /F1 {line.size} Tf {line.left} {line.bottom} Td ({line.text}) Tj ET\n" for line in lines)
            for lines in pages
        ],
    )


def paragraph(text: str, *, bottom: float, left: float = 72, size: float = 12, width: int = 80) -> list[PdfLine]:
    """A text broken into lines of up to `width` letters."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return [PdfLine(line, left, bottom - place * 1.2 * size, size) for place, line in enumerate(lines)]


def write_contents(
    path: Path, contents: Sequence[str], *, title: str = "", encrypted: bool = False, page_entries: str = ""
) -> Path:
    """A PDF whose pages have these content streams."""
    n = len(contents)
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {n} /Kids [{' '.join(f'{5 + 2 * i} 0 R' for i in range(n))}] >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        f"<< /Title ({title}) >>",
    ]
    for index, content in enumerate(contents):
        entries = f"/MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >> {page_entries}"
        objects += [
            f"<< /Type /Page /Parent 2 0 R {entries} /Contents {6 + 2 * index} 0 R >>",
            f"<< /Length {len(content.encode('latin-1'))} >>\nstream\n{content}\nendstream",
        ]
    if encrypted:
        # No password fits these values, the empty one included.
        objects.append(f"<< /Filter /Standard /V 1 /R 2 /O <{'11' * 32}> /U <{'22' * 32}> /P -4 >>")
    return write_objects(path, objects, encryption=f"/Encrypt {len(objects)} 0 R /ID [<00> <00>] " if encrypted else "")


def write_objects(path: Path, objects: Sequence[str], *, encryption: str = "") -> Path:
    """A PDF of these objects: the first is its catalogue, the fourth says what it is about."""
    body, offsets = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, start=1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{text}\nendobj\n".encode("latin-1")
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info 4 0 R {encryption}>>\n"
    xref = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}startxref\n{len(body)}\n%%EOF\n"
    path.write_bytes(body + xref.encode())
    return path


PDF_PRINT = {
    "running header": "BT /F1 10 Tf 72 800 Td (%s) Tj ET",
    "body": "BT /F1 12 Tf 72 720 Td (%s) Tj ET",
    "rotated": "BT /F1 12 Tf 0 1 -1 0 50 300 Tm (%s) Tj ET",
    "invisible": "BT /F1 12 Tf 3 Tr 72 600 Td (%s) Tj ET 0 Tr /X1 Do",
    "form XObject": "BT /F1 12 Tf 2 2 Td (%s) Tj ET",
    "stamps": "BT /F1 12 Tf 2 2 Td (%s) Tj ET",
    "optional content": "/OC /MC0 BDC BT /F1 12 Tf 72 500 Td (%s) Tj ET EMC",
    "footnote": "BT /F1 8 Tf 72 80 Td (%s) Tj ET",
    "attached file": "%s",
    "checkbox": "/%s",
}
"""Parts of a page that Latin-1 can be written in."""
PDF_STRINGS = {
    **{name: f"/{name.capitalize()} %s" for name in ("title", "author", "subject", "keywords")},
    "bookmark": "/Title %s",
    "field": "/V %s",
    **dict.fromkeys(("comment", "free text", "highlight"), "/Contents %s"),
    "alternative text": "/Alt %s",
}
"""Parts that anything can be written in."""


def write_full_pdf(path: Path, words: Mapping[str, str]) -> Path:
    """A PDF of three pages with a word in each part of `PDF_PRINT` and `PDF_STRINGS`."""
    text = {name: part % words[name] for name, part in PDF_PRINT.items()}
    text |= {name: part % f"<FEFF{words[name].encode('utf-16-be').hex()}>" for name, part in PDF_STRINGS.items()}
    shown = " ".join(text[name] for name in ("body", "rotated", "invisible", "optional content", "footnote"))
    contents = [shown, *(f"BT /F1 12 Tf 72 720 Td (Page {number}) Tj ET" for number in (2, 3))]
    resources = "/Font << /F1 3 0 R >> /Properties << /MC0 26 0 R >> /XObject << /X1 24 0 R >>"
    page = f"/Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << {resources} >>"
    widget = "/Type /Annot /Subtype /Widget"
    form = f"/Type /XObject /Subtype /Form /BBox [0 0 200 50] /Resources << {resources} >>"
    entries = [
        "/Type /Catalog /Pages 2 0 R /Outlines 11 0 R /MarkInfo << /Marked true >> /StructTreeRoot 13 0 R "
        "/AcroForm << /Fields [17 0 R 18 0 R 19 0 R] /DA (/F1 12 Tf) >> "
        "/Names << /EmbeddedFiles << /Names [(attachment.txt) 15 0 R] >> >> "
        "/OCProperties << /OCGs [26 0 R] /D << /OFF [26 0 R] >> >>",
        "/Type /Pages /Count 3 /Kids [5 0 R 6 0 R 7 0 R]",
        "/Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding",
        f"{' '.join(text[name] for name in ('title', 'author', 'subject', 'keywords'))} "
        "/CreationDate (D:20240131120000+01'00') /ModDate (D:2024)",
        f"{page} /Contents 8 0 R /StructParents 0 /Annots [17 0 R 18 0 R 19 0 R]",
        f"{page} /Contents 9 0 R /Annots [20 0 R 21 0 R 22 0 R 23 0 R]",
        f"{page} /Contents 10 0 R",
        *(f"stream {text['running header']} {content}" for content in contents),
        "/Type /Outlines /First 12 0 R /Last 12 0 R /Count 1",
        f"{text['bookmark']} /Parent 11 0 R /Dest [6 0 R /Fit]",
        "/Type /StructTreeRoot /K 14 0 R /ParentTree << /Nums [0 [14 0 R]] >>",
        f"/Type /StructElem /S /Figure /P 13 0 R /Pg 5 0 R {text['alternative text']} /K 0",
        "/Type /Filespec /F (attachment.txt) /UF (attachment.txt) /EF << /F 16 0 R >>",
        f"/Type /EmbeddedFile stream {text['attached file']}",
        f"{widget} /FT /Tx /T (f1) /TU (Your name) {text['field']} /Rect [72 400 272 420]",
        f"{widget} /FT /Btn /T (agreed) /V {text['checkbox']} /AS {text['checkbox']} /Rect [72 370 92 390] "
        f"/AP << /N << {text['checkbox']} 24 0 R /Off 24 0 R >> >>",
        f"{widget} /FT /Tx /T (pin) /Ff 8192 /V (secret) /Rect [72 340 272 360]",
        f"/Type /Annot /Subtype /Text {text['comment']} /T (Ann) /Rect [300 700 320 720]",
        f"/Type /Annot /Subtype /FreeText {text['free text']} /DA (/F1 12 Tf) /Rect [300 600 400 620]",
        "/Type /Annot /Subtype /Stamp /AP << /N 25 0 R >> /Rect [300 500 500 550]",
        f"/Type /Annot /Subtype /Highlight {text['highlight']} /QuadPoints [72 730 99 730 72 718 99 718] "
        "/Rect [72 718 99 730]",
        f"{form} stream {text['form XObject']}",
        f"{form} stream {text['stamps']}",
        "/Type /OCG /Name (Layer)",
    ]
    return write_objects(path, [_object(entry) for entry in entries])


def _object(entry: str) -> str:
    """A dictionary, with the stream that stands behind it."""
    dictionary, is_stream, content = entry.partition("stream ")
    if not is_stream:
        return f"<< {dictionary} >>"
    return f"<< {dictionary} /Length {len(content.encode('latin-1'))} >>\nstream\n{content}\nendstream"


def draw_page(lines: Sequence[str], *, size: int = 22) -> Image.Image:
    """A page as a scanner makes it, a line for each text."""
    image = Image.new("L", (900, 40 + 2 * size * len(lines)), 255)
    draw = ImageDraw.Draw(image)
    for place, line in enumerate(lines):
        draw.text((40, 20 + 2 * size * place), line, fill=0, font=ImageFont.load_default(size))
    return image
