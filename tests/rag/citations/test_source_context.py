"""Where a passage stands on its page."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jina_rag.errors import DocumentError
from jina_rag.rag.chunking import Chunk, split_document
from jina_rag.rag.citations.source_context import Box, page_image, passage_boxes, read_source_context
from jina_rag.rag.documents import read_document
from jina_rag.testing import fake_embedder
from tests.rag.documents.pdf import PdfLine, paragraph, write_contents, write_laid_out_pdf

LONG = "The keeper climbed the stairs every evening and carried eleven litres of oil to the lamp at the top. " * 2
LEFT, SIZE, PAGE_WIDTH, PAGE_HEIGHT = 72, 12, 595, 842


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    header = PdfLine("A running header", bottom=810, size=9)
    pages = [
        [
            header,
            *paragraph(f"Place {number * number}. {LONG}", bottom=700),
            *paragraph(f"The end of {number * number}.", bottom=500),
        ]
        for number in (1, 2, 3, 4)
    ]
    return write_laid_out_pdf(tmp_path / "a.pdf", pages)


def _boxes_of(path: Path, page_number: int, passage: str) -> list[Box]:
    start = read_document(path).pages[page_number - 1].text.index(passage)
    (boxes,) = passage_boxes(path, page_number, [(start, start + len(passage))], passage)
    return boxes


def test_a_passage_has_a_box_for_each_of_its_lines(pdf: Path) -> None:
    passage = read_document(pdf).pages[2].text.split("\n\n")[0]
    boxes = _boxes_of(pdf, 3, passage)
    n_lines = len(paragraph(f"Place 9. {LONG}", bottom=700))
    assert len(boxes) == n_lines
    for place, box in enumerate(boxes):
        bottom = 700 - place * 1.2 * SIZE
        assert box.left == pytest.approx(LEFT / PAGE_WIDTH, abs=0.01)
        assert 0 < box.left < box.right < 1
        assert box.top < 1 - bottom / PAGE_HEIGHT < box.bottom + 0.002
        assert box.bottom - box.top < 2 * SIZE / PAGE_HEIGHT


def test_a_word_has_a_box_where_it_stands(pdf: Path) -> None:
    (box,) = _boxes_of(pdf, 1, "Place 1.")
    (end,) = _boxes_of(pdf, 1, "The end")
    assert box.left == pytest.approx(LEFT / PAGE_WIDTH, abs=0.01)
    assert box.right < 0.25
    assert end.top > box.bottom


def test_a_passage_and_a_part_of_it_are_found_together(pdf: Path) -> None:
    text = read_document(pdf).pages[1].text
    passage = text.split("\n\n")[0]
    start = text.index(passage)
    whole, part = passage_boxes(pdf, 2, [(start, start + len(passage)), (start, start + len("Place 4."))], passage)
    assert whole == _boxes_of(pdf, 2, passage)
    assert part == _boxes_of(pdf, 2, "Place 4.")


def test_what_is_cited_is_marked_more_strongly_than_its_passage(pdf: Path) -> None:
    passage = next(part for part in read_document(pdf).pages[0].text.split("\n\n") if "Place 1." in part)
    boxes, (cited,) = _boxes_of(pdf, 1, passage), _boxes_of(pdf, 1, "Place 1.")
    picture = Image.open(io.BytesIO(page_image(pdf, 1, boxes, cited=[cited], width=600))).convert("RGB")

    def blue(left: float, right: float) -> int:
        """How blue the ground of the first line is between two edges: the less, the more yellow."""
        area = (int(left * 600) + 2, int(cited.top * 850) + 2, int(right * 600) - 2, int(cited.bottom * 850) - 2)
        return int(np.asarray(picture.crop(area))[..., 2].max())

    assert picture.getpixel((2, 2)) == (255, 255, 255)
    assert blue(cited.left, cited.right) < blue(cited.right + 0.02, boxes[0].right) - 50 < 255 - 50


def test_the_picture_of_a_page_is_marked_in_the_boxes_alone(pdf: Path) -> None:
    (box,) = _boxes_of(pdf, 1, "The end of 1.")
    plain, marked = (Image.open(io.BytesIO(page_image(pdf, 1, boxes, width=600))) for boxes in ((), [box]))
    assert plain.format == "PNG"
    assert plain.size == marked.size == (600, 850)
    differing = [(x, y) for x in range(600) for y in range(850) if plain.getpixel((x, y)) != marked.getpixel((x, y))]
    xs, ys = zip(*differing, strict=True)
    assert (min(xs), max(xs)) == pytest.approx((box.left * 600, box.right * 600), abs=2)
    assert (min(ys), max(ys)) == pytest.approx((box.top * 850, box.bottom * 850), abs=2)
    # The letters can still be read: black stays far darker than the marker.
    assert min(sum(marked.convert("RGB").getpixel(place)) for place in differing) < 250  # type: ignore[arg-type]


def test_the_boxes_of_a_page_that_lies_on_its_side_are_where_it_is_shown(tmp_path: Path) -> None:
    content = "BT /F1 12 Tf 72 720 Td (A page on its side) Tj ET"
    path = write_contents(tmp_path / "a.pdf", [content], page_entries="/Rotate 90")
    (box,) = _boxes_of(path, 1, "A page on its side")
    assert box.bottom - box.top > box.right - box.left
    picture = Image.open(io.BytesIO(page_image(path, 1, width=842)))
    assert picture.size == (842, 595)
    grey = picture.convert("L")
    dark = [(x / 842, y / 595) for x in range(842) for y in range(595) if grey.getpixel((x, y)) < 60]  # type: ignore[operator]
    assert dark
    assert all(box.left - 0.01 < x < box.right + 0.01 and box.top - 0.01 < y < box.bottom + 0.01 for x, y in dark)


def test_a_file_that_is_gone_or_has_changed_is_said(pdf: Path) -> None:
    with pytest.raises(DocumentError, match="has changed"):
        passage_boxes(pdf, 1, [(0, 7)], "another")
    with pytest.raises(DocumentError, match="has changed"):
        passage_boxes(pdf, 1, [(0, 7), (10_000, 10_010)])
    with pytest.raises(DocumentError, match="has changed"):
        page_image(pdf, 9)
    pdf.unlink()
    with pytest.raises(DocumentError, match="can't be read"):
        page_image(pdf, 1)


def _chunk(path: Path, containing: str) -> Chunk:
    chunks = split_document(read_document(path), fake_embedder(), max_tokens=20)
    return next(chunk for chunk in chunks if containing in chunk.text)


def test_the_text_around_a_passage_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    text = "# One\n\n" + "first words. " * 10 + "\n\nThe middle of it.\n\n" + "last words. " * 10
    path.write_text(text)
    chunk = _chunk(path, "middle")
    place = read_source_context(chunk)
    assert place.before + place.text + place.after == text
    assert place.text == chunk.text
    near = read_source_context(chunk, margin=5)
    assert (near.before, near.after) == (place.before[-5:], place.after[:5])
    assert read_source_context(chunk, margin=0).before == ""
    path.write_text(text.replace("middle", "center"))
    with pytest.raises(DocumentError, match="has changed"):
        read_source_context(chunk)
    with pytest.raises(DocumentError, match="has changed"):
        read_source_context(replace(chunk, page=7))
