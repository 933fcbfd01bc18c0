"""A chat model in this process: a GGUF file, run by llama-cpp-python."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from jina_rag.backends.llama_cpp import route_log
from jina_rag.errors import GenerationError, MissingDependencyError

if TYPE_CHECKING:
    from llama_cpp import Llama

    from jina_rag.rag.generation import Message

CONTEXT_TOKENS = 4096
"""Room for the question, a handful of passages and the answer."""

MAX_ANSWER_TOKENS = 512

_TOKENS_AROUND_A_MESSAGE = 16  # what chat templates add; none that we know adds more
_SECONDS_TO_WAIT = 300.0


class LlamaCppChatModel:
    """A chat model in a GGUF file, loaded when it is first needed. Threads take turns."""

    def __init__(self, path: Path | str, *, n_ctx: int = CONTEXT_TOKENS) -> None:
        """Name a file; it is not loaded yet.

        Args:
            path: A chat model, ending in .gguf; its chat template is taken from the file.
            n_ctx: How many tokens it may read and write at once.

        Raises:
            GenerationError: there is no such file.
        """
        self.path = Path(path)
        if not self.path.is_file():
            raise GenerationError(f"There is no language model {self.path}. Check the path.")
        self._n_ctx = n_ctx
        self._llama: Llama | None = None
        self._lock = Lock()  # llama.cpp aborts the process when two threads use one context

    @property
    def name(self) -> str:
        """The file's name, without its ending."""
        return self.path.stem

    def fits(self, messages: Sequence["Message"]) -> bool:
        """Whether the messages leave room for an answer of `MAX_ANSWER_TOKENS`."""
        with self._lock:
            llama = self._load()
            n_tokens = sum(
                len(llama.tokenize(message["content"].encode("utf-8", "replace"), add_bos=False, special=False))
                + _TOKENS_AROUND_A_MESSAGE
                for message in messages
            )
            return n_tokens + MAX_ANSWER_TOKENS <= llama.n_ctx()

    def stream(self, messages: Sequence["Message"]) -> Iterator[str]:
        """Pieces of the next turn, the same for the same messages.

        Raises:
            GenerationError: the file is no chat model, the model fails, or another answer takes too long.
        """
        # An answer that nobody reads to its end must not hold up the next one for ever.
        if not self._lock.acquire(timeout=_SECONDS_TO_WAIT):
            raise GenerationError(f"{self.name} is still busy with another answer. Try again later.")
        try:
            # llama-cpp-python's type for messages is a union; ours is one of them.
            turns: Any = list(messages)
            chunks: Any = self._load().create_chat_completion(
                turns, stream=True, temperature=0.0, max_tokens=MAX_ANSWER_TOKENS
            )
            for chunk in chunks:
                if piece := chunk["choices"][0]["delta"].get("content"):
                    yield piece
        except (RuntimeError, ValueError) as error:  # what llama-cpp-python raises
            raise GenerationError(f"{self.name} could not answer ({error}). Try another language model.") from error
        finally:
            self._lock.release()

    def _load(self) -> "Llama":
        if self._llama is None:
            try:
                from llama_cpp import Llama
            except ImportError as error:
                raise MissingDependencyError(
                    "This needs the package llama-cpp-python. Install it with: pip install llama-cpp-python"
                ) from error

            route_log()
            try:
                self._llama = Llama(str(self.path), n_ctx=self._n_ctx, verbose=False)
            except (RuntimeError, ValueError) as error:
                raise GenerationError(
                    f"{self.path} can't be loaded ({error}). Name a GGUF file of a chat model."
                ) from error
        return self._llama
