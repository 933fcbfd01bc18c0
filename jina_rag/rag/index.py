"""`DocumentIndex`: a folder of documents that can be searched.

`index.sqlite3` is the manifest: documents, chunks and the fingerprint. `chroma/` holds the vectors. A document goes in
by these steps, so that a process killed at any of them loses nothing and doubles nothing, and the next `add` mends it:

1. the manifest notes the source as unfinished;
2. the new chunks' vectors are written, those that are there already left alone;
3. the vectors of chunks that the document no longer has are deleted;
4. the manifest takes the document and its chunks in one transaction, and only then do searches find them.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TypeVar

import numpy as np

from jina_rag.embedder import Embedder
from jina_rag.errors import (
    BackendError,
    DocumentError,
    IndexFolderError,
    InputTooLongError,
    InvalidTextError,
    MissingDependencyError,
)
from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.chunking import Chunk, split_document
from jina_rag.rag.documents import find_documents, read_document
from jina_rag.rag.manifest import IndexedDocument, Manifest
from jina_rag.vectors import FloatArray

if TYPE_CHECKING:
    from chromadb.api.client import Client

DEFAULT_INDEX_FOLDER = Path(".jina-rag/index")
"""Where the command line keeps an index, below the current folder."""

COLLECTION = "documents"
"""The collection's name in `chroma/`, for plain Chroma, LangChain and LlamaIndex."""

MANIFEST = "index.sqlite3"

_OWN_NAMES = {".lock", MANIFEST, f"{MANIFEST}-wal", f"{MANIFEST}-shm"}  # what a killed creation may leave
_CHUNKS_AT_A_TIME = 64  # embedded and stored: so much is lost at most when a process is killed
_IDS_AT_A_TIME = 1000

_spellings = count()
_MAX_SPELLINGS = 64

_FAULTS_OF_A_DOCUMENT = (DocumentError, InputTooLongError, InvalidTextError, BackendError)


@dataclass(frozen=True)
class AddProgress:
    """How far `DocumentIndex.add` has come.

    Attributes:
        source: The document at hand.
        documents_done: How many documents before it are done.
        documents_total: How many there are.
        chunks_done: How many of its chunks are stored.
        chunks_total: How many chunks it has; 0 as long as it is being read.
    """

    source: str
    documents_done: int
    documents_total: int
    chunks_done: int
    chunks_total: int


T = TypeVar("T")
AddProgressCallback = Callable[[AddProgress], None]


@dataclass(frozen=True)
class FailedDocument:
    """A document that could not be added, and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class AddReport:
    """What `DocumentIndex.add` did, each document in one of the lists.

    Attributes:
        added: Sources that are new.
        updated: Sources whose content has changed.
        unchanged: Sources that were left as they are.
        failed: Sources that could not be read or embedded; what the index knew of them is kept.
        n_chunks: Chunks of the added and updated documents.
    """

    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    failed: tuple[FailedDocument, ...] = ()
    n_chunks: int = 0


def read_index_settings(folder: Path | str) -> Fingerprint:
    """What an index was made with: model, quantisation, dimensions. Loads no model.

    Raises:
        IndexFolderError: there is no index in `folder`, or it is damaged.
    """
    return _existing_manifest(Path(folder)).fingerprint()


def load_index_embedder(folder: Path | str) -> Embedder:
    """The model that an index was made with, which is the only one that can search it.

    Raises:
        IndexFolderError: there is no index in `folder`, or it is damaged.
        Otherwise as `Embedder.from_pretrained` does.
    """
    made_with = read_index_settings(folder)
    return Embedder.from_pretrained(
        made_with.model, quantization=made_with.quantization or None, dimensions=made_with.dimensions
    )


class DocumentIndex:
    """Documents, their chunks and vectors in a folder. One process at a time may write, any number may search.

    Safe to use from many threads. What another process adds is found at once.
    """

    def __init__(self, folder: Path, embedder: Embedder, manifest: Manifest) -> None:
        """Take ready parts; `create_or_open` and `open` fetch them.

        Raises:
            FingerprintMismatchError: the vectors were made with another model than the manifest says.
            IndexFolderError: the vectors can't be read.
            MissingDependencyError: chromadb is not installed.
        """
        self.folder = folder
        self.embedder = embedder
        self._manifest = manifest
        self._lock = RLock()
        self._open_vectors()

    @classmethod
    def create_or_open(cls, folder: Path | str, embedder: Embedder) -> Self:
        """The index in `folder`, made if there is none.

        Raises:
            IndexFolderError: the folder holds something else, is damaged, or can't be written.
            FingerprintMismatchError: the index was made with another model.
            MissingDependencyError: chromadb or filelock is not installed.
        """
        folder = Path(folder)
        manifest = Manifest(folder / MANIFEST)
        if not manifest.exists():
            _make_folder(folder)
            with _sole_writer(folder):
                manifest.create(embedder.fingerprint)
        return cls.open(folder, embedder)

    @classmethod
    def open(cls, folder: Path | str, embedder: Embedder | None = None) -> Self:
        """The index in `folder`, which must exist.

        Args:
            folder: Where it is.
            embedder: The model that it was made with; None loads that.

        Raises:
            IndexFolderError: there is no index, or it is damaged.
            FingerprintMismatchError: the index was made with another model.
            MissingDependencyError: chromadb is not installed.
            Otherwise, for None, as `Embedder.from_pretrained` does.
        """
        folder = Path(folder)
        manifest = _existing_manifest(folder)
        made_with = manifest.fingerprint()
        embedder = embedder or load_index_embedder(folder)
        embedder.fingerprint.check(
            made_with,
            where=f"The index {folder}",
            remedy=f"Open it with its own model ({made_with.model}, {made_with.quantization}, {made_with.dimensions} "
            "dimensions), or delete or rename the folder and add the documents again with `jina-rag add`.",
        )
        return cls(folder, embedder, manifest)

    def add(self, paths: Iterable[Path | str], on_progress: AddProgressCallback | None = None) -> AddReport:
        """Add files, and all documents in folders. What is unchanged is left alone; what fails doesn't stop the rest.

        Args:
            paths: Files and folders.
            on_progress: Called when a document is begun, and whenever some of its chunks are stored.

        Raises:
            DocumentError: a path doesn't exist, or is a file of a kind that can't be read.
            IndexFolderError: another process is writing, or the index is damaged.
            MissingDependencyError: a package that reads documents is not installed.
        """
        files = find_documents(paths)
        outcomes: list[_Outcome] = []
        failed: list[FailedDocument] = []
        with self._writing():
            known = self._known_documents(being_added={str(file) for file in files})
            for done, file in enumerate(files):
                source = str(file)
                notify = _Notifier(on_progress, AddProgress(source, done, len(files), 0, 0))
                try:
                    outcomes.append(self._add_file(file, known.get(source), notify))
                except _FAULTS_OF_A_DOCUMENT as error:
                    failed.append(FailedDocument(source, str(error)))
        return AddReport(
            added=_sources(outcomes, "added"),
            updated=_sources(outcomes, "updated"),
            unchanged=_sources(outcomes, "unchanged"),
            failed=tuple(failed),
            n_chunks=sum(outcome.n_chunks for outcome in outcomes),
        )

    def remove(self, sources: Iterable[str]) -> int:
        """Take documents out, by their `source`; the files stay. Returns how many there were.

        Raises:
            IndexFolderError: another process is writing, or the index is damaged.
        """
        with self._writing():
            known = {document.source for document in self._manifest.documents()} & set(sources)
            for source in sorted(known):
                self._manifest.begin(source)
                self._write_vectors(source, ())
                with self._own_change():
                    self._manifest.remove(source)
        return len(known)

    def documents(self) -> list[IndexedDocument]:
        """All documents, by source."""
        return self._manifest.documents()

    def count_chunks(self) -> int:
        """How many chunks can be found."""
        return self._manifest.count_chunks()

    def nearest(self, vector: FloatArray, k: int) -> list[tuple[Chunk, float]]:
        """The `k` chunks most similar to a query vector with their cosine similarity, best first.

        Raises:
            IndexFolderError: the index is damaged, or its vectors are gone.
        """
        with self._lock, _chroma_errors(self.folder):
            self._renew_vectors()
            n_vectors, n_chunks = self._collection.count(), self._manifest.count_chunks()
            if n_chunks and not n_vectors and not self._manifest.unfinished():
                raise IndexFolderError(f"The vectors in {self.folder} are gone. Add any document to make them again.")
            # Vectors that are being written, or were left by a killed process, don't count: ask for as many more.
            n_results = min(n_vectors, k + max(0, n_vectors - n_chunks))
            if not n_results:
                return []
            found = self._collection.query(
                query_embeddings=vector[np.newaxis], n_results=n_results, include=["distances"]
            )
        assert found["distances"] is not None
        ids, distances = found["ids"][0], found["distances"][0]
        chunks = self._manifest.chunks(ids)
        scored = [(chunks[id_], 1.0 - distance) for id_, distance in zip(ids, distances, strict=True) if id_ in chunks]
        return scored[:k]

    def close(self) -> None:
        """Give back the database's memory and files; the embedder stays open."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with _sole_writer(self.folder), _chroma_errors(self.folder):
            with self._lock:
                self._renew_vectors(in_doubt=bool(self._manifest.unfinished()))
            yield

    @contextmanager
    def _own_change(self) -> Iterator[None]:
        """Change the manifest without taking that for the change of another process."""
        with self._lock:
            yield
            self._generation = self._manifest.generation()

    def _open_vectors(self) -> None:
        from jina_rag.chroma import open_collection

        generation = self._manifest.generation()  # read first: what is written meanwhile is then seen as new
        self._client = _open_chroma(self.folder)
        with _chroma_errors(self.folder):
            self._collection = open_collection(self._client, COLLECTION, self.embedder)
        self._generation = generation

    def _renew_vectors(self, *, in_doubt: bool = False) -> None:
        """Open the vectors again if another process has changed them, for Chroma looks for such changes only then.

        A writer must do so too, or else it would save an old state over the new one. A killed process may have changed
        them without a trace but its unfinished sources: then they are `in_doubt`.
        """
        if in_doubt or self._generation != self._manifest.generation():
            self._client.close()
            self._open_vectors()

    def _known_documents(self, being_added: set[str]) -> dict[str, IndexedDocument]:
        """What stands in the manifest, once vectors that are not as it says are mended."""
        documents = self._manifest.documents()
        doubtful = self._manifest.unfinished()
        if self._collection.count() < self._manifest.count_chunks():
            doubtful |= {document.source for document in documents}
        for source in doubtful - being_added:
            self._write_vectors(source, self._manifest.chunks_of(source))
            self._manifest.keep(source)
        return {
            # One whose vectors are in doubt is taken for changed.
            document.source: replace(document, sha256="", mtime_ns=-1) if document.source in doubtful else document
            for document in documents
        }

    def _add_file(self, path: Path, known: IndexedDocument | None, notify: "_Notifier") -> "_Outcome":
        notify(0, 0)
        source = str(path)
        size, mtime_ns = _size_and_mtime(path)
        if known and (known.size, known.mtime_ns) == (size, mtime_ns):
            return _Outcome(source, "unchanged")
        sha256 = _sha256(path)
        if known and known.sha256 == sha256:
            self._manifest.touch(source, size, mtime_ns)
            return _Outcome(source, "unchanged")

        document = read_document(path)
        chunks = split_document(document, self.embedder)
        self._manifest.begin(source)
        self._write_vectors(source, chunks, notify)
        added_at = datetime.now(UTC).isoformat(timespec="seconds")
        with self._own_change():
            self._manifest.replace(
                IndexedDocument(source, document.title, sha256, size, mtime_ns, len(chunks), added_at), chunks
            )
        return _Outcome(source, "updated" if known else "added", len(chunks))

    def _write_vectors(self, source: str, chunks: Sequence[Chunk], notify: "_Notifier | None" = None) -> None:
        """Make a source's vectors those of `chunks`: what is missing is added first, then the rest is deleted."""
        stored = set(self._collection.get(where={"source": source}, include=[])["ids"])
        missing = [chunk for chunk in chunks if chunk.id not in stored]
        done = len(chunks) - len(missing)
        for part in _slices(missing, _CHUNKS_AT_A_TIME):
            self._upsert(part)
            done += len(part)
            if notify:
                notify(done, len(chunks))
        for ids in _slices(sorted(stored - {chunk.id for chunk in chunks}), _IDS_AT_A_TIME):
            self._collection.delete(ids=list(ids))

    def _upsert(self, chunks: Sequence[Chunk]) -> None:
        from jina_rag.chroma import upsert_documents

        texts = [chunk.text for chunk in chunks]
        upsert_documents(
            self._collection,
            ids=[chunk.id for chunk in chunks],
            documents=texts,
            # LlamaIndex deletes a document's nodes by this name for it.
            metadatas=[{**chunk.metadata, "document_id": chunk.source} for chunk in chunks],
            # Embedded here: an error that passes through Chroma comes out as another.
            embeddings=self.embedder.embed_documents(texts),
        )


@dataclass(frozen=True)
class _Outcome:
    """What became of one document."""

    source: str
    kind: Literal["added", "updated", "unchanged"]
    n_chunks: int = 0


@dataclass(frozen=True)
class _Notifier:
    """Tells the caller of `add`, if it wants to know, how far one document has come."""

    on_progress: AddProgressCallback | None
    start: AddProgress

    def __call__(self, chunks_done: int, chunks_total: int) -> None:
        if self.on_progress:
            self.on_progress(replace(self.start, chunks_done=chunks_done, chunks_total=chunks_total))


def _sources(outcomes: Iterable[_Outcome], kind: str) -> tuple[str, ...]:
    return tuple(outcome.source for outcome in outcomes if outcome.kind == kind)


def _slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _size_and_mtime(path: Path) -> tuple[int, int]:
    with _file_errors(path):
        status = path.stat()
    return status.st_size, status.st_mtime_ns


def _sha256(path: Path) -> str:
    with _file_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DocumentError(f"{path} can't be read ({error.strerror}). Check that it exists and is yours.") from error


def _existing_manifest(folder: Path) -> Manifest:
    manifest = Manifest(folder / MANIFEST)
    if not manifest.exists():
        raise IndexFolderError(f"No index at {folder}: make one with `jina-rag add PATH`.")
    return manifest


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strangers = [entry.name for entry in folder.iterdir() if entry.name not in _OWN_NAMES]
    except OSError as error:
        raise IndexFolderError(f"{folder} can't be used ({error.strerror}). Name another folder.") from error
    if strangers:
        raise IndexFolderError(
            f"{folder} is no index and holds other things ({strangers[0]}). Name a new or an empty folder."
        )


def _open_chroma(folder: Path) -> "Client":
    try:
        from chromadb import PersistentClient
        from chromadb.api.client import Client
        from chromadb.config import Settings
    except ImportError as error:
        raise MissingDependencyError.for_extra("chromadb", "rag") from error

    # Within a process Chroma opens a path once and hands the same state to all. Spelled differently, with more slashes
    # at its end, it is another path, and an index can renew its state whoever else has the folder open.
    path = f"{folder.resolve() / 'chroma'}{os.sep * (next(_spellings) % _MAX_SPELLINGS)}"
    with _chroma_errors(folder):
        client = PersistentClient(path, Settings(anonymized_telemetry=False))
    assert isinstance(client, Client)  # its declared type knows no close()
    return client


@contextmanager
def _chroma_errors(folder: Path) -> Iterator[None]:
    """Say in our words that the vectors can't be read or written."""
    from chromadb.errors import ChromaError

    try:
        yield
    except ChromaError as error:
        raise IndexFolderError(
            f"The vectors in {folder} can't be used ({error}). Delete the folder and add the documents again."
        ) from error


@contextmanager
def _sole_writer(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. The system lets go of it when the process ends, however it ends."""
    try:
        from filelock import FileLock, Timeout
    except ImportError as error:
        raise MissingDependencyError.for_extra("filelock", "rag") from error

    lock = FileLock(folder / ".lock", blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise IndexFolderError(f"Another process is writing to {folder}. Try again when it is done.") from error
    try:
        yield
    finally:
        lock.release()
