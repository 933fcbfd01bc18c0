"""llama.cpp in this process, through llama-cpp-python's low-level functions.

`llama_cpp.Llama.embed` cuts texts silently, aborts under threads, and has the whole vocabulary scored for every token.
Here a text is tokenised once and never cut unasked; a model belongs to one thread of its own, which takes a batch from
each caller in turn, small batches first, and the parts of a long text one by one; and a decoder is run in two passes
that skip the vocabulary for all but the last tokens:

1. with embeddings off, every token but the last of each text goes through the layers and into the key-value cache;
2. with embeddings on, the last tokens follow, one for each text, and their states are the vectors.

The vectors are the same, and a text may be longer than a batch. Encoders have no cache and take one pass. What the
choices here were measured to bring stands in tests/benchmarks/RESULTS.md.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from jina_rag.backends.base import BackendResult, ProgressCallback, Token, find_too_long, truncate_tokens
from jina_rag.backends.llama_cpp.model import LoadedModel, file_state, load_model
from jina_rag.backends.llama_cpp.options import LlamaCppOptions
from jina_rag.errors import ModelLoadError, ModelNotFoundError
from jina_rag.locations import file_sha256
from jina_rag.models import Pooling


class LlamaCppBackend:
    """A GGUF file, loaded at the first need and shared with every backend of the same file and options."""

    def __init__(
        self,
        path: Path,
        *,
        pooling: Pooling,
        options: LlamaCppOptions | None = None,
        closing_token: str | None = None,
    ) -> None:
        """Name a file; nothing is loaded yet.

        Args:
            path: The GGUF file.
            pooling: How the model was trained to be read. Never left to the file: older copies don't say.
            options: How to run it.
            closing_token: The special token after each text, "" for none; None leaves that to the file.
        """
        self.path = path
        self.pooling: Pooling = pooling
        self.options = options or LlamaCppOptions()
        self.closing_token = closing_token
        self._loaded: LoadedModel | None = None

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
            if self._loaded and self._loaded.file_state != file_state(self.path):
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

    def _model(self) -> "LoadedModel":
        # After a fork the model's thread is gone, so the child loads a model of its own.
        if self._loaded is None or self._loaded.pid != os.getpid():
            self._loaded = load_model(self.path, self.pooling, self.options, self.closing_token)
        return self._loaded

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_loaded": None}

    def __repr__(self) -> str:
        return f"LlamaCppBackend({str(self.path)!r}, pooling={self.pooling!r})"
