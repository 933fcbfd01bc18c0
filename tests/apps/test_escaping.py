"""What comes from outside can't format, link, load or leave its folder."""

import importlib.util
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.apps.conftest import APP

JOINER = "\u2060"  # invisible


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
        ("![x](data)", r"\!\[x\](data)"),
        ("<img src=x>", r"\<img src=x\>"),
        ("costs $5 or $6 at 17:45", r"costs \$5 or \$6 at 17\:45"),
        (":red[no]", f"\\:{JOINER}red\\[no\\]"),
        (":material/home:", f"\\:{JOINER}material/home\\:"),
        ("```mermaid", r"\`\`\`mermaid"),
        ("# no heading", r"\# no heading"),
        ("https://evil.test or WWW.evil.test", f"https\\:{JOINER}//evil.test or WWW{JOINER}.evil.test"),
        ("write to a@b.test", f"write to a@{JOINER}b.test"),
        ("1. **bold** [1]", r"1. **bold** \[1\]"),
    ],
)
def test_escape_answer_keeps_bold_and_lists_only(escaping: ModuleType, text: str, shown: str) -> None:
    assert escaping.escape_answer(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b*c [1] ü 灯", r"a\_b\*c \[1\] ü 灯"),
        ("www.x.test", f"www{JOINER}\\.x\\.test"),
        ("http://x", f"http\\:{JOINER}\\/\\/x"),
        ("\x1b[31mred\x1b[0m \u202egnp.exe", r"\[31mred\[0m gnp\.exe"),
    ],
)
def test_escape_shows_every_sign_and_makes_nothing_of_it(escaping: ModuleType, text: str, shown: str) -> None:
    assert escaping.escape(text) == shown


@given(st.text(st.sampled_from("\\![]()<>`~:&*_#|$^@-. \nwa1/"), max_size=40))
def test_whatever_the_text_nothing_is_live(escaping: ModuleType, text: str) -> None:
    for escape in (escaping.escape, escaping.escape_answer):
        tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(escape(text))
        found = {token.type for block in tokens for token in (block, *(block.children or ()))}
        live = {"image", "link_open", "html_inline", "html_block", "code_inline", "fence", "table_open", "s_open"}
        assert not found & live


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
