"""Files into an index: read ahead, embedded across the borders of documents, written behind.

Three threads work at once, so that the model hardly ever waits. One reads files and cuts them into chunks. The caller's
embeds. One writes, group by group, in these steps, of which a process may be killed at any:

1. the manifest keeps the new vectors and notes the sources as unfinished;
2. Chroma takes the chunks, and drops those that a changed document no longer has;
3. the manifest takes the documents that are complete in one transaction, and only then do searches find them.
"""

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from jina_rag.embedder import Embedder
from jina_rag.errors import BackendError, DocumentError, InputTooLongError, InvalidTextError, MissingDependencyError
from jina_rag.rag.chunking import Chunk, split_document
from jina_rag.rag.documents.discovery import Document, ReadLimits, read_document
from jina_rag.rag.store.catalog import FailedDocument, IndexedDocument, Manifest, file_kind, text_digest
from jina_rag.rag.store.vectors import VectorStore
from jina_rag.vectors import FloatArray

_FILES_AHEAD = 64
_BYTES_AHEAD = 32 * 2**20
_GROUPS_BEHIND = 2

_SECONDS_PER_BATCH = 2.0  # so long does stopping take, and so much is lost when a process is killed
_LEAST_BATCH, _LARGEST_BATCH = 16, 256

_FAULTS_OF_A_DOCUMENT = (DocumentError, InputTooLongError, InvalidTextError, BackendError)


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


@dataclass(frozen=True)
class FileTask:
    """A file that is new, or may have changed.

    Attributes:
        path: The file.
        size: In bytes.
        collection: Where it goes.
        known: What the index knows of it.
    """

    path: Path
    size: int
    collection: str
    known: IndexedDocument | None


@dataclass
class ParsedDocument:
    """A document that was read and has new chunks, on its way into the index."""

    task: FileTask
    document: IndexedDocument
    chunks: Sequence[Chunk]
    to_store: Sequence[Chunk]
    stale: frozenset[str]
    duplicates: tuple[str, ...]
    n_taken: int = 0
    failed: bool = False


@dataclass(frozen=True)
class _Unchanged:
    """A file that was written again with the same content."""

    task: FileTask
    size: int
    mtime_ns: int


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


@dataclass(frozen=True)
class _Group:
    """What is written together.

    Attributes:
        parts: Documents, each with some of its chunks.
        vectors: The vectors of all these chunks' texts, by digest.
        new: Which of them the manifest doesn't have yet.
        complete: The documents that are complete with this group.
    """

    parts: Sequence[tuple[ParsedDocument, Sequence[Chunk]]]
    vectors: dict[bytes, FloatArray]
    new: frozenset[bytes]
    complete: Sequence[ParsedDocument]


class Ingestion:
    """One run of files into an index whose lock is held and whose vectors agree with its manifest."""

    def __init__(
        self,
        manifest: Manifest,
        store: VectorStore,
        embedder: Embedder,
        own_change: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Take the parts of an index.

        Args:
            manifest: The truth.
            store: Chroma.
            embedder: The model.
            own_change: Wraps a change of the manifest, so that it isn't taken for that of another process.
        """
        self._manifest = manifest
        self._store = store
        self._embedder = embedder
        self._own_change = own_change
        self._result = IngestionResult()
        self._waiting: deque[ParsedDocument] = deque()
        self._recent: deque[dict[bytes, FloatArray]] = deque(maxlen=_GROUPS_BEHIND + 2)
        self._batch_size = _LEAST_BATCH
        self._touched: list[tuple[str, int, int]] = []

    def run(self, tasks: Sequence[FileTask], progress: "ProgressMeter", should_stop: StopCallback) -> IngestionResult:
        """Add files. Documents that are complete when it stops are in the index, of others there is no trace.

        Raises:
            IndexFolderError: the index can't be written.
            MissingDependencyError: a package without which nothing can be added is not installed.
        """
        with _pool("jina-rag-reading") as readers, _pool("jina-rag-writing") as writers:
            writing = _WriteBehind(writers, self._write)
            for outcome in _read_ahead(readers, self._read, tasks):
                if self._result.stopped or should_stop():
                    self._result.stopped = True
                    break
                self._take_in(outcome, progress)
                self._embed_waiting(writing, progress, should_stop, at_least=self._batch_size)
            if not self._result.stopped:
                self._embed_waiting(writing, progress, should_stop, at_least=0)
            writing.finish()
        self._manifest.touch(self._touched)
        return self._result

    def _take_in(self, outcome: "ParsedDocument | _Unchanged | FailedDocument", progress: "ProgressMeter") -> None:
        if isinstance(outcome, FailedDocument):
            self._result.failed.append(outcome)
            progress.document_done(outcome.source)
        elif isinstance(outcome, _Unchanged):
            source = str(outcome.task.path)
            self._touched.append((source, outcome.size, outcome.mtime_ns))
            self._result.unchanged.append(source)
            progress.document_done(source)
        else:
            self._waiting.append(outcome)

    def _embed_waiting(
        self, writing: "_WriteBehind", progress: "ProgressMeter", should_stop: StopCallback, at_least: int
    ) -> None:
        """Embed and hand on what waits, as long as it makes a batch of `at_least` so many chunks."""
        while self._waiting and sum(len(item.to_store) - item.n_taken for item in self._waiting) >= at_least:
            if should_stop():
                self._result.stopped = True
                return
            self._embed_parts(list(self._next_parts()), writing, progress)

    def _next_parts(self) -> Iterator[tuple[ParsedDocument, Sequence[Chunk]]]:
        """The next batch: documents with those of their chunks that are in it."""
        room = self._batch_size
        while self._waiting and room:
            parsed = self._waiting[0]
            part = parsed.to_store[parsed.n_taken : parsed.n_taken + room]
            parsed.n_taken += len(part)
            room -= len(part)
            if parsed.n_taken == len(parsed.to_store):
                self._waiting.popleft()
            yield parsed, part

    def _embed_parts(
        self,
        parts: Sequence[tuple[ParsedDocument, Sequence[Chunk]]],
        writing: "_WriteBehind",
        progress: "ProgressMeter",
    ) -> None:
        parts = [(parsed, part) for parsed, part in parts if not parsed.failed]
        try:
            vectors, new = self._vectors_of([chunk.text for _, part in parts for chunk in part])
        except _FAULTS_OF_A_DOCUMENT as error:
            if len(parts) > 1:  # one document's fault is not the others'
                for one in parts:
                    self._embed_parts([one], writing, progress)
            else:
                self._fail(parts[0][0], error, progress)
            return
        complete = [parsed for parsed, _ in parts if parsed.n_taken == len(parsed.to_store)]
        writing.put(_Group(parts, vectors, new, complete))
        for parsed, part in parts:
            self._note(parsed, len(part), progress)

    def _vectors_of(self, texts: Sequence[str]) -> tuple[dict[bytes, FloatArray], frozenset[bytes]]:
        """The vectors of texts by digest, and which had to be embedded."""
        by_digest = {text_digest(text): text for text in texts}
        vectors = self._manifest.vectors(by_digest)
        for recent in self._recent:  # on their way into the manifest
            vectors.update((digest, vector) for digest, vector in recent.items() if digest in by_digest)
        new = {digest: text for digest, text in by_digest.items() if digest not in vectors}
        if new:
            started = time.monotonic()
            embedded = dict(zip(new, self._embedder.embed_documents(list(new.values())), strict=True))
            self._adapt_batch_size(len(new) / max(1e-3, time.monotonic() - started))
            self._result.n_embedded += len(new)
            self._recent.append(embedded)
            vectors.update(embedded)
        return vectors, frozenset(new)

    def _adapt_batch_size(self, texts_per_second: float) -> None:
        fitting = int(texts_per_second * _SECONDS_PER_BATCH)
        self._batch_size = min(_LARGEST_BATCH, 2 * self._batch_size, max(_LEAST_BATCH, fitting))

    def _fail(self, parsed: ParsedDocument, error: Exception, progress: "ProgressMeter") -> None:
        parsed.failed = True
        if self._waiting and self._waiting[0] is parsed:
            self._waiting.popleft()
        self._result.failed.append(_failed(parsed.task, error, parsed.document.size, parsed.document.mtime_ns))
        progress.document_done(parsed.document.source)

    def _note(self, parsed: ParsedDocument, n_chunks: int, progress: "ProgressMeter") -> None:
        source, is_complete = parsed.document.source, parsed.n_taken == len(parsed.to_store)
        progress.chunks_stored(source, n_chunks, parsed.task.size * n_chunks // max(1, len(parsed.to_store)))
        if not is_complete:
            return
        (self._result.updated if parsed.task.known else self._result.added).append(source)
        self._result.n_chunks += len(parsed.chunks)
        if parsed.duplicates and not parsed.task.known:
            self._result.duplicates[source] = parsed.duplicates
        progress.document_done(source)

    def _read(self, task: FileTask) -> ParsedDocument | _Unchanged | FailedDocument:
        """In the reading thread: what a file holds."""
        source, size, mtime_ns = str(task.path), -1, -1
        try:
            size, mtime_ns, sha256 = _file_state(task.path)
            if task.known and sha256 and task.known.sha256 == sha256:
                return _Unchanged(task, size, mtime_ns)
            document, (size, mtime_ns, sha256) = _read_stable(task.path)
        except MissingDependencyError as error:  # of this kind of file; others may be readable
            return _failed(task, error)
        except _FAULTS_OF_A_DOCUMENT as error:
            return _failed(task, error, size, mtime_ns)
        try:
            chunks = split_document(document, self._embedder)
        except _FAULTS_OF_A_DOCUMENT as error:
            return _failed(task, error, size, mtime_ns)

        old = {chunk.id: chunk for chunk in self._manifest.chunks_of(source)} if task.known else {}
        row = IndexedDocument(
            source=source,
            title=document.title,
            sha256=sha256,
            size=size,
            mtime_ns=mtime_ns,
            n_chunks=len(chunks),
            added_at=now(),
            collection=task.collection,
            kind=file_kind(source),
            notes=tuple(document.notes),
        )
        to_store = [chunk for chunk in chunks if old.get(chunk.id) != chunk]
        stale = frozenset(old) - {chunk.id for chunk in chunks}
        return ParsedDocument(task, row, chunks, to_store, stale, tuple(self._manifest.sources_with(sha256)))

    def _write(self, group: _Group) -> None:
        """In the writing thread: put a group into the index."""
        chunks = [chunk for _, part in group.parts for chunk in part]
        collections = {parsed.document.source: parsed.document.collection for parsed, _ in group.parts}
        self._manifest.begin(collections, {digest: group.vectors[digest] for digest in group.new})
        self._store.upsert(chunks, [group.vectors[text_digest(chunk.text)] for chunk in chunks], collections)
        complete = [parsed for parsed in group.complete if not parsed.failed]
        self._store.delete(id_ for parsed in complete for id_ in parsed.stale)
        if complete:
            with self._own_change():
                self._manifest.replace([(parsed.document, parsed.chunks) for parsed in complete])


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
        self._sizes = {str(task.path): task.size for task in tasks}
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
def _pool(name: str) -> Iterator[ThreadPoolExecutor]:
    """One thread, which at the end finishes what it is at and leaves the rest."""
    pool = ThreadPoolExecutor(1, thread_name_prefix=name)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _read_ahead(
    pool: ThreadPoolExecutor,
    read: Callable[[FileTask], ParsedDocument | _Unchanged | FailedDocument],
    tasks: Iterable[FileTask],
) -> Iterator[ParsedDocument | _Unchanged | FailedDocument]:
    """What each file holds, in order, while the next ones are being read."""
    pending: deque[tuple[FileTask, Future[ParsedDocument | _Unchanged | FailedDocument]]] = deque()
    for task in tasks:
        while pending and (
            len(pending) >= _FILES_AHEAD or task.size + sum(other.size for other, _ in pending) > _BYTES_AHEAD
        ):
            yield pending.popleft()[1].result()
        pending.append((task, pool.submit(read, task)))
    while pending:
        yield pending.popleft()[1].result()


def _read_stable(path: Path) -> tuple[Document, tuple[int, int, str]]:
    """A document and the state of its file, which was the same before and after. A second attempt is made."""
    for _ in range(2):
        before = _file_state(path)
        document = read_document(path)
        if _file_state(path) == before:
            return document, before
    raise DocumentError(f"{path} changes while it is read. Add it again when it is finished.")


def _file_state(path: Path) -> tuple[int, int, str]:
    """Size, time of the last change in nanoseconds, and SHA-256; for a file too large to be read, nothing for that."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            is_readable = status.st_size <= ReadLimits().max_bytes
            sha256 = hashlib.file_digest(file, "sha256").hexdigest() if is_readable else ""
            return status.st_size, status.st_mtime_ns, sha256
    except OSError as error:
        raise DocumentError(f"{path} can't be read ({error.strerror}). Check that it exists and is yours.") from error


def _failed(task: FileTask, error: Exception, size: int = -1, mtime_ns: int = -1) -> FailedDocument:
    """A failure. One that may not be the file's own is tried again by the next run, whatever its size and mtime."""
    if isinstance(error, BackendError) or isinstance(error.__cause__, OSError):
        size = mtime_ns = -1
    return FailedDocument(str(task.path), str(error), size, mtime_ns, now())


def now() -> str:
    """The time, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
