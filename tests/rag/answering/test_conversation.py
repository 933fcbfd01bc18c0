from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from jina_rag.rag import Answer, Conversation, DocumentIndex, RagPipeline, Retriever, SearchOptions, SearchResult
from jina_rag.rag.answering.chat_generator import ChatGenerator
from jina_rag.rag.answering.prompts import build_messages
from jina_rag.rag.answering.types import Turn
from jina_rag.rag.citations.claims import Claim
from tests.rag.conftest import FixedRetriever, ScriptedModel, passages

BRIDGE = "The bridge over the Larn was built in 1902. It is 64 metres long and made of iron."
BAKERY = "The bakery opens at six o'clock. The rye bread costs 4 euros."
HISTORY = [Turn("When was the bridge built?", "The bridge over the Larn was built in 1902. [3]")]


@pytest.fixture
def town(index: DocumentIndex, tmp_path: Path) -> Retriever:
    folder = tmp_path / "town"
    folder.mkdir()
    tower = "The water tower was built in 1931. It is 40 metres high and holds fish."
    for name, text in {"bridge.txt": BRIDGE, "bakery.txt": BAKERY, "tower.txt": tower}.items():
        (folder / name).write_text(text)
    index.add([folder])
    return Retriever(index)


def _names(answer: Answer) -> list[str]:
    return [Path(result.chunk.source).name for result in answer.passages]


def _turn(question: str, answer: str, found: SearchResult) -> Answer:
    return Answer(question, answer, (found,), (Claim(answer, (1,), "quoted", (1,)),))


def test_a_language_model_says_how_a_follow_up_is_understood(town: Retriever) -> None:
    model = ScriptedModel("How long is the bridge over the Larn?")
    (bread,) = town.retrieve("rye bread", SearchOptions(k=1))
    before = _turn("What does rye bread cost?", "The rye bread costs 4 euros. [1]", bread)
    pipeline = RagPipeline(town, ChatGenerator(model), options=SearchOptions(k=1))
    answer = Conversation(pipeline, [before]).ask("And how long is the bridge?")
    assert answer.rewritten == "How long is the bridge over the Larn?"
    assert answer.question == "And how long is the bridge?"
    assert _names(answer) == ["bridge.txt", "bakery.txt"]  # and what the turn before cites
    assert answer.kept == (bread.chunk.id,)
    assert "The rye bread costs 4 euros." in str(model.asked[-1][1:3])


def test_a_change_of_subject_does_not_drag_the_old_one_along(town: Retriever) -> None:
    question = "When does the bakery open?"
    model = ScriptedModel(question)
    (bridge,) = town.retrieve("bridge", SearchOptions(k=1))
    pipeline = RagPipeline(town, ChatGenerator(model), options=SearchOptions(k=1))
    answer = Conversation(pipeline, [_turn("How long is the bridge?", "64 metres. [1]", bridge)]).ask(question)
    assert (answer.rewritten, answer.kept, _names(answer)) == (None, (), ["bakery.txt"])
    assert len(model.asked[-1]) == 2  # no turns


@pytest.mark.parametrize(
    "question",
    ["And at the front?", "Please list the opening hours", "What is the fare for one adult?", "thanks!", "それは？"],
)
@pytest.mark.parametrize("has_model", [True, False])
def test_every_question_of_a_conversation_is_searched_alone_and_behind_the_one_before(
    town: Retriever, question: str, has_model: bool
) -> None:
    """No table of words decides: without a language model, or if its wording is not sound."""
    generator = ChatGenerator(ScriptedModel("Two\nlines.")) if has_model else None
    conversation = Conversation(RagPipeline(town, generator))
    before = conversation.ask("How long is the bridge?").question
    answer = conversation.ask(question)
    assert answer.rewritten is None
    assert answer.passages == tuple(town.retrieve(question, SearchOptions(previous_query=before)))


def test_without_a_language_model_a_follow_up_says_nothing(town: Retriever) -> None:
    conversation = Conversation(RagPipeline(town, None, options=SearchOptions(k=2)))
    first = conversation.ask("How long is the bridge?")
    second = conversation.ask("And when was it built?")
    assert (second.text, second.claims) == ("", ())
    assert "bridge.txt" in _names(second)
    assert {highlight.number for highlight in second.highlights} == {1, 2}
    assert conversation.turns == [first, second]


def test_a_language_model_rewrites_follow_ups() -> None:
    model = ScriptedModel('"How long ', 'is the bridge over the Larn?"')
    rewritten = ChatGenerator(model).rewrite("And how long is it?", HISTORY)
    assert rewritten == "How long is the bridge over the Larn?"
    assert "[3]" not in str(model.asked)  # numbers of another turn
    assert ChatGenerator(ScriptedModel("Is it 1902?")).rewrite("Is it so?", HISTORY) == "Is it 1902?"


@pytest.mark.parametrize(
    "written",
    ["How long are the 3 bridges?", "Sure! Here it is:\nHow long is the bridge?", "", "long " * 100],
    ids=["a new number", "two lines", "nothing", "long"],
)
def test_a_rewriting_that_is_not_sound_is_not_taken(written: str) -> None:
    assert ChatGenerator(ScriptedModel(written)).rewrite("And how long is it, in wagons?", HISTORY) is None


def test_a_language_model_sees_the_conversation_without_old_numbers() -> None:
    messages = build_messages("How long is the bridge?", passages("It is long."), HISTORY)
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[2]["content"] == "The bridge over the Larn was built in 1902."


def test_a_conversation_can_be_kept_and_cleared(town: Retriever) -> None:
    (bridge,) = town.retrieve("bridge", SearchOptions(k=1))
    turns = [_turn("When was the bridge built?", "The bridge over the Larn was built in 1902.", bridge)]
    conversation = Conversation(RagPipeline(town, ChatGenerator(ScriptedModel("How old is the bridge?"))), turns)
    conversation.ask("And how old is it?")
    text = conversation.as_markdown()
    assert text.startswith("## When was the bridge built?\n")
    assert "*Understood as: How old is the bridge?*" in text
    assert "(quoted)\n\n```text\nThe bridge over" in text
    assert len(conversation.turns) == 2
    conversation.clear()
    assert conversation.turns == []


PIECES = [
    "![p](http://e.org)",
    "[p](http://e.org)",
    "[p]",
    "[p]: http://e.org",
    "<img src=x>",
    "<http://e.org>",
    "<!--",
]
HOSTILE = st.lists(st.sampled_from([*PIECES, *"\\![]()<>`~:&*_ \na\u200b", "```", "~~~", "    ", "&#91;"]), max_size=12)


@given(question=HOSTILE.map("".join), said=HOSTILE.map("".join), passage=HOSTILE.map("".join))
@example("", r"\![p](http://e.org)", "``\u200b`\n![p](http://e.org)")
@example("", "```", "")
def test_exported_markdown_loads_and_runs_nothing(question: str, said: str, passage: str) -> None:
    (result,) = passages(f"{passage} Mars.")
    claim = Claim("Mars.", (1,), "quoted", (1,))
    answer = Answer(question, f"{said} [1]", (result,), (claim,), rewritten=said)
    conversation = Conversation(RagPipeline(FixedRetriever([]), ChatGenerator(ScriptedModel(""))), [answer, answer])
    tokens = MarkdownIt("commonmark").parse(conversation.as_markdown())
    found = {token.type for block in tokens for token in (block, *(block.children or ()))}
    assert not found & {"image", "link_open", "html_inline", "html_block"}
    assert sum(token.info == "text" for token in tokens) == 2  # nothing hides the passages
