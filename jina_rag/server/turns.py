"""Whose turn it is to compute: embedding and reranking are two models on the same cores.

Group mutual exclusion in alternating phases, as a phase-fair readers-writer lock has them. Calls of the embedder share
a phase, since its engine puts them in order itself; calls of the reranker have one each. While both have work, every
batch of one is followed by a batch of the other, so neither waits for more than that.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock
from typing import Literal, TypeAlias

Engine: TypeAlias = Literal["embedder", "reranker"]


class Turns:
    """Lets one of two engines compute at a time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._engine: Engine = "embedder"
        self._n_computing = 0
        self._waiting: dict[Engine, deque[Event]] = {"embedder": deque(), "reranker": deque()}

    @property
    def n_waiting(self) -> int:
        """Calls that wait for their turn."""
        return sum(map(len, self._waiting.values()))

    @contextmanager
    def hold(self, engine: Engine) -> Iterator[None]:
        """Wait for the engine's turn, and keep it."""
        self._begin(engine)
        try:
            yield
        finally:
            with self._lock:
                self._end()

    def pass_on(self, engine: Engine, *, keep_place: bool = False) -> None:
        """Between two batches of a held turn: let others compute first.

        Args:
            engine: Whose turn is held.
            keep_place: Come before other calls of the same engine: it is in the middle of what only one call may do.
        """
        with self._lock:
            rivals = self._waiting["embedder" if engine == "reranker" else "reranker"]
            if not rivals and (engine == "embedder" or keep_place or not self._waiting[engine]):
                return
            turn = Event()
            queue = self._waiting[engine]
            queue.appendleft(turn) if keep_place else queue.append(turn)
            self._end()
        turn.wait()

    def _begin(self, engine: Engine) -> None:
        with self._lock:
            shares = engine == self._engine == "embedder" and not self._waiting["reranker"]
            if shares or not self._n_computing:
                self._engine = engine
                self._n_computing += 1
                return
            turn = Event()
            self._waiting[engine].append(turn)
        turn.wait()

    def _end(self) -> None:
        self._n_computing -= 1
        if self._n_computing:
            return
        order: tuple[Engine, ...] = ("reranker", "embedder") if self._engine == "embedder" else ("embedder", "reranker")
        for engine in order:
            if waiting := self._waiting[engine]:
                self._engine = engine
                self._n_computing = len(waiting) if engine == "embedder" else 1
                for _ in range(self._n_computing):
                    waiting.popleft().set()
                return
