"""Whose conversation a page gets."""

import importlib
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def chat_sessions(app_modules: None) -> ModuleType:  # noqa: ARG001
    return importlib.import_module("chat_sessions")


def kept(chat_sessions: ModuleType, room: Any, reader: str = "") -> Any:
    """A session with one answer, whose page is open."""
    session = room.open(None, reader)
    session.conversation = chat_sessions.Conversation(None, ["an answer"])
    room.keep(session)
    return session


def test_a_reloaded_page_has_its_session_again(chat_sessions: ModuleType) -> None:
    room = chat_sessions.ChatSessions()
    session = kept(chat_sessions, room)
    session.release()
    assert room.open(session.id, "") is session
    assert session.is_open


def test_a_duplicated_tab_goes_its_own_way(chat_sessions: ModuleType) -> None:
    room = chat_sessions.ChatSessions()
    session = kept(chat_sessions, room)
    other = room.open(session.id, "")
    assert other.turns == session.turns == ["an answer"]
    assert other.id != session.id
    other.drop_last_answer()
    assert (other.turns, session.turns) == ([], ["an answer"])
    other.release()
    assert room.open(other.id, "") is other


@pytest.mark.parametrize("address", [None, "", "made up"])
def test_an_unknown_address_is_a_new_session(chat_sessions: ModuleType, address: str | None) -> None:
    room = chat_sessions.ChatSessions()
    kept(chat_sessions, room)
    session = room.open(address, "")
    assert session.turns == []
    assert not room.has(session)
    assert len(session.id) >= 20  # nobody guesses it, and it is not the visitor's to choose


def test_nobody_gets_the_session_of_another_reader(chat_sessions: ModuleType) -> None:
    room = chat_sessions.ChatSessions()
    session = kept(chat_sessions, room, "anna")
    session.release()
    assert room.open(session.id, "ben").turns == []
    assert room.open(session.id, "anna") is session


def test_what_is_forgotten_can_not_be_had_again(chat_sessions: ModuleType) -> None:
    room = chat_sessions.ChatSessions()
    session = kept(chat_sessions, room)
    address = session.id
    room.forget(session)
    session.clear()
    assert session.id != address
    assert session.turns == []
    assert room.open(address, "").turns == []


def test_the_latest_are_kept(chat_sessions: ModuleType) -> None:
    room = chat_sessions.ChatSessions(most=2)
    first, second = kept(chat_sessions, room), kept(chat_sessions, room)
    room.keep(first)  # another question was asked in it
    third = kept(chat_sessions, room)
    assert [room.has(session) for session in (first, second, third)] == [True, False, True]
