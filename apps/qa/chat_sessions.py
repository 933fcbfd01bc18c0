"""Chat sessions that survive a reload of their page; `session.py` finds the one of the page that is drawn."""

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
class ChatSession:
    """The conversation of one browser tab.

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

    def conversation_with(self, pipeline: RagPipeline) -> Conversation:
        """The conversation, over the models that are in use now."""
        self.conversation = self.conversation or Conversation(pipeline)
        self.conversation.pipeline = pipeline
        return self.conversation

    def drop_last_answer(self) -> None:
        """Forget the last answer."""
        if self.conversation:
            self.conversation = Conversation(self.conversation.pipeline, self.turns[:-1])

    def clear(self) -> None:
        """Forget all of it, and take another name."""
        self.id, self.conversation, self.last = _new_id(), None, None

    def copy(self) -> "ChatSession":
        """Another one with the same answers."""
        conversation = self.conversation and Conversation(self.conversation.pipeline, self.turns)
        return ChatSession(self.reader, conversation=conversation)

    def release(self) -> None:
        """Its page was closed; another page may take it over."""
        self.is_open = False


class ChatSessions:
    """The latest sessions of all readers, in memory alone: the end of the server is the end of them."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._sessions: OrderedDict[str, ChatSession] = OrderedDict()
        self._most = most
        self._lock = Lock()

    def open(self, session_id: str | None, reader: str) -> ChatSession:
        """The session of this name, if it is the reader's own; else a new one.

        One that another page shows, such as that of a tab which was duplicated, is copied, and they part ways.
        """
        with self._lock:
            known = self._sessions.get(session_id or "")
            if known is None or known.reader != reader:
                return ChatSession(reader)
            if known.is_open:
                known = known.copy()
                self._keep(known)
            known.is_open = True
            return known

    def keep(self, session: ChatSession) -> None:
        """Let a session be found by its address from now on."""
        with self._lock:
            self._keep(session)

    def forget(self, session: ChatSession) -> None:
        """Keep it no longer."""
        with self._lock:
            self._sessions.pop(session.id, None)

    def has(self, session: ChatSession) -> bool:
        """Whether it would be found."""
        with self._lock:
            return session.id in self._sessions

    def _keep(self, session: ChatSession) -> None:
        self._sessions[session.id] = session
        self._sessions.move_to_end(session.id)
        if len(self._sessions) > self._most:
            self._sessions.popitem(last=False)
