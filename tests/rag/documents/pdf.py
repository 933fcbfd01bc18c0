"""PDF files made by hand, small enough to read."""

from collections.abc import Sequence
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


def draw_page(lines: Sequence[str], *, size: int = 22) -> Image.Image:
    """A page as a scanner makes it, a line for each text."""
    image = Image.new("L", (900, 40 + 2 * size * len(lines)), 255)
    draw = ImageDraw.Draw(image)
    for place, line in enumerate(lines):
        draw.text((40, 20 + 2 * size * place), line, fill=0, font=ImageFont.load_default(size))
    return image
