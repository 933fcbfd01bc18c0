from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from jina_rag import Embedder
from jina_rag.rag import Answer, Conversation, DocumentIndex, RagPipeline, Retriever, SearchOptions
from jina_rag.rag.answering.chat_generator import ChatGenerator
from jina_rag.rag.answering.extractive import ExtractiveGenerator
from jina_rag.rag.answering.follow_ups import is_follow_up, rewrite_follow_up
from jina_rag.rag.answering.prompts import build_messages
from jina_rag.rag.answering.types import Turn
from jina_rag.rag.citations.claims import Claim
from tests.rag.conftest import FixedRetriever, ScriptedModel, passages

BRIDGE = (
    "The bridge over the Larn was built in 1902. It is 64 metres long and made of iron. Its engineer was Ada Holm, who "
    "lived in a hut beside it."
)
BAKERY = "The bakery opens at six o'clock. The rye bread costs 4 euros."


@pytest.fixture(scope="module")
def town(minilm: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RagPipeline]:
    folder = tmp_path_factory.mktemp("town")
    (folder / "bridge.txt").write_text(BRIDGE)
    (folder / "bakery.txt").write_text(BAKERY)
    (folder / "tower.txt").write_text("The water tower was built in 1931. It is 40 metres high and holds fish.")
    with DocumentIndex.create_or_open(folder / "index", minilm) as index:
        index.add([folder / "bridge.txt", folder / "bakery.txt", folder / "tower.txt"])
        yield RagPipeline(Retriever(index), ExtractiveGenerator(minilm, index), options=SearchOptions(k=1))


@pytest.mark.parametrize(
    "question",
    [
        "And how long is it?",
        "How long is it?",
        "Who built it?",
        "What about the second?",
        "and on Mondays?",
        "Why?",
        "How much?",
        "yes",
        "When exactly?",
        "How many steps?",
        "Who was she?",
        "What does that mean?",
        "Are they open?",
        "Can I eat there?",
        "Which one is older?",
        "Und was kostet das?",
        "Et le soir ?",
        "¿Y los lunes?".lstrip("¿"),
        "それはどこですか。",
    ],
)
def test_questions_that_need_the_one_before(question: str) -> None:
    assert is_follow_up(question)


@pytest.mark.parametrize(
    "question",
    [
        "When was the bridge built?",
        "Is it allowed to swim in the river?",
        "How long does it take to climb the tower?",
        "Are there toilets on the island?",
        "What is Mars?",
        "Who was Ada Holm?",
        "Can visitors bring their dogs into the museum?",
        "What is the minimum age for volunteers?",
        "Which planet has the most moons?",
        "Wie hoch ist der Turm am Hafen?",
        "When is the market?",
        "How long does the crossing take?",
    ],
)
def test_questions_that_stand_alone(question: str) -> None:
    assert not is_follow_up(question)


def test_the_words_that_are_missing_are_added() -> None:
    built = [Turn("When was the bridge over the Larn built?", "It was built in 1902 [1].")]
    assert rewrite_follow_up("And how long is it?", built) == "And how long is it? (bridge, Larn, built)"
    assert rewrite_follow_up("Is the bridge long, and is it old?", built) == (
        "Is the bridge long, and is it old? (Larn, built)"
    )
    who = [Turn("Who was the engineer?", "The engineer was Ada Holm. [1]")]
    assert rewrite_follow_up("Where did she live?", who) == "Where did she live? (engineer, Ada Holm)"
    assert rewrite_follow_up("What did it cost?", who) == "What did it cost? (engineer)"
    assert rewrite_follow_up("When does the bakery open?", built) is None
    assert rewrite_follow_up("And how long is it?", []) is None


def test_a_follow_up_is_answered_and_says_how_it_was_understood(town: RagPipeline) -> None:
    conversation = Conversation(town)
    first = conversation.ask("When was the bridge built?")
    assert "1902" in first.text
    assert first.rewritten is None
    second = conversation.ask("And how long is it?")
    assert "64 metres" in second.text
    assert second.rewritten == "And how long is it? (bridge, built)"
    assert second.question == "And how long is it?"
    third = conversation.ask("Who was its engineer?")
    assert "Ada Holm" in third.text
    assert third.rewritten == "Who was its engineer? (bridge, built)"  # not how long it is
    assert conversation.turns == [first, second, third]


def test_evidence_is_kept_for_a_follow_up(town: RagPipeline) -> None:
    conversation = Conversation(town)
    first = conversation.ask("When was the bridge built?")
    evidence = [citation.result.chunk.id for citation in first.citations]
    yes = conversation.ask("Yes, please")
    assert yes.passages[0].chunk.id in evidence
    bread = conversation.ask("And is there rye bread?")
    assert Path(bread.passages[0].chunk.source).name == "bakery.txt"
    assert "4 euros" in bread.text
    assert set(evidence) <= {result.chunk.id for result in bread.passages}
    assert set(bread.kept) <= set(evidence)  # behind what was found for it


def test_a_change_of_subject_does_not_drag_the_old_one_along(town: RagPipeline) -> None:
    conversation = Conversation(town)
    conversation.ask("When was the bridge built?")
    answer = conversation.ask("When does the bakery open?")
    assert "six o'clock" in answer.text
    assert answer.rewritten is None
    assert answer.kept == ()
    assert [Path(result.chunk.source).name for result in answer.passages] == ["bakery.txt"]


HISTORY = [Turn("When was the bridge built?", "The bridge over the Larn was built in 1902. [3]")]


def test_a_language_model_rewrites_follow_ups() -> None:
    model = ScriptedModel('"How long ', 'is the bridge over the Larn?"')
    rewritten = ChatGenerator(model).rewrite("And how long is it?", HISTORY)
    assert rewritten == "How long is the bridge over the Larn?"
    assert "[3]" not in str(model.asked)  # numbers of another turn
    assert ChatGenerator(model).rewrite("When does the bakery open?", HISTORY) is None
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    "written",
    [
        "How long is the Golden Gate Bridge?",  # a name from nowhere
        "Sure! Here it is:\nHow long is the bridge?",
        "When was the bridge built?",  # loses what is asked
        "And how long is it?",
        "",
        "long " * 100,
    ],
)
def test_a_rewriting_that_invents_or_loses_words_is_not_taken(written: str) -> None:
    assert ChatGenerator(ScriptedModel(written)).rewrite("And how long is it, in wagons?", HISTORY) == (
        "And how long is it, in wagons? (bridge, built)"
    )


def test_a_language_model_sees_the_conversation_without_old_numbers() -> None:
    messages = build_messages("How long is the bridge?", passages("It is long."), HISTORY)
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[2]["content"] == "The bridge over the Larn was built in 1902."


def test_a_conversation_can_be_kept_and_cleared(town: RagPipeline) -> None:
    conversation = Conversation(town)
    conversation.ask("When was the bridge built?")
    conversation.ask("And how long is it?")
    text = conversation.as_markdown()
    assert text.startswith("## When was the bridge built?\n")
    assert "*Understood as: And how long is it? (bridge, built)*" in text
    assert "(quoted)\n\n```text\nThe bridge over" in text
    again = Conversation(town, conversation.turns)
    conversation.clear()
    assert conversation.turns == []
    assert "64 metres" in again.ask("How long is it?").text


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
