"""llama.cpp in this process, through llama-cpp-python's low-level functions.

`llama_cpp.Llama.embed` cuts texts silently, aborts under threads, and has the whole vocabulary scored for every token.
Here a text is tokenised once and never cut unasked; a model belongs to one thread of its own, which takes a batch from
each caller in turn, several in turn for a long text; and a decoder is run in two passes that skip the vocabulary for
all but the last tokens:

1. with embeddings off, every token but the last of each text goes through the layers and into the key-value cache;
2. with embeddings on, the last tokens follow, one for each text, and their states are the vectors.

The vectors are the same, and a text may be longer than a batch. Encoders have no cache and take one pass. What the
choices here were measured to bring stands in tests/benchmarks/RESULTS.md.
"""

import ctypes
import os
import platform
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

import numpy as np

from jina_rag.backends.base import BackendResult, ProgressCallback, Token, limit_tokens
from jina_rag.backends.llama_cpp.context import MAX_SEQUENCES, Context, PoolingMode, row_width
from jina_rag.backends.llama_cpp.library import Native, last_log_line, library, route_log
from jina_rag.backends.llama_cpp.options import LlamaCppOptions
from jina_rag.backends.llama_cpp.vocabulary import Vocabulary
from jina_rag.errors import ModelLoadError, ModelNotFoundError
from jina_rag.gguf_file import GgufHeader, read_gguf_header
from jina_rag.locations import file_sha256
from jina_rag.models import Pooling
from jina_rag.vectors import FloatArray

_LOAD_MODES = {False: 0, True: 1}  # LLAMA_LOAD_MODE_NONE and _MMAP

KEPT_CONTEXT_TOKENS = 2048
"""A context up to this size is kept for the next call; a larger one, made for a long text, is given back after it."""

REARRANGED_TYPES = frozenset(("Q4_0", "IQ4_NL", "MXFP4", "Q2_K"))
"""Types of weights that llama.cpp multiplies faster on x86 once it has copied them into another order. The others it
multiplies faster as they are, Q4_K 1.4 times so, and they stay in the mapped file."""


class LlamaCppBackend:
    """A GGUF file, loaded at the first need and shared with every backend of the same file and options."""

    def __init__(self, path: Path, *, pooling: Pooling, options: LlamaCppOptions | None = None) -> None:
        """Name a file; nothing is loaded yet.

        Args:
            path: The GGUF file.
            pooling: How the model was trained to be read. Never left to the file: older copies don't say.
            options: How to run it.
        """
        self.path = path
        self.pooling: Pooling = pooling
        self.options = options or LlamaCppOptions()
        self._loaded: LoadedModel | None = None

    @property
    def dimensions(self) -> int:
        """Width of the full vector."""
        return self._model().dimensions

    @property
    def identity(self) -> str:
        """The file's SHA-256.

        Raises:
            ModelNotFoundError: the file is gone.
            ModelLoadError: it has been replaced since it was loaded, so it says nothing about these vectors; or it
                cannot be read.
        """
        try:
            if self._loaded and self._loaded.file_state != _file_state(self.path):
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
        """Embed texts, longest first, in batches; equal texts once. Raises as `EmbeddingBackend.embed` does."""
        model = self._model()
        vocabulary = model.vocabulary
        tokens, truncated = limit_tokens(
            vocabulary.tokenize(texts),
            max_tokens=max_tokens,
            n_suffix_tokens=vocabulary.n_suffix_tokens,
            truncate=truncate,
        )
        return BackendResult(model.embed(tokens, on_progress), tuple(map(len, tokens)), truncated)

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
            self._loaded = load_model(self.path, self.pooling, self.options)
        return self._loaded

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_loaded": None}

    def __repr__(self) -> str:
        return f"LlamaCppBackend({str(self.path)!r}, pooling={self.pooling!r})"


def pack(sequences: Iterable[tuple[int, ...]], *, max_tokens: int) -> Iterator[list[tuple[int, ...]]]:
    """Fill batches of up to `max_tokens` tokens and `MAX_SEQUENCES` texts; a longer text goes alone.

    The longest text left begins a batch, and the longest that still fit fill it: a full batch costs least per token.
    """
    left = sorted(sequences, key=len)
    while left:
        batch = [left.pop()]
        room = max_tokens - len(batch[0])
        while len(batch) < MAX_SEQUENCES and (fitting := bisect_right(left, room, key=len)):
            batch.append(left.pop(fitting - 1))
            room -= len(batch[-1])
        yield batch


class LoadedModel:
    """A model in memory and the one thread that may compute with it."""

    def __init__(self, path: Path, pooling: PoolingMode, options: LlamaCppOptions) -> None:
        """Load it; `load_model` does."""
        self.header = read_gguf_header(path)  # llama.cpp must never see a damaged file: some make it abort the process
        self.pid = os.getpid()
        self.file_state = _file_state(path)
        self._pooling = pooling
        self._options = options
        self._contexts: dict[bool, Context] = {}  # one for batches, one for texts longer than that
        self._long_texts = Lock()
        self._model = _open_model(path, self.header, options)
        self.dimensions = row_width(self._model, pooling)
        self.max_tokens: int = library().llama_model_n_ctx_train(self._model.pointer)
        self.vocabulary = Vocabulary(self._model, self._metadata("tokenizer.ggml.pre"))
        self._two_passes = pooling in ("last", "rank") and self._is_causal_decoder()
        # One thread, not a lock: callers are served in the order in which they come, a batch each, so a question
        # never waits for a whole library of documents; and OpenMP keeps one team of threads instead of one a caller.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jina-rag-llama")

    @property
    def rerank_template(self) -> str:
        """How the file wants a question and a passage to be put together; empty where it doesn't say."""
        template: bytes | None = library().llama_model_chat_template(self._model.pointer, b"rerank")
        return (template or b"").decode(errors="replace")

    @property
    def labels(self) -> list[str]:
        """What the numbers of a row stand for, where the file says."""
        label = library().llama_model_cls_label
        found = (label(self._model.pointer, place) for place in range(self.dimensions))
        return [name.decode(errors="replace") for name in found if name]

    def embed(self, texts: Sequence[Sequence[int]], on_progress: ProgressCallback | None = None) -> FloatArray:
        """The rows of texts by their tokens, shape (n, d): longest first, in batches, equal ones once."""
        places: dict[tuple[int, ...], list[int]] = {}
        for place, tokens in enumerate(texts):
            places.setdefault(tuple(tokens), []).append(place)
        rows = np.empty((len(texts), self.dimensions), np.float32)
        for batch in pack(places, max_tokens=self._options.batch_tokens):
            for sequence, row in zip(batch, self._compute(batch), strict=True):
                rows[places[sequence]] = row
            if on_progress:
                on_progress(sum(len(places[sequence]) for sequence in batch))
        return rows

    def _compute(self, sequences: Sequence[Sequence[int]]) -> FloatArray:
        """The rows of a batch, or of one text that is longer.

        Between the parts of a long text, which may take minutes, other callers' batches have their turn.
        """
        is_long = self._two_passes and sum(map(len, sequences)) > self._options.batch_tokens
        steps = self._embed(sequences, is_long)
        if not is_long:
            return self._thread.submit(_last, steps).result()
        with self._long_texts:  # one at a time, since each takes the memory of its length
            while (rows := self._thread.submit(next, steps).result()) is None:
                pass
            self._thread.submit(steps.close).result()
        return rows

    def _embed(self, sequences: Sequence[Sequence[int]], is_long: bool) -> Generator[FloatArray | None]:
        n_tokens = sum(map(len, sequences))
        context = self._contexts.get(is_long)
        if context is None or context.n_tokens < n_tokens:
            context = None
            # The old one's memory goes before the new one's comes; and before that of a long text, the batches' too.
            for kind in (True, False) if is_long else (False,):
                self._contexts.pop(kind, None)
            context = Context(self._model, n_tokens, self._pooling, self._options, two_passes=self._two_passes)
            if context.n_tokens <= KEPT_CONTEXT_TOKENS:
                self._contexts[is_long] = context
        yield from context.embed(sequences)

    def _is_causal_decoder(self) -> bool:
        """Whether a token's state depends on earlier tokens alone, and these are remembered between batches."""
        if self._metadata(f"{self._metadata('general.architecture')}.attention.causal") == "false":
            return False
        # What the file doesn't say, a context does; it then serves the first call.
        context = Context(self._model, 1, self._pooling, self._options, two_passes=True)
        if context.has_memory:
            self._contexts[False] = context
        return context.has_memory

    def _metadata(self, key: str) -> str:
        buffer = ctypes.create_string_buffer(256)
        library().llama_model_meta_val_str(self._model.pointer, key.encode(), buffer, len(buffer))
        return buffer.value.decode(errors="replace")


_models: "WeakValueDictionary[tuple[object, ...], LoadedModel]" = WeakValueDictionary()
_models_lock = Lock()


def _last(steps: Iterable[FloatArray | None]) -> FloatArray:
    *_, rows = steps
    assert rows is not None
    return rows


def load_model(path: Path, pooling: PoolingMode, options: LlamaCppOptions) -> LoadedModel:
    """The model of this file and these options: the one that is loaded, or a new one."""
    if not path.is_file():
        raise ModelNotFoundError(f"There is no file {path}. Check the path, or run: jina-rag download MODEL")
    key = (os.getpid(), path.resolve(), _file_state(path), pooling, options)
    with _models_lock:
        model = _models.get(key)
        if model is None:
            model = _models[key] = LoadedModel(path, pooling, options)
    return model


def _file_state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _open_model(path: Path, header: GgufHeader, options: LlamaCppOptions) -> Native:
    route_log()
    functions = library()
    parameters = functions.llama_model_default_params()
    parameters.n_gpu_layers = options.n_gpu_layers
    parameters.load_mode = _LOAD_MODES[options.use_mmap]
    parameters.use_extra_bufts = not _is_x86() or header.main_type in REARRANGED_TYPES
    model = functions.llama_model_load_from_file(os.fsencode(path), parameters)
    if not model:
        raise ModelLoadError(
            f"llama.cpp cannot load {path} ({last_log_line()}). Is it a model that this version knows? "
            "Download it again with `jina-rag download NAME --force`, or upgrade llama-cpp-python."
        )
    return Native(model, functions.llama_model_free)


def _is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


if hasattr(os, "register_at_fork"):
    # A fork may copy the lock while another thread holds it.
    os.register_at_fork(after_in_child=lambda: globals().update(_models_lock=Lock()))
