"""Documents with bytes changed at random are read or refused, and nothing else happens.

`JINA_RAG_MUTATIONS=500 pytest tests/rag/documents/test_mutations.py` tries more of them.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile, is_zipfile

import pytest
from openpyxl import Workbook

from jina_rag.rag import DocumentIndex
from jina_rag.testing import fake_embedder
from tests.rag.documents.office import (
    docx_paragraph,
    shape,
    shape_paragraph,
    write_docx,
    write_epub,
    write_odt,
    write_pptx,
    write_zip,
)
from tests.rag.documents.pdf import write_pdf

N_MUTATIONS = int(os.environ.get("JINA_RAG_MUTATIONS", "15"))


def _write_xlsx(path: Path) -> None:
    book = Workbook()
    for row in range(30):
        book.active.append([f"part {row}", row * 1.5, None, "a longer text in a cell"])
    book.create_sheet("More").append(["alone"])
    book.save(path)


MAIL = b"""Subject: =?utf-8?q?M=C3=A4rz?=
From: Ann <ann@example.org>
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: text/html; charset=iso-8859-1

<p>Some text.</p>
--x
Content-Type: text/csv; name=a.csv
Content-Transfer-Encoding: base64

bmFtZSxwcmljZQpBLDcK
--x--
"""

ORIGINALS: dict[str, Callable[[Path], object]] = {
    ".pdf": lambda path: write_pdf(path, ["The first page\nhas two lines", "", "The third"], title="A manual"),
    ".docx": lambda path: write_docx(path, docx_paragraph("Title", "heading1") + docx_paragraph("Some text. ") * 30),
    ".odt": lambda path: write_odt(path, "<text:h>Title</text:h>" + "<text:p>Some text. </text:p>" * 9),
    ".pptx": lambda path: write_pptx(path, [shape(shape_paragraph("Some text. ") * 9)] * 3),
    ".rtf": lambda path: path.write_bytes(
        rb"{\rtf1\ansi{\fonttbl{\f0\fcharset204 A;}}{\info{\title T}}Some \'e9 text{\footnote note}\par\u8364?"
        rb"\trowd\cellx1\intbl a\cell\row\pard{\field{\*\fldinst HYPERLINK x}{\fldrslt y}}}" * 3
    ),
    ".xlsx": _write_xlsx,
    ".epub": write_epub,
    ".eml": lambda path: path.write_bytes(MAIL),
}


def _mutate(data: bytes, random: random.Random) -> bytes:
    """Some bytes changed, cut out, doubled or put in, or the end cut off."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 5, 20))):
        place, length = random.randrange(len(changed) + 1), random.choice((1, 2, 4, 16, 200))
        match random.randrange(6):
            case 0 | 1:
                changed[place : place + 1] = random.randbytes(1)
            case 2:
                changed[place : place + length] = b""
            case 3:
                changed[place:place] = changed[place : place + length] * random.choice((1, 2, 50))
            case 4:
                changed[place:place] = random.choice((b"\0", b"\xff" * 8, b"-1", b"99999999999", b"<", b"&#0;", b"../"))
            case 5:
                changed[len(changed) - len(changed) * random.randrange(20) // 100 :] = b""
    return bytes(changed)


def _write_mutated(original: Path, target: Path, random: random.Random) -> None:
    """A mutation of a file: of its bytes, or in an archive half of the times of what is packed."""
    if not is_zipfile(original) or random.random() < 0.5:
        target.write_bytes(_mutate(original.read_bytes(), random))
        return
    with ZipFile(original) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = random.choice(sorted(entries))
    write_zip(target, {**entries, name: _mutate(entries[name], random)})


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", ORIGINALS)
def test_mutated_documents_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    original, folder = tmp_path / f"original{kind}", tmp_path / "documents"
    ORIGINALS[kind](original)
    folder.mkdir()
    (folder / "good.txt").write_text("The good one is found.")
    for number in range(N_MUTATIONS):
        _write_mutated(original, folder / f"{number}{kind}", random.Random(f"{kind}{number}"))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with DocumentIndex.create_or_open(tmp_path / "index", fake_embedder()) as index:
        report = index.add([original, folder])
        assert len(report.added) + len(report.failed) == N_MUTATIONS + 2
        assert {str(original), str(folder / "good.txt")} <= set(report.added)
        assert len(index.documents()) == len(report.added)
        assert len(index.add([original, folder]).unchanged) == len(report.added)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(("documents", "index", original.name))
