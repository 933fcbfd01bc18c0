"""Every error that jina_rag raises on purpose.

JinaRagError
├── UnknownModelError           no such model, task or quantisation
├── InvalidDimensionsError      a width that the model was not trained for
├── ModelNotFoundError          the weights are not here and could not be downloaded
├── ModelLoadError              the weights are here and cannot be used
│   └── ChecksumError           the weights are not the ones that were published
├── TextError                   a text of a list that cannot be embedded
│   ├── InvalidTextError        it is no text that the model can read
│   └── InputTooLongError       it is longer than the model reads
├── BackendError                the engine failed while embedding
│   ├── BackendUnavailableError the engine's server is away or busy
│   └── UnknownBackendError     no engine has this name, address or setting
├── FingerprintMismatchError    vectors of one model meet an index of another
├── DocumentError               a document that cannot be read
├── IndexFolderError            an index folder that cannot be used
├── StoreError                  a vector store that cannot be used
│   ├── StoreNotFoundError      there is none of this name
│   └── StoreUnavailableError   its server is away or busy
├── GenerationError             a language model that cannot answer
│   └── ContextTooSmallError    it cannot read so much at once
├── EvaluationError             questions, runs or vectors of an evaluation that cannot be used
├── ServerSettingsError         a server that must not start as it is set
└── MissingDependencyError      an optional package is not installed

Each message says what happened and ends with what to do next; `docs_url` is the page that says more, and stands below
the message of a traceback.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jina_rag.formatting import escaped

DOCS = "https://jina-rag.github.io/jina_rag"


class JinaRagError(Exception):
    """The base of all errors here; catching it catches every mistake that a message explains."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.add_note(f"More: {self.docs_url}")

    @property
    def docs_url(self) -> str:
        """The address of the documentation of this error: of the nearest class of this module."""
        name = next(kind.__name__ for kind in type(self).__mro__ if kind.__module__ == __name__)
        return f"{DOCS}/errors/#{name.lower()}"

    def __str__(self) -> str:
        """The message, in which names that are not UTF-8 are escaped."""
        return escaped(super().__str__())


class UnknownModelError(JinaRagError, ValueError):
    """No model, task or quantisation has this name; the message lists those that exist."""


class InvalidDimensionsError(JinaRagError, ValueError):
    """The model was not trained for vectors of this width; the message lists the widths it was trained for."""


class ModelNotFoundError(JinaRagError, FileNotFoundError):
    """The model's file is neither on this machine nor to be had from the hub."""


class ModelLoadError(JinaRagError):
    """The model's file exists, and is not one that the engine can run."""


class ChecksumError(ModelLoadError):
    """The downloaded bytes differ from the published ones; the file has been removed."""


class TextError(JinaRagError, ValueError):
    """A text of a list that can't be embedded.

    Attributes:
        index: Position of the first such text in the list that was given.
        problem: What is wrong with it, and what to do: the message after "Text 3 ".
        text: The text itself, without a prompt, where it is known.
    """

    text: str | None = None

    def __init__(self, index: int, problem: str) -> None:
        self.index = index
        self.problem = problem
        super().__init__(f"Text {index} {problem}")

    def __reduce__(self) -> tuple[type["TextError"], tuple[Any, ...]]:
        return type(self), (self.index, self.problem)

    def move_to(self, index: int) -> None:
        """Name another position: that of the text in a longer list."""
        self.index = index
        self.args = (f"Text {index} {self.problem}",)


class InvalidTextError(TextError):
    """What was given is no text, cannot be written as UTF-8 (half of a surrogate pair), or has no token at all.

    Or it is longer than the engine reads, though not too long for the model.
    """


class InputTooLongError(TextError):
    """A text has more tokens than the model reads.

    Attributes:
        token_count: Its tokens, prompt and special tokens included.
        max_tokens: How many the model reads.
        at_least: Whether it may have more than `token_count`, because so long a text is not even tokenised.
    """

    def __init__(self, index: int, token_count: int, max_tokens: int, at_least: bool = False) -> None:
        self.token_count = token_count
        self.max_tokens = max_tokens
        self.at_least = at_least
        super().__init__(
            index,
            f"has {'at least ' if at_least else ''}{token_count:,} tokens and the model reads {max_tokens:,}. "
            "Split the text, or pass truncate=True to embed its beginning.",
        )

    def __reduce__(self) -> tuple[type["InputTooLongError"], tuple[Any, ...]]:
        return type(self), (self.index, self.token_count, self.max_tokens, self.at_least)


@contextmanager
def text_positions_from(start: int) -> Iterator[None]:
    """While a part of a list is embedded: errors name a text by its position in the whole list.

    Args:
        start: Where the part begins.
    """
    try:
        yield
    except TextError as error:
        error.move_to(start + error.index)
        raise


class BackendError(JinaRagError, RuntimeError):
    """The engine failed while it embedded."""


class BackendUnavailableError(BackendError):
    """The engine's server could not be reached, or stayed busy, as long as was agreed; a later try may succeed."""


class UnknownBackendError(BackendError, ValueError):
    """What should name an engine names none, or has a setting that doesn't exist; the message shows how to write it."""


class FingerprintMismatchError(JinaRagError):
    """An index was built by another model, file, width or prompt than the one at hand."""


class DocumentError(JinaRagError):
    """A document is missing, damaged, protected, or of a kind that cannot be read."""


class IndexFolderError(JinaRagError):
    """An index folder is missing, in use by another process, or not an index."""


class StoreError(JinaRagError):
    """A vector store's address names none, or what is there can't be used: it is missing, damaged or refuses."""


class StoreNotFoundError(StoreError):
    """There is no vector store of this name at an address: no folder, collection or table."""


class StoreUnavailableError(StoreError):
    """A vector store's server could not be reached, or stayed busy, as long as was agreed; a later try may succeed."""


class GenerationError(JinaRagError, RuntimeError):
    """The language model could not be reached, or could not answer."""


class ContextTooSmallError(GenerationError):
    """The question, the passages and the conversation together are longer than the language model reads."""


class EvaluationError(JinaRagError, ValueError):
    """Questions, an earlier run or stored vectors can't be used to evaluate."""


class ServerSettingsError(JinaRagError, ValueError):
    """A server's settings are wrong, or would let strangers in."""


class MissingDependencyError(JinaRagError, ImportError):
    """An optional package is not installed; the message is the command that installs it."""

    @classmethod
    def for_extra(cls, package: str, extra: str) -> "MissingDependencyError":
        """The error for a `package` that comes with the `extra` of jina-rag."""
        return cls(f"This needs the package {package}. Install it with: pip install 'jina-rag[{extra}]'")
