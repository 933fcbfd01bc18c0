"""What the engines in this process that run a GGUF file have in common: all but the computing."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from jina_rag.backends.base import BackendResult, ProgressCallback, Token, TokenArray, find_too_long, truncate_tokens
from jina_rag.backends.llama_cpp.vocabulary import Vocabulary
from jina_rag.errors import ModelLoadError, ModelNotFoundError
from jina_rag.gguf_file import GgufHeader
from jina_rag.locations import file_sha256
from jina_rag.models import Pooling
from jina_rag.vectors import FloatArray


class LoadedFile(Protocol):
    """A file's model in memory.

    Attributes:
        header: What the file says of itself.
        pid: The process that loaded it.
        file_state: See the function of that name.
        dimensions: Width of the full vector.
        vocabulary: The tokenizer.
    """

    header: GgufHeader
    pid: int
    file_state: tuple[int, int]
    dimensions: int
    vocabulary: Vocabulary

    def pooled_rows(self, texts: Sequence[TokenArray], on_progress: ProgressCallback | None) -> FloatArray:
        """The rows of texts by their tokens, shape (n, d)."""


class GgufBackend(ABC):
    """A GGUF file, loaded at the first need and shared with every backend of the same file and options."""

    def __init__(self, path: Path, *, pooling: Pooling, closing_token: str | None = None) -> None:
        """Name a file; nothing is loaded yet.

        Args:
            path: The GGUF file.
            pooling: How the model was trained to be read. Never left to the file: older copies don't say.
            closing_token: The special token after each text, "" for none; None leaves that to the file.
        """
        self.path = path
        self.pooling: Pooling = pooling
        self.closing_token = closing_token
        self._loaded: LoadedFile | None = None

    @abstractmethod
    def _load(self) -> LoadedFile:
        """The model of this file and these settings: the one that is loaded, or a new one."""

    @property
    def dimensions(self) -> int:
        """Width of the full vector."""
        return self._model().dimensions

    @property
    def quantization(self) -> str:
        """How the file's header says that the weights are stored; empty where it doesn't."""
        return self._model().header.quantization

    @property
    def identity(self) -> str:
        """The file's SHA-256.

        Raises:
            ModelNotFoundError: the file is gone.
            ModelLoadError: it has been replaced since it was loaded, so it says nothing about these vectors; or it
                cannot be read.
        """
        try:
            model = self._loaded
            if model and model.file_state != file_state(self.path):
                raise ModelLoadError(f"{self.path} has changed since it was loaded. Make the embedder anew.")
            return file_sha256(self.path)
        except FileNotFoundError as error:
            raise ModelNotFoundError(
                f"{self.path} is gone, so nothing tells which model this is. Put the file back, or make the embedder "
                "anew with another."
            ) from error
        except OSError as error:
            raise ModelLoadError(f"{self.path} cannot be read ({error.strerror}). Check its permissions.") from error

    def embed(
        self,
        texts: Sequence[str],
        *,
        max_tokens: int,
        truncate: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> BackendResult:
        """Embed texts, longest first, in batches; equal texts once. Raises as `EmbeddingBackend.embed` does.

        `on_progress` may raise, which ends the call after the batch that is being computed.
        """
        model = self._model()
        n_suffix_tokens = len(model.vocabulary.suffix)
        tokens = model.vocabulary.tokenize(texts, refuse_above=None if truncate else max_tokens)
        too_long = find_too_long(list(map(len, tokens)), max_tokens=max_tokens, truncate=truncate)
        for index in too_long:
            tokens[index] = truncate_tokens(tokens[index], max_tokens=max_tokens, n_suffix_tokens=n_suffix_tokens)
        return BackendResult(model.pooled_rows(tokens, on_progress), tuple(map(len, tokens)), too_long)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, special tokens included."""
        return [len(ids) for ids in self._model().vocabulary.tokenize(texts, allow_empty=True)]

    def tokenize(self, texts: Sequence[str], *, add_special_tokens: bool = True) -> list[list[Token]]:
        """The tokens of each text. Raises as `SupportsTokenize.tokenize` does."""
        return self._model().vocabulary.show(texts, add_special_tokens=add_special_tokens)

    def close(self) -> None:
        """Let go of the model; its memory is given back once no other backend holds it."""
        self._loaded = None

    def _model(self) -> LoadedFile:
        # After a fork the model's thread is gone, so the child loads a model of its own.
        model = self._loaded  # read once: another thread may close this at any time
        if model is None or model.pid != os.getpid():
            self._loaded = model = self._load()
        return model

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_loaded": None}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}, pooling={self.pooling!r})"


def file_state(path: Path) -> tuple[int, int]:
    """What changes when a file is written anew."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size
