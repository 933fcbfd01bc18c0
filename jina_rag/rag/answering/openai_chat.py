"""`OpenAIChatModel`: a language model behind an OpenAI-compatible address."""

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit, urlunsplit

from jina_rag.backends.base import MIN_SHARE_OF_YES_AND_NO, Message, WaitCallback
from jina_rag.backends.reasoning import CLOSING, OPENING, without_reasoning
from jina_rag.errors import ContextTooSmallError, GenerationError, MissingDependencyError

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletion
    from openai.types.chat.chat_completion import Choice

MAX_RESPONSE_BYTES = 16_000_000
"""Of an answer: tens of thousands of tokens, each of which comes with some 300 bytes of JSON."""

_NO_THINKING: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}}
_SWITCHES: tuple[dict[str, Any], ...] = ({**_NO_THINKING, "reasoning_effort": "none"}, _NO_THINKING, {})
"""What turns reasoning off: llama-server's and vLLM's field and Ollama's. OpenAI refuses the first, older vLLM the
other, so each is left out once a server takes a request without it that it has refused with it."""

_MAX_LOGPROBS = 20  # OpenAI, Ollama and vLLM refuse more
_MAX_TOKENS_OF_WORD = 4


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
        self._takes_logprobs = True
        self._switches = _SWITCHES

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
            GenerationError: nothing answers there, the key or the model is wrong, the server failed, or the model wrote
                nothing but its reasoning.
            MissingDependencyError: the package openai is not installed.
        """
        yield from without_reasoning(self._pieces(messages), self.name)

    def yes_probability(self, messages: Sequence[Message]) -> float:
        """How likely the next turn begins with Yes and not with No, by the server's `logprobs`.

        A server that doesn't give them answers with one word, at temperature 0, which counts as 1.0 or 0.0.

        Raises:
            GenerationError: as for `stream`, or the model answers with neither.
        """
        with self._translated_errors():
            choices = self._first_word(messages).choices
        probability = _yes_probability(choices[0]) if choices else None
        if probability is None:
            raise GenerationError(
                f"{self.name} answers neither Yes nor No, so it can't say whether a passage states a claim. Name "
                "another model, one that does not think before it answers."
            )
        return probability

    def close(self) -> None:
        """Close the connections; the next answer opens new ones."""
        if client := self.__dict__.pop("_client", None):
            client.close()

    def _pieces(self, messages: Sequence[Message]) -> Generator[str]:
        """The stream with reasoning that the server tells apart put between tags, as models write it themselves."""
        is_reasoning, is_chat = False, False
        with self._translated_errors(), self._request(messages, stream=True) as chunks:
            for chunk in chunks:
                is_chat = True
                if not chunk.choices:
                    continue
                delta = chunk.choices[0].delta
                reasoning = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None)
                if reasoning and not is_reasoning:
                    is_reasoning = True
                    yield OPENING
                if not delta.content:
                    yield ""
                    continue
                if is_reasoning:
                    is_reasoning = False
                    yield CLOSING
                yield "" + delta.content  # the client checks no types
            if not is_chat:
                raise ValueError(chunks)

    def _first_word(self, messages: Sequence[Message]) -> "ChatCompletion":
        """The shortest answer, with the probabilities of its words if the server can give them."""
        import openai

        if self._takes_logprobs:
            options = {"max_tokens": _MAX_TOKENS_OF_WORD, "logprobs": True, "top_logprobs": _MAX_LOGPROBS}
            try:
                return cast("ChatCompletion", self._request(messages, **options))
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                if _is_about_context(error):
                    raise
                self._takes_logprobs = False  # or something else is wrong, which the next request meets too
        return cast("ChatCompletion", self._request(messages, max_tokens=_MAX_TOKENS_OF_WORD))

    def _request(self, messages: Sequence[Message], **options: Any) -> Any:  # noqa: ANN401 - of the client, by options
        """Ask for the next turn, without reasoning if the server can be told so."""
        from openai import BadRequestError, UnprocessableEntityError

        client = self._client
        turns: Any = list(messages)  # the client's type for messages is a union of a dozen; ours is one of them
        model = self._model or client.models.list().data[0].id
        for position, switches in enumerate(self._switches):
            try:
                reply = client.chat.completions.create(
                    model=model, messages=turns, temperature=0, extra_body=switches, **options
                )
            except (BadRequestError, UnprocessableEntityError) as error:
                if _is_about_context(error):
                    raise
                refusal = error
            else:
                self._switches = self._switches[position:]
                return reply
        raise refusal

    @cached_property
    def _client(self) -> "OpenAI":
        try:
            from openai import DefaultHttpxClient, OpenAI, Timeout
        except ImportError as error:
            raise MissingDependencyError.for_extra("openai", "rag") from error

        return OpenAI(
            base_url=self._address,
            api_key=self._api_key,
            timeout=Timeout(self._timeout, connect=min(10.0, self._timeout)),
            max_retries=self._max_retries,
            default_headers={"Accept-Encoding": "identity"},
            http_client=DefaultHttpxClient(event_hooks={"response": [self._limit_body]}),
        )

    def _limit_body(self, response: Any) -> None:  # noqa: ANN401 - httpx's or httpx2's, by the version of openai
        """Have the body end with an error where it gets larger than any answer: the client reads and keeps it all."""
        if response.headers.get("content-encoding", "identity") != "identity":  # its size would say nothing
            raise GenerationError(f"{self.base_url} compresses its answers unasked. Check the address.")
        whole = response.stream

        def parts(_limited: object) -> Iterator[bytes]:
            n_bytes = 0
            for part in whole:
                n_bytes += len(part)
                if n_bytes > MAX_RESPONSE_BYTES:
                    raise GenerationError(
                        f"{self.base_url} writes without end. Check the address, or name another model."
                    )
                yield part

        members = {"__init__": lambda _: None, "__iter__": parts, "close": lambda _: whole.close()}
        response.stream = type("Limited", (type(whole),), members)()  # the client takes its own kind of stream alone

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        import openai

        try:
            yield
        except openai.APITimeoutError as error:
            raise GenerationError(
                f"{self.base_url} was silent for {self._timeout:g} seconds. Check whether the server is busy, or use a "
                "smaller model."
            ) from error
        except openai.APIConnectionError as error:
            if isinstance(error.__cause__, GenerationError):
                raise error.__cause__ from None
            raise GenerationError(
                f"Can't reach {self.base_url}. Is it running? Start the server, or check the address."
            ) from error
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            # Without the cause: servers repeat the key in their refusals.
            raise GenerationError(
                f"{self.base_url} does not accept the key. Check what you typed, or OPENAI_API_KEY if you typed none."
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
        except (AttributeError, TypeError, ValueError) as error:  # of the client, which checks no reply, and of ours
            raise GenerationError(
                f"{self.base_url} does not answer as a chat server does. Check the address: it mostly ends with /v1."
            ) from error

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


def _yes_probability(choice: "Choice") -> float | None:
    """The share of Yes in the probabilities of both words; the word itself where there are none; None for neither."""
    shares = {"yes": 0.0, "no": 0.0}
    for token in ((choice.logprobs and choice.logprobs.content) or ())[:1]:
        for one in (token.top_logprobs or ())[:_MAX_LOGPROBS]:
            word = str(one.token).strip().lower()
            if word in shares and isinstance(one.logprob, float) and one.logprob <= 0:  # servers may send anything
                shares[word] += math.exp(one.logprob)
    if sum(shares.values()) < MIN_SHARE_OF_YES_AND_NO:
        begins = str(choice.message.content or "").strip().lower()
        shares = {word: float(begins.startswith(word)) for word in shares}
    total = sum(shares.values())
    return shares["yes"] / total if total else None
