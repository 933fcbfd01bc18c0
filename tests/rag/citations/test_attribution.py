"""Marks that name the wrong passage, moved to the one that is quoted."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jina_rag.rag import RagPipeline, SearchResult
from jina_rag.rag.answering.chat_generator import ChatGenerator
from jina_rag.rag.answering.types import NO_ANSWER
from jina_rag.rag.citations.attribution import AttributionStream
from jina_rag.rag.citations.claims import ClaimChecker
from tests.rag.conftest import FixedRetriever, ScriptedModel, passages

PASSAGES = passages(
    "The café lost £740 last season. Its menu was long.",
    "Mars is the red planet, and it has two moons. Its menu is dust. £741.",
    "The tower has 142 steps. It has no lift. Dogs are allowed except on Sundays.",
)


def attributed(*pieces: str, whole: bool = True, found: Sequence[SearchResult] = PASSAGES) -> str:
    stream = AttributionStream(ClaimChecker(found))
    parts = [part for piece in pieces for part in stream.feed(piece)]
    return "".join(part.text for part in [*parts, *stream.close(whole=whole)])


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("The café lost £740 last season. [3]", "The café lost £740 last season. [1]"),
        ("The tower has 142 steps [9].", "The tower has 142 steps [3]."),
        ("The tower has 142 steps [1, 2]\nMore", "The tower has 142 steps [3]\nMore"),
        ("It is steep. The tower has 142 steps. [1]", "It is steep. The tower has 142 steps. [3]"),
        ("- The tower has 142 steps [1]", "- The tower has 142 steps [3]"),
        ("The tower has 142 steps.", "The tower has 142 steps. [3]"),
        ("Mars is red [2]. The tower has 142 steps.", "Mars is red [2]. The tower has 142 steps. [3]"),
    ],
)
def test_a_quotation_is_cited_from_where_it_is(written: str, shown: str) -> None:
    assert attributed(written) == shown


@pytest.mark.parametrize(
    "written",
    [
        "The café lost £740 last season. [1]",
        "The tower has 142 steps. [1, 3]",  # one of them has it
        "Mars has two moons. [1]",  # no sentence of any passage
        "The tower has 142 steps and no lift [1].",
        "The tower has 142 steps [1] and no lift.",  # goes on
        "Dogs are allowed. [1]",  # cut out of a sentence
        "The tower has 741 steps. [1]",
        "£741. [1]",  # says nothing alone
        "[1] says so.",
        "\n[1]",
        "`The tower has 142 steps.`",
        "```\nThe tower has 142 steps.",
        "Mars has five moons.",
        NO_ANSWER,
        "",
    ],
)
def test_anything_else_is_left_alone(written: str) -> None:
    assert attributed(written) == written


def test_a_passage_of_all_words_takes_no_marks() -> None:
    honest = ["The keeper almost drowned in 1921.", "Only members may borrow boats."]
    salad = " ".join(sorted(word for text in honest for word in text.split()))
    found = passages(*honest, salad * 3)
    for written in ("The keeper drowned in 1921. [1]", "Members may borrow boats [2].", f"{honest[0]} [1]"):
        assert attributed(written, found=found) == written


def test_a_sentence_that_was_broken_off_gets_no_mark() -> None:
    assert attributed("The tower has 142 steps", whole=False) == "The tower has 142 steps"
    assert attributed("The tower has 142 steps [1]", whole=False) == "The tower has 142 steps [1]"


@given(
    st.lists(
        st.sampled_from(["The tower has 142 steps", "It has no lift", " is", ".", " ", "[1]", "[3]", "[2", "]", "\n"])
    )
)
def test_however_it_is_cut_the_answer_is_the_same(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert attributed(*pieces) == attributed(text) == attributed(*text)


def test_an_answer_and_its_events_have_the_moved_marks() -> None:
    model = ScriptedModel("The tower has ", "142 steps", ". [", "2", "] It has no lift.")
    pipeline = RagPipeline(FixedRetriever(PASSAGES), ChatGenerator(model))
    with pipeline.start("How many?") as run:
        shown = "".join(getattr(event, "text", "") for event in run)
    assert shown == run.answer.text == "The tower has 142 steps. [1] It has no lift. [1]"
    assert run.answer.checked
    assert [(citation.number, citation.verdict) for citation in run.answer.citations] == [(1, "quoted")]
    assert run.answer.passages[0] == PASSAGES[2]


def test_what_was_held_back_when_the_reader_leaves_is_kept() -> None:
    pipeline = RagPipeline(
        FixedRetriever(PASSAGES), ChatGenerator(ScriptedModel("The tower has 142 steps. [2]", " More."))
    )
    with pipeline.start("How many?") as run:
        for event in run:
            if "142" in getattr(event, "text", ""):
                break
    assert run.answer.stopped
    assert run.answer.text == "The tower has 142 steps. [1]"
