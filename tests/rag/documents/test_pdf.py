"""What is made of a PDF's lines of print."""

from pathlib import Path

from jina_rag.rag.documents import Document, read_document
from tests.rag.documents.pdf import PdfLine, paragraph, write_laid_out_pdf, write_pdf

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
