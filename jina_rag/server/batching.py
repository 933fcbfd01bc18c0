"""Joins the texts of many requests into calls of the engine, without long requests holding up short ones.

Waiting requests stand in two lanes, short ones and long ones, each served by a thread of its own. The engine takes a
batch from each caller in turn, so while both lanes have work each gets half of the batches: a query waits for the
batch that is being computed, not for the documents before it, and a flood of queries leaves documents their half.
Within a lane every request gives one text in turn, so no request waits for the whole of another.

A call is as large as one batch of the engine and filled with what fits, so that no batch runs half empty. On a slow
machine such a batch lasts a second, and a query waits for it; so for a while after each query the documents'
batches are only as large as the engine was seen to compute in `BATCH_SECONDS`.
"""

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Literal, TypeAlias

import numpy as np

from jina_rag.backends.base import EmbeddingBackend
from jina_rag.server.turns import Turns
from jina_rag.vectors import FloatArray

LaneName: TypeAlias = Literal["short", "long"]

SHORT_REQUEST_TOKENS = 64
"""A request of up to so many tokens in all goes to the short lane: a query, or a few words. Not more, because every
batch costs something, however small it is."""

BATCH_SECONDS = 0.25
"""How long a batch of documents should last while queries come."""

MIN_BATCH_TOKENS = 128
"""A batch of documents is not made smaller than this: each costs something, with 256 tokens a 14th of the speed."""

QUERY_WINDOW_S = 30.0
"""Seconds after a query in which another is to be expected: people read an answer, then ask on."""


class QueueFullError(Exception):
    """The queue has no room for a request.

    Attributes:
        retry_after: Seconds after which there should be room.
    """

    def __init__(self, retry_after: float) -> None:
        super().__init__()
        self.retry_after = retry_after


@dataclass(frozen=True)
class BatchedResult:
    """What came of one request.

    Attributes:
        vectors: Pooled states, float32 of shape (n, d), neither cut nor normalised.
        truncated: Positions of the texts that were cut.
        queued_s: Seconds until the first of its texts was taken up.
        computed_s: Seconds from then until the last was done.
    """

    vectors: FloatArray
    truncated: tuple[int, ...]
    queued_s: float
    computed_s: float


@dataclass(eq=False)
class QueuedRequest:
    """One request in the queue.

    Attributes:
        texts: With their prompts.
        token_counts: Of each text.
        lane: Where it waits.
        result: Comes when all of its texts are done.
        n_taken: How many of its texts were put into a batch.
        is_cancelled: Whether nobody waits for it any more.
    """

    texts: Sequence[str]
    token_counts: Sequence[int]
    lane: LaneName
    result: "Future[BatchedResult]" = field(default_factory=Future)
    n_taken: int = 0
    is_cancelled: bool = False
    _submitted: float = field(default_factory=time.monotonic)
    _started: float = 0.0
    _n_done: int = 0
    _vectors: FloatArray | None = None
    _truncated: list[int] = field(default_factory=list)

    def take(self) -> int:
        """The position of its next text, which is then being computed."""
        if not self.n_taken:
            self._started = time.monotonic()
        self.n_taken += 1
        return self.n_taken - 1

    def put(self, position: int, vector: FloatArray, *, truncated: bool) -> None:
        """Take the vector of one text; the last one completes the result."""
        if self._vectors is None:
            self._vectors = np.empty((len(self.texts), len(vector)), np.float32)
        self._vectors[position] = vector
        if truncated:
            self._truncated.append(position)
        self._n_done += 1
        if self._n_done == len(self.texts) and not self.result.done():
            self.result.set_result(
                BatchedResult(
                    vectors=self._vectors,
                    truncated=tuple(sorted(self._truncated)),
                    queued_s=self._started - self._submitted,
                    computed_s=time.monotonic() - self._started,
                )
            )


Part: TypeAlias = tuple[QueuedRequest, int]
"""One text of a batch: its request and its position there."""

BatchCallback = Callable[[LaneName, int, int, float], None]
"""Called after each call of the engine with its lane, texts, tokens and seconds."""


class _CancelledBatchError(Exception):
    pass


@dataclass
class _Lane:
    name: LaneName
    waiting: "deque[QueuedRequest]" = field(default_factory=deque)
    last_tokens: int = 0
    last_rates: "deque[float]" = field(default_factory=lambda: deque(maxlen=5))

    @property
    def tokens_per_s(self) -> float:
        """How fast its last calls were; 0 before the first. One that was disturbed doesn't count for much."""
        return statistics.median(self.last_rates) if self.last_rates else 0.0


class Batcher:
    """The queue before an engine, and the threads that empty it."""

    def __init__(
        self,
        backend: EmbeddingBackend,
        *,
        max_input_tokens: int,
        batch_tokens: int,
        max_queue_tokens: int,
        on_batch: BatchCallback,
        turns: Turns | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the threads; `close` ends them.

        Args:
            backend: The engine.
            max_input_tokens: The longest text; longer ones are cut, so refuse those that must not be before.
            batch_tokens: Tokens in one call: best as many as the engine computes at a time.
            max_queue_tokens: Tokens that may wait or be computed; a lone request may exceed it.
            on_batch: Called after each call of the engine.
            turns: What the engine shares its cores by with a reranker.
            clock: Seconds, from wherever.
        """
        self._backend = backend
        self._max_input_tokens = max_input_tokens
        self._batch_tokens = batch_tokens
        self._max_queue_tokens = max_queue_tokens
        self._on_batch = on_batch
        self._turns = turns or Turns()
        self._clock = clock
        self._lanes: dict[LaneName, _Lane] = {"short": _Lane("short"), "long": _Lane("long")}
        self._changed = Condition()
        self._closing = False
        self._tokens = 0
        self._last_query = self._last_end = -math.inf
        self._threads = [
            Thread(target=self._serve, args=(lane,), name=f"jina-rag-{lane.name}-lane", daemon=True)
            for lane in self._lanes.values()
        ]
        for thread in self._threads:
            thread.start()

    @property
    def tokens(self) -> int:
        """Tokens that wait or are being computed."""
        return self._tokens

    @property
    def is_alive(self) -> bool:
        """Whether both lanes are served."""
        return all(thread.is_alive() for thread in self._threads)

    def waiting_requests(self, lane: LaneName) -> int:
        """Requests in a lane with texts that nobody took yet."""
        return len(self._lanes[lane].waiting)

    def submit(self, texts: Sequence[str], token_counts: Sequence[int]) -> QueuedRequest:
        """Put a request of at least one text into the queue.

        Args:
            texts: With their prompts.
            token_counts: Of each text, as far as it will be read.

        Raises:
            QueueFullError: too many tokens wait already.
        """
        n_tokens = sum(token_counts)
        request = QueuedRequest(texts, token_counts, "short" if n_tokens <= SHORT_REQUEST_TOKENS else "long")
        request.result.set_running_or_notify_cancel()  # a waiter that gives up calls cancel() here, not on the future
        with self._changed:
            if self._tokens and self._tokens + n_tokens > self._max_queue_tokens:
                raise QueueFullError(self._seconds_until_empty())
            if request.lane == "short":
                self._last_query = self._clock()
            self._tokens += n_tokens
            self._lanes[request.lane].waiting.append(request)
            self._changed.notify_all()
        return request

    def cancel(self, request: QueuedRequest) -> None:
        """Forget a request: its waiting texts, and what is computed for nobody else, at the engine's next pause."""
        with self._changed:
            request.is_cancelled = True
            lane = self._lanes[request.lane]
            if request in lane.waiting:
                lane.waiting.remove(request)
                self._tokens -= sum(request.token_counts[request.n_taken :])
                request.n_taken = len(request.texts)

    def close(self) -> None:
        """Finish all that was taken, then end the threads."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _serve(self, lane: _Lane) -> None:
        while parts := self._next_batch(lane):
            n_tokens = sum(request.token_counts[position] for request, position in parts)
            with self._turns.hold("embedder"):
                started = self._clock()
                self._embed(parts)
            with self._changed:
                ended = self._clock()
                # The engine takes one call at a time, so this one didn't begin before the other lane's had ended.
                seconds = ended - max(started, self._last_end)
                self._last_end = ended
                self._tokens -= n_tokens
                lane.last_tokens = n_tokens
                lane.last_rates.append(n_tokens / max(seconds, 1e-6))
            self._on_batch(lane.name, len(parts), n_tokens, seconds)

    def _room(self, lane: _Lane) -> int:
        """Tokens of its next call."""
        if lane.name == "short" or self._clock() - self._last_query > QUERY_WINDOW_S:
            return self._batch_tokens
        wanted = max(MIN_BATCH_TOKENS, int(lane.tokens_per_s * BATCH_SECONDS))
        # Where there are many queries at a time, their batches are large too, and documents must keep their half.
        return min(self._batch_tokens, max(wanted, self._lanes["short"].last_tokens))

    def _seconds_until_empty(self) -> float:
        """How long what is in the queue will take, if it is computed as fast as the last calls were."""
        rate = self._lanes["long"].tokens_per_s or self._lanes["short"].tokens_per_s
        return self._tokens / rate if rate else 1.0

    def _next_batch(self, lane: _Lane) -> list[Part]:
        """One text from each request in turn while it fits; nothing once the queue is closed and empty."""
        parts: list[Part] = []
        passed_over: list[QueuedRequest] = []
        with self._changed:
            self._changed.wait_for(lambda: lane.waiting or self._closing)
            room = self._room(lane)
            while lane.waiting and room > 0:
                request = lane.waiting.popleft()
                n_tokens = request.token_counts[request.n_taken]
                if parts and n_tokens > room:
                    passed_over.append(request)
                    continue
                parts.append((request, request.take()))
                room -= n_tokens
                if request.n_taken < len(request.texts):
                    lane.waiting.append(request)
            lane.waiting.extendleft(reversed(passed_over))  # they come first in the next call
        return parts

    def _embed(self, parts: list[Part]) -> None:
        """Compute a batch; if that fails, each request by itself, so that none suffers from another's text."""
        n_left = len(parts)

        def check(n_done: int) -> None:
            nonlocal n_left
            n_left -= n_done
            if all(request.is_cancelled for request, _ in parts):
                raise _CancelledBatchError
            if n_left:
                self._turns.pass_on("embedder")

        try:
            result = self._backend.embed(
                [request.texts[position] for request, position in parts],
                max_tokens=self._max_input_tokens,
                truncate=True,
                on_progress=check,
            )
        except _CancelledBatchError:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, it must reach the one who waits, not end the thread
            requests = list(dict.fromkeys(request for request, _ in parts))
            if len(requests) == 1:
                self._fail(requests[0], error)
                return
            for request in requests:
                self._embed([part for part in parts if part[0] is request])
            return
        cut = set(result.truncated)
        for index, (request, position) in enumerate(parts):
            request.put(position, result.vectors[index], truncated=index in cut)

    def _fail(self, request: QueuedRequest, error: Exception) -> None:
        self.cancel(request)
        if not request.result.done():
            request.result.set_exception(error)
