"""The one thread that may compute with a model, and the order in which batches come to it.

Deficit round robin over two lanes. A batch of a few tokens, a question say, goes before the batches of documents until
such batches have cost as much as one of documents; then a batch of documents has its turn. Within a lane who comes
first is served first, and each caller has one batch here at a time, so callers take turns.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")

SMALL_BATCH_TOKENS = 64
"""A batch of up to so many tokens goes before larger ones, and costs as much as one of so many."""


class BatchQueue:
    """Runs steps of work one at a time, in a thread of their own. Safe to call from many threads."""

    def __init__(self, batch_tokens: int) -> None:
        """Take the size of a large batch; the thread starts with the first step and ends with this object."""
        # One thread, not a lock: OpenMP keeps one team of threads for it instead of one for each caller.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jina-rag-llama")
        self._batch_tokens = batch_tokens
        self._small: deque[tuple[int, Callable[[], None]]] = deque()
        self._large: deque[tuple[int, Callable[[], None]]] = deque()
        self._credit = batch_tokens  # tokens that small batches may still take before the next large one
        self._lock = Lock()

    def run(self, work: Callable[[], T], n_tokens: int) -> T:
        """Wait for the turn of a step of work, and give its result; a caller who is interrupted leaves the queue."""
        future = self.submit(work, n_tokens)
        try:
            return future.result()
        finally:
            future.cancel()  # nothing happens where it has begun

    def submit(self, work: Callable[[], T], n_tokens: int) -> "Future[T]":
        """Put a step of work on as many tokens into its lane."""
        future: Future[T] = Future()
        lane = self._small if n_tokens <= SMALL_BATCH_TOKENS else self._large
        with self._lock:
            lane.append((n_tokens, lambda: _fulfil(future, work)))
        self._thread.submit(self._run_next)
        return future

    def _run_next(self) -> None:
        with self._lock:
            if self._small and (self._credit > 0 or not self._large):
                n_tokens, step = self._small.popleft()
                if self._large:
                    self._credit -= max(n_tokens, SMALL_BATCH_TOKENS)
            else:
                _, step = self._large.popleft()
                self._credit = self._batch_tokens
        step()


def _fulfil(future: "Future[Any]", work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is for the caller who waits
        future.set_exception(error)
