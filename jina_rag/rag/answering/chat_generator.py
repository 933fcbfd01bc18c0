"""`ChatGenerator`: answers written by a language model that may use nothing but the passages."""

import re
from collections.abc import Iterator, Sequence

from jina_rag.backends.base import ChatModel, WaitCallback
from jina_rag.errors import ContextTooSmallError, GenerationError
from jina_rag.rag.answering.prompts import build_messages, build_rewriting_messages
from jina_rag.rag.answering.types import NO_ANSWER, Turn
from jina_rag.rag.citations.marks import without_marks
from jina_rag.rag.retrieval.search import SearchResult

_TURNS_TO_REMEMBER = 4
_LONGEST_ADDITION = 200  # characters that a rewritten question may have more
_NUMBER = re.compile(r"\d+")


class ChatGenerator:
    """Answers with a language model that is shown the passages and told to use nothing else."""

    def __init__(self, model: ChatModel) -> None:
        """Take the model."""
        self.model = model

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    def stream(
        self,
        question: str,
        passages: Sequence[SearchResult],
        history: Sequence[Turn] = (),
        on_wait: WaitCallback | None = None,
    ) -> Iterator[str]:
        """The model's answer to the question and as much of the conversation and the passages as it can read.

        If not all fits, old turns go first and then the passages that were found last.

        Raises:
            GenerationError: the model can't be reached, can't answer or writes nothing, or the question alone is too
                long for it.
        """
        if not passages:
            yield NO_ANSWER
            return
        for n_turns, n_passages in _less_and_less(len(history[-_TURNS_TO_REMEMBER:]), len(passages)):
            messages = build_messages(question, passages[:n_passages], history[len(history) - n_turns :])
            if not self.model.fits(messages):
                continue
            try:
                yield from self._non_empty(self.model.stream(messages, on_wait))
            except ContextTooSmallError:
                continue  # only the server knows how much it reads, and it refuses before the first piece
            return
        raise GenerationError(
            f"{self.name} can't read the question and even one passage at once. Ask a shorter question, or use a "
            "language model with a larger context."
        )

    def rewrite(self, question: str, history: Sequence[Turn]) -> str | None:
        """The question in the model's words, if they are one line of bounded length without a new number."""
        messages = build_rewriting_messages(question, history)
        if not self.model.fits(messages):
            return None
        written = ""
        most = len(question) + _LONGEST_ADDITION
        for piece in self.model.stream(messages):
            written += piece
            if len(written) > most:
                return None
        written = written.strip().strip('"')
        return written if _is_sound(written, question, history[-1]) else None

    def close(self) -> None:
        """Close the model; the next answer opens it again."""
        self.model.close()

    def _non_empty(self, pieces: Iterator[str]) -> Iterator[str]:
        is_empty = True
        for piece in pieces:
            is_empty = is_empty and not piece.strip()
            yield piece
        if is_empty:
            raise GenerationError(
                f"{self.name} wrote an empty answer. Ask in other words, or use another language model."
            )


def _less_and_less(n_turns: int, n_passages: int) -> Iterator[tuple[int, int]]:
    yield from ((turns, n_passages) for turns in range(n_turns, 0, -1))
    yield from ((0, passages) for passages in range(n_passages, 0, -1))


def _is_sound(written: str, question: str, last: Turn) -> bool:
    """Whether a rewritten question is one line, with no number that the conversation doesn't have."""
    known = _NUMBER.findall(f"{question} {last.question} {without_marks(last.answer)}")
    return len(written.splitlines()) == 1 and set(_NUMBER.findall(written)) <= set(known)
