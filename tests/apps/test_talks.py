"""Whose conversation a page gets."""

import importlib
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def talks(app_modules: None) -> ModuleType:  # noqa: ARG001
    return importlib.import_module("talks")


def kept(talks: ModuleType, room: Any, reader: str = "") -> Any:
    """A talk with one answer, whose page is open."""
    talk = room.enter(None, reader)
    talk.conversation = talks.Conversation(None, ["an answer"])
    room.keep(talk)
    return talk


def test_a_reloaded_page_has_its_talk_again(talks: ModuleType) -> None:
    room = talks.Talks()
    talk = kept(talks, room)
    talk.leave()
    assert room.enter(talk.id, "") is talk
    assert talk.is_open


def test_a_duplicated_tab_goes_its_own_way(talks: ModuleType) -> None:
    room = talks.Talks()
    talk = kept(talks, room)
    other = room.enter(talk.id, "")
    assert other.turns == talk.turns == ["an answer"]
    assert other.id != talk.id
    other.take_back()
    assert (other.turns, talk.turns) == ([], ["an answer"])
    other.leave()
    assert room.enter(other.id, "") is other


@pytest.mark.parametrize("address", [None, "", "made up"])
def test_an_unknown_address_is_a_new_talk(talks: ModuleType, address: str | None) -> None:
    room = talks.Talks()
    kept(talks, room)
    talk = room.enter(address, "")
    assert talk.turns == []
    assert not room.has(talk)
    assert len(talk.id) >= 20  # nobody guesses it, and it is not the visitor's to choose


def test_nobody_gets_the_talk_of_another_reader(talks: ModuleType) -> None:
    room = talks.Talks()
    talk = kept(talks, room, "anna")
    talk.leave()
    assert room.enter(talk.id, "ben").turns == []
    assert room.enter(talk.id, "anna") is talk


def test_what_is_forgotten_can_not_be_had_again(talks: ModuleType) -> None:
    room = talks.Talks()
    talk = kept(talks, room)
    address = talk.id
    room.forget(talk)
    talk.begin_anew()
    assert talk.id != address
    assert talk.turns == []
    assert room.enter(address, "").turns == []


def test_the_latest_are_kept(talks: ModuleType) -> None:
    room = talks.Talks(most=2)
    first, second = kept(talks, room), kept(talks, room)
    room.keep(first)  # another question was asked in it
    third = kept(talks, room)
    assert [room.has(talk) for talk in (first, second, third)] == [True, False, True]
