"""llama.cpp in this process, through llama-cpp-python's low-level functions.

`llama_cpp.Llama.embed` cuts texts silently, aborts under threads, and has the whole vocabulary scored for every token.
Here a text is tokenised once and never cut unasked; a model belongs to one thread of its own, which takes a batch from
each caller in turn; and a decoder is run in two passes that skip the vocabulary for all but the last tokens:

1. with embeddings off, every token but the last of each text goes through the layers and into the key-value cache;
2. with embeddings on, the last tokens follow, one for each text, and their states are the vectors.

The vectors are the same, and a text may be longer than a batch. Encoders have no cache and take one pass.
"""

import ctypes
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, Literal, TypeVar
from unicodedata import normalize as unicode_normalize
from weakref import WeakValueDictionary, finalize

import numpy as np

from jina_rag.backends.base import BackendResult, ProgressCallback, encode_utf8, limit_tokens
from jina_rag.errors import BackendError, InvalidTextError, MissingDependencyError, ModelLoadError
from jina_rag.models import Pooling
from jina_rag.vectors import FloatArray

_POOLING_TYPES: dict[Pooling, int] = {"mean": 1, "cls": 2, "last": 3}
_FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}
FLASH_ATTENTION_TOKENS = 1024
"""On a CPU, flash attention is quicker for packed short texts. Over longer ones it gains little and loses exactness,
because llama.cpp adds up in half precision there."""

MAX_SEQUENCES = 64
"""Texts in one batch. More cost memory (a row of vocabulary scores each) and bring nothing."""

STANDING_CONTEXT_TOKENS = 2048
"""A context up to this size is kept for the next call; a larger one, made for a long text, is given back after it."""

LONG_TEXT_BATCH_TOKENS = 256
"""Tokens computed at a time in a long text: without flash attention, each costs memory for every token before it."""

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class LlamaCppOptions:
    """How llama.cpp is to run. None of this changes what a vector means.

    Attributes:
        n_gpu_layers: Layers to put on a GPU, -1 for all; nothing happens in a build for the CPU.
        n_threads: Threads to compute with; None takes every core this process may use.
        flash_attention: "auto" takes it where it pays: on a GPU always, on a CPU for short texts.
        batch_tokens: Tokens computed at a time. Around 512 was fastest on every CPU tried.
        use_mmap: Map the file instead of reading it, so that processes share its memory.
    """

    n_gpu_layers: int = -1
    n_threads: int | None = None
    flash_attention: Literal["auto", "on", "off"] = "auto"
    batch_tokens: int = 512
    use_mmap: bool = True


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
        self._loaded: _LoadedModel | None = None

    @property
    def dimensions(self) -> int:
        """Width of the full vector."""
        return self._model().dimensions

    @property
    def identity(self) -> str:
        """The file's SHA-256.

        Raises:
            ModelLoadError: the file has been replaced since it was loaded, so it says nothing about these vectors.
        """
        from jina_rag.download import file_sha256

        if self._loaded and self._loaded.file_state != _file_state(self.path):
            raise ModelLoadError(f"{self.path} has changed since it was loaded. Make the embedder anew.")
        return file_sha256(self.path)

    def embed(
        self,
        texts: Sequence[str],
        *,
        max_tokens: int,
        truncate: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> BackendResult:
        """Embed texts, shortest first, in batches; equal texts once. Raises as `EmbeddingBackend.embed` does."""
        model = self._model()
        tokens, truncated = limit_tokens(
            model.tokenize(texts), max_tokens=max_tokens, n_closing=model.n_closing, truncate=truncate
        )
        counts = tuple(map(len, tokens))
        rows: dict[tuple[int, ...], list[int]] = {}
        for index, ids in enumerate(tokens):
            rows.setdefault(tuple(ids), []).append(index)
        vectors = np.empty((len(texts), model.dimensions), np.float32)
        for batch in pack(sorted(rows, key=len), max_tokens=self.options.batch_tokens):
            for sequence, vector in zip(batch, model.embed(batch), strict=True):
                vectors[rows[sequence]] = vector
            if on_progress:
                on_progress(sum(len(rows[sequence]) for sequence in batch))
        return BackendResult(vectors, counts, truncated)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, special tokens included."""
        return [len(ids) for ids in self._model().tokenize(texts, allow_empty=True)]

    def close(self) -> None:
        """Let go of the model; its memory is given back once no other backend holds it."""
        self._loaded = None

    def _model(self) -> "_LoadedModel":
        # After a fork the model's thread is gone, so the child loads a model of its own.
        if self._loaded is None or self._loaded.pid != os.getpid():
            self._loaded = _load(self.path, self.pooling, self.options)
        return self._loaded

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_loaded": None}

    def __repr__(self) -> str:
        return f"LlamaCppBackend({str(self.path)!r}, pooling={self.pooling!r})"


def pack(sequences: Sequence[tuple[int, ...]], *, max_tokens: int) -> Iterator[list[tuple[int, ...]]]:
    """Fill batches of up to `max_tokens` tokens and `MAX_SEQUENCES` texts, in order; a longer text goes alone."""
    batch: list[tuple[int, ...]] = []
    size = 0
    for ids in sequences:
        if batch and (size + len(ids) > max_tokens or len(batch) == MAX_SEQUENCES):
            yield batch
            batch, size = [], 0
        batch.append(ids)
        size += len(ids)
    if batch:
        yield batch


@cache
def route_log() -> None:
    """Send llama.cpp's log to the logger `jina_rag.llama_cpp`, for good and for the whole process."""
    library = _library()
    _log.addHandler(logging.NullHandler())  # else Python prints warnings of loggers that nobody set up
    library.llama_log_set(_log_callback(), ctypes.c_void_p(0))


class _LoadedModel:
    """A model in memory and the one thread that may compute with it."""

    def __init__(self, path: Path, pooling: Pooling, options: LlamaCppOptions) -> None:
        self.pid = os.getpid()
        self.file_state = _file_state(path)
        self._library = library = _library()
        self._pooling = pooling
        self._options = options
        self._context: _Context | None = None
        self._model = _open_model(path, options)
        self._vocabulary = library.llama_model_get_vocab(self._model.pointer)
        self.dimensions: int = library.llama_model_n_embd_out(self._model.pointer)
        self._normal_form = _normal_form(self._metadata("tokenizer.ggml.pre"))
        self.n_closing = self._count_closing_tokens()
        self._two_passes = pooling == "last" and self._is_causal_decoder()
        # One thread, not a lock: callers are served in the order in which they come, a batch each, so a question
        # never waits for a whole library of documents; and OpenMP keeps one team of threads instead of one a caller.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jina-rag-llama")

    def tokenize(self, texts: Sequence[str], *, allow_empty: bool = False) -> list[list[int]]:
        """The tokens of each text, special ones added and recognised as the model's own tokenizer does."""
        if self._normal_form:
            texts = [unicode_normalize(self._normal_form, text) for text in texts]
        tokens = [self._tokenize(text) for text in encode_utf8(texts)]
        if not allow_empty and [] in tokens:
            empty = tokens.index([])
            raise InvalidTextError(f"Text {empty} is empty, and this model adds nothing to it. Leave it out.")
        return tokens

    def embed(self, sequences: Sequence[Sequence[int]]) -> FloatArray:
        """Pooled states of the sequences, shape (n, d). Together they fit a batch, or there is one."""
        return self._on_thread(lambda: self._embed(sequences))

    def _embed(self, sequences: Sequence[Sequence[int]]) -> FloatArray:
        n_tokens = sum(map(len, sequences))
        if self._context is None or self._context.n_tokens < n_tokens:
            self._context = None  # the old one's memory goes before the new one's comes
            self._context = _Context(self._model, n_tokens, self._pooling, self._options, two_passes=self._two_passes)
        try:
            return self._context.embed(sequences)
        finally:
            if self._context.n_tokens > STANDING_CONTEXT_TOKENS:
                self._context = None

    def _on_thread(self, job: Callable[[], Result]) -> Result:
        return self._thread.submit(job).result()

    def _tokenize(self, text: bytes) -> list[int]:
        capacity = len(text) + 8  # a token covers a byte at least, special ones aside
        while True:
            buffer = np.empty(capacity, np.int32)
            n_tokens: int = self._library.llama_tokenize(
                self._vocabulary, text, len(text), _pointer(buffer, ctypes.c_int32), capacity, True, True
            )
            if n_tokens >= 0:
                tokens: list[int] = buffer[:n_tokens].tolist()
                return tokens
            capacity = -n_tokens

    def _count_closing_tokens(self) -> int:
        """How many special tokens the tokenizer puts after a text: what an empty text and a letter end with alike."""
        empty, letter = self._tokenize(b""), self._tokenize(b"a")
        n_closing = 0
        while n_closing < len(empty) and empty[-1 - n_closing] == letter[-1 - n_closing]:
            n_closing += 1
        return n_closing

    def _is_causal_decoder(self) -> bool:
        """Whether a token's state depends on earlier tokens alone, and these are remembered between batches."""
        if self._metadata(f"{self._metadata('general.architecture')}.attention.causal") == "false":
            return False
        # What the file doesn't say, a context does; it then serves the first call.
        self._context = _Context(self._model, 1, self._pooling, self._options, two_passes=True)
        if not self._context.has_memory:
            self._context = None
        return self._context is not None

    def _metadata(self, key: str) -> str:
        buffer = ctypes.create_string_buffer(256)
        self._library.llama_model_meta_val_str(self._model.pointer, key.encode(), buffer, len(buffer))
        return buffer.value.decode(errors="replace")


class _Context:
    """Room to compute in: a cache for so many tokens, and the buffers of a batch."""

    def __init__(
        self,
        model: "_Native",
        n_tokens: int,
        pooling: Pooling,
        options: LlamaCppOptions,
        *,
        two_passes: bool,
    ) -> None:
        self._library = library = _library()
        self.n_tokens = max(-(-n_tokens // 256) * 256, options.batch_tokens)  # llama.cpp's cache grows by 256
        # An encoder reads a text in one piece: with less room than that, llama.cpp aborts the process.
        self._batch_tokens = options.batch_tokens if two_passes else self.n_tokens
        self._dimensions: int = library.llama_model_n_embd_out(model.pointer)
        self._two_passes = two_passes
        handle = library.llama_init_from_model(model.pointer, self._parameters(pooling, options))
        if not handle:
            raise BackendError(
                f"llama.cpp has no room for {self.n_tokens:,} tokens ({_last_log_line()}). Embed shorter texts, close "
                "other models, or pass LlamaCppOptions(n_gpu_layers=0) if the GPU is full."
            )
        self._model = model  # must outlive the context
        self._native = _Native(handle, library.llama_free)
        self._memory = library.llama_get_memory(handle)
        self.has_memory = bool(self._memory)
        self._sequence_ids = np.arange(MAX_SEQUENCES, dtype=np.int32)
        # llama.cpp wants a pointer to each token's list of sequences; ours are lists of one.
        self._sequence_pointers = self._sequence_ids.ctypes.data + self._sequence_ids.itemsize * np.arange(
            MAX_SEQUENCES, dtype=np.uintp
        )

    def _parameters(self, pooling: Pooling, options: LlamaCppOptions) -> Any:  # noqa: ANN401
        parameters = self._library.llama_context_default_params()
        parameters.n_ctx = self.n_tokens
        parameters.n_batch = parameters.n_ubatch = self._batch_tokens
        if self._two_passes and self.n_tokens > FLASH_ATTENTION_TOKENS:
            parameters.n_ubatch = min(self._batch_tokens, LONG_TEXT_BATCH_TOKENS)
        parameters.n_seq_max = min(MAX_SEQUENCES, self._batch_tokens)
        # Room for the vocabulary's scores of each output: one a text, or in one pass unavoidably one a token.
        parameters.n_outputs_max = parameters.n_seq_max if self._two_passes else self._batch_tokens
        parameters.kv_unified = True
        parameters.embeddings = True
        parameters.pooling_type = _POOLING_TYPES[pooling]
        parameters.flash_attn_type = _FLASH_ATTENTION[self._flash_attention(options)]
        parameters.n_threads = parameters.n_threads_batch = options.n_threads or _available_cores()
        parameters.no_perf = True
        return parameters

    def _flash_attention(self, options: LlamaCppOptions) -> str:
        on_gpu = options.n_gpu_layers != 0 and self._library.llama_supports_gpu_offload()
        if options.flash_attention != "auto" or on_gpu:
            return options.flash_attention
        return "on" if self.n_tokens <= FLASH_ATTENTION_TOKENS else "off"

    def embed(self, sequences: Sequence[Sequence[int]]) -> FloatArray:
        """Pooled states of the sequences, shape (n, d)."""
        return self._embed_in_two_passes(sequences) if self._two_passes else self._embed_in_one_pass(sequences)

    def _embed_in_two_passes(self, sequences: Sequence[Sequence[int]]) -> FloatArray:
        tokens = np.concatenate([np.asarray(ids, np.int32) for ids in sequences])
        lengths = np.array([len(ids) for ids in sequences])
        positions = np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])
        owners = np.repeat(np.arange(len(sequences)), lengths)
        last = np.cumsum(lengths) - 1
        prefix = np.delete(np.arange(len(tokens)), last)
        self._library.llama_memory_clear(self._memory, False)
        self._library.llama_set_embeddings(self._native.pointer, False)
        for start in range(0, len(prefix), self._batch_tokens):
            part = prefix[start : start + self._batch_tokens]
            self._decode(tokens[part], positions[part], owners[part], outputs=False)
        self._library.llama_set_embeddings(self._native.pointer, True)
        self._decode(tokens[last], positions[last], owners[last], outputs=True)
        return self._pooled(len(sequences))

    def _embed_in_one_pass(self, sequences: Sequence[Sequence[int]]) -> FloatArray:
        if self._memory:
            self._library.llama_memory_clear(self._memory, False)
        lengths = [len(ids) for ids in sequences]
        self._decode(
            np.concatenate([np.asarray(ids, np.int32) for ids in sequences]),
            np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
            np.repeat(np.arange(len(sequences)), lengths),
            outputs=True,
        )
        return self._pooled(len(sequences))

    def _decode(self, tokens: Any, positions: Any, owners: Any, *, outputs: bool) -> None:  # noqa: ANN401
        # These arrays must outlive the call: the batch holds their addresses, not them.
        n_tokens = len(tokens)
        pointers = self._sequence_pointers[owners]
        counts = np.ones(n_tokens, np.int32)
        flags = np.full(n_tokens, outputs, np.int8)
        batch = self._library.llama_batch(
            n_tokens=n_tokens,
            token=_pointer(tokens, ctypes.c_int32),
            pos=_pointer(positions, ctypes.c_int32),
            n_seq_id=_pointer(counts, ctypes.c_int32),
            seq_id=_pointer(pointers, ctypes.POINTER(ctypes.c_int32)),
            logits=_pointer(flags, ctypes.c_int8),
        )
        code = self._library.llama_decode(self._native.pointer, batch)
        if code != 0:
            raise BackendError(
                f"llama.cpp could not compute a batch of {n_tokens} tokens (code {code}; {_last_log_line()}). Try "
                "LlamaCppOptions(flash_attention='off', n_gpu_layers=0), and report it if that does not help."
            )

    def _pooled(self, n_sequences: int) -> FloatArray:
        vectors = np.empty((n_sequences, self._dimensions), np.float32)
        for sequence in range(n_sequences):
            pointer = self._library.llama_get_embeddings_seq(self._native.pointer, sequence)
            if not pointer:
                raise BackendError("llama.cpp gave no pooled vector. The file is not one of an embedding model.")
            vectors[sequence] = np.ctypeslib.as_array(pointer, (self._dimensions,))
        return vectors


class _Native:
    """A pointer of llama.cpp's, freed when nothing refers to this object any more, or else at exit."""

    def __init__(self, pointer: Any, free: Callable[[Any], None]) -> None:  # noqa: ANN401
        self.pointer = pointer
        finalize(self, _free, os.getpid(), pointer, free)


def _free(pid: int, pointer: Any, free: Callable[[Any], None]) -> None:  # noqa: ANN401
    if pid == os.getpid():  # in a forked child the memory is still the parent's
        free(pointer)


_models: "WeakValueDictionary[tuple[object, ...], _LoadedModel]" = WeakValueDictionary()
_models_lock = Lock()


def _load(path: Path, pooling: Pooling, options: LlamaCppOptions) -> _LoadedModel:
    """The model of this file and these options: the one that is loaded, or a new one."""
    from jina_rag.gguf_file import read_gguf_header

    read_gguf_header(path)  # llama.cpp must never see a damaged file: some make it abort the process
    key = (os.getpid(), path.resolve(), _file_state(path), pooling, options)
    with _models_lock:
        model = _models.get(key)
        if model is None:
            model = _models[key] = _LoadedModel(path, pooling, options)
    return model


def _file_state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _open_model(path: Path, options: LlamaCppOptions) -> _Native:
    route_log()
    library = _library()
    parameters = library.llama_model_default_params()
    parameters.n_gpu_layers = options.n_gpu_layers
    parameters.use_mmap = options.use_mmap
    model = library.llama_model_load_from_file(os.fsencode(path), parameters)
    if not model:
        raise ModelLoadError(
            f"llama.cpp cannot load {path} ({_last_log_line()}). Is it a model that this version knows? "
            "Fetch it again with `jina-rag download NAME --force`, or upgrade llama-cpp-python."
        )
    return _Native(model, library.llama_model_free)


@cache
def _library() -> Any:  # noqa: ANN401
    # OpenMP reads this once, when it is loaded. Its threads spin while they wait for each other, which can cost several
    # times the work itself when another process wants a core; sleeping was level on an idle machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        from llama_cpp import llama_cpp
    except ImportError as error:
        raise MissingDependencyError(
            f"llama-cpp-python cannot be loaded ({error}). Install it with: pip install llama-cpp-python"
        ) from error
    llama_cpp.llama_backend_init()
    return llama_cpp


def _normal_form(pre_tokenizer: str) -> Literal["NFC"] | None:
    # Qwen's own tokenizer composes characters first (tokenizer.json: "normalizer": NFC) and llama.cpp's does not.
    return "NFC" if pre_tokenizer == "qwen2" else None


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _pointer(array: Any, kind: Any) -> Any:  # noqa: ANN401
    return array.ctypes.data_as(ctypes.POINTER(kind))


_log = logging.getLogger("jina_rag.llama_cpp")
_recent_log: deque[str] = deque(maxlen=20)
# llama.cpp tells much that only its developers need: its levels (none, info, warn, error, debug, continued) go down.
_LOG_LEVELS = (logging.DEBUG, logging.DEBUG, logging.DEBUG, logging.WARNING, logging.DEBUG, logging.DEBUG)


@cache
def _log_callback() -> Any:  # noqa: ANN401
    """The C function for llama.cpp's log, kept for ever because llama.cpp keeps its address."""

    def write(level: int, text: bytes, _user_data: object) -> None:
        message = text.decode(errors="replace").rstrip()
        if level in (2, 3) and message:
            _recent_log.append(message)
        _log.log(_LOG_LEVELS[level] if level < len(_LOG_LEVELS) else logging.DEBUG, "%s", message)

    return _library().llama_log_callback(write)


def _last_log_line() -> str:
    return _recent_log[-1] if _recent_log else "it does not say why"


if hasattr(os, "register_at_fork"):
    # A fork may copy the lock while another thread holds it.
    os.register_at_fork(after_in_child=lambda: globals().update(_models_lock=Lock()))
