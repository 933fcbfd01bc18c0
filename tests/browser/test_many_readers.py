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
            expect(chip(page, name).first).to_be_visible()
        for page in pages:
            page.get_by_role("button", name="New conversation").click()
            settled(page)
        megabytes.append(app.resident_megabytes())
    assert megabytes[-1] - megabytes[0] < MOST_GROWTH, megabytes


def test_readers_of_one_language_model_see_that_they_wait_and_have_their_turn(visitor: Visitor, start: Any) -> None:
    app: RunningApp = start("--llm", "smollm2")
    waiting = [settled(visitor.opens(app)) for _ in range(4)]
    for page in waiting:
        send(page, "What does fault code E7 mean?")
    saw_a_queue = False
    while waiting:  # in whatever order they came into the queue
        saw_a_queue |= any("Waiting: " in shown(page) for page in waiting)
        waiting = [page for page in waiting if not _has_had_its_turn(page)]
    assert saw_a_queue


def _has_had_its_turn(page: Page) -> bool:
    """Whether its answer has come or, since a whole one takes this model long, has begun and was then stopped."""
    page.wait_for_timeout(200)
    assert page.get_by_test_id("stAlertContentError").count() == 0, shown(page)
    if answer(page).get_by_role("button", name="Copy").is_visible():
        return True
    text, stop = answer(page).get_by_role("paragraph").nth(1), page.get_by_role("button", name="Stop")
    if not (text.is_visible() and re.search(r"\w+ \w+", shown(text)) and stop.is_visible()):
        return False
    stop.click()
    return bool(answered(page))
