"""The library page in all its states, on a real index."""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from jina_rag.rag import DocumentIndex
from jina_rag.rag.store.lock import sole_writer
from tests.apps.conftest import OpenApp, answered, checked, go
from tests.index_files import chroma_collection
from tests.rag.documents.pdf import write_pdf


@pytest.fixture
def page(open_app: OpenApp, folder: Path) -> AppTest:
    return go(open_app(folder), "library")


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Event]:
    """While it is not set, nothing is added."""
    gate, add = Event(), DocumentIndex.add

    def wait_and_add(*arguments: Any, **options: Any) -> Any:
        assert gate.wait(240)
        return add(*arguments, **options)

    monkeypatch.setattr(DocumentIndex, "add", wait_and_add)
    yield gate
    gate.set()


def press(page: AppTest, key: str) -> AppTest:
    return checked(page.button(key=key).click().run())


def settled(page: AppTest) -> AppTest:
    """The page when no task runs any more."""
    deadline = time.monotonic() + 240
    while any(button.label == "Cancel" for button in page.button):
        assert time.monotonic() < deadline
        time.sleep(0.05)
        checked(page.run())
    return page


def upload(page: AppTest, name: str, content: bytes) -> AppTest:
    return checked(page.file_uploader[0].upload(name, content).run())


def titles(page: AppTest) -> list[str]:
    """The tasks on the page, with their icons."""
    return [unescaped(item.value) for item in page.markdown if item.value.startswith(":material")]


def said(page: AppTest) -> str:
    elements = [*page.caption, *page.error, *page.warning, *page.text, *page.success, *page.info, *page.markdown]
    return unescaped("\n".join(str(element.value) for element in elements))


def unescaped(text: str) -> str:
    return text.replace("\\", "")


def table(page: AppTest) -> Any:
    return page.dataframe[0].value


def choose(page: AppTest, *names: str) -> AppTest:
    rows = [number for number, name in enumerate(table(page)["Name"]) if name in names]
    page.session_state[str(page.dataframe[0].key)] = {"selection": {"rows": rows, "columns": [], "cells": []}}
    return checked(page.run())


def button_of(page: AppTest, label: str) -> str:
    return next(str(button.key) for button in page.button if button.label == label)


def test_library_says_what_it_has(page: AppTest) -> None:
    assert "3 documents · " in said(page)
    assert "embedding model all-MiniLM-L6-v2 F32" in said(page)
    assert list(table(page)["Name"]) == ["ferry-timetable.html", "lamp-manual.pdf", "safety-rules.md"]
    assert list(table(page)["State"]) == ["Ready, with a note", "Ready", "Ready"]
    assert list(table(page)["Kind"]) == ["html", "pdf", "md"]
    checked(page.text_input(key="find").set_value("LAMP").run())
    assert list(table(page)["Name"]) == ["lamp-manual.pdf"]
    checked(page.text_input(key="find").set_value("boat").run())
    assert not page.dataframe
    assert "No document matches." in said(page)


def test_empty_library_offers_samples_and_a_place_for_files(
    open_app: OpenApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = go(open_app(tmp_path / "none", "--no-samples"), "library")
    assert "There are no documents yet." in said(page)
    assert page.file_uploader
    assert not page.dataframe
    monkeypatch.chdir(tmp_path)
    upload(page, "bees.txt", b"The beekeeper of the island is Orla Penhale.")
    assert list(table(settled(page))["Name"]) == ["bees.txt"]


def test_upload_goes_into_the_chosen_collection(folder: Path, tmp_path: Path, open_app: OpenApp) -> None:
    (tmp_path / "wasps.md").write_text("There are no wasps on the island.")
    with DocumentIndex.open(folder) as index:
        index.add([tmp_path / "wasps.md"], collections=["bees & hives"])
    page = go(open_app(folder), "library")
    checked(page.selectbox(key="collection").set_value("bees & hives").run())
    upload(page, "../../etc/Bees & hives.txt", b"The beekeeper of the island is Orla Penhale.")
    settled(page)
    assert titles(page) == [":material/check_circle: **Add Bees _ hives.txt**"]
    assert "1 added." in said(page)
    assert (folder / "uploads" / "Bees _ hives.txt").exists()
    row = table(page).set_index("Name").loc["Bees _ hives.txt"]
    assert row["Collection"] == "bees & hives"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.txt", b"", "empty.txt has no text."),
        ("holiday.pdf", b"MZ\x90\0\3\0\0\0", "holiday.pdf is damaged"),
        ("holiday.exe", b"MZ\x90\0\3\0\0\0", "holiday.exe isn't a supported file type."),
        ("holiday.txt", b"MZ\x90\0\3\0\0\0", "holiday.txt is not a text file"),
    ],
)
def test_upload_that_cannot_be_read_says_why(
    page: AppTest, folder: Path, name: str, content: bytes, reason: str
) -> None:
    upload(page, name, content)
    settled(page)
    assert f"{name}: {reason}" in said(page)
    assert str(folder) not in said(page)
    assert len(table(page)) == 3


def test_encrypted_pdf_says_why(page: AppTest, tmp_path: Path) -> None:
    secret = write_pdf(tmp_path / "secret.pdf", ["The combination is 4711."], encrypted=True)
    upload(page, "secret.pdf", secret.read_bytes())
    assert "secret.pdf: secret.pdf is encrypted. Save a copy without a password" in said(settled(page))


def test_folder_with_a_failing_file_and_another_attempt(page: AppTest, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "bad.md").write_bytes(b"\0\1\2")
    (notes / "good.md").write_text("The harbour master is Tom Rowe.")
    page.text_input(key="path").set_value(str(notes))
    press(page, "add-button")
    settled(page)
    assert "1 added, 1 could not be read." in said(page)
    states = table(page).set_index("Name")["State"]
    assert (states["bad.md"], states["good.md"]) == ("Not read", "Ready")
    assert "bad.md: bad.md is not a text file" in said(page)
    (notes / "bad.md").write_text("Now it is text.")
    press(page, "retry")
    assert "Not read" not in list(table(settled(page))["State"])


def test_path_that_is_not_there_is_explained(page: AppTest, tmp_path: Path) -> None:
    page.text_input(key="path").set_value(str(tmp_path / "nowhere"))
    press(page, "add-button")
    assert "There is no file or folder" in said(settled(page))
    assert "Try again" in [button.label for button in page.button]


def test_names_from_outside_are_shown_letter_for_letter(page: AppTest, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    name = ":red[x] ![i](http:evil) $y$ \x1b[31m \u202etxt.md"
    (notes / name).write_bytes(b"\0")
    page.text_input(key="path").set_value(str(notes / name))
    press(page, "add-button")
    settled(page)
    (title,) = [item.value for item in page.markdown if item.value.startswith(":material")]
    shown = [title, *(str(text.value) for text in page.text), *table(page)["Name"]]
    assert not any(sign in text for text in shown for sign in ("\x1b", "\u202e"))


def test_tasks_are_seen_from_every_tab_and_can_be_cancelled(
    page: AppTest, gate: Event, tmp_path: Path, folder: Path, open_app: OpenApp
) -> None:
    (tmp_path / "a.md").write_text("The harbour master is Tom Rowe.")
    page.text_input(key="path").set_value(str(tmp_path / "a.md"))
    press(page, "add-button")
    upload(page, "bees.txt", b"The beekeeper of the island is Orla Penhale.")
    second = go(open_app(folder), "library")  # or the first one, loaded again
    for tab in (checked(page.run()), second):
        assert titles(tab) == [
            f":material/sync: **Add {tmp_path}/a.md**",
            ":material/hourglass_empty: **Add bees.txt**",
        ]
        assert dict(zip(table(tab)["Name"], table(tab)["State"], strict=True))["bees.txt"] == "Queued"
    for key in [str(button.key) for button in second.button if button.label == "Cancel"]:
        press(second, key)
    assert any(button.disabled for button in second.button if button.label == "Cancel")
    gate.set()
    settled(second)
    assert "Cancelled before it began." in said(second)
    assert [button.label for button in second.button].count("Start again") == 2
    press(second, button_of(second, "Start again"))
    assert len(table(settled(second))) == 4


def test_task_of_a_server_that_ended_can_be_resumed(
    page: AppTest, folder: Path, tmp_path: Path, open_app: OpenApp
) -> None:
    (tmp_path / "a.md").write_text("The harbour master is Tom Rowe.")
    page.text_input(key="path").set_value(str(tmp_path / "a.md"))
    press(page, "add-button")
    settled(page)
    import streamlit as st

    st.cache_resource.clear()  # the server ends
    record = folder / "tasks.json"
    record.write_text(record.read_text().replace('"done"', '"running"'))
    page = go(open_app(folder), "library")
    assert "Interrupted when the app was closed." in said(page)
    press(page, button_of(page, "Resume"))
    assert "1 unchanged." in said(settled(page))
    press(page, button_of(page, "Dismiss"))
    assert not titles(page)


def test_lock_held_by_another_process(page: AppTest, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("The harbour master is Tom Rowe.")
    with sole_writer(folder):
        checked(page.run())
        assert "Another program is writing to this library" in said(page)
        page.text_input(key="path").set_value(str(tmp_path / "a.md"))
        press(page, "add-button")
        settled(page)
        assert "Another process is writing to" in said(page)
        assert "(process " in said(page)
    press(page, button_of(page, "Try again"))
    assert "1 added." in said(settled(page))
    assert "Another p" not in said(page)


def test_a_question_is_about_chosen_documents_alone(page: AppTest) -> None:
    choose(page, "safety-rules.md")
    press(page, "ask-about")
    go(page, "ask")
    assert "Searching safety-rules.md only." in said(page)
    answered(checked(page.chat_input(key="question").set_value("What does fault code E7 mean?").run()))
    assert {button.label for button in page.button if str(button.key).startswith("passage-")} == {"safety\\-rules\\.md"}


def test_folders_are_watched(page: AppTest, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.md").write_text("The harbour master is Tom Rowe.")
    page.text_input(key="path").set_value(str(tmp_path / "notes"))
    press(page, "add-button")
    settled(page)
    checked(page.toggle(key="watch").set_value(True).run())
    (tmp_path / "notes/b.md").write_text("The beekeeper is Orla Penhale.")
    deadline = time.monotonic() + 240
    while "b.md" not in list(table(page)["Name"]):
        assert time.monotonic() < deadline
        checked(page.run())
    checked(page.toggle(key="watch").set_value(False).run())
    assert not page.toggle(key="watch").value


def test_removing_asks_first(page: AppTest) -> None:
    choose(page, "lamp-manual.pdf")
    press(page, "remove")
    assert "lamp-manual.pdf" in [text.value for text in page.text]
    assert len(table(page)) == 3
    press(page, "confirm")
    assert list(table(settled(page))["Name"]) == ["ferry-timetable.html", "safety-rules.md"]


def test_update_brings_in_what_has_changed(page: AppTest) -> None:
    press(page, "sync")
    assert "3 unchanged." in said(settled(page))


def test_documents_whose_files_are_gone_all_at_once_are_removed_at_a_click(page: AppTest, tmp_path: Path) -> None:
    """A disk may not be there, so that an update alone keeps them."""
    notes = tmp_path / "notes"
    notes.mkdir()
    for number in range(12):
        (notes / f"{number}.md").write_text(f"The tide table of harbour {number}.")
    page.text_input(key="path").set_value(str(notes))
    press(page, "add-button")
    settled(page)
    for number in range(11):
        (notes / f"{number}.md").unlink()
    press(page, "sync")
    settled(page)
    assert titles(page)[0] == ":material/warning: **Update all documents**"
    assert "11 documents of " in said(page)
    assert "could not be read" not in said(page)
    assert len(table(page)) == 15
    press(page, button_of(page, "Remove them from the library"))
    assert "11 removed, 4 unchanged." in said(settled(page))
    assert len(table(page)) == 4


@pytest.mark.usefixtures("written_here")
def test_check_finds_nothing(page: AppTest) -> None:
    press(page, "check")
    assert page.success[0].value == "No problems found."


def test_check_finds_lost_vectors_and_rebuild_mends_them(written_here: Path, open_app: OpenApp) -> None:
    with chroma_collection(written_here) as vectors:
        vectors.delete(sorted(vectors.get()["ids"])[:2])
    page = go(open_app(written_here), "library")
    press(page, "check")
    assert "have no vector in Chroma" in said(page)
    assert "“Rebuild…” repairs it." in said(page)
    assert not page.code
    press(page, "rebuild")
    press(page, "confirm")
    settled(page)
    assert titles(page) == [":material/check_circle: **Rebuild the index**"]
    assert "have no vector" not in said(page)
    press(page, "check")
    assert page.success[0].value == "No problems found."


def test_damaged_index_can_still_be_checked(folder: Path, open_app: OpenApp) -> None:
    (folder / "index.sqlite3").write_bytes(b"no database" * 1000)
    page = go(open_app(folder), "library")
    assert page.error
    press(page, "check")
    assert "is damaged" in said(page)


def test_files_of_this_machine_are_not_offered_to_others(
    open_app: OpenApp, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("access.only_this_machine", lambda: False)
    page = go(open_app(folder), "library")
    assert "path" not in [field.key for field in page.text_input]
