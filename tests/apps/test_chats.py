"""Conversations on the disk: whose they are, and what is not taken from a folder of somebody else."""

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jina_rag.errors import IndexFolderError
from jina_rag.rag import Answer, Filters, SearchOptions, SearchResult
from jina_rag.rag.chunking import Chunk

ANNA, BEN = "a" * 32, "b" * 32


@pytest.fixture
def chats(app_modules: None) -> ModuleType:  # noqa: ARG001
    return importlib.import_module("chats")


def saved(chats: ModuleType, folder: Path, question: str = "When is noon?", reader: str = ANNA) -> Any:
    """A conversation with an answer, and with a question that has none."""
    chunk = Chunk("0" * 32, "/papers/noon.md", "Noon", 0, 2, None, 0, 12, "It is at 12.")
    chat = chats.Chat(reader)
    chat.answers = (Answer(question, "At 12. [1]", (SearchResult(chunk, 1.0, 0.5),)),)
    options = SearchOptions(filters=Filters(sources=["/papers/noon.md"]))
    pending = chats.Pending("And midnight?", options, *["http://elsewhere.invalid/v1"] * 3, place=1)
    chat.heading = chats.Heading(question, pending=pending)
    chats.Chats(folder).save(chat)
    return chat


def file_of(chat: Any, folder: Path) -> Path:
    return folder / "conversations" / str(chat.reader) / f"{chat.id}.jsonl"


def test_what_was_saved_is_read_by_the_next_server(chats: ModuleType, tmp_path: Path) -> None:
    chat = saved(chats, tmp_path)
    again = chats.Chats(tmp_path).open(ANNA, chat.id)
    assert again is not chat
    assert again.answers == chat.answers
    assert (again.heading.title, again.pending.question) == ("When is noon?", "And midnight?")
    assert again.pending.options == chat.pending.options
    # Whoever writes the file does not choose where the documents are sent.
    assert (again.pending.llm, again.pending.reranker, again.pending.judge) == (None, None, None)


def test_nobody_sees_the_conversations_of_another_reader(chats: ModuleType, tmp_path: Path) -> None:
    chat = saved(chats, tmp_path)
    store = chats.Chats(tmp_path)
    assert [id_ for id_, _ in store.list(ANNA)] == [chat.id]
    assert store.list(BEN) == store.list(BEN, "noon") == []
    assert store.open(BEN, chat.id) is None
    for name in ("", "made up", f"../{ANNA}/{chat.id}"):
        assert store.open(BEN, name) is None


def test_words_are_found_in_questions_answers_and_titles(chats: ModuleType, tmp_path: Path) -> None:
    first, second = saved(chats, tmp_path, "When is NOON?"), saved(chats, tmp_path, "Who counts bees?")
    store = chats.Chats(tmp_path)
    store.rename(store.open(ANNA, first.id), "Times")
    for words, found in (("noon", [first]), ("times", [first]), ("bees at", [second]), ("passages", [])):
        assert [id_ for id_, _ in store.list(ANNA, words)] == [chat.id for chat in found], words


def test_only_their_owner_reads_them_and_deleting_leaves_nothing(chats: ModuleType, tmp_path: Path) -> None:
    chat = saved(chats, tmp_path)
    file, store = file_of(chat, tmp_path), chats.Chats(tmp_path)
    if os.name == "posix":
        assert [path.stat().st_mode & 0o777 for path in (file, file.parent)] == [0o600, 0o700]
    content = store.delete(store.open(ANNA, chat.id))
    assert not list((tmp_path / "conversations").rglob("*.jsonl"))
    store.restore(ANNA, chat.id, content)
    assert store.open(ANNA, chat.id).answers == chat.answers


def test_the_oldest_make_room(chats: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chats, "MAX_KEPT", 2)
    _, *latest = (saved(chats, tmp_path, f"{number}?") for number in range(3))
    other = saved(chats, tmp_path, reader=BEN)
    assert {id_ for id_, _ in chats.Chats(tmp_path).list(ANNA)} == {chat.id for chat in latest}
    assert [id_ for id_, _ in chats.Chats(tmp_path).list(BEN)] == [other.id]


def edited(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Callable[[Path], object]:
    def edit(file: Path) -> None:
        heading, answer = map(json.loads, file.read_text().splitlines())
        change(heading, answer)
        file.write_text(f"{json.dumps(heading)}\n{json.dumps(answer)}\n")

    return edit


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b"\xff\xfe"),
        lambda file: file.write_text("[" * 100_000),
        lambda file: file.write_text(file.read_text() + "null\n"),
        lambda file: os.truncate(file, 9_000_000),
        edited(lambda heading, _: heading["pending"].update(place=7)),
        edited(lambda heading, _: heading["pending"]["options"].update(k=-1)),
        edited(lambda _, answer: answer.update(text=["no text"])),
        edited(lambda _, answer: answer.update(highlights=[{"number": 9, "start": 0, "end": 1, "similarity": 1}])),
        edited(lambda _, answer: answer["passages"][0]["chunk"].update(page=10**30)),
    ],
)
def test_a_file_that_is_no_conversation_is_left_out(
    chats: ModuleType, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    chat = saved(chats, tmp_path)
    damage(file_of(chat, tmp_path))
    store = chats.Chats(tmp_path)
    assert store.open(ANNA, chat.id) is None
    store.list(ANNA, "noon")


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_no_link_is_followed(chats: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    chat = saved(chats, tmp_path / "theirs")
    mine = chats.Chats(tmp_path / "mine")
    (tmp_path / "mine/conversations").mkdir(parents=True)
    (tmp_path / "mine/conversations" / ANNA).symlink_to(file_of(chat, tmp_path / "theirs").parent)
    with pytest.raises(IndexFolderError, match="is a link"):
        mine.open(ANNA, chat.id)
    folder = tmp_path / "mine/conversations" / BEN
    folder.mkdir()
    (folder / f"{chat.id}.jsonl").symlink_to(file_of(chat, tmp_path / "theirs"))
    assert mine.open(BEN, chat.id) is None
    assert mine.list(BEN) == []
