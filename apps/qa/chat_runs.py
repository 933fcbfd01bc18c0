"""Answers written in the background, which go on whatever pages are open, and after a restart from the beginning."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import RLock, Thread
from time import sleep

from chats import Chat, Chats, Pending, Run, shortened
from tasks import Tasks

from jina_rag.errors import DocumentError, GenerationError, JinaRagError
from jina_rag.rag import Answer, Conversation, RagPipeline

MAX_RUNS, MAX_RUNS_OF_READER = 40, 8
"""How many answers may be on their way at once: of all readers, and of one."""

MAX_STARTS = 2
"""How often a question is begun by itself: one that ends the server must not end each new one."""

STOPPED = "Stopped before the answer began."
_SECONDS_BETWEEN_CHECKS = 0.2

_log = logging.getLogger(__name__)


class ChatRuns:
    """The answers that are being written. Safe to use from many threads."""

    def __init__(self, chats: Chats, tasks: Tasks, pipeline: Callable[..., RagPipeline]) -> None:
        """Start nothing. `pipeline` gives what answers, by the answer model, reranker and judge of a question."""
        self._chats = chats
        self._tasks = tasks
        self._pipeline = pipeline
        self._lock = RLock()
        self._running: set[Chat] = set()
        self._is_closing = False

    @property
    def n_running(self) -> int:
        """How many answers are on their way."""
        return len(self._running)

    def start(self, chat: Chat, pending: Pending, waits_for: str | None = None) -> None:
        """Begin to answer a question.

        Raises:
            GenerationError: the conversation's last question is not answered yet, or too many are being answered.
            IndexFolderError: the conversation can't be saved.
        """
        with self._lock:
            if chat.run:
                raise GenerationError("Your last question is still being answered. Wait for it, or stop it.")
            n_own = sum(other.reader == chat.reader for other in self._running)
            if len(self._running) >= MAX_RUNS or n_own >= MAX_RUNS_OF_READER:
                raise GenerationError("Too many questions are being answered. Ask again in a minute.")
            title = chat.heading.title or shortened(pending.question)
            chat.heading = replace(chat.heading, title=title, pending=pending)
            self._chats.save(chat)
            chat.run = Run(waits_for)
            self._running.add(chat)
            Thread(target=self._answer, args=(chat, chat.run, pending), name="jina-rag-answer", daemon=True).start()

    def resume(self, chat: Chat) -> None:
        """Begin again to answer a question whose answer the end of the server cut short. Raises as `start` does."""
        with self._lock:
            pending = chat.pending
            if not pending or pending.problem or chat.run:
                return
            if pending.n_starts < MAX_STARTS:
                self.start(chat, replace(pending, n_starts=pending.n_starts + 1))
            else:
                problem = "The app ended twice while it answered this question."
                chat.heading = replace(chat.heading, pending=replace(pending, problem=problem))

    def stop(self, chat: Chat) -> None:
        """End an answer; what is written stays."""
        if run := chat.run:
            run.is_stopping = True

    def close(self) -> None:
        """Leave what is not answered to the next server."""
        with self._lock:
            self._is_closing = True

    def _answer(self, chat: Chat, run: Run, pending: Pending) -> None:
        conversation, problem = None, ""
        try:
            self._wait_for_task(run)
            conversation = Conversation(
                self._pipeline(pending.llm, pending.reranker, pending.judge), chat.answers[: pending.place]
            )
            with conversation.start(pending.question, options=pending.options) as events:
                for event in events:
                    run.take(event)
                    if run.is_stopping or self._is_closing:
                        break
        except JinaRagError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - a fault of the program must not leave a question that seems to run
            _log.exception("A question failed")
            problem = f"It failed unexpectedly ({type(error).__name__}). Ask again; the server's log has the details."
        self._finish(chat, pending, conversation.turns if conversation else [], problem)

    def _wait_for_task(self, run: Run) -> None:
        """Wait until the documents that a question is about are there. Raises DocumentError if they can't be read."""
        while run.waits_for and (task := self._tasks.get(run.waits_for)) and not run.is_stopping:
            if task.is_over:
                if task.error or task.failed:
                    raise DocumentError(task.error or task.failed[0][1])
                return
            sleep(_SECONDS_BETWEEN_CHECKS)

    def _finish(self, chat: Chat, pending: Pending, turns: Sequence[Answer], problem: str) -> None:
        with self._lock:
            self._running.discard(chat)
            chat.run = None
            if self._is_closing:
                return  # the file still has the question, and the next server answers it
            if len(turns) > pending.place:
                chat.answers = tuple(turns)
            elif not problem:
                problem = STOPPED
            chat.heading = replace(chat.heading, pending=replace(pending, problem=problem) if problem else None)
            try:
                self._chats.save(chat)
            except JinaRagError as error:
                chat.heading = replace(chat.heading, pending=replace(pending, problem=str(error)))
