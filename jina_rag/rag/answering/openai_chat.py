"""`OpenAIChatModel`: a language model behind an OpenAI-compatible address."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from jina_rag.backends.base import Message, WaitCallback
from jina_rag.errors import ContextTooSmallError, GenerationError, MissingDependencyError

if TYPE_CHECKING:
    from openai import OpenAI


class OpenAIChatModel:
    """A model behind any server that speaks OpenAI's chat completions: llama-server, Ollama, LM Studio or vLLM."""

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        api_key: str = "none",
        *,
        timeout: float = 120.0,
        max_retries: int = 2,
    ) -> None:
        """Name a server; it is asked nothing yet.

        Args:
            base_url: Its address up to the version, such as "http://localhost:11434/v1".
            model: The model's name there; None takes the first that the server lists.
            api_key: What it wants to see; most local servers don't care.
            timeout: The longest silence to bear, in seconds; a large model reads for long before its first word.
            max_retries: How often a request that failed on its way is sent again.
        """
        self.base_url = _without_password(base_url)
        self._address = base_url
        self._model = model
        self._api_key = api_key
        self._timeout = timeout
        self._max_retries = max_retries

    @property
    def name(self) -> str:
        """The model's name and the server's address."""
        return f"{self._model} at {self.base_url}" if self._model else self.base_url

    def fits(self, messages: Sequence[Message]) -> bool:  # noqa: ARG002 - only the server knows its context
        """Always True: a server that can't read so much says so itself."""
        return True

    def stream(
        self,
        messages: Sequence[Message],
        on_wait: WaitCallback | None = None,  # noqa: ARG002 - a server's queue can't be seen
    ) -> Iterator[str]:
        """Pieces of the next turn. Closing the iterator closes the connection, and servers then stop writing.

        Raises:
            ContextTooSmallError: the server can't read so much at once.
            GenerationError: nothing answers there, the key or the model is wrong, or the server failed.
            MissingDependencyError: the package openai is not installed.
        """
        client = self._client
        with self._translated_errors():
            # The client's type for messages is a union of a dozen; ours is one of them.
            turns: Any = list(messages)
            with client.chat.completions.create(
                model=self._model or client.models.list().data[0].id, messages=turns, temperature=0, stream=True
            ) as chunks:
                for chunk in chunks:
                    if chunk.choices and (piece := chunk.choices[0].delta.content):
                        yield piece

    def close(self) -> None:
        """Close the connections; the next answer opens new ones."""
        if client := self.__dict__.pop("_client", None):
            client.close()

    @cached_property
    def _client(self) -> "OpenAI":
        try:
            from openai import OpenAI, Timeout
        except ImportError as error:
            raise MissingDependencyError.for_extra("openai", "rag") from error

        timeout = Timeout(self._timeout, connect=min(10.0, self._timeout))
        return OpenAI(base_url=self._address, api_key=self._api_key, timeout=timeout, max_retries=self._max_retries)

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        import openai

        try:
            yield
        except openai.APITimeoutError as error:
            raise GenerationError(
                f"{self.base_url} was silent for {self._timeout:g} seconds. Look whether the server is busy, or use a "
                "smaller model."
            ) from error
        except openai.APIConnectionError as error:
            raise GenerationError(
                f"Can't reach {self.base_url}. Is it running? Start the server, or check the address."
            ) from error
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            # Without the cause: servers repeat the key in their refusals.
            raise GenerationError(
                f"{self.base_url} does not accept the key. Put the right one into the environment variable "
                "OPENAI_API_KEY."
            ) from None if self._leaks(error) else error
        except (openai.NotFoundError, IndexError) as error:
            raise GenerationError(
                f"{self.base_url} has no model {self._model or 'loaded'}. Name one that it has after a #, as in "
                f"{self.base_url}#model, and check that the address ends with its version, mostly /v1."
            ) from None if self._leaks(error) else error
        except openai.OpenAIError as error:
            kind = ContextTooSmallError if _is_about_context(error) else GenerationError
            raise kind(
                f"{self.base_url} could not answer ({self._redacted(str(error))}). Look into the server's log."
            ) from None if self._leaks(error) else error

    def _leaks(self, error: Exception) -> bool:
        return self._redacted(str(error)) != str(error)

    def _redacted(self, text: str) -> str:
        secrets_of_ours = (self._api_key if self._api_key != "none" else "", urlsplit(self._address).password)
        for secret in filter(None, secrets_of_ours):
            text = text.replace(secret, "***")
        return text


def _without_password(address: str) -> str:
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _is_about_context(error: Exception) -> bool:
    """Whether a server refused because the conversation is too long, in the words of OpenAI, llama-server and vLLM."""
    text = str(error).lower()
    return getattr(error, "status_code", None) == 400 and "context" in text and ("exceed" in text or "length" in text)
