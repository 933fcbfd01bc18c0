"""Documents that people bring: uploaded, indexed under their eyes, asked about."""

import re
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.watched import (
    Visitor,
    answered,
    ask,
    chip,
    go,
    one_line,
    open_document,
    open_passage,
    settled,
    shown,
)
from tests.rag.documents.pdf import write_pdf

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
RELATIONSHIPS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
MAIN = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
PARTS = {
    "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types"><Default Extension="rels" ContentType='
    '"application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/word/document.xml" ContentType="{MAIN}"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="r1" '
    f'Type="{RELATIONSHIPS}/officeDocument" Target="word/document.xml"/></Relationships>',
}
FACTS = {
    "bee-survey.pdf": ("Who counted the bees in 2031?", "The bees were counted in 2031 by Ludmila Prochazka."),
    "kite-club.docx": ("When does the kite club meet?", "The kite club meets on the second Thursday at 18:30."),
    "harbour-cats.md": ("What is the name of the harbour cat?", "The harbour cat is called Bartholomew."),
}


@pytest.fixture
def documents(tmp_path: Path) -> list[Path]:
    """A PDF, a Word document and a Markdown file, each with a fact of its own."""
    folder = tmp_path / "documents"
    folder.mkdir()
    facts = {name: fact for name, (_, fact) in FACTS.items()}
    write_pdf(folder / "bee-survey.pdf", [f"A survey of bees.\n{facts['bee-survey.pdf']}"])
    with ZipFile(folder / "kite-club.docx", "w") as archive:
        for name, content in PARTS.items():
            archive.writestr(name, content)
        text = f"<w:p><w:r><w:t>{facts['kite-club.docx']}</w:t></w:r></w:p>"
        body = f'<w:document xmlns:w="{WORD}"><w:body>{text}</w:body></w:document>'
        archive.writestr("word/document.xml", body)
    (folder / "harbour-cats.md").write_text(f"# Cats\n\n{facts['harbour-cats.md']}\n")
    return [folder / name for name in FACTS]


def test_uploaded_documents_are_cited(visitor: Visitor, start: Any, documents: list[Path]) -> None:
    page = settled(visitor.opens(start(), "library"))
    page.locator("input[type=file]").set_input_files(documents)
    expect(page.get_by_text("3 added")).to_be_visible()
    go(page, "Ask")
    for name, (question, fact) in FACTS.items():
        ask(page, question)
        assert fact.rstrip(".").split()[-1] in shown(answered(page)), name
        settled(page)
        dialog = open_passage(page, name)
        if name.endswith(".pdf"):
            dialog.get_by_text("The passage as text").click()
            expect(dialog.get_by_test_id("stText")).to_be_visible()
        assert fact in one_line(shown(dialog))
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)


def test_a_document_is_opened_from_its_row_and_asked_about(visitor: Visitor, start: Any) -> None:
    page = settled(visitor.opens(start(), "library"))
    dialog = open_document(page, 3)
    expect(dialog).to_contain_text("No more than eight people may be in the lantern room at once")
    dialog.get_by_role("button", name="Ask about this document").click()
    expect(page.get_by_text("Searching safety-rules.md only.")).to_be_visible()


def test_a_reload_in_the_middle_of_indexing(visitor: Visitor, start: Any, tmp_path: Path) -> None:
    folder = tmp_path / "diary"
    folder.mkdir()
    for day in range(80):
        paragraphs = [f"Day {day}, hour {hour}: the sea was calm, the wind came from the west." for hour in range(40)]
        (folder / f"day-{day:02}.txt").write_text("\n\n".join(paragraphs))
    app = start()
    page = settled(visitor.opens(app, "library"))
    page.get_by_role("textbox", name=re.compile("folder or file on this computer")).fill(str(folder))
    page.get_by_role("button", name="Add folder").click()
    _wait_for_progress(page)
    page.reload()
    second = visitor.opens(app, "library")
    for tab in (page, second):  # by now the work may be done
        expect(tab.get_by_role("progressbar").or_(tab.get_by_text("80 added")).first).to_be_visible()
    for tab in (page, second):
        expect(tab.get_by_text("80 added")).to_be_visible()
        expect(tab.get_by_role("progressbar")).to_have_count(0)
    go(page, "Ask")
    ask(page, "How was the sea on day 24?")
    answered(page)
    expect(chip(page, "day-").first).to_be_visible()


def test_indexing_is_cancelled(visitor: Visitor, start: Any, tmp_path: Path) -> None:
    lines = [f"Line {line} of a long letter about nothing." for line in range(9000)]
    (tmp_path / "long.txt").write_text("\n\n".join(lines))
    page = settled(visitor.opens(start(), "library"))
    page.get_by_role("textbox", name=re.compile("folder or file on this computer")).fill(str(tmp_path / "long.txt"))
    page.get_by_role("button", name="Add folder").click()
    _wait_for_progress(page)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Start again")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_count(0)


def _wait_for_progress(page: Page) -> None:
    bar: Locator = page.get_by_role("progressbar").first
    expect(bar).to_have_attribute("aria-valuenow", re.compile(r"^[1-9]"))
