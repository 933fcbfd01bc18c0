"""Questions and answers, as people have them."""

import io
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import pypdfium2
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.looks import overhang
from tests.browser.ollama import ollama
from tests.browser.running_app import SAMPLES, RunningApp
from tests.browser.watched import (
    Visitor,
    answer,
    answered,
    ask,
    chip,
    go,
    one_line,
    open_passage,
    question_field,
    send,
    settled,
    shown,
)

E7 = "What does fault code E7 mean?"
LANTERN_ROOM = "How many people may be in the lantern room at once?"
EIGHT = "No more than eight people may be in the lantern room at once, the guide included."
WORDS = [f"word{number} " for number in range(60)]


def test_the_watch_notices_what_a_page_asks_other_hosts_for(visitor: Visitor, app: RunningApp) -> None:
    page = settled(visitor.opens(app))
    fetch = "fetch('http://elsewhere.invalid/').catch(() => null)"
    page.evaluate(fetch)  # which the policy of the app forbids
    assert visitor.problems
    page.goto("about:blank")
    page.evaluate(fetch)
    assert visitor.elsewhere() == ["http://elsewhere.invalid/"]
    visitor.asked_for.remove("http://elsewhere.invalid/")
    visitor.problems.clear()


def test_a_passage_opens_on_the_page_of_its_pdf_with_its_best_sentence_marked(
    visitor: Visitor, app: RunningApp
) -> None:
    page = settled(visitor.opens(app))
    ask(page, E7)
    assert "23.5 volts" in shown(answered(page))
    dialog = open_passage(page, "lamp-manual.pdf, p. 4")
    expect(dialog.get_by_text("lamp-manual.pdf, page 4, Fault codes")).to_be_visible()
    picture = dialog.get_by_role("img", name="Page 4 of the document, with the passage marked.")
    expect(picture).to_be_visible()
    panel, field = dialog.bounding_box(), question_field(page).bounding_box()
    assert panel
    assert field
    assert field["x"] + field["width"] <= panel["x"]  # beside the conversation
    dialog.get_by_text("The passage as text").click()
    text = one_line(shown(dialog.get_by_test_id("stText")))
    assert "Code E7: The battery voltage is below 23.5 volts." in text

    with pypdfium2.PdfDocument(SAMPLES / "lamp-manual.pdf") as document:
        printed = document[3].get_textpage()
        assert text in one_line(printed.get_text_range())
        image, (width, height) = _image(page, picture), document[3].get_size()
        assert abs(image.width / image.height - width / height) < 0.01
        scale = image.width / width
        colors = []
        for words in ("Code E7: The battery", "Start the diesel", "Code E1: Both lamps", "When a fault lasts"):
            left, bottom, right, top = _place(printed, words)
            box = (left * scale, (height - top) * scale, right * scale, (height - bottom) * scale)
            colors.append(_color(image.crop(box)))
        cited, beside_it, passage, outside = colors
        assert cited > beside_it + 80
        assert abs(beside_it - passage) < 10
        assert passage > outside + 30
        assert outside < 10
    dialog.get_by_role("button", name="Previous page").click()
    expect(dialog.get_by_role("img", name="Page 3 of the document.")).to_be_visible()


def test_a_page_can_be_read_on_a_phone(visitor: Visitor, app: RunningApp) -> None:
    page = settled(visitor.opens(app, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True))
    ask(page, E7)
    answered(page)
    dialog = open_passage(page, "lamp-manual.pdf, p. 4")
    picture = dialog.get_by_role("img", name="Page 4 of the document, with the passage marked.")
    assert _width(picture) < 390
    dialog.get_by_text("Large", exact=True).tap()
    expect(picture).to_have_css("width", "900px")
    picture.evaluate("picture => picture.scrollIntoView({inline: 'end'})")  # as a finger moves it
    box = picture.bounding_box()
    assert box
    assert box["x"] + box["width"] <= 390
    assert overhang(page) == 0


def test_a_passage_of_a_text_is_marked_between_the_lines_around_it(visitor: Visitor, app: RunningApp) -> None:
    page = settled(visitor.opens(app))
    ask(page, LANTERN_ROOM)
    assert "eight" in shown(answered(page))
    dialog = open_passage(page, "safety-rules.md")
    marked = [one_line(text) for text in dialog.locator("mark").all_inner_texts()]
    assert marked == ["No more than eight people may be in the lantern room at once, the guide included."]
    assert f"{marked[0]} The gallery is closed" in one_line(shown(dialog))  # the next item of the list
    assert "- The gallery" not in shown(dialog)


def test_a_conversation_outlives_a_reload_and_is_its_browsers_alone(visitor: Visitor, app: RunningApp) -> None:
    page = settled(visitor.opens(app))
    ask(page, E7)
    said = shown(answered(page))
    address = page.url
    go(settled(page), "Library")
    page.reload()
    go(settled(page), "Ask")
    assert shown(answered(page)) == said
    assert page.url == address

    other = settled(visitor.opens(app, f"?{urlsplit(address).query}"))  # another browser with the same address
    expect(other.get_by_role("heading", name="sample documents")).to_be_visible()
    expect(other.get_by_role("button", name=E7)).to_have_count(1)  # the example
    second = settled(_tab_beside(page, app))
    second.get_by_role("button", name=E7).first.click()  # in the list of conversations
    assert shown(answered(second)) == said


def test_a_conversation_is_renamed_edited_deleted_brought_back_and_found(visitor: Visitor, start: Any) -> None:
    page = settled(visitor.opens(start()))
    for question in (E7, LANTERN_ROOM, "What is forbidden?", "Who keeps the keys?", "When does the ferry leave?"):
        if question != E7:
            page.get_by_role("button", name="New conversation").click()
            expect(settled(page).get_by_role("group", name="Chat message from user")).to_have_count(0)
        ask(page, question)
        answered(page)
        settled(page)
    page.get_by_role("button", name="Edit question").click()
    page.get_by_role("dialog").get_by_role("textbox", name="Question").fill(E7)
    page.get_by_role("dialog").get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("group", name="Chat message from user")).to_contain_text([E7])
    assert "23.5 volts" in shown(answered(page))
    settled(page)

    page.get_by_role("button", name="Conversation", exact=True).click()
    page.get_by_role("textbox", name="Title").fill("The battery")
    page.get_by_role("textbox", name="Title").press("Enter")
    renamed = page.get_by_role("button", name="The battery")
    expect(renamed).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    expect(renamed).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(renamed).to_be_visible()
    assert "23.5 volts" in shown(answered(page))
    page.get_by_role("textbox", name="Search conversations").fill("lantern room")
    page.get_by_role("textbox", name="Search conversations").press("Enter")
    expect(renamed).to_have_count(0)
    expect(page.get_by_role("button", name=LANTERN_ROOM)).to_be_visible()


def test_an_answer_goes_on_through_a_reload_and_is_there_on_return(visitor: Visitor, start: Any) -> None:
    with ollama([*WORDS, "[1]"], 8) as model:
        page = settled(visitor.opens(start("--llm", model.llm("waiting"))))
        ask(page, E7)
        expect(answer(page)).to_contain_text("word5")
        page.reload()
        expect(answer(page)).to_contain_text("word5")
        go(page, "Library")
        model.go_on.set()
        go(page, "Ask")
        expect(answered(page)).to_contain_text("word59")
        assert page.get_by_role("group", name="Chat message from user").count() == 1


def test_only_the_keyboard(visitor: Visitor, app: RunningApp) -> None:
    page = settled(visitor.opens(app))
    _tab_to(page, question_field(page))
    page.keyboard.type(E7)
    page.keyboard.press("Enter")
    answered(page)
    settled(page)
    best = chip(page, "lamp-manual.pdf").first
    _tab_to(page, best)
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Passage")
    expect(dialog).to_be_visible()
    page.wait_for_function("document.querySelector('[role=dialog]').contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(best).to_be_focused()


def test_what_had_come_stays_when_an_answer_is_stopped(visitor: Visitor, start: Any) -> None:
    with ollama(WORDS, 8) as model:
        page = settled(visitor.opens(start("--llm", model.llm("waiting"))))
        ask(page, E7)
        expect(answer(page)).to_contain_text("word5")
        page.get_by_role("button", name="Stop").click()
        expect(answer(page)).to_contain_text("Stopped early.")
        assert model.reader_left.wait(60)
        settled(page)
        expect(answer(page)).to_contain_text("word0 word1 word2 word3 word4 word5")
        assert "word59" not in shown(answer(page))
        ask(page, LANTERN_ROOM)  # and the conversation goes on
        expect(answer(page)).to_contain_text("word2")
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_text("Stopped early.")).to_have_count(2)


def test_two_tabs_ask_at_once_and_both_are_answered(visitor: Visitor, start: Any) -> None:
    with ollama([*WORDS[:20], "[1]"], 8) as model:
        app = start("--llm", model.llm("waiting"))
        first, second = settled(visitor.opens(app)), settled(visitor.opens(app))
        ask(first, E7)
        ask(second, LANTERN_ROOM)
        for page in (first, second):  # both are being answered
            expect(answer(page)).to_contain_text("word7")
        model.go_on.set()
        for page, name in ((first, "lamp-manual.pdf"), (second, "safety-rules.md")):
            expect(answered(page)).to_contain_text("word19")
            expect(chip(page, name).first).to_be_visible()
            assert len(page.get_by_role("group", name="Chat message from user").all()) == 1


def test_without_a_language_model_passages_are_shown_and_the_way_to_get_one(visitor: Visitor, app: RunningApp) -> None:
    page = settled(visitor.opens(app))
    ask(page, "What is the boiling point of nitrogen?")
    assert "No language model is connected: these passages fit your question best." in shown(answered(page))
    assert page.get_by_role("alert").count() == 0
    answer(page).get_by_role("link", name="Connect a model").click()
    expect(page.get_by_role("heading", name="Answer model")).to_be_visible()


def test_a_question_that_is_too_long_is_said_so(visitor: Visitor, app: RunningApp) -> None:
    page = settled(visitor.opens(app))
    send(page, "lamp " * 3000)
    expect(page.get_by_role("alert")).to_contain_text("The question is too long: 3,000 words, 14,999 characters.")


def test_a_conversation_is_downloaded(visitor: Visitor, app: RunningApp, tmp_path: Path) -> None:
    page = settled(visitor.opens(app))
    ask(page, E7)
    answered(page)
    settled(page)
    page.get_by_role("button", name="Conversation", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    download.value.save_as(tmp_path / "conversation.md")
    text = (tmp_path / "conversation.md").read_text(encoding="utf-8")
    assert E7 in text
    assert "23.5 volts" in text
    assert "page 4" in text


def _tab_beside(page: Page, app: RunningApp) -> Page:
    """Another tab of the same browser."""
    tab = page.context.new_page()
    tab.goto(app.link())
    return tab


def test_an_answer_is_drawn_and_its_citations_open_at_the_mark(visitor: Visitor, start: Any) -> None:
    written = f"## Faults\n\n| code | meaning |\n|--|--|\n| E7 | low [3] |\n\n- {EIGHT} [1]\n- Built in **1823** [1]."
    narrow: dict[str, Any] = {
        "viewport": {"width": 700, "height": 700},
        "permissions": ["clipboard-read", "clipboard-write"],
    }
    with ollama(list(written)) as models:
        page = settled(visitor.opens(start("--llm", models.llm("quick")), **narrow))
        ask(page, LANTERN_ROOM)
        answered(page)
        settled(page)
        drawn = answer(page).locator(".text").first
        expect(drawn.locator("h5")).to_have_text("Faults")
        expect(drawn.locator("td").first).to_have_text("E7")
        expect(drawn.locator("mark").last).to_have_text("1823")
        assert drawn.locator(".cite").all_inner_texts() == ["1", "2", "2"]
        assert "no cited passage has: 1823" in shown(answer(page))
        answer(page).get_by_role("button", name="Copy").click()
        expect(answer(page).get_by_role("button", name="Copied")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert EIGHT in copied
        assert "[2] safety-rules.md" in copied

        drawn.locator(".cite").last.click()
        dialog = page.get_by_role("dialog", name="Passage")
        marked = dialog.locator("mark").first
        expect(marked).to_have_text(EIGHT)
        expect(marked).to_be_in_viewport()
        before = _top(marked)
        page.keyboard.press("ArrowDown")  # the passage has the focus
        page.wait_for_timeout(500)
        assert _top(marked) < before
        with page.expect_download() as download:
            dialog.get_by_role("button", name="Open the original").click()
        assert download.value.suggested_filename == "safety-rules.md"
        dialog.get_by_role("button", name="Previous passage").click()
        expect(dialog.get_by_text("1 of 2")).to_be_visible()


def test_the_view_goes_to_a_new_question_and_stays_there(visitor: Visitor, start: Any) -> None:
    with ollama([f"Line {number}.\n\n" for number in range(60)], 8) as models:
        page = settled(visitor.opens(start("--llm", models.llm("waiting")), viewport={"width": 700, "height": 800}))
        for question in (E7, LANTERN_ROOM):
            models.go_on.clear()
            ask(page, question)
            expect(answer(page)).to_contain_text("Line 3.")
            asked = page.get_by_role("group", name="Chat message from user").last
            page.wait_for_timeout(500)
            place = _top(asked)
            assert 40 < place < 150
            models.go_on.set()
            answered(page)
            settled(page)
            assert abs(_top(asked) - place) < 40


def _top(place: Locator) -> float:
    box = place.bounding_box()
    assert box
    return box["y"]


def _tab_to(page: Page, target: Locator) -> None:
    """Press the tab key until something has the focus."""
    for _ in range(40):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"The tab key does not reach {target}.")


def _image(page: Page, picture: Locator) -> Image.Image:
    address = picture.get_attribute("src")
    assert address
    body = page.evaluate(
        "async address => Array.from(new Uint8Array(await (await fetch(address)).arrayBuffer()))", address
    )
    return Image.open(io.BytesIO(bytes(body))).convert("RGB")


def _place(printed: Any, words: str) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of the first letters of some words, in points."""
    found = printed.search(words).get_next()
    assert found, words
    start, n = found
    boxes = [printed.get_charbox(start + place) for place in range(n)]
    lefts, bottoms, rights, tops = zip(*boxes, strict=True)
    return min(lefts), min(bottoms), max(rights), max(tops)


def _width(picture: Locator) -> float:
    box = picture.bounding_box()
    assert box
    return box["width"]


def _color(image: Image.Image) -> int:
    """How far the ground behind some letters is from grey: 0 is grey or white, 255 a pure colour."""
    pixels: list[Any] = list(image.get_flattened_data())
    return int(median(max(pixel) - min(pixel) for pixel in pixels))
