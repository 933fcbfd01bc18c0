"""A language model tested before it is used: whether it says a word, within a time."""

import logging
from threading import Lock, Thread
from time import monotonic

from jina_rag.backends.base import Message
from jina_rag.errors import GenerationError, JinaRagError
from jina_rag.rag import make_generator
from jina_rag.rag.answering.chat_generator import ChatGenerator
from jina_rag.rag.answering.types import Generator

SECONDS_OF_SERVER, SECONDS_IN_PROCESS = 15.0, 60.0
"""How long a test may take; a model in this process has to be loaded first."""

_log = logging.getLogger(__name__)

_MESSAGES: list[Message] = [{"role": "user", "content": "Reply with one word: hello"}]


class LlmTrial:
    """A test on its way; it ends by itself, also if nobody asks for it any more."""

    def __init__(self, setting: str, api_key: str | None = None) -> None:
        """Begin, in a thread.

        Args:
            setting: What is tested, as for `make_generator`.
            api_key: As for `make_generator`.
        """
        self.setting, self.api_key = setting, api_key
        self.problem: str | None = None
        self.seconds = 0.0
        self.limit = SECONDS_OF_SERVER if setting.startswith(("http://", "https://")) else SECONDS_IN_PROCESS
        self._began, self._is_over = monotonic(), False
        self._lock = Lock()
        self._generator: Generator | None = None
        Thread(target=self._run, name="jina-rag-llm-trial", daemon=True).start()

    @property
    def is_over(self) -> bool:
        """Whether it has ended; `problem` then says why the model can't be used, and is None if it can."""
        if not self._is_over and self.share >= 1:
            self._end(
                f"The model did not answer within {self.limit:.0f} seconds. It may still be loading: test it again. "
                "If that fails too, use a smaller model."
            )
        return self._is_over

    @property
    def share(self) -> float:
        """How much of the time has passed, from 0 to 1."""
        return min(1.0, (monotonic() - self._began) / self.limit)

    def cancel(self) -> None:
        """End it."""
        self._end("Cancelled.")

    def _run(self) -> None:
        try:
            self._generator = generator = make_generator(self.setting, self.api_key)
            if not isinstance(generator, ChatGenerator):
                raise GenerationError("This is no language model.")
            for piece in generator.model.stream(_MESSAGES):
                if piece.strip() or self._is_over:
                    self._end(None)
                    return
            self._end(f"{generator.name} wrote an empty answer. Use another model.")
        except JinaRagError as error:
            self._end(str(error))
        except Exception as error:  # noqa: BLE001 - what is closed while it works fails in many ways
            if not self._is_over:
                _log.exception("The test of a model failed")
                self._end(f"The test failed unexpectedly ({type(error).__name__}). The server's log has the details.")
        finally:
            if self._generator:
                self._generator.close()

    def _end(self, problem: str | None) -> None:
        with self._lock:
            if self._is_over:
                return
            self.problem, self.seconds, self._is_over = problem, monotonic() - self._began, True
        if self._generator:  # closing waits for a model that is being loaded
            Thread(target=self._generator.close, daemon=True).start()
