"""Text from outside as HTML: drawn as Markdown, marked in its place, and harmless."""

import importlib
import re
from html.parser import HTMLParser
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.apps.conftest import APP

DRAWN = "div p h4 h5 h6 ul ol li pre code table thead tbody tr th td hr br strong em s mark blockquote button"


@pytest.fixture(scope="module")
def rendering() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(APP))
        return importlib.import_module("rendering")


def text(rendering: ModuleType, source: str, *marked: str, is_markdown: bool = True) -> str:
    spans = [(source.index(part), source.index(part) + len(part)) for part in marked]
    html: str = rendering.text_html(source, spans, is_markdown=is_markdown)
    return re.sub(r"\n|^<div[^>]*>|</div>$", "", html)


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("# A\n\nb **c**", "<h4>A</h4><p>b <strong>c</strong></p>"),
        ("- a\n- b", "<ul><li>a</li><li>b</li></ul>"),
        ("```py\nx < 1\n```", "<pre><code>x &lt; 1</code></pre>"),
        ("![a](http://x/b.png) [c](http://x)", "<p>![a](http://x/b.png) [c](http://x)</p>"),
        ("<b>x</b> https://x.test", "<p>&lt;b&gt;x&lt;/b&gt; https://x.test</p>"),
        ("a\u202eb\ue000", "<p>ab\ufffd</p>"),
    ],
)
def test_markdown_is_drawn_and_nothing_leads_elsewhere(rendering: ModuleType, source: str, html: str) -> None:
    assert text(rendering, source) == html


@pytest.mark.parametrize(
    ("source", "marked", "html"),
    [
        ("One. It is late.", "It is late.", "<p>One. <mark>It is late.</mark></p>"),
        ("**One.** Two.", "**One.**", "<p><strong><mark>One.</mark></strong> Two.</p>"),
        ("- One\n- Two", "- One\n- Two", "<ul><li><mark>One</mark></li><li><mark>Two</mark></li></ul>"),
        ("## One\nTwo", "## One\nTwo", "<h5><mark>One</mark></h5><p><mark>Two</mark></p>"),
    ],
)
def test_what_is_cited_is_marked_in_its_place(rendering: ModuleType, source: str, marked: str, html: str) -> None:
    assert text(rendering, source, marked) == html


def test_a_row_of_a_table_is_marked_cell_by_cell(rendering: ModuleType) -> None:
    html = text(rendering, "| a | b |\n|--|--|\n| 1 | 2 |\n| 3 | 4 |", "| 1 | 2 |")
    assert "<tr><td><mark>1</mark></td><td><mark>2</mark></td></tr><tr><td>3</td><td>4</td></tr>" in html


def test_what_is_no_markdown_keeps_its_lines_and_signs(rendering: ModuleType) -> None:
    assert text(rendering, "# a\n* b", "b", is_markdown=False) == "<p># a<br>* <mark>b</mark></p>"


@given(st.text(st.sampled_from("\\![]()<>`~:&*_#|$^@-. \n\ue000\ue001\ue002\ue003wa1/\"'"), max_size=60), st.data())
def test_whatever_the_text_nothing_is_live(rendering: ModuleType, source: str, data: st.DataObject) -> None:
    places = st.integers(0, len(source))
    span = sorted((data.draw(places), data.draw(places)))
    for html in (
        rendering.text_html(source, [span], is_markdown=True),
        rendering.text_html(source, [span], is_markdown=False),
        rendering.unfinished_html(source),
    ):
        tags = _Tags()
        tags.feed(html)
        assert tags.found <= set(DRAWN.split())
        assert tags.attributes <= {"class", "start", "style", "type", "data-number", "aria-label"}


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}
