"""What differs from one kind of server to the next: an `Engine` for each, and the parts that they share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import TypeAlias

import numpy as np

from jina_rag.backends.remote.address import BackendAddress
from jina_rag.backends.remote.http import HttpConnection, RetryPolicy
from jina_rag.backends.remote.tokenizer import LocalTokenizer
from jina_rag.errors import BackendError, UnknownModelError
from jina_rag.models import ModelSpec, get_model_spec, list_models
from jina_rag.vectors import FloatArray

Payload: TypeAlias = str | tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ServerInfo:
    """What a server says of its model.

    Attributes:
        kind: Which program it is.
        name: The model's name there.
        identity: What tells these vectors from others; the address is no part of it, so that a server may move.
        quantization: How the weights are stored; empty where it doesn't say.
        dimensions: Width of the full vector; None where it doesn't say.
        max_input_tokens: The longest text it reads; None where it doesn't say.
        max_batch_texts: Texts in one request.
        max_batch_tokens: Tokens in one request.
        max_batch_bytes: Bytes of text in one request.
    """

    kind: str
    name: str
    identity: str
    quantization: str = ""
    dimensions: int | None = None
    max_input_tokens: int | None = None
    max_batch_texts: int = 32
    max_batch_tokens: int = 16_384
    max_batch_bytes: int = 1_000_000


@dataclass(frozen=True, kw_only=True)
class RemoteInput:
    """A text as it is sent.

    Attributes:
        payload: The text or its tokens.
        n_tokens: How many it has before any cut; None where nobody has counted.
        max_tokens: How many the model may read of it.
        task: The task or input type for a service that adds prompts itself; a request has inputs of one task.
    """

    payload: Payload
    n_tokens: int | None
    max_tokens: int
    task: str = ""

    @property
    def is_too_long(self) -> bool:
        """Whether it has to be cut."""
        return self.n_tokens is not None and self.n_tokens > self.max_tokens

    @property
    def n_read(self) -> int | None:
        """How many tokens the model reads of it."""
        return None if self.n_tokens is None else min(self.n_tokens, self.max_tokens)

    @property
    def n_bytes(self) -> int:
        """About how large it is in a request."""
        return len(self.payload.encode()) if isinstance(self.payload, str) else 7 * len(self.payload)


@dataclass(frozen=True, kw_only=True)
class EmbeddingResponse:
    """The response to one request.

    Attributes:
        vectors: float32 of shape (n, d), in the order of the inputs.
        n_tokens: How many tokens the server read in all; None where it doesn't say, or where it is no exact count.
        token_counts: The same for each text, where it says.
    """

    vectors: FloatArray
    n_tokens: int | None = None
    token_counts: tuple[int, ...] | None = None


class Engine(ABC):
    """One kind of server. Safe to call from many threads."""

    def __init__(self, address: BackendAddress, spec: ModelSpec, policy: RetryPolicy) -> None:
        self.address = address
        self.spec = spec
        self.policy = policy
        self.tokenizer = LocalTokenizer(address.tokenizer) if address.tokenizer else None

    @abstractmethod
    def describe(self) -> ServerInfo:
        """Ask the server what it is.

        Raises:
            BackendUnavailableError: it does not answer.
            BackendError: it cannot be used for this model; the message says why.
        """

    @abstractmethod
    def send(self, inputs: Sequence[RemoteInput], cancelled: Event) -> EmbeddingResponse:
        """One request, sent again as long as that may help and `cancelled` is not set."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections."""

    def prepare(self, texts: Sequence[str], *, max_tokens: int) -> list[RemoteInput]:
        """Texts, prompts included, as they are to be sent; counted only if there is a tokenizer or one may not fit.

        Raises:
            BackendError: tokens have to be counted, and the server can't.
        """
        counts: Sequence[int | None] = [None] * len(texts)
        if self.tokenizer or not all(surely_fits(text, max_tokens) for text in texts):
            counts = self.count_tokens(texts)
        return [
            RemoteInput(payload=text, n_tokens=count, max_tokens=max_tokens)
            for text, count in zip(texts, counts, strict=True)
        ]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, by the tokenizer that the address names.

        Raises:
            BackendError: it names none.
        """
        if self.tokenizer is None:
            raise BackendError(
                f"{self.address} does not count tokens, so a text that is too long would go unnoticed. Name the "
                "model's tokenizer after the address: ?tokenizer=/path/to/tokenizer.json"
            )
        return self.tokenizer.count_tokens(texts)

    def refuse_cuts(self, inputs: Sequence[RemoteInput]) -> None:
        """Refuse texts that are too long, where a server has no way to cut them and say so.

        Raises:
            BackendError: there is one.
        """
        if any(each.is_too_long for each in inputs):
            raise BackendError(f"{self.address} cannot cut a text. Split those that are too long yourself.")

    def needs_cut(self, inputs: Sequence[RemoteInput], server_limit: int | None) -> bool:
        """Whether the server is to cut a text, which it can only do at its own limit.

        Raises:
            BackendError: a text is to be cut elsewhere.
        """
        limits = {each.max_tokens for each in inputs if each.is_too_long}
        if limits and limits != {server_limit}:
            raise BackendError(
                f"{self.address} cannot cut a text to {max(limits):,} tokens: its own limit is another, or not known. "
                "Split the texts that are too long, or set that limit there."
            )
        return bool(limits)

    def check_model(self, name: str) -> None:
        """Refuse a server that names another model than the one asked for; a custom name may be anything.

        Raises:
            BackendError: it holds another model.
        """
        known, spec = find_model(name), self.spec
        # The name of the whole family doesn't say which task's weights are in use.
        is_family = spec.task is not None and name.rpartition("/")[2] == family_name(spec)
        if known is not None and known.name != spec.name and not is_family:
            raise BackendError(f"{self.address} holds {known.name}, not {spec.name}. Name the model that it holds.")


class HttpEngine(Engine):
    """An engine that speaks JSON over HTTP."""

    def __init__(self, http: HttpConnection, address: BackendAddress, spec: ModelSpec) -> None:
        super().__init__(address, spec, http.policy)
        self.http = http

    def close(self) -> None:
        """Close the connections."""
        self.http.close()


def surely_fits(text: str, max_tokens: int) -> bool:
    """Whether a text is short enough without counting its tokens.

    A token covers a byte at least; composing or decomposing characters makes three times as many bytes at most, and no
    tokenizer puts more than eight special tokens around a text.
    """
    n_bytes = len(text) if text.isascii() else 3 * len(text.encode())
    return n_bytes + 8 <= max_tokens


def find_model(name: str) -> ModelSpec | None:
    """The row of a model as servers name it: by the hub's name, ours, or the name of a published file."""
    bare = name.rpartition("/")[2]
    for spec in list_models():
        if any(file.filename == bare for file in spec.files):
            return spec
    try:
        return get_model_spec(name)
    except UnknownModelError:
        return None


def family_name(spec: ModelSpec) -> str:
    """The name that a service gives to all tasks of a model together."""
    return spec.name.removesuffix(f"-{spec.task}")


def rows_to_vectors(rows: Sequence[object], url: str) -> FloatArray:
    """Lists of numbers as one array.

    Raises:
        BackendError: they are no numbers, or not equally many.
    """
    try:
        vectors = np.array(rows, np.float32)
    except (TypeError, ValueError) as error:
        raise BackendError(f"{url} gave something else than vectors ({error}). Is it an embedding server?") from error
    if vectors.ndim != 2:
        raise BackendError(
            f"{url} gave {vectors.ndim}-dimensional data instead of one vector per text. Set its pooling: the model "
            "card says which."
        )
    return vectors
