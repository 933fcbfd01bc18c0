"""What a thinking model writes before its answer, and how it is kept out of the answer."""

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Literal

from jina_rag.errors import GenerationError

OPENING = "<think>"
CLOSING = "</think>"


def without_reasoning(pieces: Generator[str], name: str) -> Iterator[str]:
    """The pieces of an answer without the `<think>…</think>` before it, wherever the pieces are cut.

    Only a block that the answer begins with is reasoning: the same words further on are part of the answer, which may
    quote a document. While the model reasons, empty pieces come, so that the reader may close the iterator.

    Args:
        pieces: What the model writes.
        name: The model, for messages.

    Raises:
        GenerationError: the model reasons and writes nothing else.
    """
    parser = _Parser()
    with closing(pieces):
        for piece in pieces:
            yield parser.feed(piece)
    if parser.has_only_reasoning:
        raise GenerationError(
            f"{name} wrote nothing but its reasoning before it had to stop. Turn its reasoning off where it runs, or "
            "use another language model."
        )
    yield parser.rest()


class _Parser:
    """Reads a text piece by piece and gives back what is known to belong to the answer."""

    def __init__(self) -> None:
        self._state: Literal["beginning", "reasoning", "before the answer", "answer"] = "beginning"
        self._text = ""  # not decided yet

    @property
    def has_only_reasoning(self) -> bool:
        return self._state in ("reasoning", "before the answer")

    def feed(self, piece: str) -> str:
        self._text += piece
        if self._state == "beginning":
            self._begin()
        if self._state == "reasoning":
            self._skip_reasoning()
        if self._state == "before the answer" and (answer := self._text.lstrip()):
            self._state, self._text = "answer", answer
        if self._state != "answer":
            return ""
        answer, self._text = self._text, ""
        return answer

    def rest(self) -> str:
        """What was held back at the end of the text: the answer if that is shorter than an opening tag."""
        return self._text if self._state == "beginning" else ""

    def _begin(self) -> None:
        text = self._text.lstrip()
        if text.startswith(OPENING):
            self._state, self._text = "reasoning", text.removeprefix(OPENING)
        elif not OPENING.startswith(text):
            self._state = "answer"

    def _skip_reasoning(self) -> None:
        _, closing_tag, rest = self._text.partition(CLOSING)
        if closing_tag:
            self._state, self._text = "before the answer", rest
        else:
            self._text = self._text[-len(CLOSING) + 1 :]  # it may be the beginning of the tag
