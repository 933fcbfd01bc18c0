"""Files into chunks, a few files ahead of the embedding: the reading thread of ingestion."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from jina_rag.embedder import Embedder
from jina_rag.errors import BackendError, DocumentError, InputTooLongError, InvalidTextError, MissingDependencyError
from jina_rag.rag.chunking import Chunk, split_document
from jina_rag.rag.documents.discovery import FoundFile
from jina_rag.rag.documents.reading import parse_document, read_file
from jina_rag.rag.documents.sources import source_of
from jina_rag.rag.store.catalog import Catalog
from jina_rag.rag.store.types import FailedDocument, IndexedDocument, file_kind

READING_VERSION = 1
"""What documents are read with. It is raised when files become other chunks or other words: by a change of a reader, of
the chunking or of full-text search. `sync` then reads all documents again, and embeds those chunks that are new."""

_FILES_AHEAD = 64
_BYTES_AHEAD = 32 * 2**20

FAULTS_OF_A_DOCUMENT = (DocumentError, InputTooLongError, InvalidTextError, BackendError)
"""Errors that concern one document and not the others."""


@dataclass(frozen=True)
class FileTask:
    """A file that is new, or may have changed.

    Attributes:
        file: The file as it was found.
        collections: Those that it is in.
        known: What the index knows of it.
    """

    file: FoundFile
    collections: tuple[str, ...]
    known: IndexedDocument | None

    @property
    def source(self) -> str:
        """What the document is called in the index."""
        return source_of(self.file.path)

    def failed(self, error: Exception) -> FailedDocument:
        """Its failure. One that may not be the file's own is tried again by the next run even if it has not changed."""
        is_its_own = not (
            isinstance(error, BackendError | MissingDependencyError) or isinstance(error.__cause__, OSError)
        )
        size, mtime_ns = (self.file.size, self.file.mtime_ns) if is_its_own else (-1, -1)
        return FailedDocument(self.source, str(error), size, mtime_ns, now())


@dataclass
class ParsedDocument:
    """A document that was read and has new chunks, on its way into the index.

    Attributes:
        task: The file.
        document: What the index will know of it.
        chunks: All its chunks.
        to_store: Those that the index doesn't have.
        duplicates: The sources of documents with the same content.
        n_taken: How many of `to_store` have been embedded.
        failed: Whether some of them could not be.
    """

    task: FileTask
    document: IndexedDocument
    chunks: Sequence[Chunk]
    to_store: Sequence[Chunk]
    duplicates: tuple[str, ...]
    n_taken: int = 0
    failed: bool = False

    @property
    def n_waiting(self) -> int:
        """How many chunks are still to be embedded."""
        return len(self.to_store) - self.n_taken


@dataclass(frozen=True)
class UnchangedFile:
    """A file that was written again with the same content."""

    source: str
    size: int
    mtime_ns: int


Outcome = ParsedDocument | UnchangedFile | FailedDocument


class Parser:
    """Reads files and cuts them into chunks, in a thread of its own."""

    def __init__(self, catalog: Catalog, embedder: Embedder) -> None:
        """Take what the index knows, and the model that counts tokens."""
        self._catalog = catalog
        self._embedder = embedder

    def parse_ahead(self, tasks: Iterable[FileTask], threads: ThreadPoolExecutor) -> Iterator[Outcome]:
        """What each file holds, in order, while the next ones are being read."""
        pending: deque[tuple[FileTask, Future[Outcome]]] = deque()
        for task in tasks:
            while pending and (
                len(pending) >= _FILES_AHEAD
                or task.file.size + sum(other.file.size for other, _ in pending) > _BYTES_AHEAD
            ):
                yield pending.popleft()[1].result()
            pending.append((task, threads.submit(self.parse, task)))
        while pending:
            yield pending.popleft()[1].result()

    def parse(self, task: FileTask) -> Outcome:
        """What one file holds."""
        try:
            content = read_file(task.file.path)
            if task.known and (task.known.sha256, task.known.reading_version) == (content.sha256, READING_VERSION):
                return UnchangedFile(task.source, len(content.data), content.mtime_ns)
            document = parse_document(content, kept_scans=self._catalog)
        except (DocumentError, MissingDependencyError) as error:  # the package for this kind; others may be readable
            return task.failed(error)
        try:
            chunks = split_document(document, self._embedder)
        except FAULTS_OF_A_DOCUMENT as error:
            return task.failed(error)
        old = {chunk.id: chunk for chunk in self._catalog.chunks_of(task.source)} if task.known else {}
        row = IndexedDocument(
            source=task.source,
            title=document.title,
            sha256=content.sha256,
            size=len(content.data),
            mtime_ns=content.mtime_ns,
            n_chunks=len(chunks),
            added_at=now(),
            collections=task.collections,
            kind=file_kind(task.source),
            notes=document.notes,
            metadata=document.metadata,
            reading_version=READING_VERSION,
        )
        return ParsedDocument(
            task=task,
            document=row,
            chunks=chunks,
            to_store=[chunk for chunk in chunks if old.get(chunk.id) != chunk],
            duplicates=tuple(self._catalog.sources_with(content.sha256)),
        )


def now() -> str:
    """The time, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
