"""A model in ONNX Runtime: batches of tokens in, rows of numbers out."""

import ctypes
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from weakref import WeakSet, WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from jina_rag.backends.base import ProgressCallback, TokenArray
from jina_rag.backends.batching import pack, rows_in_batches
from jina_rag.backends.llama_cpp.batch_queue import BatchQueue
from jina_rag.backends.llama_cpp.gguf_backend import file_state
from jina_rag.backends.llama_cpp.model import load_vocabulary
from jina_rag.backends.onnx.graph_cache import GraphSource, open_graph
from jina_rag.backends.onnx.network import read_network
from jina_rag.backends.onnx.weights import Weights
from jina_rag.backends.remote.address import Precision
from jina_rag.errors import (
    BackendError,
    InvalidTextError,
    MissingDependencyError,
    ModelNotFoundError,
    UnknownBackendError,
)
from jina_rag.gguf_file import read_gguf_header
from jina_rag.machine import available_cores
from jina_rag.models import Pooling
from jina_rag.vectors import FloatArray

BATCH_TOKENS = 512
"""Tokens computed at a time; one text may have more."""

MAX_TEXT_TOKENS = 8192
"""The longest text that is computed here, in one piece: its states take 100 KB for each token of the small model."""

ATTENTION_BLOCK = 256
"""Queries that go through the attention at once where rows are longer than `BATCH_TOKENS`."""


class SessionSettings(NamedTuple):
    """How a file's graph is to run: see `OnnxBackend`."""

    precision: Precision
    n_threads: int = 0
    device: str = ""


def load_model(path: Path, pooling: Pooling, settings: SessionSettings, closing_token: str | None) -> "OnnxModel":
    """The model of this file and these settings: the one that is loaded, or a new one.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelLoadError: its network can't be computed here, or it can't end texts with the closing token.
        MissingDependencyError: ONNX Runtime, or the package that writes its graphs, is not installed.
        UnknownBackendError: this ONNX Runtime has no such device, or it doesn't compute in 8 bits.
    """
    if not path.is_file():
        raise ModelNotFoundError(f"There is no file {path}. Check the path, or run: jina-rag download MODEL")
    key = (os.getpid(), path.resolve(), file_state(path), pooling, settings, closing_token)
    with _models_lock:
        model = _models.get(key)
        if model is None:
            model = _models[key] = OnnxModel(path, pooling, settings, closing_token)
    return model


class OnnxModel:
    """A session, the embedding table in the mapped file, and the one thread that computes."""

    def __init__(self, path: Path, pooling: Pooling, settings: SessionSettings, closing_token: str | None) -> None:
        """Load it; `load_model` does."""
        providers = _providers(settings)
        self.pid = os.getpid()
        self.file_state = file_state(path)
        self.header = read_gguf_header(path)
        self._network = network = read_network(path, self.header)
        self.dimensions = network.width
        self.vocabulary = load_vocabulary(path, self.header, closing_token)
        self._pooling = pooling
        self._weights = Weights(path, self.header)
        source = GraphSource(path, self.file_state, network, self._weights)
        open_session = partial(_open_session, n_threads=settings.n_threads, providers=providers)
        self._session = open_graph(source, settings.precision, open_session)
        self._queue = BatchQueue(BATCH_TOKENS)

    def pooled_rows(self, texts: Sequence[TokenArray], on_progress: ProgressCallback | None) -> FloatArray:
        """The rows of texts by their tokens, shape (n, d): longest first, in batches, equal texts once.

        Raises:
            InvalidTextError: a text is longer than this engine reads.
            BackendError: ONNX Runtime failed.
        """
        limit = self._network.positions or MAX_TEXT_TOKENS
        for index, tokens in enumerate(texts):
            if len(tokens) > limit:
                raise InvalidTextError(
                    index,
                    f"has {len(tokens):,} tokens and the onnx engine reads {limit:,} at once. Split it, or leave out "
                    "the backend: llama.cpp reads long texts in parts.",
                )
        return rows_in_batches(
            texts, self._run_batch, dimensions=self.dimensions, max_tokens=BATCH_TOKENS, on_progress=on_progress
        )

    def _run_batch(self, batch: Sequence[TokenArray]) -> FloatArray:
        n_tokens = sum(map(len, batch))
        return self._queue.run(partial(self._rows_of_batch, batch), n_tokens)

    def _rows_of_batch(self, batch: Sequence[TokenArray]) -> FloatArray:
        lengths = np.array([len(text) for text in batch])
        ends = np.cumsum(lengths)
        wanted = {"last": ends - 1, "cls": ends - lengths, "mean": np.arange(ends[-1])}[self._pooling]
        positions = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
        inputs = {
            "states": self._states(np.concatenate(batch), positions),
            **self._rotations(positions),
            **_places(lengths),
            "wanted": wanted.astype(np.int64),
        }
        states = self._run(inputs)
        if self._pooling != "mean":
            return states
        return np.asarray(np.add.reduceat(states, ends - lengths) / lengths[:, None], np.float32)

    def _run(self, inputs: dict[str, NDArray[Any]]) -> FloatArray:
        import onnxruntime

        options = onnxruntime.RunOptions()
        if len(inputs["states"]) > BATCH_TOKENS:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")  # a long text's memory
        try:
            (states,) = self._session.run(["vectors"], inputs, options)
        except Exception as error:  # its errors have no class in common but this
            raise BackendError(
                f"ONNX Runtime could not compute a batch of {len(inputs['states']):,} tokens ({error}). Try shorter "
                "texts, or leave out the backend."
            ) from error
        return np.asarray(states, np.float32)

    def _states(self, tokens: TokenArray, positions: NDArray[np.intp]) -> FloatArray:
        states = self._weights.rows("token_embd.weight", tokens)
        if self._network.positions:
            states = states + self._weights.rows("position_embd.weight", positions)
        if "token_types.weight" in self._weights:
            states = states + self._weights.rows("token_types.weight", np.zeros(1, np.intp))  # all of the first text
        return states

    def _rotations(self, positions: NDArray[np.intp]) -> dict[str, FloatArray]:
        if not self._network.rotation_base:
            return {}
        width = self._network.head_width
        frequencies = self._network.rotation_base ** (-np.arange(0, width, 2) / width)
        angles = np.tile(positions[:, None] * frequencies, 2)[:, None, :]
        return {"cosines": np.cos(angles).astype(np.float32), "sines": np.sin(angles).astype(np.float32)}


def _places(lengths: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    """Texts in the rows of the attention, each as wide as the longest text."""
    n_places = int(lengths.max())
    block = n_places if n_places <= BATCH_TOKENS else ATTENTION_BLOCK
    n_places += -n_places % block
    starts = np.cumsum(lengths) - lengths
    rows = list(pack(lengths.tolist(), max_tokens=n_places))
    places = np.zeros((len(rows), n_places), np.int64)
    texts = np.full(places.shape, -1, np.int32)
    back = np.empty(lengths.sum(), np.int64)
    for row, members in enumerate(rows):
        at = 0
        for text in members:
            tokens = np.arange(starts[text], starts[text] + lengths[text])
            until = at + len(tokens)
            places[row, at:until], texts[row, at:until] = tokens, text
            back[tokens] = row * n_places + np.arange(at, until)
            at = until
    return {"places": places, "texts": texts, "back": back, "block": np.array([block], np.int64)}


def _providers(settings: SessionSettings) -> list[tuple[str, dict[str, str]]]:
    """The execution providers of a device, with what makes them compute in float32."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError.for_extra("onnxruntime", "onnx") from error
    processor = ("CPUExecutionProvider", dict[str, str]())
    if settings.device in ("", "cpu"):
        return [processor]
    names = {name.removesuffix("ExecutionProvider").lower(): name for name in onnxruntime.get_available_providers()}
    if settings.device not in names or settings.precision != "f32":
        raise UnknownBackendError(
            f"ONNX Runtime can't compute {settings.precision} on the device {settings.device!r}. It has "
            f"{', '.join(names)} here, all but cpu for f32 alone; CUDA comes with the package onnxruntime-gpu."
        )
    # TensorFloat-32 keeps 10 of 23 bits. Source: "CUDA Execution Provider" of ONNX Runtime's documentation.
    return [(names[settings.device], {"use_tf32": "0"} if settings.device == "cuda" else {}), processor]


def _open_session(graph: Path, *, n_threads: int, providers: list[tuple[str, dict[str, str]]]) -> Any:  # noqa: ANN401
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads or available_cores()
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # the shapes of two batches are hardly ever the same
    # Threads that spin while they wait cost a question on a busy machine twice the time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(graph, options, providers=providers)
    _sessions.add(session)
    return session


_models: "WeakValueDictionary[tuple[object, ...], OnnxModel]" = WeakValueDictionary()
_models_lock = Lock()
_sessions: "WeakSet[Any]" = WeakSet()


def _after_fork_in_child() -> None:
    """Free none of the parent's sessions, here or at exit: that joins their threads, which a child doesn't have."""
    global _models_lock
    _models_lock = Lock()  # a fork may copy it while another thread holds it
    for session in _sessions:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))
    libc = ctypes.CDLL(None)
    if _sessions and hasattr(libc, "on_exit"):  # glibc's; the last one that is set comes first
        libc.on_exit(libc._exit, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
