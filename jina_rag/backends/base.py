"""What an engine must do, and the steps that every engine needs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, TypedDict, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from jina_rag.errors import InputTooLongError, InvalidTextError
from jina_rag.vectors import FloatArray

Ids = TypeVar("Ids", bound="np.integer[Any]")
TokenArray: TypeAlias = NDArray[np.int32]
"""The token ids of a text, shape (n,)."""

ProgressCallback = Callable[[int], None]
"""Called with how many more texts have been embedded since the last call."""

WaitCallback = Callable[[int], None]
"""Called with how many others come first while an answer waits for a model that writes one at a time; 0 at the end of
the wait."""


@dataclass(frozen=True)
class BackendResult:
    """What an engine gives back for n texts.

    Attributes:
        vectors: Pooled states, float32 of shape (n, d), in the order of the texts; neither cut nor normalised.
        token_counts: How many tokens of each text were read, special tokens included.
        truncated: Positions of the texts that were cut.
    """

    vectors: FloatArray
    token_counts: tuple[int, ...]
    truncated: tuple[int, ...] = ()


class EmbeddingBackend(Protocol):
    """An engine with one model in it. Safe to call from many threads; pickles as its configuration."""

    @property
    def dimensions(self) -> int:
        """Width of the full vector."""

    @property
    def identity(self) -> str:
        """What tells these weights from others: the SHA-256 of a file, or the address and name of a served model."""

    def embed(
        self,
        texts: Sequence[str],
        *,
        max_tokens: int,
        truncate: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> BackendResult:
        """Embed texts that already carry their prompts.

        Raises:
            InputTooLongError: a text has more than `max_tokens` tokens and `truncate` is False.
            InvalidTextError: a text cannot be written as UTF-8.
            BackendError: the engine failed.
        """

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, special tokens included."""

    def close(self) -> None:
        """Give back the memory; the next call takes it again."""


@dataclass(frozen=True)
class Token:
    """One token of a text.

    Attributes:
        id: Its number in the model's vocabulary.
        text: What it stands for; bytes that are no character by themselves show as U+FFFD.
        special: Whether it is a token of the model's own, such as an end of text.
        start: Position of its first character in the text; None where the tokenizer altered the text.
        stop: Position after its last character, likewise.
    """

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


@runtime_checkable
class SupportsTokenize(Protocol):
    """An engine that can show the tokens of a text; not every one can."""

    def tokenize(self, texts: Sequence[str], *, add_special_tokens: bool = True) -> list[list[Token]]:
        """The tokens of texts that already carry their prompts.

        Raises:
            InvalidTextError: a text cannot be written as UTF-8.
        """


class Message(TypedDict):
    """One turn of a conversation, as every chat interface spells it."""

    role: Literal["system", "user", "assistant"]
    content: str


MIN_SHARE_OF_YES_AND_NO = 0.1
"""A model whose first word is less likely than this to be one of the two is not answering with them."""


class ChatModel(Protocol):
    """A language model. Safe to call from many threads; nothing is loaded or asked before the first call."""

    @property
    def name(self) -> str:
        """What to call it in front of people."""

    def fits(self, messages: Sequence[Message]) -> bool:
        """Whether the model can read the messages and still has room for an answer."""

    def stream(self, messages: Sequence[Message], on_wait: WaitCallback | None = None) -> Iterator[str]:
        """Pieces of the next turn, some of them empty, without its reasoning. Closing the iterator stops the model.

        Raises:
            ContextTooSmallError: the model can't read so much at once.
            GenerationError: the model can't be reached, can't answer, or writes nothing but its reasoning.
        """

    def yes_probability(self, messages: Sequence[Message]) -> float:
        """How likely the next turn is Yes and not No, from 0 to 1: p(Yes) / (p(Yes) + p(No)) of its first token.

        Raises:
            ContextTooSmallError: the model can't read so much at once.
            GenerationError: the model can't be reached, or answers with neither.
        """

    def close(self) -> None:
        """Give back memory and connections; the next answer takes them again."""


def find_too_long(lengths: Sequence[int], *, max_tokens: int, truncate: bool) -> tuple[int, ...]:
    """Positions of the texts with more than `max_tokens` tokens, which have to be cut.

    Raises:
        InputTooLongError: there is one, and `truncate` is False.
    """
    too_long = tuple(index for index, length in enumerate(lengths) if length > max_tokens)
    if too_long and not truncate:
        raise InputTooLongError(too_long[0], lengths[too_long[0]], max_tokens)
    return too_long


def limit_tokens(
    tokens: Sequence[list[int]], *, max_tokens: int, n_suffix_tokens: int, truncate: bool
) -> tuple[list[list[int]], tuple[int, ...]]:
    """Hold every list of tokens to `max_tokens`, and say which had to be cut.

    A cut takes tokens from the end of the text, before its `n_suffix_tokens` closing special tokens: the prompt stays,
    and so does the token that a last-token model was trained to be read at.

    Raises:
        InputTooLongError: a list is longer and `truncate` is False.
    """
    too_long = find_too_long(list(map(len, tokens)), max_tokens=max_tokens, truncate=truncate)
    limited = list(tokens)
    for index in too_long:
        ids = np.array(tokens[index])
        limited[index] = truncate_tokens(ids, max_tokens=max_tokens, n_suffix_tokens=n_suffix_tokens).tolist()
    return limited, too_long


def truncate_tokens(tokens: NDArray[Ids], *, max_tokens: int, n_suffix_tokens: int) -> NDArray[Ids]:
    """The first tokens of a text and its suffix, `max_tokens` at most."""
    if len(tokens) <= max_tokens:
        return tokens
    return np.delete(tokens, slice(max_tokens - n_suffix_tokens, len(tokens) - n_suffix_tokens))


def encode_utf8(texts: Sequence[str]) -> list[bytes]:
    """The bytes of each text.

    Raises:
        InvalidTextError: a text holds half of a surrogate pair, as badly decoded input does.
    """
    encoded = []
    for index, text in enumerate(texts):
        try:
            encoded.append(text.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise InvalidTextError(
                index,
                f"holds half of a surrogate pair ({text[error.start]!r} at {error.start}), which no model "
                "can read. Mend it with: text.encode('utf-8', 'replace').decode('utf-8')",
            ) from error
    return encoded
