"""Conversations, each in a file of its reader beside the index: they outlive a reload, the page and the server.

`conversations/<reader>/<id>.jsonl` has its title and open question in its first line, and an answer in each other.
A file is data from elsewhere when it is read: its size, types and numbers are checked, and no link is followed.
"""

import json
import logging
import os
import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from threading import RLock
from time import monotonic
from typing import Any
from weakref import WeakValueDictionary

from private_files import disk_errors, open_private, private_folder, write_private

from jina_rag.errors import IndexFolderError
from jina_rag.rag import Answer, SearchOptions
from jina_rag.rag.answering.run import Event, Found, Stage
from jina_rag.rag.citations.marks import CitationMark, Text

MAX_BYTES = 8_000_000
"""Of one conversation: hundreds of answers with their passages."""

MAX_KEPT, MAX_KEPT_OF_ALL = 500, 20_000
"""Conversations of one reader, of which the oldest are deleted, and of all, at which no new one is begun."""

MAX_TITLE = 80  # characters

_FOLDER = "conversations"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pending:
    """A question that has no whole answer.

    Attributes:
        question: As it was asked.
        options: How to search for it.
        llm: What shall answer, as for `make_generator`; None, as of the next two, is what the app has chosen. A file
            may say none of them.
        reranker: What shall put passages in order, as for `make_reranker`, or "none".
        judge: What shall check claims, as for `make_judge`.
        place: How many answers come before it. Its own takes the place of those that are there already.
        problem: Why it was not answered; empty while it is, and after the end of the server.
        n_starts: How often a server began to answer it.
    """

    question: str
    options: SearchOptions
    llm: str | None = None
    reranker: str | None = None
    judge: str | None = None
    place: int = 0
    problem: str = ""
    n_starts: int = 1


@dataclass(frozen=True)
class Heading:
    """What is known of a conversation without reading it.

    Attributes:
        title: What to call it in a list.
        updated: When it was last changed, in seconds since 1970.
        pending: The question that has no whole answer.
    """

    title: str = ""
    updated: float = 0.0
    pending: Pending | None = None


@dataclass(eq=False)
class Run:
    """An answer on its way, for pages that show it.

    Attributes:
        waits_for: The task on whose documents the question is.
        stage: What happens now.
        times: The stages before, each with the seconds that it took.
        text: What is written.
        rewritten: How a follow-up was understood.
        is_stopping: Whether the reader stopped it.
    """

    waits_for: str | None = None
    stage: Stage | None = None
    times: list[tuple[Stage, float]] = field(default_factory=list)
    text: str = ""
    rewritten: str | None = None
    is_stopping: bool = False
    _began: float = 0.0

    def take(self, event: Event) -> None:
        """Keep what has happened."""
        if isinstance(event, Stage):
            now = monotonic()
            if self.stage:
                self.times.append((self.stage, now - self._began))
            self.stage, self._began = event, now
        elif isinstance(event, Found):
            self.rewritten = event.rewritten
        elif isinstance(event, Text | CitationMark):
            self.text += event.text


@dataclass(eq=False)
class Chat:
    """A conversation. Every page and thread that has it open has the same object.

    Attributes:
        reader: Whose it is, as `access.reader` has it.
        id: 32 hexadecimal digits.
        heading: What lists show.
        answers: The answers so far.
        run: The answer that is being written.
        is_deleted: Whether it was deleted, and is to be written no more.
    """

    reader: str
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    heading: Heading = Heading()
    answers: tuple[Answer, ...] = ()
    run: Run | None = None
    is_deleted: bool = False

    @property
    def pending(self) -> Pending | None:
        """The question that has no whole answer."""
        return self.heading.pending


class Chats:
    """The conversations of all readers. Safe to use from many threads."""

    def __init__(self, index_folder: Path) -> None:
        self._index_folder = index_folder
        self._lock = RLock()
        self._open: WeakValueDictionary[tuple[str, str], Chat] = WeakValueDictionary()

    def list(self, reader: str, words: str = "") -> "list[tuple[str, Heading]]":
        """Ids and headings of a reader's conversations, the latest first.

        Args:
            reader: Whose.
            words: All of them are in the title, the questions or the answers.

        Raises:
            IndexFolderError: a link is in the place of a folder.
        """
        files = self._folder(reader).glob("*.jsonl")
        found = [(file.stem, heading) for file in files if _has_words(file, words) and (heading := _read_heading(file))]
        return sorted(found, key=lambda item: -item[1].updated)

    def open(self, reader: str, id_: str) -> Chat | None:
        """A conversation; None if the reader has none of this id that can be read. Raises as `list` does."""
        if not re.fullmatch("[0-9a-f]{32}", id_):
            return None
        with self._lock:
            chat = self._open.get((reader, id_))
            if chat is None and (content := _read(self._file(reader, id_))):
                chat = _from_content(reader, id_, content)
            if chat is not None:
                self._open[reader, id_] = chat
            return chat

    def save(self, chat: Chat) -> None:
        """Write a conversation that was changed.

        Raises:
            IndexFolderError: it can't be written, or there are too many.
        """
        with self._lock:
            if chat.is_deleted:
                return
            chat.heading = replace(chat.heading, updated=time.time())
            content = _to_content(chat)
            if len(content) > MAX_BYTES:
                raise IndexFolderError("This conversation is full. Begin a new one.")
            folder = private_folder(self._index_folder, _FOLDER, chat.reader)
            file = folder / f"{chat.id}.jsonl"
            if not file.exists():
                self._make_room(chat.reader)
            with disk_errors(self._index_folder):
                write_private(file, content)
            self._open[chat.reader, chat.id] = chat

    def rename(self, chat: Chat, title: str) -> None:
        """Give a conversation another title. Raises as `save` does."""
        if title := shortened(title):
            with self._lock:
                chat.heading = replace(chat.heading, title=title)
                self.save(chat)

    def delete(self, chat: Chat) -> bytes:
        """Delete a conversation. Returns what `restore` takes.

        Raises:
            IndexFolderError: the disk forbids it.
        """
        with self._lock, disk_errors(self._index_folder):
            content = _to_content(chat)
            chat.is_deleted = True
            self._file(chat.reader, chat.id).unlink(missing_ok=True)
            self._open.pop((chat.reader, chat.id), None)
            return content

    def restore(self, reader: str, id_: str, content: bytes) -> Chat:
        """Bring a deleted conversation back. Raises as `save` does."""
        with self._lock:
            chat = _from_content(reader, id_, content) or Chat(reader)
            self.save(chat)
            return chat

    def _make_room(self, reader: str) -> None:
        n_all = sum(1 for _ in (self._index_folder / _FOLDER).glob("*/*.jsonl"))
        if n_all >= MAX_KEPT_OF_ALL:
            raise IndexFolderError(f"There are {n_all:,} conversations, and no more are kept. Delete some.")
        for old, _ in self.list(reader)[MAX_KEPT - 1 :]:
            self._file(reader, old).unlink(missing_ok=True)

    def _file(self, reader: str, id_: str) -> Path:
        return self._folder(reader) / f"{id_}.jsonl"

    def _folder(self, reader: str) -> Path:
        """A reader's folder, there or not."""
        folder = self._index_folder / _FOLDER
        for each in (folder, folder / reader):
            if each.is_symlink():
                raise IndexFolderError(f"{each} is a link, and is not followed. Remove it.")
        return folder / reader


def shortened(text: str) -> str:
    """A text as a title."""
    text = " ".join(text.split())
    return text if len(text) <= MAX_TITLE else f"{text[: MAX_TITLE - 1].rstrip()}…"


@cache
def _adapters() -> tuple[Any, Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(Heading), TypeAdapter(Answer)


def _to_content(chat: Chat) -> bytes:
    headings, answers = _adapters()
    rows = [headings.dump_python(chat.heading, mode="json")]
    rows += [answers.dump_python(answer, mode="json") for answer in chat.answers]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return text.encode(errors="replace")  # a server may send halves of characters


def _from_content(reader: str, id_: str, content: str | bytes) -> Chat | None:
    lines = (content if isinstance(content, str) else content.decode()).split("\n")
    try:
        answers = tuple(_checked(_adapters()[1].validate_json(line)) for line in lines[1:] if line)
        return Chat(reader, id_, _checked_heading(lines[0], len(answers)), answers)
    except (ValueError, RecursionError):
        _log.warning("the conversation %s can't be read", id_)
        return None


def _checked(answer: Answer) -> Answer:
    """Types say nothing of numbers. Raises ValueError for those that no answer has."""
    chunks = [result.chunk for result in answer.passages]
    if any(not 1 <= highlight.number <= len(chunks) for highlight in answer.highlights):
        raise ValueError("a highlight of no passage")
    if any(not 1 <= (chunk.page or 1) <= 1_000_000 or not 0 <= chunk.start <= chunk.end for chunk in chunks):
        raise ValueError("a passage on no page")
    return answer


def _checked_heading(line: str, n_answers: int) -> Heading:
    heading: Heading = _adapters()[0].validate_json(line)
    pending = heading.pending
    if pending and not 0 <= pending.place <= n_answers:
        raise ValueError("a question in no place")
    # Whoever wrote the file must not choose where questions and passages are sent.
    pending = pending and replace(pending, llm=None, reranker=None, judge=None)
    return replace(heading, title=shortened(heading.title), pending=pending)


def _read(file: Path) -> str | None:
    """A file's text; None if it is none, too large, or a link."""
    try:
        with open_private(file, os.O_RDONLY) as opened:
            text = opened.read(MAX_BYTES + 1)
    except (OSError, UnicodeDecodeError):
        return None
    return text if len(text) <= MAX_BYTES else None


def _read_heading(file: Path) -> Heading | None:
    try:
        with open_private(file, os.O_RDONLY) as opened:
            return _checked_heading(opened.readline(MAX_BYTES), 1_000_000)
    except (OSError, ValueError, RecursionError):
        return None


def _has_words(file: Path, words: str) -> bool:
    """Whether all words are in the title, the questions or the answers."""
    text = ""
    for line in (_read(file) or "").split("\n") if words.strip() else ():
        with suppress(ValueError, RecursionError, AttributeError):
            row = json.loads(line)
            text += "\n".join(str(row.get(name, "")) for name in ("title", "question", "text")).casefold()
    return all(word in text for word in words.casefold().split())
