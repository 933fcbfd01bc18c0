"""The part of a long passage that is shown where there is room for a few lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jina_rag.rag.retrieval.snippets import make_snippet

RULES = """\
# Safety rules

No more than eight people may be in the lantern room at once, the guide included. The tower may be closed at any time.

## Fire

The alarm is a hand bell on each landing; ring it and call out.
Leave by the stairs and gather at the flagstaff.

## First aid

Boxes are in the kitchen. The larger one holds blankets.
"""


@pytest.mark.parametrize(
    ("query", "begins"),
    [
        ("Where do we gather if there is a fire?", "… ## Fire The alarm is a hand bell"),
        ("Where is the alarm?", "… The alarm is a hand bell"),
        ("How large are the boxes?", "… Boxes are in the kitchen. The larger"),
        ("How many people may be in the lantern room?", "… No more than eight people"),
        ("Which safety rules are there?", "# Safety rules No more than eight"),
        ("Who wrote this?", "# Safety rules No more than eight"),
        ("", "# Safety rules No more than eight"),
    ],
)
def test_an_excerpt_begins_where_the_words_stand(query: str, begins: str) -> None:
    shown = make_snippet(RULES, query, 120)
    assert shown.startswith(begins)
    assert len(shown) <= 120


def test_a_short_passage_is_shown_whole_on_one_line() -> None:
    assert make_snippet("Mars is\n  red.\n", "Venus", 20) == "Mars is red."


def test_the_end_of_a_passage_has_no_mark_of_omission() -> None:
    assert make_snippet(RULES, "blankets", 120) == "… The larger one holds blankets."


@pytest.mark.parametrize("filler", ["x", "word ", "鐘"])
def test_a_word_within_a_very_long_line_is_found(filler: str) -> None:
    assert "fire" in make_snippet(f"{filler * 3000} fire {filler * 3000}", "Where is the fire?", 100)


@given(st.text(max_size=400), st.text(max_size=40), st.integers(10, 200))
def test_any_text_gives_a_piece_of_itself(text: str, query: str, length: int) -> None:
    shown = make_snippet(text, query, length)
    assert len(shown) <= length
    assert shown.removeprefix("… ").removesuffix("…").rstrip() in " ".join(text.split())
