"""The Ask page in every state, driven without a browser, on a real index."""

import json
import re
import time
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from threading import Event

import pytest
import streamlit as st
from streamlit import config
from streamlit.testing.v1 import AppTest

from jina_rag import Embedder, get_model_spec
from jina_rag.errors import GenerationError, ModelNotFoundError
from jina_rag.model_files import ensure_model_file
from jina_rag.rag import DocumentIndex, SearchOptions
from jina_rag.rag.answering.chat_generator import ChatGenerator
from jina_rag.rag.answering.openai_chat import OpenAIChatModel
from jina_rag.rag.answering.types import NO_ANSWER, NO_LANGUAGE_MODEL
from jina_rag.rag.store.lock import sole_writer
from tests.apps.conftest import APP, INDEXED, OpenApp, answered, checked, go
from tests.backends import processes
from tests.backends.servers import running
from tests.backends.test_reranker_http import JinaReranker

E7 = "What does fault code E7 mean?"
VOLTS = "Code E7: The battery voltage is below 23.5 volts. [1]"
LAST_BOAT = "When does the last boat leave Ostrel?"
LANTERN = "How many people may be in the lantern room at once?"
EIGHT = "No more than eight people may be in the lantern room at once, the guide included."
LLM = ("--llm", "http://localhost:1/v1#model")
"""A language model that is not there; `say` lets it answer."""

EVIL = "<script>alert(1)</script> ![x](http://evil.test/a.png) $x$ :red[no] \x1b[31m \u202ereversed"


@pytest.fixture
def app(open_app: OpenApp, folder: Path) -> AppTest:
    """Without a language model."""
    return open_app(folder)


@pytest.fixture
def chat(open_app: OpenApp, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """With a language model that says what E7 means."""
    say(monkeypatch, VOLTS)
    return open_app(folder, *LLM)


def ask(app: AppTest, question: str) -> AppTest:
    return answered(checked(app.chat_input(key="question").set_value(question).run()))


def press(app: AppTest, key: str) -> AppTest:
    return answered(checked(app.button(key=key).click().run()))


def answers(app: AppTest) -> list[str]:
    """The text of each answer, its citations as [1]."""
    found = [message.get("bidi_component") for message in app.chat_message if message.name == "assistant"]
    return [plain(json.loads(elements[0].proto.json)["html"]) for elements in found]


def html(app: AppTest) -> str:
    """All HTML on the page."""
    return " ".join(element.proto.body for element in app.get("html"))


def plain(page: str) -> str:
    """The text of HTML, its citations as [1]."""
    cited = re.sub(r"<button[^>]*>(\d+)</button>", r"[\1]", page)
    return unescape(re.sub(r"<[^>]*>", "", cited)).strip()


def passages(app: AppTest) -> str:
    return plain(html(app))


def marked(app: AppTest) -> list[str]:
    """What is marked in passages."""
    return [plain(text) for text in re.findall(r"<mark>(.*?)</mark>", html(app))]


def sources(app: AppTest) -> list[str]:
    """The labels of the passages, in their order."""
    return [button.label.replace("\\", "") for button in app.button if str(button.key).startswith("passage-")]


def texts(app: AppTest) -> str:
    return "\n".join(text.value.replace("\\", "") for text in app.markdown)


def captions(app: AppTest) -> str:
    return "\n".join(caption.value.replace("\\", "") for caption in app.caption)


def say(monkeypatch: pytest.MonkeyPatch, *pieces: str, error: Exception | None = None) -> None:
    """Let the generator write these pieces, then fail or be stopped."""

    def stream(*_: object) -> Iterator[str]:
        yield from pieces
        if error:
            raise error

    answer_with(monkeypatch, stream)


def answer_with(monkeypatch: pytest.MonkeyPatch, stream: Callable[..., Iterator[str]]) -> None:
    """Let every language model answer so, and take each question as it is."""
    monkeypatch.setattr(ChatGenerator, "stream", stream)
    monkeypatch.setattr(ChatGenerator, "rewrite", lambda _, question, __: question)


def wait_for(app: AppTest, text: str) -> AppTest:
    """Run the page until it shows a title, as the browser does by itself."""
    deadline = time.monotonic() + 240
    while text not in [title.value for title in app.title]:
        assert time.monotonic() < deadline, [title.value for title in app.title]
        time.sleep(0.1)
        checked(app.run())
    return app


def test_examples_are_those_that_the_documents_answer(app: AppTest) -> None:
    assert app.title[0].value == "Try it with sample documents"
    assert "3 files about a fictional lighthouse." in texts(app)
    assert "No language model is connected" in texts(app)
    labels = [button.label.replace("\\", "") for button in app.button]
    assert labels == ["Add documents", "Connect a model", LAST_BOAT, E7]
    assert not app.chat_message


def test_an_example_is_answered_and_the_examples_go(app: AppTest) -> None:
    press(app, "example-0")
    assert "17:45" in passages(app)
    assert not app.title
    assert not [button for button in app.button if str(button.key).startswith("example")]


def test_own_documents_are_asked_about_by_their_headings(app: AppTest, folder: Path, tmp_path: Path) -> None:
    """With a file that has no heading, the title has to do."""
    (tmp_path / "bees.md").write_text("# Winter feeding\n\nSugar and water, in October.")
    (tmp_path / "cats.txt").write_text("The cat is called Bartholomew.")
    with DocumentIndex.open(folder) as index:
        index.add([tmp_path / "bees.md", tmp_path / "cats.txt"])
    checked(app.run())
    assert app.title[0].value == "Ask your documents"
    assert "2 documents, and 3 samples" in texts(app)
    assert [app.button(key=f"example-{number}").label.replace("\\", "") for number in range(2)] == [
        "What is said about “Winter feeding”?",
        "What is “cats” about?",
    ]
    press(app, "example-0")
    assert "Sugar and water" in passages(app)


def test_answer_cites_a_passage_that_opens_in_its_place(chat: AppTest) -> None:
    ask(chat, E7)
    assert "23.5 volts" in answers(chat)[0]
    assert "[1]" in answers(chat)[0]
    chip = chat.button(key="passage-0-1")
    assert chip.label.replace("\\", "") == "1 · lamp-manual.pdf, p. 4 · quoted"
    assert chip.icon == ":material/check_circle:"
    assert chat.expander[0].label == "1 claim: 1 quoted"
    checked(chip.click().run())
    assert any("lamp-manual.pdf, page 4" in text.value.replace("\\", "") for text in chat.markdown)
    assert "Similarity to the question: 0." in captions(chat)
    assert any("Start the diesel generator" in text.value for text in chat.text)
    assert chat.get("image")


def test_passage_of_a_text_opens_between_the_lines_around_it(app: AppTest) -> None:
    before = marked(ask(app, LANTERN))
    checked(app.button(key="passage-0-1").click().run())
    assert sorted(marked(app)) == sorted([*before, EIGHT])
    assert 'class="text around"' in html(app)


def test_nothing_is_marked_that_the_answer_does_not_rest_on(chat: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, "The lantern was a gift of the queen. [1]")
    ask(chat, LANTERN)
    checked(chat.button(key="passage-0-1").click().run())
    assert not marked(chat)


def test_passage_of_a_changed_document_is_shown_as_it_was(
    open_app: OpenApp, embedder: Embedder, tmp_path: Path
) -> None:
    path = tmp_path / "bees.txt"
    path.write_text("The beekeeper of the island is Orla Penhale.")
    with DocumentIndex.create_or_open(tmp_path / "index", embedder) as index:
        index.add([path])
    app = ask(open_app(tmp_path / "index"), "Who is the beekeeper of the island?")
    path.unlink()
    checked(app.button(key="passage-0-1").click().run())
    assert len(app.info) == 1
    assert any("Orla Penhale" in text for text in marked(app))


def test_stages_and_their_times_stay_with_the_answer(chat: AppTest) -> None:
    ask(chat, E7)
    times = next(text.value for text in chat.markdown if text.value.startswith("Searching your documents: "))
    assert "Reading the passages: " in times
    assert "Answering: " in times


def test_waiting_for_other_answers_is_told(chat: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    was_seen = Event()

    def stream(*arguments: object) -> Iterator[str]:
        on_wait = arguments[-1]
        assert callable(on_wait)
        on_wait(3)
        yield ""
        assert was_seen.wait(240)
        on_wait(0)
        yield "At noon. [1]"

    answer_with(monkeypatch, stream)
    checked(chat.chat_input(key="question").set_value(E7).run())
    deadline = time.monotonic() + 240
    while ":shimmer[Waiting: 3 other answers first]" not in [status.label for status in chat.status]:
        assert time.monotonic() < deadline
        checked(chat.run())
    was_seen.set()
    answered(chat)
    times = next(text.value for text in chat.markdown if text.value.startswith("Searching your documents: "))
    assert "Waiting: " in times


def test_no_answer_looks_like_an_answer_and_shows_what_came_closest(
    chat: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch, NO_ANSWER)
    ask(chat, "Where do we gather?")
    assert answers(chat) == [NO_ANSWER]
    assert not chat.error
    assert not chat.warning
    assert "What came closest" in captions(chat)
    assert "gather at the flagstaff beside the walled garden" in captions(chat)
    assert [chat.button(key=f"passage-0-{place}").icon for place in (1, 2, 3)] == [":material/description:"] * 3


def test_without_a_language_model_the_passages_that_fit_best_are_shown(app: AppTest) -> None:
    ask(app, LANTERN)
    assert NO_LANGUAGE_MODEL in [text.value for text in app.markdown]
    assert EIGHT in marked(app)
    assert "start Ollama or LM Studio" in captions(app)
    assert [link.proto.page for link in app.get("page_link")][-1] == "models"
    assert not app.warning
    ask(app, "thanks!")
    assert "Understood as" not in captions(app)
    assert [message.name for message in app.chat_message] == ["user", "assistant"] * 2


def test_follow_up_shows_how_it_was_understood(chat: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(chat, E7)
    monkeypatch.setattr(ChatGenerator, "rewrite", lambda *_: "What does fault code E6 mean?")
    ask(chat, "And what does E6 mean?")
    assert "Understood as: What does fault code E6 mean?" in captions(chat)
    assert [message.name for message in chat.chat_message] == ["user", "assistant"] * 2


def test_unchecked_citations_look_different(chat: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, "The lamp was a gift of the queen. [1]")
    ask(chat, E7)
    chip = chat.button(key="passage-0-1")
    assert chip.icon == ":material/help:"
    assert chip.label.endswith(" · unchecked")
    (claims,) = chat.expander
    assert (claims.label, claims.icon) == ("1 claim: 1 unchecked", ":material/help:")
    assert plain(html(chat)).startswith("unchecked The lamp was a gift of the queen")
    assert "No judge" in claims.caption[0].value


def test_a_judge_that_the_reader_chooses_reads_the_claims(chat: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenAIChatModel, "yes_probability", lambda *_: 0.99)
    say(monkeypatch, "It says that the battery is nearly empty. [1]")
    checked(chat.selectbox(key="judge").set_value("llm").run())
    ask(go(go(chat, "library"), "ask"), E7)  # it holds on all pages
    assert (chat.expander[0].label, chat.expander[0].icon) == ("1 claim: 1 supported", ":material/check_circle:")
    assert "which read 1 claim with the passages" in chat.expander[0].caption[0].value
    assert any("Checking the claims: " in text.value for text in chat.markdown)


def test_settings_are_of_one_session_alone(
    chat: AppTest, open_app: OpenApp, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch, "It says that the battery is nearly empty. [1]")
    monkeypatch.setattr(OpenAIChatModel, "yes_probability", lambda *_: 0.99)
    other = open_app(folder, *LLM)
    chat.slider(key="n-passages").set_value(2)
    checked(chat.selectbox(key="judge").set_value("llm").run())
    for app, claims, n in ((chat, "1 claim: 1 supported", 2), (other, "1 claim: 1 unchecked", 5)):
        assert ask(app, E7).expander[0].label == claims
        assert len(app.session_state.chat.answers[0].passages) == n


def test_numbers_that_no_passage_has_are_named_and_marked(chat: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, "The battery voltage is below 23.7 volts. [1] Nothing else.")
    ask(chat, E7)
    assert "<mark>23.7</mark> volts" in chat.get("bidi_component")[0].proto.json
    assert chat.warning[0].value.replace("\\", "").endswith("23.7 volts.”: no cited passage has: 23.7.")
    told = plain(html(chat))
    assert "not found The battery voltage is below 23.7 volts. [1] (no cited passage has: 23.7)" in told
    assert "unchecked Nothing else. (cites no passage)" in told


def test_three_objections_are_shown_and_the_rest_folded(chat: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, " ".join(f"It has 9{number} doors. [1]" for number in range(10, 18)))
    ask(chat, E7)
    (warning,) = chat.warning
    assert warning.value.count("no cited passage has") == 3
    assert warning.value.endswith("And 5 more below.")


@pytest.mark.parametrize(("text", "warning"), [("At noon.", "cites no passage"), ("At noon. [9]", "do not exist: 9")])
def test_answer_without_true_sources_is_marked(
    chat: AppTest, monkeypatch: pytest.MonkeyPatch, text: str, warning: str
) -> None:
    say(monkeypatch, text)
    ask(chat, E7)
    assert warning in " ".join(element.value.replace("\\", "") for element in chat.warning)


def test_failing_model_is_explained_and_what_had_come_stays(chat: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, "It means ", error=GenerationError("The server is gone. Start it again."))
    ask(chat, E7)
    assert answers(chat) == ["It means"]
    assert [error.value.replace("\\", "") for error in chat.error] == ["The server is gone. Start it again."]
    monkeypatch.undo()


def test_model_that_fails_at_once_can_be_asked_again(
    open_app: OpenApp, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch, VOLTS)
    app = open_app(folder, *LLM)
    with monkeypatch.context() as patch:
        say(patch, error=GenerationError("The server is gone. Start it again."))
        ask(app, E7)
        assert app.error
        assert [message.name for message in app.chat_message] == ["user"]
        press(app, "retry-none")
        assert EIGHT not in marked(app)
        assert NO_LANGUAGE_MODEL in texts(app)
    press(app, "retry-None")
    assert not app.error
    assert "23.5 volts" in answers(app)[0]


def test_asking_again_replaces_the_last_answer(app: AppTest) -> None:
    ask(app, E7)
    press(app, "retry-None")
    assert [message.name for message in app.chat_message] == ["user", "assistant"]


def stop_after(chat: AppTest, monkeypatch: pytest.MonkeyPatch, *pieces: str) -> AppTest:
    """Ask, and press Stop when the language model has written these pieces."""
    have_come = Event()

    def stream(*_: object) -> Iterator[str]:
        yield from pieces
        have_come.set()
        while True:
            time.sleep(0.01)
            yield ""

    with monkeypatch.context() as patch:
        answer_with(patch, stream)
        checked(chat.chat_input(key="question").set_value(E7).run())
        assert have_come.wait(240)
        return press(chat, "stop")


def test_stopped_answer_is_kept(chat: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(chat, monkeypatch, "It means that ")
    assert answers(chat) == ["It means that"]
    assert "Stopped early." in captions(chat)
    ask(chat, E7)
    assert "23.5 volts" in answers(chat)[1]


def test_answer_stopped_before_its_first_word(chat: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(chat, monkeypatch)
    assert [text.value for text in chat.chat_message[0].text] == [E7]
    assert "Stopped before the answer began." in captions(chat)
    press(chat, "retry-None")
    assert "23.5 volts" in answers(chat)[0]


def test_an_answer_goes_on_while_the_reader_is_elsewhere(chat: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Event()

    def stream(*_: object) -> Iterator[str]:
        yield "Code E7: The battery "
        assert gate.wait(240)
        yield "voltage is below 23.5 volts. [1]"

    answer_with(monkeypatch, stream)
    checked(chat.chat_input(key="question").set_value(E7).run())
    assert chat.chat_input(key="question").disabled
    checked(chat.button(key="new").click().run())
    assert not chat.chat_message
    go(chat, "library")
    gate.set()
    go(chat, "ask")
    (other,) = [button for button in chat.button if str(button.key).startswith("chat-")]
    answered(checked(other.click().run()))
    assert "23.5 volts" in answers(chat)[0]


def test_a_question_is_edited_and_answered_by_another_model(chat: AppTest) -> None:
    """The answers from there on are replaced."""
    ask(ask(chat, E7), "And E6?")
    checked(chat.button(key="edit-0").click().run())
    chat.text_area(key="edited-0").set_value(LANTERN)
    chat.selectbox(key="answered-by-0").select("Passages only (no language model)")
    press(chat, "ask-edited")
    assert [message.name for message in chat.chat_message] == ["user", "assistant"]
    assert EIGHT in marked(chat)
    assert NO_LANGUAGE_MODEL in texts(chat)


def test_a_visitor_asks_again_with_another_model_of_this_computer(
    chat: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    import connect

    monkeypatch.setattr("access.only_this_machine", lambda: False)
    monkeypatch.setattr(connect, "chat_models_here", lambda: {"http://localhost:1/v1#other": "other (Ollama)"})
    connect.models_found.clear()
    ask(chat, E7)
    checked(chat.button(key="edit-0").click().run())
    chat.selectbox(key="answered-by-0").select("other (Ollama)")
    press(chat, "ask-edited")
    assert "Answered by: other" in captions(chat)
    connect.models_found.clear()


def test_an_answer_that_fails_replaces_nothing(chat: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(chat, E7)
    with monkeypatch.context() as patch:
        say(patch, error=GenerationError("The server is gone. Start it again."))
        press(chat, "retry-None")
    assert chat.error
    assert "23.5 volts" in answers(chat)[0]


def test_conversations_are_found_renamed_deleted_and_brought_back(chat: AppTest) -> None:
    for question in (E7, LANTERN, "three", "four", "five"):
        ask(chat, question)
        chat.button(key="new").click()
        checked(chat.run())
    listed = [button for button in chat.button if str(button.key).startswith("chat-")]
    assert [button.label.replace("\\", "") for button in listed] == ["five", "four", "three", LANTERN, E7]
    checked(chat.text_input(key="find-chat").set_value("lantern ROOM").run())
    (found,) = [button for button in chat.button if str(button.key).startswith("chat-")]
    checked(found.click().run())
    assert chat.chat_message[0].text[0].value == LANTERN

    (title,) = [field for field in chat.text_input if str(field.key).startswith("title-")]
    checked(title.set_value("People in the lantern room").run())
    checked(chat.button(key="delete-chat").click().run())
    assert not chat.chat_message
    assert "Deleted “People in the lantern room”." in captions(chat)
    checked(chat.button(key="undo").click().run())
    assert chat.chat_message[0].text[0].value == LANTERN
    assert "Deleted" not in captions(chat)


def test_a_question_about_dropped_files_is_answered_from_them(app: AppTest) -> None:
    app.chat_input(key="question").upload("cats.md", b"# Cats\n\nThe harbour cat is called Bartholomew.")
    ask(app, "What is the name of the cat?")
    assert "Bartholomew" in passages(app)
    assert sources(app) == ["cats.md"]


def test_a_question_about_a_dropped_file_that_can_not_be_read_says_why(app: AppTest) -> None:
    app.chat_input(key="question").upload("cats.pdf", b"no PDF")
    ask(app, "What is the name of the cat?")
    assert "cats.pdf" in app.error[0].value.replace("\\", "")


def test_conversation_can_be_taken_away_as_markdown(chat: AppTest) -> None:
    ask(chat, E7)
    assert chat.get("download_button")
    checked(chat.button(key="new").click().run())
    assert not chat.chat_message
    assert chat.title


def test_a_conversation_outlives_the_server_and_is_its_readers_alone(
    chat: AppTest, open_app: OpenApp, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def anew(reader: str) -> AppTest:
        """A new server, and a page with the same address."""
        st.cache_resource.clear()
        monkeypatch.setattr("session.reader", lambda: reader)
        again = open_app(folder, *LLM)
        again = AppTest.from_file(str(APP / "streamlit_app.py"), default_timeout=240)
        again.query_params.update(chat.query_params)
        return checked(again.run())

    monkeypatch.setattr("session.reader", lambda: "a" * 32)
    first = answers(ask(chat, E7))
    assert "23.5 volts" in first[0]
    again = anew("a" * 32)
    assert answers(again) == first
    assert again.query_params == chat.query_params
    other = anew("b" * 32)
    assert not other.chat_message
    assert not [button for button in other.button if str(button.key).startswith("chat-")]


def test_a_question_that_the_end_of_the_server_cut_short_is_answered_by_the_next(app: AppTest, folder: Path) -> None:
    from chats import Chat, Chats, Heading, Pending

    chat = Chat("0" * 32, heading=Heading(E7, pending=Pending(E7, SearchOptions())))
    Chats(folder).save(chat)
    checked(app.run())
    answered(checked(app.button(key=f"chat-{chat.id}").click().run()))
    assert "23.5 volts" in passages(app)


def test_filters_by_collection_and_kind(app: AppTest) -> None:
    assert app.multiselect(key="filter-sources").options == list(INDEXED)
    assert app.multiselect(key="filter-collections").options == ["default"]
    assert app.multiselect(key="filter-file_types").options == [".html", ".md", ".pdf"]
    app.multiselect(key="filter-file_types").select(".md")
    ask(app, E7)
    assert "Searching .md only" in captions(app)
    assert set(sources(app)) == {"safety-rules.md"}


@pytest.mark.usefixtures("few_samples")
def test_first_start_reads_the_samples_and_then_answers(open_app: OpenApp, tmp_path: Path) -> None:
    app = open_app(tmp_path / "index")
    assert app.title[0].value == "Getting your documents ready"
    assert not app.chat_input
    wait_for(app, "Try it with sample documents")
    ask(app, E7)
    assert "23.5 volts" in plain(html(app))


@pytest.mark.usefixtures("few_samples")
def test_no_index_and_no_samples(open_app: OpenApp, tmp_path: Path) -> None:
    app = open_app(tmp_path / "none", "--no-samples")
    assert app.title[0].value == "Welcome"
    assert app.file_uploader
    assert not app.chat_input
    assert not (tmp_path / "none").exists()
    checked(app.button(key="samples").click().run())
    wait_for(app, "Try it with sample documents")
    assert app.chat_input


def test_empty_index(open_app: OpenApp, embedder: Embedder, tmp_path: Path) -> None:
    DocumentIndex.create_or_open(tmp_path / "index", embedder).close()
    app = open_app(tmp_path / "index")
    assert app.title[0].value == "Welcome"


def test_damaged_index_is_a_sentence(open_app: OpenApp, tmp_path: Path) -> None:
    (tmp_path / "index.sqlite3").write_bytes(b"no database")
    app = open_app(tmp_path)
    assert app.error
    assert not app.chat_input


def test_model_that_cannot_be_had_without_a_network(
    open_app: OpenApp, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> DocumentIndex:
        raise ModelNotFoundError("The hub cannot be reached. Connect to the network, or name another model.")

    monkeypatch.setattr(DocumentIndex, "open", unreachable)
    app = open_app(folder)
    assert "The hub cannot be reached" in app.error[0].value.replace("\\", "")
    assert not app.chat_input


def test_unknown_language_model_is_a_sentence(open_app: OpenApp, folder: Path) -> None:
    app = open_app(folder, "--llm", "nonsense")
    assert "names no way to answer" in app.error[0].value


def test_questions_are_answered_while_another_process_writes(open_app: OpenApp, folder: Path) -> None:
    with sole_writer(folder):
        app = ask(open_app(folder), E7)
    assert "23.5 volts" in plain(html(app))


@pytest.mark.usefixtures("few_samples")
def test_first_start_while_another_process_holds_the_folder(open_app: OpenApp, tmp_path: Path) -> None:
    with sole_writer(tmp_path):
        app = wait_for(open_app(tmp_path), "Welcome")
    assert "Another process is writing" in app.error[0].value
    checked(app.button(key="samples").click().run())
    wait_for(app, "Try it with sample documents")


def test_listening_beyond_this_machine_without_a_login_is_told(open_app: OpenApp, folder: Path) -> None:
    app = open_app(folder)
    assert not app.warning
    config.set_option("server.address", "0.0.0.0")
    checked(app.run())
    assert "nobody has to sign in" in app.warning[0].value


def test_with_a_login_nothing_is_shown_before_it(open_app: OpenApp, folder: Path) -> None:
    app = open_app(folder)
    app.secrets["auth"] = {"redirect_uri": "http://localhost:8501/oauth2callback"}
    checked(app.run())
    assert [button.key for button in app.button] == ["login"]
    assert not app.chat_input


def test_the_model_may_run_on_an_engine_elsewhere(
    open_app: OpenApp, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that was made in process is searched through a server with the same file."""
    import service

    spec = get_model_spec("minilm")
    with processes.ours(ensure_model_file(spec), spec.name) as url:
        monkeypatch.setenv("JINA_RAG_BACKEND", url)
        app = open_app(folder)
        press(app, "example-0")
        assert "17:45" in passages(app)
        assert url in repr(service.service().embedder.backend)


def test_a_reranker_puts_the_passages_in_order(
    open_app: OpenApp, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(JinaReranker()) as url:
        monkeypatch.setenv("JINA_RAG_RERANKER", url)
        app = open_app(folder)
        reranked = sources(ask(app, E7))
        checked(app.selectbox(key="reranker").set_value("none").run())
        press(app, "retry-None")
    assert sources(app) != reranked


def test_unknown_reranker_is_a_sentence(open_app: OpenApp, folder: Path) -> None:
    app = open_app(folder, "--reranker", "nowhere.gguf")
    assert "nowhere.gguf" in app.error[0].value.replace("\\", "")


def test_settings_that_are_not_known_are_a_sentence(open_app: OpenApp, folder: Path) -> None:
    app = open_app(folder, "--bogus")
    assert "settings that it does not know" in app.error[0].value


def test_text_from_strangers_is_harmless(open_app: OpenApp, embedder: Embedder, tmp_path: Path) -> None:
    path = tmp_path / "www.evil.test :red[x] $y$.txt"
    path.write_text(f"The beekeeper of the island is Orla Penhale. {EVIL}")
    with DocumentIndex.create_or_open(tmp_path / "index", embedder) as index:
        index.add([path])
    app = ask(open_app(tmp_path / "index"), f"Who is the beekeeper of the island? {EVIL}")
    checked(app.button(key="passage-0-1").click().run())
    shown = [element.value for kind in (app.markdown, app.caption, app.error) for element in kind]
    for markdown in [*shown, app.button(key="passage-0-1").label]:
        assert not re.search(r"(?<![\\`])(<script|!\[|\]\(|\$|:red|http:|www\.)|[\x1b\u202e]", markdown)
    assert "<script" not in html(app)
    assert "\u202e" not in html(app)
    assert "reversed" in app.chat_message[0].text[0].value
    assert "\u202e" not in app.chat_message[0].text[0].value


def test_a_rerun_that_changes_nothing_searches_nothing(chat: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = answers(ask(ask(chat, E7), E7))
    monkeypatch.delattr(DocumentIndex, "candidates")
    assert answers(checked(chat.run())) == answered
