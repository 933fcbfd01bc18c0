"""One llama.cpp context: memory for so many tokens, and the passes that turn them into vectors."""

import ctypes
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from jina_rag.backends.base import TokenArray
from jina_rag.backends.batching import MAX_SEQUENCES
from jina_rag.backends.llama_cpp.library import Native, collected_errors, library, pointer, reason
from jina_rag.backends.llama_cpp.options import LlamaCppOptions
from jina_rag.errors import BackendError
from jina_rag.machine import available_cores
from jina_rag.models import Pooling
from jina_rag.vectors import FloatArray

PoolingMode: TypeAlias = Pooling | Literal["rank"]
"""How a text becomes one row: its states pooled to a vector, or a reranker's head on top of them."""

_FLASH_ATTENTION = {"auto": "AUTO", "off": "DISABLED", "on": "ENABLED"}

EXACT_ATTENTION_TOKENS = 1024
"""For a text longer than this, the last pass takes its last `ATTENTION_TILE` tokens instead of one."""

ATTENTION_TILE = 64
"""Tokens from which flash attention on a CPU adds up in single precision (llama.cpp's GGML_FA_TILE_Q). For fewer it
does so in half precision, and after thousands of tokens that shows in the vector."""

MAX_OUTPUTS = max(MAX_SEQUENCES, ATTENTION_TILE)
"""Tokens of the last pass."""

ONE_PASS_TOKENS = 32
"""Up to so many tokens, scoring the vocabulary for each costs less than a second reading of the weights."""


class Context:
    """Room to compute in: a cache for so many tokens, and the buffers of a batch."""

    def __init__(
        self,
        model: Native,
        n_tokens: int,
        pooling: PoolingMode,
        options: LlamaCppOptions,
        *,
        two_passes: bool,
    ) -> None:
        self._library = functions = library()
        self.n_tokens = max(-(-n_tokens // 256) * 256, options.batch_tokens)  # llama.cpp's cache grows by 256
        # An encoder reads a text in one piece: with less room than that, llama.cpp aborts the process.
        self._batch_tokens = options.batch_tokens if two_passes else self.n_tokens
        self._dimensions = row_width(model, pooling)
        self._two_passes = two_passes
        with collected_errors() as errors:
            handle = functions.llama_init_from_model(model.pointer, self._parameters(pooling, options))
        if not handle:
            raise BackendError(
                f"llama.cpp has no room for {self.n_tokens:,} tokens ({reason(errors)}). Embed shorter texts, close "
                "other models, or pass LlamaCppOptions(n_gpu_layers=0) if the GPU is full."
            )
        self._model = model  # must outlive the context
        self._native = Native(handle, functions.llama_free)
        self._memory = functions.llama_get_memory(handle)
        self.has_memory = bool(self._memory)
        self._sequence_ids = np.arange(MAX_SEQUENCES, dtype=np.int32)
        # llama.cpp wants a pointer to each token's list of sequences; ours are lists of one.
        self._sequence_pointers = self._sequence_ids.ctypes.data + self._sequence_ids.itemsize * np.arange(
            MAX_SEQUENCES, dtype=np.uintp
        )

    def _parameters(self, pooling: PoolingMode, options: LlamaCppOptions) -> Any:  # noqa: ANN401
        parameters = self._library.llama_context_default_params()
        parameters.n_ctx = self.n_tokens
        parameters.n_batch = parameters.n_ubatch = self._batch_tokens
        parameters.n_seq_max = min(MAX_SEQUENCES, self._batch_tokens)
        # Room for the vocabulary's scores of each output: of the last pass, or in one pass unavoidably of every token.
        parameters.n_outputs_max = min(MAX_OUTPUTS, self._batch_tokens) if self._two_passes else self._batch_tokens
        parameters.kv_unified = True
        parameters.embeddings = True
        parameters.pooling_type = getattr(self._library, f"LLAMA_POOLING_TYPE_{pooling.upper()}")
        parameters.flash_attn_type = getattr(
            self._library, f"LLAMA_FLASH_ATTN_TYPE_{_FLASH_ATTENTION[options.flash_attention]}"
        )
        parameters.n_threads = parameters.n_threads_batch = options.n_threads or available_cores()
        parameters.no_perf = True
        return parameters

    def pooled(self, texts: Sequence[TokenArray]) -> FloatArray:
        """The rows of the texts, shape (n, d)."""
        if self._two_passes:
            *_, rows = self.pooled_in_steps(texts)
            assert rows is not None
            return rows
        if self._memory:
            self._library.llama_memory_clear(self._memory, False)
        lengths = [len(tokens) for tokens in texts]
        self._decode(np.concatenate(texts), _positions(lengths), _owners(lengths), outputs=True)
        return self._read_rows(len(texts))

    def pooled_in_steps(self, texts: Sequence[TokenArray]) -> Iterator[FloatArray | None]:
        """The rows of the texts of a causal decoder in two passes: None after each step but the last.

        Between two steps the device is free, but this context is not.
        """
        lengths = [len(tokens) for tokens in texts]
        tokens, positions, owners = np.concatenate(texts), _positions(lengths), _owners(lengths)
        n_last_pass_tokens = min(_last_pass_tokens(len(tokens), len(texts)), self._batch_tokens)
        is_last = positions >= np.repeat(lengths, lengths) - n_last_pass_tokens
        prefix, last = np.flatnonzero(~is_last), np.flatnonzero(is_last)
        self._library.llama_memory_clear(self._memory, False)
        self._library.llama_set_embeddings(self._native.pointer, False)
        # Parts of one size: a small one left over would be added up in half precision, see ATTENTION_TILE.
        for part in np.array_split(prefix, -(-len(prefix) // self._batch_tokens)) if len(prefix) else ():
            self._decode(tokens[part], positions[part], owners[part], outputs=False)
            yield None
        self._library.llama_set_embeddings(self._native.pointer, True)
        self._decode(tokens[last], positions[last], owners[last], outputs=True)
        yield self._read_rows(len(texts))

    def _decode(self, tokens: Any, positions: Any, owners: Any, *, outputs: bool) -> None:  # noqa: ANN401
        # These arrays must outlive the call: the batch holds their addresses, not them.
        n_tokens = len(tokens)
        pointers = self._sequence_pointers[owners]
        counts = np.ones(n_tokens, np.int32)
        flags = np.full(n_tokens, outputs, np.int8)
        batch = self._library.llama_batch(
            n_tokens=n_tokens,
            token=pointer(tokens, ctypes.c_int32),
            pos=pointer(positions, ctypes.c_int32),
            n_seq_id=pointer(counts, ctypes.c_int32),
            seq_id=pointer(pointers, ctypes.POINTER(ctypes.c_int32)),
            logits=pointer(flags, ctypes.c_int8),
        )
        with collected_errors() as errors:
            code = self._library.llama_decode(self._native.pointer, batch)
        if code != 0:
            raise BackendError(
                f"llama.cpp could not compute a batch of {n_tokens} tokens (code {code}; {reason(errors)}). Try "
                "LlamaCppOptions(flash_attention='off', n_gpu_layers=0), and report it if that does not help."
            )

    def _read_rows(self, n_sequences: int) -> FloatArray:
        vectors = np.empty((n_sequences, self._dimensions), np.float32)
        for sequence in range(n_sequences):
            state = self._library.llama_get_embeddings_seq(self._native.pointer, sequence)
            if not state:
                raise BackendError("llama.cpp gave no pooled vector. The file is not one of an embedding model.")
            vectors[sequence] = np.ctypeslib.as_array(state, (self._dimensions,))
        return vectors


def row_width(model: Native, pooling: PoolingMode) -> int:
    """How many numbers a text becomes."""
    functions = library()
    width = functions.llama_model_n_cls_out if pooling == "rank" else functions.llama_model_n_embd_out
    return int(width(model.pointer))


def _positions(lengths: Sequence[int]) -> TokenArray:
    """Each token's place in its text."""
    return np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])


def _owners(lengths: Sequence[int]) -> NDArray[np.intp]:
    """Each token's text, by its place in the batch."""
    return np.repeat(np.arange(len(lengths)), lengths)


def _last_pass_tokens(n_tokens: int, n_sequences: int) -> int:
    """How many tokens of each text the last pass takes."""
    if n_tokens <= ONE_PASS_TOKENS:
        return n_tokens
    return ATTENTION_TILE if n_sequences == 1 and n_tokens > EXACT_ATTENTION_TOKENS else 1
