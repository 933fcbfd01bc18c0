"""Parsed documents into an index: embedded across the borders of documents, written behind.

Three threads work at once, so that the model hardly ever waits. One reads files and cuts them into chunks (`parsing`).
The caller's embeds. One writes, group by group, in these steps, of which a process may be killed at any:

1. the catalog takes the new vectors and the documents that are complete, in one transaction, and searches find them;
2. Chroma follows.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from jina_rag.embedder import Embedder
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.indexing.parsing import FAULTS_OF_A_DOCUMENT, FileTask, Outcome, ParsedDocument, Parser
from jina_rag.rag.indexing.progress import ProgressMeter, StopCallback
from jina_rag.rag.store.catalog import Catalog
from jina_rag.rag.store.types import FailedDocument, text_digest
from jina_rag.rag.text.search_text import search_text
from jina_rag.vectors import FloatArray

_GROUPS_BEHIND = 2

_SECONDS_PER_BATCH = 2.0  # so long does stopping take, and so much is lost when a process is killed
SMALLEST_BATCH, LARGEST_BATCH = 16, 256


@dataclass
class IngestionResult:
    """What became of the files.

    Attributes:
        added: Sources that are new, in order.
        updated: Sources whose content had changed.
        unchanged: Sources that had only been written again.
        failed: Those that could not be read or embedded.
        duplicates: For a new source the known ones with the same content.
        n_chunks: Chunks of the added and updated documents.
        n_embedded: Texts that were embedded; the others had a vector already.
        stopped: Whether it ended because it was asked to.
    """

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: list[FailedDocument] = field(default_factory=list)
    duplicates: dict[str, tuple[str, ...]] = field(default_factory=dict)
    n_chunks: int = 0
    n_embedded: int = 0
    stopped: bool = False


_Part = tuple[ParsedDocument, Sequence[Chunk]]
"""A document, and those of its chunks that are embedded together with others'."""


@dataclass(frozen=True)
class _Group:
    """What is written together.

    Attributes:
        parts: Documents, each with some of its chunks.
        vectors: The vectors of all these chunks' texts, by digest.
        new: Which of them the catalog doesn't have yet.
        complete: The documents that are complete with this group.
    """

    parts: Sequence[_Part]
    vectors: dict[bytes, FloatArray]
    new: frozenset[bytes]
    complete: Sequence[ParsedDocument]


class Ingestion:
    """One run of files into an index whose lock is held and whose Chroma has followed."""

    def __init__(
        self,
        catalog: Catalog,
        embedder: Embedder,
        follow: Callable[[], None],
        progress: ProgressMeter,
        should_stop: StopCallback,
    ) -> None:
        """Take the parts of an index, and who follows the run.

        Args:
            catalog: The truth.
            embedder: The model.
            follow: Called after each change, to let Chroma follow it.
            progress: Counts what is done.
            should_stop: Asked between batches whether to end early.
        """
        self._catalog = catalog
        self._embedder = embedder
        self._follow = follow
        self._progress = progress
        self._should_stop = should_stop
        self._result = IngestionResult()
        self._waiting: deque[ParsedDocument] = deque()
        self._recent: deque[dict[bytes, FloatArray]] = deque(maxlen=_GROUPS_BEHIND + 2)
        self._batch_size = SMALLEST_BATCH
        self._touched: list[tuple[str, int, int]] = []

    def run(self, tasks: Sequence[FileTask]) -> IngestionResult:
        """Add files. Documents that are complete when it stops are in the index, of others there is no trace.

        Raises:
            IndexFolderError: the index can't be written.
            MissingDependencyError: a package without which nothing can be added is not installed.
        """
        with _one_thread("jina-rag-reading") as reading, _one_thread("jina-rag-writing") as writing:
            writer = _WriteBehind(writing, self._write)
            for outcome in Parser(self._catalog, self._embedder).parse_ahead(tasks, reading):
                if self._stops():
                    break
                self._take(outcome)
                while self._n_waiting() >= self._batch_size and not self._stops():
                    self._embed(list(self._next_parts()), writer)
            while self._waiting and not self._stops():
                self._embed(list(self._next_parts()), writer)
            writer.finish()
        self._catalog.touch(self._touched)
        return self._result

    def _stops(self) -> bool:
        """Whether it has been asked to stop."""
        self._result.stopped = self._result.stopped or self._should_stop()
        return self._result.stopped

    def _take(self, outcome: Outcome) -> None:
        """Queue a document to be embedded; with the others nothing more is to be done."""
        if isinstance(outcome, ParsedDocument):
            self._waiting.append(outcome)
            return
        if isinstance(outcome, FailedDocument):
            self._result.failed.append(outcome)
        else:
            self._touched.append((outcome.source, outcome.size, outcome.mtime_ns))
            self._result.unchanged.append(outcome.source)
        self._progress.document_done(outcome.source)

    def _n_waiting(self) -> int:
        return sum(parsed.n_waiting for parsed in self._waiting)

    def _next_parts(self) -> Iterator[_Part]:
        """The next batch: documents with those of their chunks that are in it."""
        room = self._batch_size
        while self._waiting and room:
            parsed = self._waiting[0]
            part = parsed.to_store[parsed.n_taken : parsed.n_taken + room]
            parsed.n_taken += len(part)
            room -= len(part)
            if not parsed.n_waiting:
                self._waiting.popleft()
            yield parsed, part

    def _embed(self, parts: Sequence[_Part], writer: "_WriteBehind") -> None:
        """Embed a batch and hand it on to be written."""
        parts = [(parsed, part) for parsed, part in parts if not parsed.failed]
        try:
            vectors, new = self._vectors_of([chunk.text for _, part in parts for chunk in part])
        except FAULTS_OF_A_DOCUMENT as error:
            if len(parts) > 1:  # one document's fault is not the others'
                for one in parts:
                    self._embed([one], writer)
            else:
                self._fail(parts[0][0], error)
            return
        writer.put(_Group(parts, vectors, new, [parsed for parsed, _ in parts if not parsed.n_waiting]))
        for parsed, part in parts:
            self._count(parsed, len(part))

    def _vectors_of(self, texts: Sequence[str]) -> tuple[dict[bytes, FloatArray], frozenset[bytes]]:
        """The vectors of texts by digest, and which had to be embedded."""
        by_digest = {text_digest(text): text for text in texts}
        vectors = self._catalog.vectors(by_digest)
        for recent in self._recent:  # on their way into the catalog
            vectors.update((digest, vector) for digest, vector in recent.items() if digest in by_digest)
        new = {digest: text for digest, text in by_digest.items() if digest not in vectors}
        if new:
            started = time.monotonic()
            embedded = dict(
                zip(new, self._embedder.embed_documents([search_text(text) for text in new.values()]), strict=True)
            )
            self._adapt_batch_size(len(new) / max(1e-3, time.monotonic() - started))
            self._result.n_embedded += len(new)
            self._recent.append(embedded)
            vectors.update(embedded)
        return vectors, frozenset(new)

    def _adapt_batch_size(self, texts_per_second: float) -> None:
        fitting = int(texts_per_second * _SECONDS_PER_BATCH)
        self._batch_size = min(LARGEST_BATCH, 2 * self._batch_size, max(SMALLEST_BATCH, fitting))

    def _fail(self, parsed: ParsedDocument, error: Exception) -> None:
        parsed.failed = True
        if self._waiting and self._waiting[0] is parsed:
            self._waiting.popleft()
        self._result.failed.append(parsed.task.failed(error))
        self._progress.document_done(parsed.task.source)

    def _count(self, parsed: ParsedDocument, n_chunks: int) -> None:
        """Count chunks that are embedded, and the document if these were its last."""
        source = parsed.task.source
        n_bytes = parsed.task.file.size * n_chunks // max(1, len(parsed.to_store))
        self._progress.chunks_stored(source, n_chunks, n_bytes)
        if parsed.n_waiting:
            return
        (self._result.updated if parsed.task.known else self._result.added).append(source)
        self._result.n_chunks += len(parsed.chunks)
        if parsed.duplicates and not parsed.task.known:
            self._result.duplicates[source] = parsed.duplicates
        self._progress.document_done(source)

    def _write(self, group: _Group) -> None:
        """In the writing thread: put a group into the index."""
        complete = [(parsed.document, parsed.chunks) for parsed in group.complete if not parsed.failed]
        self._catalog.replace(complete, {digest: group.vectors[digest] for digest in group.new})
        self._follow()


class _WriteBehind:
    """Hands groups to a writing thread, at most `_GROUPS_BEHIND` ahead of it. What it raises, the next call raises."""

    def __init__(self, pool: ThreadPoolExecutor, write: Callable[[_Group], None]) -> None:
        self._pool = pool
        self._write = write
        self._pending: deque[Future[None]] = deque()

    def put(self, group: _Group) -> None:
        while len(self._pending) >= _GROUPS_BEHIND or (self._pending and self._pending[0].done()):
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._write, group))

    def finish(self) -> None:
        while self._pending:
            self._pending.popleft().result()


@contextmanager
def _one_thread(name: str) -> Iterator[ThreadPoolExecutor]:
    """A thread, which at the end finishes what it is at and leaves the rest."""
    pool = ThreadPoolExecutor(1, thread_name_prefix=name)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
