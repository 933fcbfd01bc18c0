"""Every error that jina_rag raises on purpose.

JinaRagError
├── UnknownModelError           no such model, task or quantisation
├── InvalidDimensionsError      a width that the model was not trained for
├── ModelNotFoundError          the weights are not here and could not be downloaded
├── ModelLoadError              the weights are here and cannot be used
│   └── ChecksumError           the weights are not the ones that were published
├── InvalidTextError            a text that the model cannot read
├── InputTooLongError           a text longer than the model reads
├── BackendError                the engine failed while embedding
│   ├── BackendUnavailableError the engine's server is away or busy
│   └── UnknownBackendError     no engine has this name, address or setting
├── FingerprintMismatchError    vectors of one model meet an index of another
├── DocumentError               a document that cannot be read
├── IndexFolderError            an index folder that cannot be used
├── GenerationError             a language model that cannot answer
│   └── ContextTooSmallError    it cannot read so much at once
├── ServerSettingsError         a server that must not start as it is set
└── MissingDependencyError      an optional package is not installed

Each message says what happened and ends with what to do next.
"""


class JinaRagError(Exception):
    """The base of all errors here; catching it catches every mistake that a message explains."""


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


class InvalidTextError(JinaRagError, ValueError):
    """The text cannot be written as UTF-8 (it holds half of a surrogate pair), or has no token at all."""


class InputTooLongError(JinaRagError, ValueError):
    """A text has more tokens than the model reads.

    Attributes:
        index: Position of the first such text in the list that was given.
        token_count: Its tokens, prompt and special tokens included.
        max_tokens: How many the model reads.
    """

    def __init__(self, index: int, token_count: int, max_tokens: int) -> None:
        self.index = index
        self.token_count = token_count
        self.max_tokens = max_tokens
        super().__init__(
            f"Text {index} has {token_count:,} tokens and the model reads {max_tokens:,}. "
            "Split the text, or pass truncate=True to embed its beginning."
        )

    def __reduce__(self) -> tuple[type["InputTooLongError"], tuple[int, int, int]]:
        return type(self), (self.index, self.token_count, self.max_tokens)


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


class GenerationError(JinaRagError, RuntimeError):
    """The language model could not be reached, or could not answer."""


class ContextTooSmallError(GenerationError):
    """The question, the passages and the conversation together are longer than the language model reads."""


class ServerSettingsError(JinaRagError, ValueError):
    """A server's settings are wrong, or would let strangers in."""


class MissingDependencyError(JinaRagError, ImportError):
    """An optional package is not installed; the message is the command that installs it."""

    @classmethod
    def for_extra(cls, package: str, extra: str) -> "MissingDependencyError":
        """The error for a `package` that comes with the `extra` of jina-rag."""
        return cls(f"This needs the package {package}. Install it with: pip install 'jina-rag[{extra}]'")
