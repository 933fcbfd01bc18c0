"""What comes from outside can't format, link, load or leave its folder."""

import importlib.util
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.apps.conftest import APP


@pytest.fixture(scope="module")
def escaping() -> ModuleType:
    spec = importlib.util.spec_from_file_location("escaping", APP / "escaping.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b*c [1] ü 灯 17:45", r"a\_b\*c \[1\] ü 灯 17\:45"),
        ("![x](data) <img src=x>", r"\!\[x\]\(data\) \<img src\=x\>"),
        ("see https://evil.test/a.", r"see `https://evil.test/a`\."),
        ("(WWW.evil.test)", r"\(`WWW.evil.test`\)"),
        (":material/home: a@b.test", "`:material/home:` `a@b.test`"),
        ("a`b@c", "``a`b@c``"),
        ("\x1b[31mred\x1b[0m \u202egnp.exe", r"\[31mred\[0m gnp\.exe"),
    ],
)
def test_escape_shows_every_sign_and_makes_nothing_of_it(escaping: ModuleType, text: str, shown: str) -> None:
    assert escaping.escape(text) == shown


@given(st.text(st.sampled_from("\\![]()<>`~:&*_#|$^@-. \nwa1/"), max_size=40))
def test_whatever_the_text_nothing_is_live(escaping: ModuleType, text: str) -> None:
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(escaping.escape(text))
    found = {token.type for block in tokens for token in (block, *(block.children or ()))}
    assert not found & {"image", "link_open", "html_inline", "html_block", "fence", "table_open", "s_open"}


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("notes.md", "notes.md"),
        ("../../etc/passwd.TXT", "passwd.txt"),
        ("C:\\Users\\me\\plan (2).pdf", "plan (2).pdf"),
        ("..", "document"),
        ("...hidden.md", "hidden.md"),
        ("灯台の記録.md", "灯台の記録.md"),
        ("a\0b\n.txt", "a_b_.txt"),
        ("x" * 300 + ".html", "x" * 60 + ".html"),
    ],
)
def test_safe_name(escaping: ModuleType, name: str, safe: str) -> None:
    assert escaping.safe_name(name) == safe
