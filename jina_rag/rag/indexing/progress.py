"""How far adding documents has come."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jina_rag.rag.indexing.parsing import FileTask


@dataclass(frozen=True)
class AddProgress:
    """How far adding documents has come.

    Attributes:
        source: The document at hand.
        documents_done: How many documents are done, those that have not changed among them.
        documents_total: How many there are.
        chunks_done: How many chunks have been embedded or found to have a vector already.
        bytes_done: Of the files to be read, how many bytes are done.
        bytes_total: How many bytes they have.
        seconds: Since the first file was read.
    """

    source: str
    documents_done: int
    documents_total: int
    chunks_done: int
    bytes_done: int
    bytes_total: int
    seconds: float

    @property
    def fraction(self) -> float:
        """How much is done, from 0 to 1, by the size of the files."""
        return self.bytes_done / self.bytes_total if self.bytes_total else 1.0

    @property
    def chunks_per_second(self) -> float:
        """The rate so far."""
        return self.chunks_done / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """About how long the rest takes; None as long as nothing is done."""
        return self.seconds * (1 / self.fraction - 1) if self.fraction else None


AddProgressCallback = Callable[[AddProgress], None]
StopCallback = Callable[[], bool]
"""Called between batches: whether to end early."""


class ProgressMeter:
    """Counts what is done, and reports it to the caller."""

    def __init__(self, on_progress: AddProgressCallback | None, tasks: Sequence[FileTask], n_unchanged: int) -> None:
        """Start the clock.

        Args:
            on_progress: Called after each step; None for nobody.
            tasks: What there is to do.
            n_unchanged: How many more documents there are, with nothing to do for them.
        """
        self._on_progress = on_progress
        self._started = time.monotonic()
        self._documents_done, self._documents_total = n_unchanged, n_unchanged + len(tasks)
        self._chunks_done = self._bytes_done = 0
        self._bytes_of: dict[str, int] = {}
        self._sizes = {task.source: task.file.size for task in tasks}
        self._bytes_total = sum(self._sizes.values())

    def chunks_stored(self, source: str, n_chunks: int, n_bytes: int) -> None:
        """Some chunks of a document have their vectors."""
        self._chunks_done += n_chunks
        self._bytes_of[source] = self._bytes_of.get(source, 0) + n_bytes
        self._report(source)

    def document_done(self, source: str) -> None:
        """A document is done, in whichever way."""
        self._documents_done += 1
        self._bytes_of.pop(source, None)
        self._bytes_done += self._sizes[source]
        self._report(source)

    def _report(self, source: str) -> None:
        if self._on_progress:
            state = AddProgress(
                source=source,
                documents_done=self._documents_done,
                documents_total=self._documents_total,
                chunks_done=self._chunks_done,
                bytes_done=min(self._bytes_total, self._bytes_done + sum(self._bytes_of.values())),
                bytes_total=self._bytes_total,
                seconds=time.monotonic() - self._started,
            )
            self._on_progress(state)
