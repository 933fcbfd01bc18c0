"""A model in memory: batches of tokens in, rows of numbers out."""

import ctypes
import os
import platform
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

from jina_rag.backends.base import ProgressCallback, TokenArray
from jina_rag.backends.batching import rows_in_batches
from jina_rag.backends.llama_cpp.batch_queue import BatchQueue
from jina_rag.backends.llama_cpp.context import Context, PoolingMode, row_width
from jina_rag.backends.llama_cpp.gguf_backend import file_state
from jina_rag.backends.llama_cpp.library import Native, collected_errors, library, reason, route_log
from jina_rag.backends.llama_cpp.options import LlamaCppOptions
from jina_rag.backends.llama_cpp.vocabulary import Vocabulary
from jina_rag.errors import ModelLoadError, ModelNotFoundError
from jina_rag.gguf_file import GgufHeader, read_gguf_header
from jina_rag.vectors import FloatArray

KEPT_CONTEXT_TOKENS = 2048
"""A context up to this size is kept for the next call; a larger one, made for a long text, is given back after it."""

REARRANGED_TYPES = frozenset(("Q4_0", "IQ4_NL", "MXFP4", "Q2_K"))
"""Types of weights that llama.cpp multiplies faster on x86 once it has copied them into another order. The others it
multiplies faster as they are, Q4_K 1.4 times so, and they stay in the mapped file."""


def load_model(
    path: Path, pooling: PoolingMode, options: LlamaCppOptions, closing_token: str | None = None
) -> "LoadedModel":
    """The model of this file and these settings: the one that is loaded, or a new one.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelLoadError: llama.cpp can't run it, or it can't end texts with the closing token.
    """
    if not path.is_file():
        raise ModelNotFoundError(f"There is no file {path}. Check the path, or run: jina-rag download MODEL")
    key = (os.getpid(), path.resolve(), file_state(path), pooling, options, closing_token)
    with _models_lock:
        model = _models.get(key)
        if model is None:
            model = _models[key] = LoadedModel(path, pooling, options, closing_token)
    return model


class LoadedModel:
    """A model, the contexts to compute in, and the one thread that may."""

    def __init__(
        self, path: Path, pooling: PoolingMode, options: LlamaCppOptions, closing_token: str | None = None
    ) -> None:
        """Load it; `load_model` does."""
        self.header = read_gguf_header(path)  # llama.cpp must never see a damaged file: some make it abort the process
        self.pid = os.getpid()
        self.file_state = file_state(path)
        self._pooling = pooling
        self._options = options
        self._contexts: dict[bool, Context] = {}  # one for batches, one for texts longer than that
        self._long_texts = Lock()
        self._model = _open_model(path, self.header, options)
        self.dimensions = row_width(self._model, pooling)
        self.max_tokens: int = library().llama_model_n_ctx_train(self._model.pointer)
        self.vocabulary = _vocabulary(self._model, path, self.header, closing_token)
        self._two_passes = pooling in ("last", "rank") and self._is_causal_decoder()
        self._queue = BatchQueue(options.batch_tokens)

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

    def pooled_rows(self, texts: Sequence[TokenArray], on_progress: ProgressCallback | None = None) -> FloatArray:
        """The rows of texts by their tokens, shape (n, d): longest first, in batches, equal texts once."""
        return rows_in_batches(
            texts,
            partial(self._run_batch, on_progress=on_progress),
            dimensions=self.dimensions,
            max_tokens=self._options.batch_tokens,
            on_progress=on_progress,
        )

    def _run_batch(self, batch: Sequence[TokenArray], on_progress: ProgressCallback | None) -> FloatArray:
        """The rows of a batch, or of one text that is longer, whose parts each wait for their turn."""
        n_tokens = sum(map(len, batch))
        if n_tokens <= self._options.batch_tokens or not self._two_passes:
            return self._queue.run(partial(self._rows_of_batch, batch, n_tokens), n_tokens)
        with self._long_texts:  # one at a time, since each takes the memory of its length
            steps = self._steps_of_long_text(batch, n_tokens)
            try:
                while (rows := self._queue.run(steps.__next__, self._options.batch_tokens)) is None:
                    if on_progress:
                        on_progress(0)
                return rows
            finally:
                self._queue.submit(steps.close, n_tokens)  # gives the memory back before the next text takes more

    def _rows_of_batch(self, batch: Sequence[TokenArray], n_tokens: int) -> FloatArray:
        return self._context(n_tokens, is_long=False).pooled(batch)

    def _steps_of_long_text(self, batch: Sequence[TokenArray], n_tokens: int) -> Generator[FloatArray | None]:
        yield from self._context(n_tokens, is_long=True).pooled_in_steps(batch)

    def _context(self, n_tokens: int, *, is_long: bool) -> Context:
        context = self._contexts.get(is_long)
        if context is None or context.n_tokens < n_tokens:
            context = None
            # The old one's memory goes before the new one's comes; and before that of a long text, the batches' too.
            for kind in (True, False) if is_long else (False,):
                self._contexts.pop(kind, None)
            context = Context(self._model, n_tokens, self._pooling, self._options, two_passes=self._two_passes)
            if context.n_tokens <= KEPT_CONTEXT_TOKENS:
                self._contexts[is_long] = context
        return context

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


def load_vocabulary(path: Path, header: GgufHeader, closing_token: str | None) -> Vocabulary:
    """The tokenizer of a file whose weights stay where they are. Raises as `load_model` does."""
    return _vocabulary(_open_model(path, header, LlamaCppOptions(), vocab_only=True), path, header, closing_token)


def _vocabulary(model: Native, path: Path, header: GgufHeader, closing_token: str | None) -> Vocabulary:
    return Vocabulary(model, path, str(header.metadata.get("tokenizer.ggml.pre", "")), closing_token)


def _open_model(path: Path, header: GgufHeader, options: LlamaCppOptions, *, vocab_only: bool = False) -> Native:
    route_log()
    functions = library()
    parameters = functions.llama_model_default_params()
    parameters.vocab_only = vocab_only
    parameters.n_gpu_layers = options.n_gpu_layers
    parameters.load_mode = functions.LLAMA_LOAD_MODE_MMAP if options.use_mmap else functions.LLAMA_LOAD_MODE_NONE
    parameters.use_extra_bufts = not _is_x86() or header.main_type in REARRANGED_TYPES
    with collected_errors() as errors:
        model = functions.llama_model_load_from_file(os.fsencode(path), parameters)
    if not model:
        raise ModelLoadError(
            f"llama.cpp cannot load {path} ({reason(errors)}). Is it a model that this version knows? "
            "Download it again with `jina-rag download NAME --force`, or upgrade llama-cpp-python."
        )
    return Native(model, functions.llama_model_free)


def _is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


if hasattr(os, "register_at_fork"):
    # A fork may copy the lock while another thread holds it.
    os.register_at_fork(after_in_child=lambda: globals().update(_models_lock=Lock()))
