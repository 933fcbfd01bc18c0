"""The page, driven without a browser, on a real index."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from jina_rag import Embedder
from jina_rag.rag import NO_ANSWER, DocumentIndex, ExtractiveGenerator
from tests.apps.conftest import APP, SAMPLES

PAGE = APP / "streamlit_app.py"
FILES = ("ferry-timetable.html", "lamp-manual.pdf", "safety-rules.md")


@pytest.fixture(scope="module")
def made_folder(embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "index"
    with DocumentIndex.create_or_open(folder, embedder) as index:
        index.add([SAMPLES / name for name in FILES])
    return folder


@pytest.fixture
def folder(made_folder: Path, tmp_path: Path) -> Path:
    """An index of its own for each test, since uploads change it."""
    return shutil.copytree(made_folder, tmp_path / "index")


@pytest.fixture
def page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    yield open_page(folder, monkeypatch)
    st.cache_resource.clear()


def open_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(sys, "argv", [str(PAGE), "--index", str(folder)])
    # Streamlit puts the page in its place, and processes that other tests start would then run the page.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    page = AppTest.from_file(PAGE, default_timeout=60).run()
    assert not page.exception
    return page


def ask(page: AppTest, question: str) -> AppTest:
    page.chat_input(key="question").set_value(question).run()
    assert not page.exception
    return page


def test_start_offers_examples_that_the_documents_answer(page: AppTest) -> None:
    assert page.button_group(key="example").options == [
        "When does the last boat leave Ostrel?",
        "What does fault code E7 mean?",
    ]
    assert not page.main.markdown
    assert "all\\-MiniLM\\-L6\\-v2" in page.sidebar.caption[0].value
    assert page.sidebar.expander[0].label == "3 in the index"
    assert page.sidebar.text[0].value == "\n".join(FILES)


def test_answer_cites_file_and_page(page: AppTest) -> None:
    ask(page, "What does fault code E7 mean?")
    answer, source = page.chat_message[1].markdown[0].value, page.main.expander[0]
    assert "23.5 volts" in answer.replace("\\", "")
    assert "lamp-manual.pdf**, page 4" in source.label.replace("\\", "")
    assert ":green-badge[verified]" in source.label
    assert "Start the diesel generator" in source.text[0].value


def test_example_is_answered_and_history_kept(page: AppTest) -> None:
    page.button_group(key="example").select("When does the last boat leave Ostrel?").run()
    ask(page, "How many people may be in the lantern room at once?")
    assert [message.name for message in page.chat_message] == ["user", "assistant"] * 2
    assert "17:45" in page.chat_message[1].markdown[0].value.replace("\\", "")
    assert "eight" in page.chat_message[3].markdown[0].value
    assert not page.button_group


def test_unknown_question(page: AppTest) -> None:
    ask(page, "What is the boiling point of nitrogen?")
    assert page.chat_message[1].markdown[0].value.replace("\\", "") == NO_ANSWER
    assert not page.main.expander


@pytest.mark.parametrize(
    ("text", "warning"), [("At noon.", "names no passage"), ("At noon. [9]", "do not exist: 9"), (NO_ANSWER, None)]
)
def test_answer_without_true_sources_is_marked(
    page: AppTest, monkeypatch: pytest.MonkeyPatch, text: str, warning: str | None
) -> None:
    monkeypatch.setattr(ExtractiveGenerator, "stream", lambda *_: iter([text]))
    ask(page, "When does the last boat leave?")
    shown = " ".join(element.value for element in page.warning)
    assert warning in shown if warning else not shown


def test_answer_is_shown_without_images_and_links(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExtractiveGenerator, "stream", lambda *_: iter(["!", "[x](https:", "//evil.test) $5 [1]"]))
    ask(page, "When does the last boat leave?")
    assert page.chat_message[1].markdown[0].value == "\\!\\[x\\](https\\:\u2060//evil.test) \\$5 \\[1\\]"
    assert ":orange-badge[not verified]" in page.main.expander[0].label


def test_blank_question_is_explained(page: AppTest) -> None:
    ask(page, " ")
    assert len(page.error) == 1


def test_missing_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = open_page(tmp_path / "none", monkeypatch)
    assert "jina-rag add" in page.code[0].value
    assert not page.chat_input


def test_upload_is_kept_in_the_index_folder_and_found(page: AppTest, folder: Path) -> None:
    page.file_uploader(key="files").upload(
        "../../etc/Bees & hives.txt", b"The beekeeper of the island is Orla Penhale."
    )
    page.button[0].click().run()
    assert not page.exception
    assert [path.name for path in (folder / "uploads").iterdir()] == ["Bees _ hives.txt"]
    assert page.success[0].value == "1 added, 0 updated, 0 known already."
    assert page.sidebar.expander[0].label == "4 in the index"
    ask(page, "Who is the beekeeper of the island?")
    assert "Orla Penhale" in page.chat_message[1].markdown[0].value


def test_upload_without_text_is_refused(page: AppTest, folder: Path) -> None:
    page.file_uploader(key="files").upload("empty.pdf", b"no PDF at all")
    page.button[0].click().run()
    assert not page.exception
    assert "empty" in page.error[0].value
    assert not list((folder / "uploads").iterdir())
    assert str(folder) not in page.error[0].value.replace("\\", "")
    assert page.sidebar.expander[0].label == "3 in the index"


def test_upload_that_cannot_be_read_does_not_replace_the_one_before(page: AppTest, folder: Path) -> None:
    page.file_uploader(key="files").upload("bees.txt", b"The beekeeper of the island is Orla Penhale.")
    page.button[0].click().run()
    page.file_uploader(key="files").upload("bees.txt", b"\0\1\2")
    page.button[0].click().run()
    assert "is not a text file" in page.error[0].value
    assert (folder / "uploads" / "bees.txt").read_text().endswith("Orla Penhale.")
    ask(page, "Who is the beekeeper of the island?")
    assert "Orla Penhale" in page.chat_message[1].markdown[0].value
