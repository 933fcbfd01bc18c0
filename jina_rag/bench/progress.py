"""How far a measurement is."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class BenchProgress:
    """How far a measurement is: `done` of `total` steps of much the same length."""

    stage: str
    done: int
    total: int


BenchProgressCallback = Callable[[BenchProgress], None]
"""What it raises ends the measurement and its processes."""


class Steps:
    """Counts steps for whoever watches, under the name of the stage that they belong to."""

    def __init__(self, on_progress: BenchProgressCallback | None, total: int) -> None:
        self._on_progress, self._total = on_progress, total
        self._stage, self._done = "", 0

    def begin(self, stage: str) -> None:
        """Begin a stage."""
        self._stage = stage
        self._tell()

    def done(self) -> None:
        """Count one step."""
        self._done += 1
        self._tell()

    def _tell(self) -> None:
        if self._on_progress:
            self._on_progress(BenchProgress(self._stage, self._done, self._total))
