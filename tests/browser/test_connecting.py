"""A language model connected on the Models page, asked, and lost; and how little a newcomer has to do."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.ollama import ollama
from tests.browser.running_app import running_app
from tests.browser.watched import Visitor, answered, ask, chip, go, question_field, send, settled
from tests.rag.documents.pdf import write_pdf

E7 = "What does fault code E7 mean?"
MOST_CLICKS = 6
COUNT = "addEventListener('click', event => event.isTrusted && clicked(event.target.innerText), true)"


def test_a_model_is_connected_in_one_step_and_can_die(visitor: Visitor, start: Any) -> None:
    with ollama(["The battery is low. ", "[1]"]) as models:
        page = settled(visitor.opens(start("--llm", "none", ollama=models.address), "models"))
        in_use = page.locator(".st-key-in-use")
        for model, problem in (
            ("html", "does not answer as a chat server does"),
            ("empty", "wrote an empty answer"),
            ("thinking", "nothing but its reasoning"),
        ):
            _choose(page, model)
            expect(page.get_by_role("alert").filter(has_text=problem)).to_be_visible()
            expect(in_use).to_contain_text("No language model is connected")
        _choose(page, "silent")
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_text("Cancelled.")).to_be_visible()
        _choose(page, "quick")
        expect(in_use).to_contain_text("quick (Ollama) writes the answers")
        go(page, "Ask")
        ask(page, E7)
        expect(answered(page)).to_contain_text("The battery is low.")
        models.is_dead = True
        send(page, E7)
        expect(page.get_by_role("alert").filter(has_text="Can't reach http")).to_be_visible()
        page.get_by_role("button", name="Show passages instead").click()
        expect(answered(page)).to_contain_text("these passages fit your question best")


def _choose(page: Page, model: str) -> None:
    settled(page)
    page.get_by_role("combobox", name="On this computer").click()
    page.get_by_role("option", name=f"{model} (Ollama)").click()
    settled(page)
    page.get_by_role("button", name="Use this model").click()


@pytest.mark.parametrize("has_ollama", [True, False])
def test_a_newcomer_asks_a_local_model_about_an_own_pdf(visitor: Visitor, tmp_path: Path, *, has_ollama: bool) -> None:
    """From the first visit, with no index: Ollama is found by itself, and SmolLM2 is there without it."""
    survey = write_pdf(tmp_path / "bee-survey.pdf", ["A survey of bees.\nLudmila Prochazka counted the bees in 2031."])
    with ollama(["Ludmila Prochazka counted the bees in 2031. ", "[1]"]) as models:
        address = models.address if has_ollama else ""
        with running_app(tmp_path / "index", tmp_path, ollama=address) as app:
            page = visitor.opens(app)
            clicks: list[str] = []
            page.expose_function("clicked", lambda text: clicks.append(text))
            page.evaluate(COUNT)
            if not has_ollama:
                page.get_by_role("button", name="Connect a model").click()
                page.get_by_text("Other models").click()
                page.get_by_role("button", name="Use SmolLM2").click()
                expect(page.locator(".st-key-in-use")).to_contain_text("writes the answers")
                page.get_by_role("link", name="Ask", exact=True).click()
            question_field(page).fill("Who counted the bees in 2031?")
            with page.expect_file_chooser() as chooser:
                page.get_by_role("button", name="Upload files").click()
            chooser.value.set_files(survey)
            expect(page.get_by_test_id("stChatInput")).to_contain_text(survey.name)
            expect(page.get_by_role("button", name="Send message")).to_be_enabled()  # it is uploaded
            question_field(page).press("Enter")
            expect(answered(page)).not_to_contain_text("No language model is connected")
            if has_ollama:  # SmolLM2 is too small to cite each time
                expect(answered(page)).to_contain_text("Ludmila Prochazka counted the bees in 2031.")
                expect(chip(page, "bee-survey.pdf").first).to_be_visible()
            assert 0 < len(clicks) <= MOST_CLICKS, clicks
