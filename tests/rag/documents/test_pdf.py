"""What is made of a PDF's lines of print."""

from pathlib import Path

import pytest

from jina_rag.rag.citations.source_context import passage_boxes
from jina_rag.rag.documents import Document, read_document
from tests.rag.documents.pdf import (
    PDF_PRINT,
    PDF_STRINGS,
    PICTURE,
    PdfLine,
    paragraph,
    write_contents,
    write_full_pdf,
    write_laid_out_pdf,
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


def test_running_headers_and_page_numbers_are_kept_once(tmp_path: Path) -> None:
    pages = [
        [
            PdfLine("Ostrel Light" if number % 2 else "The Museum", bottom=810, size=9),
            *paragraph(f"{LONG} This is number {number}.", bottom=700),
            PdfLine(f"Page {number} of 6", left=280, bottom=30, size=9),
        ]
        for number in range(1, 7)
    ]
    texts = [page.text for page in _read(tmp_path, pages).pages]
    assert texts[0].startswith("Ostrel Light\n\nThe keeper")
    assert texts[0].endswith("This is number 1.\n\nPage 1 of 6")
    assert texts[1].startswith("The Museum\n\nThe keeper")
    for number, text in enumerate(texts[2:], start=3):
        assert text.startswith("The keeper")
        assert text.endswith(f"This is number {number}.")


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


def test_what_is_beside_the_print_of_a_pdf_has_its_order_and_place(tmp_path: Path) -> None:
    words = {name: f"{name} word".replace(" ", "") for name in (*PDF_PRINT, *PDF_STRINGS)}
    path = write_full_pdf(tmp_path / "a.pdf", words)
    document = read_document(path)
    first, second, third = (page.text for page in document.pages)
    assert first.startswith("runningheaderword\n\nbodyword")
    assert first.endswith("footnoteword\n\nalternativetextword\n\nYour name: fieldword\n\nagreed: checkboxword")
    assert second == (
        "Page 2\n\nComment by Ann: commentword\n\nComment: freetextword\n\nComment: highlightword\n\n"
        "Bookmark: bookmarkword"
    )
    assert third == "Page 3"
    assert "secret" not in first
    assert document.notes == (
        "Text that is not shown on page 1 was read: it was put under a scan by OCR, or hidden.",
        "The layers of page 1 were all read, including those that are not shown.",
        "The text of stamps or drawings on page 2 was not read.",
        "1 attached file was not read: attachment.txt.",
    )
    assert document.title == "a"
    assert (document.metadata["created"], document.metadata["modified"]) == ("2024-01-31T12:00:00", "2024")
    start = second.index("commentword")
    ((box,),) = passage_boxes(path, 2, [(start, start + 11)], "commentword")
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
