"""A visitor of the app, whose browser is watched, and what a visitor does over and over."""

import re
from typing import Any, Self
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect

from tests.browser.running_app import RunningApp

MILLISECONDS = 300_000  # of patience: machines that run tests are busy
PAGES = ("", "library", "models")
ROW = 35  # pixels, of a table

expect.set_options(timeout=MILLISECONDS)


class Visitor:
    """Opens pages and remembers what they made the browser do."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.asked_for: list[str] = []
        self.problems: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for context in self._contexts:
            context.close()

    def opens(self, app: RunningApp, page: str = "", **profile: Any) -> Page:
        """A page of the app, in a new profile: `color_scheme`, `viewport` and the like."""
        context = self._browser.new_context(**profile)
        context.set_default_timeout(MILLISECONDS)
        self._contexts.append(context)
        context.on("request", lambda request: self.asked_for.append(request.url))
        context.on("weberror", lambda error: self.problems.append(str(error.error)))
        context.on("console", self._listen)
        context.on("page", lambda new: new.on("websocket", lambda socket: self.asked_for.append(socket.url)))
        opened = context.new_page()
        opened.goto(app.link(page))
        return opened

    def elsewhere(self) -> list[str]:
        """The addresses on other hosts that any page asked for, refused ones included."""
        own = {"127.0.0.1"}
        inside = {"data", "blob", "about"}
        parts = [(url, urlsplit(url)) for url in self.asked_for]
        return [url for url, part in parts if part.scheme not in inside and part.hostname not in own]

    def check(self) -> None:
        """That the browser stayed on this machine and no script failed."""
        assert self.asked_for, "no page was opened"
        assert self.elsewhere() == []
        assert self.problems == []

    def _listen(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            self.problems.append(message.text)


def settled(page: Page) -> Page:
    """The page, when its script has run and nothing is left of what it showed before."""
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text(re.compile(r"\S"))
    expect(page.locator("[data-testid=stSkeleton]")).to_have_count(0)
    expect(page.locator("[data-testid=stSpinner]")).to_have_count(0)
    expect(page.locator("[data-stale=true]")).to_have_count(0)
    return page


def go(page: Page, name: str) -> Page:
    """Another page of the app, by its link in the navigation."""
    page.get_by_role("link", name=name, exact=True).click()
    expect(page).to_have_url(re.compile(r"/(\?|$)" if name == "Ask" else rf"/{name.lower()}(\?|$)"))
    return settled(page)


def question_field(page: Page) -> Locator:
    """Where questions are typed."""
    return page.get_by_role("textbox", name="Ask a question about your documents")


def send(page: Page, question: str) -> None:
    """Type a question and send it."""
    question_field(page).fill(question)
    question_field(page).press("Enter")


def ask(page: Page, question: str) -> None:
    """Ask a question, and wait until it has got its place on the page; its answer is not waited for."""
    asked = page.get_by_role("group", name="Chat message from user")
    n_before = asked.count()
    send(page, question)
    expect(asked).to_have_count(n_before + 1)
    expect(page.get_by_role("group", name="Chat message from assistant")).to_have_count(n_before + 1)


def answer(page: Page) -> Locator:
    """The last answer."""
    return page.get_by_role("group", name="Chat message from assistant").last


def answered(page: Page) -> Locator:
    """The last answer, when it is whole: only then it can be copied."""
    expect(answer(page).get_by_role("button", name="Copy")).to_be_visible()
    return answer(page)


def chip(page: Page, name: str) -> Locator:
    """The button in the last answer that opens a passage of a file."""
    return answer(page).get_by_role("button", name=re.compile(rf"^(\d+ · )?{re.escape(name)}"))


def open_passage(page: Page, name: str) -> Locator:
    """The passage of a file that the last answer rests on, opened."""
    chip(page, name).first.click()
    dialog = page.get_by_role("dialog", name="Passage")
    expect(dialog.get_by_text("Similarity to the question")).to_be_visible()
    settled(page)
    return dialog


def open_document(page: Page, number: int) -> Locator:
    """A document of the library, opened by its number in the list, from 1."""
    table = page.get_by_test_id("stDataFrame")
    table.scroll_into_view_if_needed()
    box = table.bounding_box()
    assert box
    page.mouse.click(box["x"] + 70, box["y"] + (number + 0.5) * ROW)  # "Open" is in a picture of a table
    dialog = page.get_by_role("dialog", name="Document")
    expect(dialog).to_be_visible()
    settled(page)
    return dialog


def shown(place: Page | Locator) -> str:
    """The text that people read there."""
    body = place.locator("body") if isinstance(place, Page) else place
    return body.inner_text()


def one_line(text: str) -> str:
    """A text with single spaces, as it is compared with what a browser has laid out."""
    return " ".join(text.split())
