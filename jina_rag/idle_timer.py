"""Give memory back after a time without use."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Timer


class IdleTimer:
    """Calls a function once nothing has run inside `busy` for some seconds. Safe to use from many threads."""

    def __init__(self, seconds: float, on_idle: Callable[[], object]) -> None:
        """Start nothing yet.

        Args:
            seconds: How long nothing must have run.
            on_idle: Called in a thread of its own.
        """
        self._seconds = seconds
        self._on_idle = on_idle
        self._lock = Lock()
        self._n_busy = 0
        self._idle_since = 0.0
        self._timer: Timer | None = None

    @contextmanager
    def busy(self) -> Iterator[None]:
        """While this is open, and for some seconds more, `on_idle` is not called."""
        with self._lock:
            self._n_busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_busy -= 1
                self._idle_since = time.monotonic()
                if self._timer is None or not self._timer.is_alive():  # a fork has no threads of its parent's
                    self._start(self._seconds)

    def _start(self, seconds: float) -> None:
        self._timer = Timer(seconds, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def _expire(self) -> None:
        with self._lock:
            left = self._seconds if self._n_busy else self._idle_since + self._seconds - time.monotonic()
            if left > 0:
                self._start(left)  # one thread waits, however often the model is used meanwhile
                return
            self._timer = None
        self._on_idle()

    def __reduce__(self) -> tuple[type["IdleTimer"], tuple[float, Callable[[], object]]]:
        return type(self), (self._seconds, self._on_idle)
