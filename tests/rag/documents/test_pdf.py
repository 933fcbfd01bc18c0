"""What is made of a PDF's lines of print."""

from pathlib import Path

import pytest

from jina_rag.rag.citations.source_context import passage_boxes
from jina_rag.rag.documents import Document, read_document
from tests.rag.documents.pdf import (
    PICTURE,
    PdfLine,
    paragraph,
    write_contents,
    write_laid_out_pdf,
    write_objects,
    write_pdf,
)

LONG = "The keeper climbed the stairs every evening and carried eleven litres of oil to the lamp at the top. " * 3
SHORT = "The lamp was lit for the first time in 1871, and the whole village came to watch it. " * 2


def _read(path: Path, pages: list[list[PdfLine]]) -> Document:
    return read_document(write_laid_out_pdf(path / "a.pdf", pages))


def test_wrapped_lines_are_joined_into_paragraphs(tmp_path: Path) -> None:
    lines = paragraph(LONG, bottom=700) + paragraph(SHORT, bottom=560)
    assert len(lines) > 5
    document = _read(tmp_path, [lines])
    assert document.pages[0].text == f"{LONG.strip()}\n\n{SHORT.strip()}"


def test_lines_that_are_short_on_purpose_stay_lines(tmp_path: Path) -> None:
    address = [PdfLine(text, bottom=400 - 14 * place) for place, text in enumerate(("The Trust", "1 Quay", "Pennaby"))]
    document = _read(tmp_path, [paragraph(LONG, bottom=700) + address])
    assert document.pages[0].text.endswith("\n\nThe Trust\n1 Quay\nPennaby")


def test_items_of_a_list_stay_apart(tmp_path: Path) -> None:
    item = "is an item with so many words that it nearly fills the whole line from left to right"
    lines = [PdfLine(f"{number}. {item}", bottom=700 - 14 * number) for number in (1, 2, 3)]
    assert _read(tmp_path, [lines]).pages[0].text == f"1. {item}\n2. {item}\n3. {item}"


def test_headings_are_known_by_their_size_and_hold_over_pages(tmp_path: Path) -> None:
    first = [PdfLine("The history", bottom=780, size=21), PdfLine("The wreck", bottom=740, size=13.5)]
    document = _read(tmp_path, [first + paragraph(LONG, bottom=700), paragraph(SHORT, bottom=700)])
    page = document.pages[0]
    assert [(heading.level, heading.title) for heading in page.headings] == [(1, "The history"), (2, "The wreck")]
    assert [page.text[heading.start : heading.end] for heading in page.headings] == ["The history", "The wreck"]
    assert page.text == f"The history\n\nThe wreck\n\n{LONG.strip()}"
    assert document.title == "The history"


def test_where_most_letters_are_large_there_are_no_headings(tmp_path: Path) -> None:
    lines = paragraph(LONG, bottom=700, size=12) + paragraph(LONG + SHORT, bottom=500, size=11, width=70)
    assert not _read(tmp_path, [lines]).pages[0].headings


def test_running_headers_and_page_numbers_are_left_out(tmp_path: Path) -> None:
    pages = [
        [
            PdfLine("Ostrel Light" if number % 2 else "The Museum", bottom=810, size=9),
            *paragraph(f"{LONG} This is number {number}.", bottom=700),
            PdfLine(f"Page {number} of 6", left=280, bottom=30, size=9),
        ]
        for number in range(1, 7)
    ]
    document = _read(tmp_path, pages)
    for number, page in enumerate(document.pages, start=1):
        assert page.text.startswith("The keeper")
        assert page.text.endswith(f"This is number {number}.")


def test_what_only_looks_like_a_running_header_stays(tmp_path: Path) -> None:
    pages = [
        [
            PdfLine(f"Chapter {number}", bottom=790, size=18),
            PdfLine(f"Room {number * number}", bottom=760),
            *paragraph(LONG, bottom=700 - 10 * number),
        ]
        for number in range(1, 5)
    ]
    for number, page in enumerate(_read(tmp_path, pages).pages, start=1):
        assert page.text.startswith(f"Chapter {number}\n\nRoom {number * number}\n\nThe keeper")


def test_an_empty_page_is_no_scan(tmp_path: Path) -> None:
    assert read_document(write_pdf(tmp_path / "a.pdf", ["text", ""])).notes == ()


def test_a_book_is_read_within_the_limits(tmp_path: Path) -> None:
    pages = [paragraph(LONG * 8, bottom=780, size=10) for _ in range(500)]
    path = write_laid_out_pdf(tmp_path / "book.pdf", pages)
    document = read_document(path)
    assert {page.text for page in document.pages} == {(LONG * 8).strip()}
    assert len(document.pages) == 500


# Objects of a PDF with something in every place that can hold text; %s are two pages of content.
_FORM_XOBJECT = "<< /Type /XObject /Subtype /Form /BBox [0 0 200 50] /Resources << /Font << /F1 3 0 R >> >>"
_STAMP = "BT /F1 12 Tf 2 2 Td (stampword) Tj ET"
EVERYTHING = [
    "<< /Type /Catalog /Pages 2 0 R /Outlines 9 0 R /AcroForm << /Fields [13 0 R 14 0 R 15 0 R] /DA (/F1 12 Tf) >> "
    "/Names << /EmbeddedFiles << /Names [(attachment.txt) 11 0 R] >> >> "
    "/OCProperties << /OCGs [20 0 R] /D << /OFF [20 0 R] >> >> >>",
    "<< /Type /Pages /Count 2 /Kids [5 0 R 6 0 R] >>",
    "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    "<< /Title (tmp81ab.tmp) /Author (authorword) /Subject (subjectword) /Keywords (keyword1) "
    "/CreationDate (D:20240131120000+01'00') /ModDate (D:2024) >>",
    "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 7 0 R /Annots [13 0 R 14 0 R 15 0 R] "
    "/Resources << /Font << /F1 3 0 R >> /Properties << /MC0 20 0 R >> /XObject << /X1 18 0 R >> >> >>",
    "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 8 0 R /Annots [16 0 R 17 0 R 21 0 R 22 0 R] "
    "/Resources << /Font << /F1 3 0 R >> >> >>",
    "%s",
    "%s",
    "<< /Type /Outlines /First 10 0 R /Last 10 0 R /Count 1 >>",
    "<< /Title (bookmarkword) /Parent 9 0 R /Dest [6 0 R /Fit] >>",
    "<< /Type /Filespec /F (attachment.txt) /UF (attachment.txt) /EF << /F 12 0 R >> >>",
    "<< /Type /EmbeddedFile /Length 4 >>\nstream\ntext\nendstream",
    "<< /Type /Annot /Subtype /Widget /FT /Tx /T (f1) /TU (Your name) /V (fieldword) /Rect [72 400 272 420] >>",
    "<< /Type /Annot /Subtype /Widget /FT /Btn /T (agreed) /V /Yesword /AS /Yesword /Rect [72 370 92 390] "
    "/AP << /N << /Yesword 18 0 R /Off 18 0 R >> >> >>",
    "<< /Type /Annot /Subtype /Widget /FT /Tx /T (pin) /Ff 8192 /V (secretword) /Rect [72 340 272 360] >>",
    "<< /Type /Annot /Subtype /Text /Contents (noteword) /T (Ann) /Rect [300 700 320 720] >>",
    "<< /Type /Annot /Subtype /FreeText /Contents (freeword) /DA (/F1 12 Tf) /Rect [300 600 400 620] >>",
    f"{_FORM_XOBJECT} /Length 44 >>\nstream\nBT /F1 12 Tf 2 2 Td (xobjectword   ) Tj ET\nendstream",
    f"{_FORM_XOBJECT} /Length {len(_STAMP)} >>\nstream\n{_STAMP}\nendstream",
    "<< /Type /OCG /Name (Layer) >>",
    "<< /Type /Annot /Subtype /Stamp /AP << /N 19 0 R >> /Rect [300 500 500 550] >>",
    "<< /Type /Annot /Subtype /Highlight /Contents (highlightword) /QuadPoints [72 730 99 730 72 718 99 718] "
    "/Rect [72 718 99 730] >>",
]


def test_no_text_of_a_pdf_is_lost_without_a_note(tmp_path: Path) -> None:
    contents = (
        "BT /F1 12 Tf 72 720 Td (bodyword) Tj ET BT /F1 12 Tf 0 1 -1 0 50 300 Tm (rotatedword) Tj ET "
        "BT /F1 12 Tf 3 Tr 72 600 Td (invisibleword) Tj ET /X1 Do "
        "/OC /MC0 BDC BT /F1 12 Tf 72 500 Td (layerword) Tj ET EMC",
        "BT /F1 12 Tf 72 720 Td (second) Tj ET",
    )
    streams = (f"<< /Length {len(content)} >>\nstream\n{content}\nendstream" for content in contents)
    path = write_objects(tmp_path / "a.pdf", [each if each != "%s" else next(streams) for each in EVERYTHING])
    document = read_document(path)
    first, second = (page.text for page in document.pages)
    for word in ("bodyword", "rotatedword", "invisibleword", "xobjectword", "layerword"):
        assert word in first
    assert first.endswith("Your name: fieldword\n\nagreed: Yesword")
    assert second == (
        "second\n\nComment by Ann: noteword\n\nComment: freeword\n\nComment: highlightword\n\nBookmark: bookmarkword"
    )
    assert document.notes == (
        "Text that is not shown on page 1 was read: it was put under a scan by OCR, or hidden.",
        "The layers of page 1 were all read, including those that are not shown.",
        "The text of stamps or drawings on page 2 was not read.",
        "1 attached file was not read: attachment.txt.",
    )
    assert document.title == "a"
    assert document.metadata == {
        "title": "tmp81ab.tmp",
        "author": "authorword",
        "subject": "subjectword",
        "keywords": "keyword1",
        "created": "2024-01-31T12:00:00",
        "modified": "2024",
    }
    start = second.index("noteword")
    ((box,),) = passage_boxes(path, 2, [(start, start + 8)], "noteword")
    assert box == pytest.approx((300 / 595, 1 - 720 / 842, 320 / 595, 1 - 700 / 842), abs=0.001)


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (
            "(10) Tj 5 Ts /F1 7 Tf (6) Tj 0 Ts /F1 12 Tf ( units of 1998) Tj 5 Ts /F1 7 Tf (3) Tj",
            "10^6 units of 1998^3",
        ),
        ("(H) Tj -2 Ts /F1 7 Tf (2) Tj 0 Ts /F1 12 Tf (O is water) Tj", "H_2O is water"),
        ("(Take e) Tj 5 Ts /F1 7 Tf (x+1) Tj 0 Ts /F1 12 Tf ( and a) Tj 5 Ts /F1 7 Tf (n) Tj", "Take e^(x+1) and a^n"),
        ("5 Ts /F1 7 Tf (3) Tj 0 Ts /F1 12 Tf (See room 9) Tj 5 Ts /F1 7 Tf (b) Tj", "3 See room 9^b"),
        ("(Fine) Tj 5 Ts /F1 7 Tf (*) Tj 0 Ts /F1 12 Tf ( and 12) Tj /F1 7 Tf (ab 34) Tj", "Fine* and 12ab 34"),
    ],
)
def test_superscripts_are_written_so(tmp_path: Path, shown: str, text: str) -> None:
    path = write_contents(tmp_path / "a.pdf", [f"BT /F1 12 Tf 72 720 Td {shown} ET"])
    assert read_document(path).pages[0].text == text
    (boxes,) = passage_boxes(path, 1, [(0, len(text))], text)
    assert all(box.right > box.left > 0.1 for box in boxes)


def test_pictures_beside_text_are_noted(tmp_path: Path) -> None:
    path = write_contents(tmp_path / "a.pdf", [f"BT /F1 9 Tf 9 720 Td ({LONG}) Tj ET {PICTURE}", "BT (none) Tj ET"])
    assert read_document(path).notes == ("Pictures beside the text of page 1 were not read.",)


def test_a_damaged_page_is_named(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", ["first", "second", "third"])
    path.write_bytes(path.read_bytes().replace(b"7 0 obj\n<< /Type /Page ", b"7 0 obj\n<< /Type /Nope "))
    document = read_document(path)
    assert [page.text for page in document.pages] == ["first", "", "third"]
    assert document.notes == ("What is on page 2 could not be read, because the file is damaged.",)


def test_a_title_is_one_whose_words_are_in_the_text(tmp_path: Path) -> None:
    text = "The history of the light"
    assert (
        read_document(write_pdf(tmp_path / "a.pdf", [text], title="A History of Light")).title == "A History of Light"
    )
    assert read_document(write_pdf(tmp_path / "b.pdf", [text], title="untitled")).title == "b"
