"""Pages that are pictures, read by OCR."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from jina_rag import Embedder
from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.rag import DocumentIndex
from jina_rag.rag.citations.source_context import Box, page_image, passage_boxes, read_source_context
from jina_rag.rag.documents import ReadLimits, find_documents, read_document
from jina_rag.rag.documents.formats.pdf import read_pdf
from jina_rag.rag.documents.types import SourceFile
from jina_rag.rag.retrieval.highlights import best_sentences
from jina_rag.rag.retrieval.retriever import Retriever
from tests.index_files import database
from tests.rag.documents.pdf import PICTURE, draw_page, write_contents

FIRST = ("The keeper climbed the stairs every evening.", "Edith Marrable rowed out in the gale.")
SECOND = ("The pump of the lamp needs clean water.", "Admission is four pounds on Tuesdays.")
QUESTIONS = (
    ("How often did the keeper go up the stairs?", "Who went out in a boat during the storm?"),
    ("What must the pump be filled with?", "How much is a ticket?"),
)
TEXT = "BT /F1 12 Tf 72 720 Td (Some text) Tj ET"


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """Two scanned pages, the second of which lies on its side."""
    first, second = draw_page(FIRST), draw_page(SECOND).rotate(90, expand=True)
    path = tmp_path / "scan.pdf"
    first.save(path, save_all=True, append_images=[second], quality=95)
    return path


def test_each_sentence_of_a_scan_answers_its_question_and_is_marked_on_its_page(
    tmp_path: Path, minilm: Embedder, scan: Path
) -> None:
    index = DocumentIndex.create_or_open(tmp_path / "index", minilm)
    with Retriever(index) as retriever:
        index.add([scan])
        (document,) = index.documents()
        assert document.notes[0].startswith(
            "OCR (PP-OCRv6 small: Chinese, Japanese and languages in Latin letters) read"
        )
        assert document.notes[1:] == ("To be read, page 2 had to be turned.",)
        for number, (sentences, questions) in enumerate(zip((FIRST, SECOND), QUESTIONS, strict=True), start=1):
            for place, (sentence, question) in enumerate(zip(sentences, questions, strict=True)):
                found = retriever.retrieve(question)
                chunk, best = found[0].chunk, best_sentences(question, found, minilm)[0]
                assert (chunk.page, best.number, chunk.text[best.start : best.end]) == (number, 1, sentence)
                assert read_source_context(chunk).text == chunk.text
                spans = [(chunk.start, chunk.end), (chunk.start + best.start, chunk.start + best.end)]
                whole, (box,) = passage_boxes(scan, number, spans, chunk.text)
                assert len(whole) == 2
                assert box == pytest.approx(_place_of(sentence, number, place), abs=0.06)


def test_a_page_is_read_by_ocr_once_as_long_as_its_file_is_known(index: DocumentIndex, scan: Path) -> None:
    index.add([scan])
    with database(index.folder) as connection:
        connection.execute("UPDATE scans SET content = replace(content, 'lamp', 'kept scan')")
        connection.execute("UPDATE documents SET reading_version = 0")
    index.sync()
    assert "The pump of the kept scan needs" in index.chunks_of(str(scan))[1].text
    scan = scan.rename(scan.with_name("moved.pdf"))
    assert index.sync().removed
    index.add([scan])
    assert "The pump of the kept scan needs" in index.chunks_of(str(scan))[1].text
    index.remove([scan])
    with database(index.folder) as connection:
        assert connection.execute("SELECT * FROM scans").fetchall() == []


def _place_of(sentence: str, number: int, place: int) -> Box:
    """Where `draw_page` has put a line, in shares of the page as it is shown."""
    x1, y1, x2, y2 = ImageFont.load_default(22).getbbox(sentence)
    left, top, right, bottom = (
        (40 + x1) / 900,
        (20 + 44 * place + y1) / 128,
        (40 + x2) / 900,
        (20 + 44 * place + y2) / 128,
    )
    return Box(left, top, right, bottom) if number == 1 else Box(top, 1 - right, bottom, 1 - left)


def test_a_word_in_a_line_is_marked_where_it_is(tmp_path: Path) -> None:
    draw_page(["illicit lilliputian mills WWWW MMMM"], size=40).save(tmp_path / "a.png")
    text = read_document(tmp_path / "a.png").pages[0].text
    start = text.index("WWWW")
    ((box,),) = passage_boxes(tmp_path / "a.png", 1, [(start, start + 4)])
    with Image.open(tmp_path / "a.png") as image:
        columns = np.asarray(image)[:, int(box.left * 900) : int(box.right * 900)].min(axis=0) < 128
    assert columns[:20].any()


def test_pictures_are_documents(tmp_path: Path) -> None:
    pages = [draw_page([line]) for line in SECOND]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "b.WEBP", lossless=True)
    upside_down = Image.Exif()
    upside_down[0x0112] = 3
    pages[1].rotate(180).save(tmp_path / "c.jpg", exif=upside_down, quality=95)
    found = {path.name: [page.text for page in read_document(path).pages] for path in find_documents([tmp_path])}
    assert Image.open(io.BytesIO(page_image(tmp_path / "a.tiff", 2, width=450))).size == (450, 42)
    assert found == {"a.tiff": list(SECOND), "b.WEBP": [SECOND[0]], "c.jpg": [SECOND[1]]}


def test_columns_are_read_one_after_the_other_and_rows_of_tables_across(tmp_path: Path) -> None:
    page = Image.new("L", (1600, 560), 255)
    for column, sentences in enumerate((FIRST, SECOND)):
        page.paste(draw_page(sentences, size=30).crop((0, 0, 780, 160)), (column * 800, 0))
    for column, cells in enumerate((("Part", "K0001", "K0002"), ("Width", "Twelve", "Fourteen"))):
        page.paste(draw_page(cells, size=30), (column * 500, 300))
    for degrees in (0, 2):
        page.rotate(degrees, fillcolor=255, expand=True).save(tmp_path / "a.png")
        text = " ".join(read_document(tmp_path / "a.png").pages[0].text.split())
        assert text == " ".join((*FIRST, *SECOND, "Part Width K0001 Twelve K0002 Fourteen"))


def test_what_ocr_does_not_read_is_said(index: DocumentIndex, tmp_path: Path) -> None:
    path, blank = tmp_path / "a.pdf", draw_page([""])
    draw_page(FIRST).save(path, save_all=True, append_images=[blank, blank])
    assert read_document(path).notes[1:] == ("OCR found no text on pages 2 and 3.",)
    limit = "OCR reads at most 2 pages of a file: 1 more was not read."
    assert read_document(path, ReadLimits(max_scans=2)).notes[1:] == ("OCR found no text on page 2.", limit)
    blank.save(tmp_path / "photo.png")
    with pytest.raises(DocumentError, match=r"OCR could not read page 1: .*longer than 0\.01 seconds"):
        read_document(tmp_path / "photo.png", ReadLimits(scan_seconds=0.01))
    report = index.add([tmp_path / "photo.png"])
    (photo,) = index.documents()
    assert (report.failed, photo.n_chunks, photo.notes) == ((), 0, ("OCR found no text on page 1.",))


def test_without_ocr_the_note_says_how_to_get_it(tmp_path: Path, scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    mixed = write_contents(tmp_path / "a.pdf", [TEXT, PICTURE])
    file = SourceFile(mixed, mixed.read_bytes(), 1000)
    assert read_pdf(file).pages[0].text == "Some text"
    assert file.notes == [
        "No text, or hardly any, is on page 2: probably a scan. To have it read, install OCR with: "
        "pip install 'jina-rag[ocr]'. Then add it again."
    ]
    with pytest.raises(MissingDependencyError, match=r"probably a scan.*jina-rag\[ocr\]"):
        read_pdf(SourceFile(scan, scan.read_bytes(), 1000))


def test_a_picture_that_unfolds_to_far_more_pixels_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "a.png")
    with pytest.raises(DocumentError, match="more than 100 million pixels"):
        read_document(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"GIF89a")
    with pytest.raises(DocumentError, match="is no picture that can be read"):
        read_document(tmp_path / "b.png")
