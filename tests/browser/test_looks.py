"""Each page in light, in dark and on a phone: whole, readable, within its width.

The pictures go into the folder that the environment variable SCREENSHOTS names, if it does.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.looks import accessibility_faults, overhang, texts_seen
from tests.browser.ollama import Ollama, ollama
from tests.browser.running_app import RunningApp, running_app
from tests.browser.watched import Visitor, answered, ask, go, open_document, open_passage, send, settled, shown

LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 860}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 860}},
    "phone": {
        "color_scheme": "light",
        "viewport": {"width": 390, "height": 844},
        "has_touch": True,
        "is_mobile": True,
        "user_agent": "Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/140.0.0.0 Mobile Safari/537.36",
    },
}
LEAST_CONTRAST = 4.5  # of text of any size, WCAG 2 level AA
# Streamlit writes white on the primary colour and the primary colour on dark ground; no colour has 4.5 with both.
LEAST_CONTRAST_OF_CONTROLS = 3.5


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_readable(visitor: Visitor, app: RunningApp, look: str, tmp_path: Path) -> None:
    _check(_walk(page := settled(visitor.opens(app, **LOOKS[look]))), page, look, tmp_path)


@pytest.mark.parametrize("look", LOOKS)
def test_every_state_is_readable(visitor: Visitor, start: Any, look: str, tmp_path: Path) -> None:
    doubtful = "## The lantern room\n\n| who | how many |\n|--|--|\n| guides | one [1] |\n\n" + "".join(
        f"- It has {n} doors. [1]\n" for n in range(91, 96)
    )
    with ollama([doubtful]) as models:
        page = settled(visitor.opens(start("--llm", models.llm("quick"), ollama=models.address), **LOOKS[look]))
        _check(_walk_states(page, models), page, look, tmp_path)
    with running_app(tmp_path / "none", tmp_path, "--no-samples") as empty:
        page = settled(visitor.opens(empty, **LOOKS[look]))
        _check(_walk_empty(page), page, look, tmp_path)


def _check(states: Iterator[str], page: Page, look: str, scratch: Path) -> None:
    """Take a picture of each state and look for faults."""
    folder = Path(os.environ.get("SCREENSHOTS") or scratch)
    folder.mkdir(parents=True, exist_ok=True)
    faults: list[str] = []
    for name in states:
        settled(page)
        page.mouse.move(0, 0)
        page.wait_for_timeout(700)  # until what fades in is there
        page.screenshot(path=folder / f"{name}-{look}.png")
        faults += [f"{name}: {fault}" for fault in _faults(page, is_dark=look == "dark")]
    assert not faults, "\n".join(faults)


def _walk(page: Page) -> Iterator[str]:
    """Through all pages and what opens on them; yields a name wherever there is something to look at."""
    yield "ask-empty"
    ask(page, "What does fault code E7 mean?")
    answered(page)
    yield "ask"
    open_passage(page, "lamp-manual.pdf, p. 4")
    yield "passage-pdf"
    page.get_by_role("dialog").get_by_text("Large", exact=True).click()
    yield "passage-pdf-large"
    _close_dialog(page)
    ask(page, "What is the boiling point of nitrogen?")
    answered(page)
    yield "ask-no-answer"
    ask(page, "How many people may be in the lantern room at once?")
    answered(page)
    open_passage(page, "safety-rules.md")
    yield "passage-text"
    _close_dialog(page)
    go(page, "Library")
    yield "library"
    go(page, "Models")
    yield "models"


def _walk_states(page: Page, models: Ollama) -> Iterator[str]:
    """Through an answer that is in doubt, what opens around it, a document, and a model that has died."""
    ask(page, "How many people may be in the lantern room at once?")
    expect(answered(page)).to_contain_text("And 2 more below.")
    yield "answer-in-doubt"
    for name in ("Settings", "Filter sources", "Conversation"):
        page.get_by_role("button", name=name, exact=True).click()
        expect(page.get_by_role("combobox").or_(page.get_by_role("textbox", name="Title")).first).to_be_visible()
        yield name.split()[0].lower()
        page.keyboard.press("Escape")
    page.get_by_role("button", name="Edit question").click()
    expect(page.get_by_role("dialog")).to_contain_text("Answered by")
    yield "edit"
    _close_dialog(page)
    models.is_dead = True
    send(page, "What does fault code E7 mean?")
    expect(page.get_by_role("button", name="Show passages instead")).to_be_visible()
    yield "ask-failed"
    go(page, "Library")
    open_document(page, 3)
    yield "document"
    _close_dialog(page)
    go(page, "Models")
    yield "models-connected"


def _walk_empty(page: Page) -> Iterator[str]:
    """Through the pages without an index."""
    expect(page.get_by_role("heading", name="Welcome")).to_be_visible()
    yield "welcome"
    for name in ("Library", "Models"):
        go(page, name)
        yield f"{name.lower()}-empty"


def _close_dialog(page: Page) -> None:
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def _faults(page: Page, *, is_dark: bool) -> Iterator[str]:
    """What is wrong with how a page looks."""
    if wider := overhang(page):
        yield f"{wider} pixels wider than the window"
    yield from accessibility_faults(page)
    texts = texts_seen(page)
    if len(texts) < 8:
        yield f"hardly any text: {shown(page)!r}"
    for seen in texts:
        if seen.contrast < (LEAST_CONTRAST_OF_CONTROLS if seen.is_control else LEAST_CONTRAST):
            yield f"contrast {seen.contrast:.1f}: {seen.text[:60]!r}"
        if is_dark and seen.ground > 0.25 and not re.fullmatch(r"\W*|Send message", seen.text):
            yield f"a light ground in the dark: {seen.text[:60]!r}"
    if page.get_by_test_id("stException").count():
        yield "an exception"
