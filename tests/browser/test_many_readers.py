"""Ten readers at once."""

import re
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.running_app import RunningApp
from tests.browser.watched import Visitor, answer, answered, chip, send, settled, shown

N = 10
QUESTIONS = {
    "What does fault code E7 mean?": ("23.5 volts", "lamp-manual.pdf"),
    "How many people may be in the lantern room at once?": ("eight", "safety-rules.md"),
}
MOST_GROWTH = 40  # MB over two rounds; a page's state and conversation take their share


def test_ten_readers_are_all_answered_and_memory_stays_level(visitor: Visitor, start: Any) -> None:
    app: RunningApp = start()
    pages = [settled(visitor.opens(app)) for _ in range(N)]
    expected = [tuple(QUESTIONS.items())[number % len(QUESTIONS)] for number in range(N)]
    megabytes = []
    for _ in range(3):  # the first brings in what stays
        for page, (question, _) in zip(pages, expected, strict=True):
            send(page, question)
        for page, (_, (fact, name)) in zip(pages, expected, strict=True):
            assert fact in shown(answered(page))
            expect(chip(page, name)).to_be_visible()
        for page in pages:
            page.get_by_role("button", name="New conversation").click()
            settled(page)
        megabytes.append(app.resident_megabytes())
    assert megabytes[-1] - megabytes[0] < MOST_GROWTH, megabytes


def test_readers_of_one_language_model_see_that_they_wait_and_have_their_turn(visitor: Visitor, start: Any) -> None:
    app: RunningApp = start("--llm", "smollm2")
    pages = [settled(visitor.opens(app)) for _ in range(N)]
    for page in pages:
        send(page, "What does fault code E7 mean?")
    n_told = sum(_is_told_to_wait(page) for page in pages[1:])
    assert n_told >= N - 3, n_told  # the first may be through before we look at the second
    for page in pages[:-1]:  # a whole answer takes this model long, so all but one are content with its beginning
        expect(answer(page).get_by_role("paragraph").nth(1)).to_contain_text(re.compile(r"\w+ \w+"))
        stop = page.get_by_role("button", name="Stop")
        if stop.is_visible():
            stop.click()
    assert len(shown(answered(pages[-1]))) > 20


def _is_told_to_wait(page: Page) -> bool:
    waiting = page.get_by_text("Waiting: ").or_(page.get_by_role("radio", name="Thumbs up")).first
    expect(waiting).to_be_visible()
    return "Waiting: " in shown(page)
