"""What every engine behind an address has in common: one `EmbeddingBackend` over any of them.

An `Engine` says what its server holds, turns texts into what is sent, and sends one request. `RemoteBackend` does the
rest: each text once, batches by the server's limits, several requests on their way, order kept, vectors checked, and
whatever was finished kept when the server goes away.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Lock
from typing import Protocol, TypeAlias, TypeVar

import numpy as np

from jina_rag.backends.base import BackendResult, EmbeddingBackend, ProgressCallback, encode_utf8
from jina_rag.backends.remote.address import BackendAddress
from jina_rag.backends.remote.http import StatusError
from jina_rag.errors import BackendError, BackendUnavailableError, InputTooLongError, UnknownModelError
from jina_rag.models import ModelSpec, get_model_spec, list_models
from jina_rag.vectors import FloatArray

RECHECK_AFTER_S = 60.0
"""A server may come back with another model in it; one that was not asked for so long is asked again what it holds."""

SPECIAL_TOKENS = 8
"""More than any tokenizer puts around a text. A token covers a byte at least, so a text of few bytes surely fits."""

GROWTH = 3
"""How many times more bytes a text may have after a tokenizer has composed or decomposed its characters."""

Payload: TypeAlias = str | tuple[int, ...]
Result = TypeVar("Result")
_Row: TypeAlias = tuple[FloatArray, int | None]  # a vector, and the tokens read for it


@dataclass(frozen=True, kw_only=True)
class ServerInfo:
    """What a server says of its model.

    Attributes:
        kind: Which program it is.
        name: The model's name there.
        identity: What tells these vectors from others; the address is no part of it, so that a server may move.
        quantization: How the weights are stored; empty where it doesn't say.
        dimensions: Width of the full vector; None where it doesn't say.
        max_input_tokens: The longest text it reads; None where it doesn't say.
        max_batch_texts: Texts in one request.
        max_batch_tokens: Tokens in one request.
        max_batch_bytes: Bytes of text in one request.
    """

    kind: str
    name: str
    identity: str
    quantization: str = ""
    dimensions: int | None = None
    max_input_tokens: int | None = None
    max_batch_texts: int = 32
    max_batch_tokens: int = 16_384
    max_batch_bytes: int = 1_000_000


@dataclass(frozen=True, kw_only=True)
class RemoteInput:
    """A text as it is sent.

    Attributes:
        payload: The text or its tokens.
        n_tokens: How many it has before any cut; None where nobody can tell.
        task: What a service that adds prompts itself is told; only inputs of one task travel together.
        limit: Tokens to cut it to; None leaves it whole.
    """

    payload: Payload
    n_tokens: int | None
    task: str = ""
    limit: int | None = None

    @property
    def n_read(self) -> int | None:
        """How many tokens the model reads of it."""
        return self.n_tokens if self.limit is None else self.limit

    @property
    def n_bytes(self) -> int:
        """About how much room it takes in a request."""
        return len(self.payload.encode()) if isinstance(self.payload, str) else 7 * len(self.payload)


@dataclass(frozen=True, kw_only=True)
class EmbeddingResponse:
    """What came back for one request.

    Attributes:
        vectors: float32 of shape (n, d), in the order of the inputs.
        n_tokens: What the server says that it read in all; None where it doesn't say, or where it is no exact count.
        token_counts: The same for each text, where it says.
    """

    vectors: FloatArray
    n_tokens: int | None = None
    token_counts: tuple[int, ...] | None = None


class Engine(Protocol):
    """One kind of server: what differs from the next kind, and nothing else. Safe to call from many threads."""

    def describe(self) -> ServerInfo:
        """Ask the server what it is.

        Raises:
            BackendUnavailableError: it does not answer.
            BackendError: it cannot be used for this model; the message says why.
        """

    def prepare(self, texts: Sequence[str], *, max_tokens: int) -> list[RemoteInput]:
        """Texts, prompts included, as they are to be sent; one of more than `max_tokens` gets that as its limit."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has.

        Raises:
            BackendError: this server can't tell.
        """

    def send(self, inputs: Sequence[RemoteInput], cancelled: Event) -> EmbeddingResponse:
        """One request, tried again as long as that may help and nobody has cancelled it."""

    @property
    def interrupted_at(self) -> float:
        """When the server was away last, as `time.monotonic` tells it; it may hold another model since."""

    def close(self) -> None:
        """Close the connections."""


EngineMaker: TypeAlias = Callable[[BackendAddress, ModelSpec], Engine]


class DescribedBackend(EmbeddingBackend, Protocol):
    """An engine that was set up by somebody else, and can say what is in it."""

    @property
    def server_info(self) -> ServerInfo:
        """What it says of its model. Raises as `Engine.describe` does."""


@dataclass
class _Connected:
    """An engine that has been asked what it is."""

    engine: Engine
    info: ServerInfo
    dimensions: int
    pid: int = field(default_factory=os.getpid)
    checked_at: float = field(default_factory=time.monotonic)


class RemoteBackend:
    """A model behind an address. Connects at the first need; pickles as the address and the model's row."""

    def __init__(self, address: BackendAddress, spec: ModelSpec, make_engine: EngineMaker) -> None:
        """Name a server; it is not asked anything yet.

        Args:
            address: Where it is, and how to treat it.
            spec: The row of the model that it should hold.
            make_engine: Makes the engine; a function of a module, so that it can be pickled.
        """
        self.address = address
        self.spec = spec
        self._make_engine = make_engine
        self._connected: _Connected | None = None
        self._identity: str | None = None
        self._lock = Lock()
        self._kept: dict[RemoteInput, _Row] = {}

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
        """What the server says of its model."""
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

        Where the server goes away in the middle, what is finished is kept: the next call goes on from there.

        Raises:
            BackendUnavailableError: it stayed away; the message says how far it got.
        """
        encode_utf8(texts)
        connected = self._connection()
        limit = min(max_tokens, connected.info.max_input_tokens or max_tokens)
        prepare = partial(connected.engine.prepare, max_tokens=limit)
        positions: dict[str, list[int]] = {}
        for index, text in enumerate(texts):
            positions.setdefault(text, []).append(index)
        inputs = dict(zip(positions, self._in_slices(connected, list(positions), prepare), strict=True))
        _refuse_long(positions, inputs, limit, truncate=truncate)
        n_equal: dict[RemoteInput, int] = {}
        for text, item in inputs.items():
            n_equal[item] = n_equal.get(item, 0) + len(positions[text])
        done = self._embed_all(connected, n_equal, on_progress)
        vectors = np.empty((len(texts), connected.dimensions), np.float32)
        counts: list[int | None] = [None] * len(texts)
        for text, item in inputs.items():
            vectors[positions[text]], n_tokens = done[item]
            for index in positions[text]:
                counts[index] = n_tokens
        known = tuple(count for count in counts if count is not None)
        cut = sorted(index for text, item in inputs.items() if item.limit is not None for index in positions[text])
        return BackendResult(vectors, known if len(known) == len(texts) else (), tuple(cut))

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
            self._kept.clear()

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
        self._accept(info)
        dimensions = info.dimensions
        if dimensions is None:
            (item,) = engine.prepare([self.spec.prompts.document + "a"], max_tokens=self.spec.max_input_tokens)
            dimensions = engine.send([item], Event()).vectors.shape[-1]
        return _Connected(engine, info, dimensions)

    def _check_same(self, connected: _Connected) -> None:
        began = time.monotonic()
        connected.checked_at = -math.inf  # every later call asks again unless this one ends well
        self._accept(connected.engine.describe())
        connected.checked_at = began

    def _accept(self, info: ServerInfo) -> None:
        """Take a server for the one that was there before, or refuse to go on."""
        if self._identity is None:
            self._identity = info.identity
        if info.identity != self._identity:
            raise BackendError(
                f"{self.address} now holds another model ({info.identity} instead of {self._identity}). Make the "
                "embedder anew, and rebuild what was made with the other."
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
        self, connected: _Connected, n_equal: dict[RemoteInput, int], on_progress: ProgressCallback | None
    ) -> dict[RemoteInput, _Row]:
        """A row for each input; `n_equal` says how many texts each stands for."""
        done = {item: row for item in n_equal if (row := self._kept.get(item)) is not None}
        _report(on_progress, n_equal, done)
        batches = list(pack([item for item in n_equal if item not in done], connected.info))
        cancelled = Event()
        with ThreadPoolExecutor(max(1, min(self.address.concurrency, len(batches)))) as threads:
            futures = {threads.submit(self._embed_batch, connected, batch, cancelled): batch for batch in batches}
            try:
                for future in as_completed(futures):
                    rows = dict(zip(futures[future], future.result(), strict=True))
                    _report(on_progress, n_equal, rows)
                    done |= rows
            except BaseException as error:  # Ctrl-C too must not lose what is finished
                cancelled.set()
                threads.shutdown(cancel_futures=True)
                done |= _finished(futures)
                self._kept |= done
                if isinstance(error, BackendUnavailableError):
                    raise _telling_how_far(error, n_equal, done) from error
                raise
        for item in done:
            self._kept.pop(item, None)
        return done

    def _embed_batch(self, connected: _Connected, batch: Sequence[RemoteInput], cancelled: Event) -> list[_Row]:
        try:
            answer = connected.engine.send(batch, cancelled)
        except StatusError as error:
            if not error.is_too_large or len(batch) == 1:
                raise
            middle = len(batch) // 2
            halves = batch[:middle], batch[middle:]
            return [row for half in halves for row in self._embed_batch(connected, half, cancelled)]
        if connected.engine.interrupted_at >= connected.checked_at:
            self._check_same(connected)
        self._check(answer, batch, connected.dimensions)
        counts: Sequence[int | None] = answer.token_counts or [item.n_read for item in batch]
        return list(zip(answer.vectors, counts, strict=True))

    def _check(self, answer: EmbeddingResponse, batch: Sequence[RemoteInput], dimensions: int) -> None:
        """Refuse what is no answer to the request; it is better to stop than to store it."""
        if answer.vectors.shape != (len(batch), dimensions):
            raise BackendError(
                f"{self.address} gave vectors of shape {answer.vectors.shape}, and {(len(batch), dimensions)} was "
                "asked for. Check that it serves embeddings, and which model."
            )
        if not np.isfinite(answer.vectors).all():
            raise BackendError(
                f"{self.address} gave vectors with numbers that are none. Look into its log; the model's file may be "
                "damaged."
            )
        known = [item.n_read for item in batch if item.n_read is not None]
        if answer.n_tokens is None or len(known) < len(batch) or answer.n_tokens == sum(known):
            return
        if answer.n_tokens < sum(known):
            raise BackendError(
                f"{self.address} read {answer.n_tokens:,} tokens of texts that have {sum(known):,}: it cuts long texts "
                "without saying so. Raise its limits on batch and context, or pass shorter texts."
            )
        raise BackendError(
            f"{self.address} read {answer.n_tokens:,} tokens of texts that have {sum(known):,}: it adds something to "
            "them, a prompt perhaps, and theirs are in place already. Switch that off there."
        )

    def __getstate__(self) -> dict[str, object]:
        return {
            "address": self.address,
            "spec": self.spec,
            "_make_engine": self._make_engine,
            "_identity": self._identity,
        }

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _connected=None, _lock=Lock(), _kept={})

    def __repr__(self) -> str:
        return f"RemoteBackend({str(self.address)!r}, {self.spec.name!r})"


def pack(inputs: Sequence[RemoteInput], info: ServerInfo) -> Iterator[list[RemoteInput]]:
    """Fill requests up to the server's limits, in order; a larger input goes alone, and so does each task."""
    batch: list[RemoteInput] = []
    n_tokens = n_bytes = 0
    for item in inputs:
        # Where nobody counts, a byte is taken for a token, which is more than it can be.
        tokens, size = item.n_read or item.n_bytes, item.n_bytes
        if batch and (
            len(batch) == info.max_batch_texts
            or n_tokens + tokens > info.max_batch_tokens
            or n_bytes + size > info.max_batch_bytes
            or item.task != batch[0].task
        ):
            yield batch
            batch, n_tokens, n_bytes = [], 0, 0
        batch.append(item)
        n_tokens += tokens
        n_bytes += size
    if batch:
        yield batch


def known_row(name: str) -> ModelSpec | None:
    """The row of a model as servers name it: by the hub's name, ours, or the name of a published file."""
    bare = name.rpartition("/")[2]
    for spec in list_models():
        if any(file.filename == bare for file in spec.files):
            return spec
    try:
        return get_model_spec(name)
    except UnknownModelError:
        return None


def check_model(name: str, spec: ModelSpec, address: BackendAddress) -> None:
    """Refuse a server that names another model than the one asked for; a name of its user's own may be anything.

    Raises:
        BackendError: it holds another model.
    """
    known = known_row(name)
    # The name of the whole family doesn't say which task's weights are in use.
    is_family = spec.task is not None and name.rpartition("/")[2] == spec.name.removesuffix(f"-{spec.task}")
    if known is not None and known.name != spec.name and not is_family:
        raise BackendError(f"{address} holds {known.name}, not {spec.name}. Name the model that it holds.")


def check_cuts(inputs: Sequence[RemoteInput], max_input_tokens: int | None, where: str) -> bool:
    """Whether an input is to be cut by the server, which can only do that at its own limit.

    Raises:
        BackendError: it is to be cut elsewhere.
    """
    limits = {item.limit for item in inputs if item.limit is not None}
    if limits and limits != {max_input_tokens}:
        raise BackendError(
            f"{where} can't cut a text to {max(limits):,} tokens: its own limit is another, or not known. Split the "
            "texts that are too long, or set that limit there."
        )
    return bool(limits)


def surely_fits(text: str, max_tokens: int) -> bool:
    """Whether a text is short enough for nobody to have to count its tokens."""
    size = len(text) if text.isascii() else GROWTH * len(text.encode())
    return size + SPECIAL_TOKENS <= max_tokens


def rows_to_vectors(rows: Sequence[object], where: str) -> FloatArray:
    """Lists of numbers as one array.

    Raises:
        BackendError: they are no numbers, or not equally many.
    """
    try:
        vectors = np.array(rows, np.float32)
    except (TypeError, ValueError) as error:
        raise BackendError(
            f"{where} gave something else than vectors ({error}). Is it a server for embeddings?"
        ) from error
    if vectors.ndim != 2:
        raise BackendError(
            f"{where} gave {vectors.ndim}-dimensional data instead of one vector a text. Set its pooling: the model's "
            "card says which."
        )
    return vectors


def _refuse_long(
    positions: dict[str, list[int]], inputs: dict[str, RemoteInput], max_tokens: int, *, truncate: bool
) -> None:
    """Hold to the contract: no text is cut unasked, and the first that would have to be is named."""
    too_long = {positions[text][0]: item for text, item in inputs.items() if item.limit is not None}
    if too_long and not truncate:
        index = min(too_long)
        n_tokens = too_long[index].n_tokens
        assert n_tokens is not None  # a limit is only set by who has counted
        raise InputTooLongError(index, n_tokens, max_tokens)


def _report(on_progress: ProgressCallback | None, n_equal: dict[RemoteInput, int], rows: Iterable[RemoteInput]) -> None:
    if on_progress and (n_texts := sum(n_equal[item] for item in rows)):
        on_progress(n_texts)


def _finished(futures: "dict[Future[list[_Row]], list[RemoteInput]]") -> dict[RemoteInput, _Row]:
    return {
        item: row
        for future, batch in futures.items()
        if future.done() and not future.cancelled() and future.exception() is None
        for item, row in zip(batch, future.result(), strict=True)
    }


def _telling_how_far(
    error: BackendUnavailableError, n_equal: dict[RemoteInput, int], done: Iterable[RemoteInput]
) -> BackendUnavailableError:
    n_done, n_texts = sum(n_equal[item] for item in done), sum(n_equal.values())
    return BackendUnavailableError(
        f"{error} {n_done:,} of {n_texts:,} texts were finished and are kept: pass the same ones again to go on there."
    )
