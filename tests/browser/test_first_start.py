"""From the start on an installed environment, with no index and no model but the bundled one, to the first answer."""

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.running_app import running_app
from tests.browser.watched import Visitor, answer, answered, chip, open_passage, question_field, settled, shown

if TYPE_CHECKING:
    from playwright.sync_api import Page

EXAMPLE = "When does the last boat leave Ostrel?"


def test_first_start_to_first_cited_answer(
    visitor: Visitor, tmp_path: Path, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    began = monotonic()
    with running_app(tmp_path / "index", tmp_path) as app:
        page: Page = visitor.opens(app)
        expect(page.get_by_role("heading", name="Try it with sample documents")).to_be_visible()
        expect(page.get_by_text("22 files about a fictional lighthouse.")).to_be_visible()
        expect(page.get_by_text("No language model is connected")).to_be_visible()
        for name in ("Add documents", "Connect a model"):
            expect(page.get_by_role("button", name=name)).to_be_visible()
        page.get_by_role("button", name=EXAMPLE).click()
        answered(page)
        taken = monotonic() - began
        record_property("seconds_to_first_answer", taken)
        with capsys.disabled():
            print(f" {taken:.1f} s to the first answer ", end="")  # noqa: T201 the figure is what people run this for
        assert "17:45" in shown(answer(page))
        expect(chip(page, "ferry-timetable.html").first).to_be_visible()

        expect(page.get_by_role("progressbar")).to_have_count(0)
        assert "17:45" in shown(open_passage(page, "ferry-timetable.html"))
        page.keyboard.press("Escape")
        expect(question_field(settled(page))).to_be_visible()
