"""A document, its name, a question and an answer full of what other pages would run, load or turn round."""

from pathlib import Path
from typing import Any

from playwright.sync_api import FilePayload, Page, expect

from tests.browser.ollama import ollama
from tests.browser.watched import PAGES, Visitor, answer, answered, ask, chip, one_line, settled, shown

HOST = "http://elsewhere.invalid"
EVIL = (
    f'<script>window.ran = "script"</script> <img src="{HOST}/a.png" onerror="window.ran = 1"> ![sea]({HOST}/b.png) '
    f"[click]({HOST}/c) {HOST}/d me@elsewhere.invalid $\\frac{{1}}{{2}}$ $$x$$ :red[alarm] :material/home: :smile: "
    "\x1b[31mred\x1b[0m \u202egnp.tac\u202c \u2066inside\u2069 **bold**"
)
# Letter for letter, but for what can't be seen.
LETTERS = (
    '<script>window.ran = "script"</script>',
    f"![sea]({HOST}/b.png)",
    f"[click]({HOST}/c)",
    "$\\frac{1}{2}$",
    "$$x$$",
    ":red[alarm]",
    ":material/home:",
    ":smile:",
)
NAME = "![sea](http:elsewhere.invalid) <script>window.ran=2<script> $a$ :red[no] \x1b[31m \u202efdp.md"
QUESTION = f"What did the captain of the Heron write? {EVIL}"


def test_document_name_question_and_answer_are_only_text(visitor: Visitor, start: Any, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / NAME).write_text(f"# The captain's letter {EVIL}\n\nThe captain of the Heron wrote: {EVIL}\n")
    content = f"The mate of the Heron wrote: {EVIL}".encode()
    upload: FilePayload = {"name": f"up {NAME}", "mimeType": "text/markdown", "buffer": content}
    with ollama([*EVIL, " [1]"], len(EVIL)) as model:
        model.go_on.set()
        app = start("--llm", model.llm("waiting"))
        page = settled(visitor.opens(app, "library"))
        page.get_by_role("textbox", name="folder or file on this computer").fill(str(folder))
        page.get_by_role("button", name="Add folder").click()
        page.locator("input[type=file]").set_input_files([upload])
        expect(page.get_by_text("1 added")).to_have_count(2)
        _check(page)

        page = settled(visitor.opens(app))
        ask(page, QUESTION)
        answered(page)
        settled(page)
        _check(page)
        question = one_line(shown(page.get_by_role("group", name="Chat message from user")))
        text = one_line(shown(answer(page)))
        for letters in LETTERS:
            assert letters in question
            assert letters in text
        assert "bold" in text

        captain = chip(page, "![sea]").or_(chip(page, "up ")).first
        captain.click()
        dialog = page.get_by_role("dialog", name="Passage")
        expect(dialog.get_by_text("of the Heron wrote")).to_be_visible()
        settled(page)
        for letters in LETTERS:
            assert letters in one_line(shown(dialog))
        _check(page)
        for name in PAGES[1:]:
            _check(settled(visitor.opens(app, name)))


def _check(page: Page) -> None:
    """That nothing has run, was loaded, leads elsewhere, is set as a formula or is coloured, and all can be read."""
    assert page.evaluate("window.ran") is None
    for selector in ("img[src*=elsewhere]", "a[href*=elsewhere]", "[onerror]", ".katex", ".stMarkdown script"):
        assert page.locator(selector).count() == 0, selector
    texts = page.locator(".stMarkdownColoredText").all_inner_texts()
    assert "alarm" not in texts
    assert "no" not in texts
    body = page.locator("body").inner_text()
    assert not set(body) & {"\x1b", "\u202e", "\u202c", "\u2066", "\u2069"}
