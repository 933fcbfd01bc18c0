"""What comes from outside can't format, link, load or leave its folder."""

import importlib.util
from types import ModuleType

import pytest

from tests.apps.conftest import APP

JOINER = "\u2060"  # invisible


@pytest.fixture(scope="module")
def untrusted() -> ModuleType:
    spec = importlib.util.spec_from_file_location("untrusted", APP / "untrusted.py")
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
def test_harmless_keeps_bold_and_lists_only(untrusted: ModuleType, text: str, shown: str) -> None:
    assert untrusted.harmless(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b*c [1] ü 灯", r"a\_b\*c \[1\] ü 灯"),
        ("www.x.test", f"www{JOINER}\\.x\\.test"),
        ("http://x", f"http\\:{JOINER}\\/\\/x"),
        ("\x1b[31mred\x1b[0m \u202egnp.exe", r"\[31mred\[0m gnp\.exe"),
    ],
)
def test_plain_shows_every_sign_and_makes_nothing_of_it(untrusted: ModuleType, text: str, shown: str) -> None:
    assert untrusted.plain(text) == shown


def test_visible_leaves_out_what_a_reader_does_not_see(untrusted: ModuleType) -> None:
    assert untrusted.visible("a\u202eb\x1b[1mc\nd") == "ab[1mc\nd"


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
def test_safe_name(untrusted: ModuleType, name: str, safe: str) -> None:
    assert untrusted.safe_name(name) == safe
