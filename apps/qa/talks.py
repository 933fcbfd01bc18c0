"""Conversations that outlive a page, each of one tab. `tab.py` finds the one of a page that was reloaded."""

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

from jina_rag.rag import Answer, Conversation, RagPipeline

MOST_KEPT = 100


def _new_id() -> str:
    return secrets.token_urlsafe(16)  # whoever knows it can read the conversation


@dataclass
class Question:
    """A question that is being answered, was stopped before the first word, or failed.

    It is changed in place: after a stop, Streamlit lets nothing be drawn and no state be set.
    """

    text: str
    problem: str | None = None
    is_being_answered: bool = True
    is_kept: bool = False  # as a turn of the conversation, whole or in part


@dataclass(eq=False)
class Talk:
    """What one tab has of the Ask page.

    Attributes:
        reader: Who has signed in.
        id: Its name in the address.
        conversation: The answers; None before the first.
        last: The question that was asked last.
        is_open: Whether a page shows it now.
    """

    reader: str
    id: str = field(default_factory=_new_id)
    conversation: Conversation | None = None
    last: Question | None = None
    is_open: bool = True

    @property
    def turns(self) -> list[Answer]:
        """The answers so far."""
        return self.conversation.turns if self.conversation else []

    @property
    def unanswered(self) -> Question | None:
        """The last question, if it has no whole answer."""
        return None if self.last and self.last.is_kept and not self.last.problem else self.last

    def over(self, pipeline: RagPipeline) -> Conversation:
        """The conversation, over the models that are in use now."""
        self.conversation = self.conversation or Conversation(pipeline)
        self.conversation.pipeline = pipeline
        return self.conversation

    def take_back(self) -> None:
        """Forget the last answer."""
        if self.conversation:
            self.conversation = Conversation(self.conversation.pipeline, self.turns[:-1])

    def begin_anew(self) -> None:
        """Forget all of it. Its old name is nobody's then."""
        self.id, self.conversation, self.last = _new_id(), None, None

    def copied(self) -> "Talk":
        """Another one with the same answers."""
        conversation = self.conversation and Conversation(self.conversation.pipeline, self.turns)
        return Talk(self.reader, conversation=conversation)

    def leave(self) -> None:
        """Its page is gone. Another one may take it over."""
        self.is_open = False


class Talks:
    """The latest talks of all readers, in memory alone: the end of the server is the end of them."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._talks: OrderedDict[str, Talk] = OrderedDict()
        self._most = most
        self._lock = Lock()

    def enter(self, talk_id: str | None, reader: str) -> Talk:
        """The talk of this name, if it is the reader's own; else a new one.

        One that another page shows, such as that of a tab which was duplicated, is copied, and they part ways.
        """
        with self._lock:
            known = self._talks.get(talk_id or "")
            if known is None or known.reader != reader:
                return Talk(reader)
            if known.is_open:
                known = known.copied()
                self._keep(known)
            known.is_open = True
            return known

    def keep(self, talk: Talk) -> None:
        """Let a talk be found by its address from now on."""
        with self._lock:
            self._keep(talk)

    def forget(self, talk: Talk) -> None:
        """Keep it no longer."""
        with self._lock:
            self._talks.pop(talk.id, None)

    def has(self, talk: Talk) -> bool:
        """Whether it would be found."""
        with self._lock:
            return talk.id in self._talks

    def _keep(self, talk: Talk) -> None:
        self._talks[talk.id] = talk
        self._talks.move_to_end(talk.id)
        if len(self._talks) > self._most:
            self._talks.popitem(last=False)
