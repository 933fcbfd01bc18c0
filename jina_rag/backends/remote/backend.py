"""An `EmbeddingBackend` over any engine behind an address.

Each text is sent once, in batches within the server's limits, several requests in flight; vectors are checked before
anything is returned. If the server stays away, the call fails; ingestion keeps the batches that were finished before.
"""

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Lock
from typing import TypeAlias, TypeVar

import numpy as np

from jina_rag.backends.base import BackendResult, EmbeddingBackend, ProgressCallback, encode_utf8
from jina_rag.backends.remote.address import BackendAddress
from jina_rag.backends.remote.engine import EmbeddingResponse, Engine, RemoteInput, ServerInfo
from jina_rag.backends.remote.http import StatusError
from jina_rag.errors import BackendError, InputTooLongError
from jina_rag.models import ModelSpec
from jina_rag.vectors import FloatArray

RECHECK_AFTER_S = 60.0
"""A server may come back with another model; after so many seconds, it is asked again what it holds."""

EngineMaker: TypeAlias = Callable[[BackendAddress, ModelSpec], Engine]
Result = TypeVar("Result")
_Row: TypeAlias = tuple[FloatArray, int | None]  # a vector, and the tokens read for it


@dataclass
class _Connected:
    engine: Engine
    info: ServerInfo
    dimensions: int
    pid: int = field(default_factory=os.getpid)
    checked_at: float = field(default_factory=time.monotonic)


class RemoteBackend(EmbeddingBackend):
    """An engine behind an address. Connects at the first use; pickles as its address."""

    def __init__(self, address: BackendAddress, spec: ModelSpec, make_engine: EngineMaker) -> None:
        """Open nothing yet.

        Args:
            address: Where the engine is.
            spec: The row of the model that it should run.
            make_engine: Makes the engine; a function of a module, so that it can be pickled.
        """
        self.address = address
        self.spec = spec
        self._make_engine = make_engine
        self._connected: _Connected | None = None
        self._identity: str | None = None
        self._lock = Lock()

    @property
    def dimensions(self) -> int:
        """Width of the full vector."""
        return self._connection().dimensions

    @property
    def identity(self) -> str:
        """What the server's model is, or what its user stated that it is."""
        return self.address.weights or self.server_info.identity

    @property
    def server_info(self) -> ServerInfo:
        """What the server says of its model. Raises as `Engine.describe` does."""
        return self._connection().info

    def embed(
        self,
        texts: Sequence[str],
        *,
        max_tokens: int,
        truncate: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> BackendResult:
        """Embed texts, equal ones once. Raises as `EmbeddingBackend.embed` does.

        Raises:
            BackendUnavailableError: the server stayed away.
        """
        encode_utf8(texts)
        connected = self._connection()
        limit = min(max_tokens, connected.info.max_input_tokens or max_tokens)
        unique = list(dict.fromkeys(texts))
        prepare = partial(connected.engine.prepare, max_tokens=limit)
        by_text = dict(zip(unique, self._in_slices(connected, unique, prepare), strict=True))
        inputs = [by_text[text] for text in texts]
        too_long = tuple(index for index, each in enumerate(inputs) if each.is_too_long)
        if too_long and not truncate:
            raise InputTooLongError(too_long[0], inputs[too_long[0]].n_tokens or 0, limit)
        rows = self._embed_all(connected, inputs, on_progress)
        vectors = np.empty((len(texts), connected.dimensions), np.float32)
        counts = []
        for index, each in enumerate(inputs):
            vectors[index], n_tokens = rows[each]
            counts += [n_tokens] if n_tokens is not None else []
        return BackendResult(vectors, tuple(counts) if len(counts) == len(texts) else (), too_long)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, special tokens included.

        Raises:
            BackendError: this server can't tell; the message says what to do.
        """
        encode_utf8(texts)
        connected = self._connection()
        return self._in_slices(connected, texts, connected.engine.count_tokens)

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        with self._lock:
            if self._connected is not None and self._connected.pid == os.getpid():
                self._connected.engine.close()
            self._connected = None

    def _connection(self) -> _Connected:
        with self._lock:
            connected = self._connected
            # After a fork the sockets are shared with the parent, so the child opens its own.
            if connected is None or connected.pid != os.getpid():
                connected = self._connect()
            elif time.monotonic() - connected.checked_at > RECHECK_AFTER_S:
                self._check_same(connected)
            self._connected = connected
            return connected

    def _connect(self) -> _Connected:
        engine = self._make_engine(self.address, self.spec)
        info = engine.describe()
        self._check_identity(info)
        dimensions = info.dimensions
        if dimensions is None:
            inputs = engine.prepare([self.spec.prompts.document + "a"], max_tokens=self.spec.max_input_tokens)
            dimensions = engine.send(inputs, Event()).vectors.shape[-1]
        return _Connected(engine, info, dimensions)

    def _check_same(self, connected: _Connected) -> None:
        began = time.monotonic()
        connected.checked_at = -math.inf  # every later call asks again unless this one ends well
        self._check_identity(connected.engine.describe())
        connected.checked_at = began

    def _check_identity(self, info: ServerInfo) -> None:
        if self._identity is None:
            self._identity = info.identity
        if info.identity != self._identity:
            raise BackendError(
                f"{self.address} now holds another model ({info.identity} instead of {self._identity}). Create the "
                "embedder again, and rebuild the indexes made with the other."
            )

    def _in_slices(
        self, connected: _Connected, texts: Sequence[str], work: Callable[[Sequence[str]], list[Result]]
    ) -> list[Result]:
        """Do something with as many texts at a time as the server takes, several times at once."""
        size = connected.info.max_batch_texts
        slices = [texts[start : start + size] for start in range(0, len(texts), size)]
        if len(slices) <= 1:
            return work(texts) if texts else []
        with ThreadPoolExecutor(self.address.concurrency) as threads:
            return [result for part in threads.map(work, slices) for result in part]

    def _embed_all(
        self, connected: _Connected, inputs: Sequence[RemoteInput], on_progress: ProgressCallback | None
    ) -> dict[RemoteInput, _Row]:
        n_equal = Counter(inputs)
        batches = list(pack(list(n_equal), connected.info))
        rows: dict[RemoteInput, _Row] = {}
        cancelled = Event()
        with ThreadPoolExecutor(max(1, min(self.address.concurrency, len(batches)))) as threads:
            futures = {threads.submit(self._embed_batch, connected, batch, cancelled): batch for batch in batches}
            try:
                for future in as_completed(futures):
                    batch = futures[future]
                    rows.update(zip(batch, future.result(), strict=True))
                    if on_progress:
                        on_progress(sum(n_equal[each] for each in batch))
            except BaseException:  # Ctrl-C too ends what is in flight
                cancelled.set()
                threads.shutdown(cancel_futures=True)
                raise
        return rows

    def _embed_batch(self, connected: _Connected, batch: Sequence[RemoteInput], cancelled: Event) -> list[_Row]:
        try:
            response = connected.engine.send(batch, cancelled)
        except StatusError as error:
            if error.status != 413 or len(batch) == 1:
                raise
            middle = len(batch) // 2
            return [
                *self._embed_batch(connected, batch[:middle], cancelled),
                *self._embed_batch(connected, batch[middle:], cancelled),
            ]
        if connected.engine.policy.interrupted_at >= connected.checked_at:
            self._check_same(connected)
        self._check_response(response, batch, connected.dimensions)
        return list(zip(response.vectors, response.token_counts or [each.n_read for each in batch], strict=True))

    def _check_response(self, response: EmbeddingResponse, batch: Sequence[RemoteInput], dimensions: int) -> None:
        """Refuse a response that doesn't fit the request; it is better to stop than to store it."""
        if response.vectors.shape != (len(batch), dimensions):
            raise BackendError(
                f"{self.address} gave vectors of shape {response.vectors.shape} instead of "
                f"{(len(batch), dimensions)}. Check that it serves embeddings, and which model."
            )
        if not np.isfinite(response.vectors).all():
            raise BackendError(
                f"{self.address} gave vectors with NaN or infinity in them. Check its log; the model's file may be "
                "damaged."
            )
        known = [each.n_read for each in batch if each.n_read is not None]
        n_sent = sum(known)
        if response.n_tokens is None or len(known) < len(batch) or response.n_tokens == n_sent:
            return
        reason = (
            "it cuts long texts without saying so. Raise its limits on batch and context, or pass shorter texts."
            if response.n_tokens < n_sent
            else "it adds something to them, perhaps a prompt, and they have theirs already. Switch that off there."
        )
        raise BackendError(f"{self.address} read {response.n_tokens:,} tokens of texts that have {n_sent:,}: {reason}")

    def __getstate__(self) -> dict[str, object]:
        return {
            "address": self.address,
            "spec": self.spec,
            "_make_engine": self._make_engine,
            "_identity": self._identity,
        }

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _connected=None, _lock=Lock())

    def __repr__(self) -> str:
        return f"RemoteBackend({str(self.address)!r}, {self.spec.name!r})"


def pack(inputs: Sequence[RemoteInput], info: ServerInfo) -> Iterator[list[RemoteInput]]:
    """Fill requests up to the server's limits, in order; a larger input goes alone, and so does each task."""
    batch: list[RemoteInput] = []
    n_tokens = n_bytes = 0
    for each in inputs:
        # Where nobody counts, a byte is taken for a token, which is more than it can be.
        tokens, size = each.n_read or each.n_bytes, each.n_bytes
        if batch and (
            len(batch) == info.max_batch_texts
            or n_tokens + tokens > info.max_batch_tokens
            or n_bytes + size > info.max_batch_bytes
            or each.task != batch[0].task
        ):
            yield batch
            batch, n_tokens, n_bytes = [], 0, 0
        batch.append(each)
        n_tokens += tokens
        n_bytes += size
    if batch:
        yield batch
