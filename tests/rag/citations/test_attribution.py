"""Marks that name the wrong passage, moved to the one that says it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jina_rag.rag import RagPipeline
from jina_rag.rag.answering.chat_generator import ChatGenerator
from jina_rag.rag.answering.types import NO_ANSWER
from jina_rag.rag.citations.attribution import AttributionStream
from jina_rag.rag.citations.claims import ClaimChecker
from tests.rag.conftest import FixedRetriever, ScriptedModel, passages

PASSAGES = passages(
    "The café lost £740 last season. Its menu was long.",
    "Mars is the red planet, and it has two moons. Its menu is dust.",
    "The tower has 142 steps and no lift.",
)


def attributed(*pieces: str, whole: bool = True, question: str = "") -> str:
    stream = AttributionStream(ClaimChecker(PASSAGES, question))
    parts = [part for piece in pieces for part in stream.feed(piece)]
    return "".join(part.text for part in [*parts, *stream.close(whole=whole)])


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("The café lost £740 last season. [3]", "The café lost £740 last season. [1]"),
        ("The tower has 142 steps [9].", "The tower has 142 steps [3]."),
        ("Mars has two moons [1, 3].", "Mars has two moons [2]."),
        ("Mars is red [2], and the tower has 142 steps [2].", "Mars is red [2], and the tower has 142 steps [3]."),
        ("It is steep. The tower has 142 steps. [1]", "It is steep. The tower has 142 steps. [3]"),
        ("The tower has 142 steps.", "The tower has 142 steps. [3]"),
        ("£740 [2]", "£740 [1]"),
        ("The tower has 142 steps and no escalator [1].", "The tower has 142 steps and no escalator [3]."),  # most
        ("The red planet Mars has two blue moons [3, 9].", "The red planet Mars has two blue moons [2]."),
        (
            "Mars is red [2] with dust. The tower has 142 steps.",
            "Mars is red [2] with dust. The tower has 142 steps. [3]",
        ),
        ("Mars has two moons [2]. The tower has 142 steps.", "Mars has two moons [2]. The tower has 142 steps. [3]"),
    ],
)
def test_what_another_passage_says_is_cited_from_there(written: str, told: str) -> None:
    assert attributed(written) == told


@pytest.mark.parametrize(
    ("question", "written", "told"),
    [
        ("How many moons are there of Mars?", "Two. [1]", "Two. [2]"),
        ("How many steps does the tower have?", "142 [2]", "142 [3]"),
        ("How many visitors does the tower have?", "142 [2]", "142 [3]"),  # nobody says so; there it stands
        ("How many visitors does the tower have?", "142 [3]", "142 [3]"),
        ("How many visitors does the tower have?", "741 [2]", "741 [2]"),
        ("What is dust?", "A menu. [3]", "A menu. [2]"),
    ],
)
def test_a_bare_answer_is_cited_from_where_the_question_is_answered(question: str, written: str, told: str) -> None:
    assert attributed(written, question=question) == told


@pytest.mark.parametrize(
    "written",
    [
        "The café lost £740 last season. [1]",
        "Mars has two moons. [1, 2]",  # one of them says it
        "Mars has two moons [2] and [3].",
        "Mars is the red planet [2], and it has two moons.",  # one sentence
        "Mars has five moons. [1]",  # nobody says that
        "The tower has 741 steps. [3]",
        "A menu. [3]",  # stands in two
        "[1] says so.",
        "`The tower has 142 steps.`",
        "`The tower has 142 steps and no escalator` [1].",
        "Mars has five moons.",
        NO_ANSWER,
        "",
    ],
)
def test_what_is_right_or_said_by_no_passage_is_left_alone(written: str) -> None:
    assert attributed(written) == written


def test_a_sentence_that_was_broken_off_gets_no_mark() -> None:
    assert attributed("The tower has 142 steps", whole=False) == "The tower has 142 steps"
    assert attributed("The tower has 142 steps [1]", whole=False) == "The tower has 142 steps [3]"


@given(
    st.lists(st.sampled_from(["The tower has 142 steps", "Mars", " is red", ".", " ", "[1]", "[3]", "[2", "]", "\n"]))
)
def test_however_it_is_cut_the_answer_is_the_same(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert attributed(*pieces) == attributed(text) == attributed(*text)


def test_an_answer_and_its_events_have_the_moved_marks() -> None:
    model = ScriptedModel("The tower has ", "142 steps", ". [", "2", "] Mars has two moons.")
    pipeline = RagPipeline(FixedRetriever(PASSAGES), ChatGenerator(model))
    with pipeline.start("How many?") as run:
        shown = "".join(getattr(event, "text", "") for event in run)
    assert shown == run.answer.text == "The tower has 142 steps. [3] Mars has two moons. [2]"
    assert run.answer.verified
    assert [citation.number for citation in run.answer.citations] == [3, 2]


def test_what_was_held_back_when_the_reader_leaves_is_kept() -> None:
    pipeline = RagPipeline(
        FixedRetriever(PASSAGES), ChatGenerator(ScriptedModel("The tower has 142 steps. [2]", " More."))
    )
    with pipeline.start("How many?") as run:
        for event in run:
            if "142" in getattr(event, "text", ""):
                break
    assert run.answer.stopped
    assert run.answer.text == "The tower has 142 steps. [3]"
