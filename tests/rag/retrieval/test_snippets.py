"""The part of a long passage that is shown where there is room for a few lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jina_rag.rag.retrieval.snippets import make_snippet
from jina_rag.rag.text.sentences import find_sentences

RULES = """\
# Safety rules

Nobody may climb the tower alone or in the dark. The tower may be closed at any time.

## Fire

The alarm is a hand bell on each landing; ring it and call out.
Leave by the stairs and gather at the flagstaff.

## First aid

Boxes are in the kitchen. The larger one holds blankets.
"""
PRICES = """\
Prices for 2026.

| Ticket | Price |
| --- | --- |
| Adult \\| senior | £9.50 |
| Child | £4 |
"""


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        (
            "Who may climb alone?",
            "… Nobody may climb the tower alone or in the dark. The tower may be closed at any time. …",
        ),
        ("Where is the alarm?", "… Fire · The alarm is a hand bell on each landing; ring it and call out. …"),
        (
            "Where do we gather?",
            "… Leave by the stairs and gather at the flagstaff. First aid · Boxes are in the kitchen. …",
        ),
        ("blankets", "… First aid · Boxes are in the kitchen. The larger one holds blankets."),
        ("", "Safety rules · Nobody may climb the tower alone or in the dark. …"),
    ],
)
def test_a_snippet_is_whole_sentences_around_the_one_that_has_the_words(query: str, shown: str) -> None:
    assert make_snippet(RULES, query, 100).text == shown


def test_a_snippet_is_about_the_sentence_that_is_highlighted() -> None:
    start = RULES.index("The larger")
    snippet = make_snippet(RULES, "fire", 60, highlight=(start, start + 30))
    assert (snippet.before, snippet.sentence, snippet.after) == (
        "… Boxes are in the kitchen. ",
        "The larger one holds blankets.",
        "",
    )


def test_rows_of_a_table_come_with_the_names_of_their_columns() -> None:
    assert make_snippet(PRICES, "child", 300).text == (
        "Prices for 2026. Ticket: Adult | senior; Price: £9.50 · Ticket: Child; Price: £4"
    )
    assert make_snippet(PRICES, "child", 30).text == "… Ticket: Child; Price: £4"


def test_a_sentence_is_never_cut() -> None:
    sentence = f"It says {'very ' * 50}much."
    assert make_snippet(f"First. {sentence} Last.", "much", 40).text == f"… {sentence} …"
    assert make_snippet("Mars is\n  red.\n", "Venus", 20).text == "Mars is red."
    assert make_snippet("***\n…", "Venus", 20).text == "*** …"


@given(st.text(max_size=400), st.text(max_size=40), st.integers(10, 200))
def test_any_text_gives_whole_sentences(text: str, query: str, length: int) -> None:
    snippet = make_snippet(text, query, length)
    if sentences := [sentence.text for sentence in find_sentences(text)]:
        assert snippet.sentence in sentences
        assert len(snippet.text) <= max(length, len(snippet.sentence) + 4)
