"""Passages as Markdown: what is marked, line by line."""

import importlib
from types import ModuleType

import pytest


@pytest.fixture
def passages(app_modules: None) -> ModuleType:  # noqa: ARG001
    return importlib.import_module("passages")


@pytest.mark.parametrize(
    ("cited", "shown"),
    [
        (["It is late."], r"One\. :yellow-background[It is late\.] \[Two\]  "),
        (["One.", "It is late."], r":yellow-background[One\.] :yellow-background[It is late\.] \[Two\]  "),
        (["One. It is late. [Two]"], r":yellow-background[One\. It is late\. \[Two\]]  "),
        ([], r"One\. It is late\. \[Two\]  "),
    ],
)
def test_cited_sentences_are_marked_and_nothing_else(passages: ModuleType, cited: list[str], shown: str) -> None:
    text = "One. It is late. [Two]"
    spans = [(text.index(part), text.index(part) + len(part)) for part in cited]
    assert passages.highlighted(text, spans) == shown


def test_a_sentence_over_several_lines_is_marked_on_each(passages: ModuleType) -> None:
    text = "\n    First. It is\r\n  \n\tlate\u202e. End\n"
    span = (text.index("It is"), text.index(" End"))
    shown = "First\\. :yellow-background[It is]  \n\n:yellow-background[late\\.] End  "
    assert passages.highlighted(text, [span]) == shown


def test_what_stands_around_is_grey(passages: ModuleType) -> None:
    assert passages.faded("\n  one\n\n two*\n") == ":gray[one]  \n\n:gray[two\\*]  "
