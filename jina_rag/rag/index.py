"""`DocumentIndex`: a folder of documents that can be searched.

`index.sqlite3` is the manifest: documents, chunks with their words and vectors, and the fingerprint. `chroma/` holds
the vectors once more, to be searched. What goes in goes by the steps of `jina_rag.rag.ingestion`.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Self, TextIO

import numpy as np

from jina_rag.embedder import Embedder
from jina_rag.errors import DocumentError, IndexFolderError
from jina_rag.fingerprint import Fingerprint
from jina_rag.rag import doctor as _doctor
from jina_rag.rag import repair
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.documents import find_documents
from jina_rag.rag.filters import Filters
from jina_rag.rag.ingestion import (
    AddProgress,
    AddProgressCallback,
    Ingestion,
    IngestionResult,
    ProgressMeter,
    StopCallback,
)
from jina_rag.rag.locking import HOLDER, LOCK, is_being_written, sole_writer
from jina_rag.rag.manifest import (
    DEFAULT_COLLECTION,
    VERSION,
    FailedDocument,
    IndexedDocument,
    Manifest,
    Root,
)
from jina_rag.rag.reports import AddReport, IndexStatus, SyncReport
from jina_rag.rag.roots import Survey, as_roots, is_below, make_plan, root_for, survey, without_covered
from jina_rag.rag.vector_store import COLLECTION, VectorStore, chroma_errors, inspect_folder
from jina_rag.vectors import FloatArray

__all__ = [
    "COLLECTION",
    "DEFAULT_INDEX_FOLDER",
    "AddProgress",
    "AddProgressCallback",
    "AddReport",
    "DocumentIndex",
    "FailedDocument",
    "IndexStatus",
    "SyncReport",
    "load_index_embedder",
    "read_index_settings",
    "rebuild",
]

DEFAULT_INDEX_FOLDER = Path(".jina-rag/index")
"""Where the command line keeps an index, below the current folder."""

MANIFEST = _doctor.MANIFEST

_OWN_NAMES = {LOCK, HOLDER, MANIFEST, f"{MANIFEST}-wal", f"{MANIFEST}-shm"}  # what a killed creation may leave
_CHUNKS_AT_A_TIME = 256


def read_index_settings(folder: Path | str) -> Fingerprint:
    """What an index was made with: model, quantisation, dimensions. Loads no model.

    Raises:
        IndexFolderError: there is no index in `folder`, or it is damaged.
    """
    manifest = _existing_manifest(Path(folder))
    try:
        return manifest.fingerprint()
    finally:
        manifest.close()


def load_index_embedder(folder: Path | str, *, backend: str | None = None) -> Embedder:
    """The model that an index was made with, which is the only one that can search it.

    Args:
        folder: The index.
        backend: Where the model runs, as for `Embedder.from_pretrained`; None loads it into this process.

    Raises:
        IndexFolderError: there is no index in `folder`, or it is damaged.
        Otherwise as `Embedder.from_pretrained` does.
    """
    made_with = read_index_settings(folder)
    return Embedder.from_pretrained(
        made_with.model,
        quantization=made_with.quantization or None,
        dimensions=made_with.dimensions,
        backend=backend,
    )


def rebuild(
    folder: Path | str,
    embedder: Embedder,
    on_progress: repair.RebuildCallback | None = None,
    should_stop: StopCallback = lambda: False,
) -> int:
    """Make the vectors and words of an index anew from its stored texts, for its own model or another.

    The index stays as it was until all is done, whatever happens meanwhile; a rebuild that was interrupted goes on
    where it stopped. For the index's own model nothing is embedded that has a vector already. Another model takes over
    the chunks as they were cut for the first.

    Args:
        folder: Where the index is.
        embedder: The model; its vectors may be of another width.
        on_progress: Called with how many chunks are done, and how many there are.
        should_stop: Asked now and then.

    Returns:
        How many texts were embedded.

    Raises:
        IndexFolderError: there is no index, its manifest is damaged, another process is writing, or it was stopped.
    """
    folder = Path(folder)
    manifest = _existing_manifest(folder)
    try:
        with sole_writer(folder):
            _migrate(folder, manifest, embedder)
            manifest.tidy()
            return repair.renew_chroma(folder, manifest, embedder, on_progress, should_stop)
    finally:
        manifest.close()


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
            with sole_writer(folder):
                manifest.create(embedder.fingerprint)
        manifest.close()
        return cls.open(folder, embedder)

    @classmethod
    def open(cls, folder: Path | str, embedder: Embedder | None = None) -> Self:
        """The index in `folder`, which must exist. One of an earlier version is brought up to date.

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
        try:
            made_with = manifest.fingerprint()
            embedder = embedder or load_index_embedder(folder)
            embedder.fingerprint.check(
                made_with,
                where=f"The index {folder}",
                remedy=f"Open it with its own model ({made_with.model}, {made_with.quantization}, "
                f"{made_with.dimensions} dimensions), or change its model with `jina-rag rebuild`.",
            )
            if manifest.version() < VERSION:
                with sole_writer(folder):
                    _migrate(folder, manifest, embedder)
            _recover_if_possible(folder, manifest, embedder)
            return cls(folder, embedder, manifest)
        except BaseException:
            manifest.close()
            raise

    def add(
        self,
        paths: Iterable[Path | str],
        on_progress: AddProgressCallback | None = None,
        *,
        collection: str = DEFAULT_COLLECTION,
        exclude: Sequence[str] = (),
        should_stop: StopCallback = lambda: False,
        retry_failed: bool = False,
    ) -> SyncReport:
        """Add files, and all documents in folders. What is unchanged is left alone; what fails doesn't stop the rest.

        Args:
            paths: Files, folders and glob patterns; remembered for `sync`.
            on_progress: Told how far it has come.
            collection: Where the documents go; one that is elsewhere moves.
            exclude: Patterns, as in .gitignore, of what to leave out below folders.
            should_stop: Asked between batches whether to end early. Documents that are complete by then stay.
            retry_failed: Read files again that failed before and have not changed since.

        Raises:
            DocumentError: a path doesn't exist, or is a file of a kind that can't be read.
            IndexFolderError: another process is writing, the index is damaged, or the disk is full.
            MissingDependencyError: a package without which nothing can be added is not installed.
        """
        paths = list(paths)
        found = Survey()
        files = find_documents(
            paths, exclude, on_error=lambda folder, error: found.lost.append(FailedDocument(str(folder), str(error)))
        )
        found.files.update(dict.fromkeys(files, collection))
        with self._writing():
            roots = as_roots(paths, files, collection, exclude)
            self._manifest.add_roots(without_covered(roots, [*roots, *self._manifest.roots()]))
            return self._bring_in(found, on_progress, should_stop, retry_failed=retry_failed)

    def sync(
        self,
        paths: Iterable[Path | str] | None = None,
        on_progress: AddProgressCallback | None = None,
        *,
        collection: str | None = None,
        exclude: Sequence[str] | None = None,
        should_stop: StopCallback = lambda: False,
        retry_failed: bool = False,
    ) -> SyncReport:
        """Make the index agree with what is on the disk: add what is new or has changed, remove what is gone.

        A folder that has vanished as a whole, or is suddenly empty, is taken for a disk that is not mounted: nothing
        from there is removed. A document that `remove` took out comes back if its file is still there.

        Args:
            paths: Files and folders; None for everything that was ever added.
            on_progress: Told how far it has come.
            collection: Where the documents go; None leaves each where its folder was added to.
            exclude: Patterns of what to leave out; None for those that the folder was added with.
            should_stop: Asked between batches whether to end early. Nothing is removed then.
            retry_failed: Read files again that failed before and have not changed since.

        Raises:
            DocumentError: one of `paths` doesn't exist, has vanished, or can't be read. Without `paths` such a folder
                is reported among the failed, and the others are dealt with.
            Otherwise as `add` does.
        """
        with self._writing():
            remembered = self._manifest.roots()
            known = {document.source for document in self._manifest.documents()}
            if paths is None:
                if not remembered:
                    raise DocumentError("Nothing has been added yet. Name the folder: jina-rag sync FOLDER")
                roots = remembered
            else:
                roots = [root_for(Path(path).resolve(), remembered, collection, exclude) for path in paths]
            found = survey(roots, known)
            if paths is not None:
                if found.lost:
                    raise DocumentError(found.lost[0].reason)
                self._manifest.add_roots(without_covered(roots, [*roots, *remembered]))
            report = self._bring_in(found, on_progress, should_stop, retry_failed=retry_failed)
            return report if report.stopped else self._without_gone(report, roots, found)

    def remove(self, sources: Iterable[Path | str]) -> int:
        """Take documents out, by their `source` or a folder that they are in; the files stay.

        Returns:
            How many there were.

        Raises:
            IndexFolderError: another process is writing, or the index is damaged.
        """
        paths = [str(source) for source in sources]
        with self._writing():
            gone = self._manifest.sources_below(paths)
            self._remove(gone)
            names = [root.path for root in self._manifest.roots()]
            names += [item.source for item in self._manifest.failed()]
            named = [name for name in names if any(is_below(name, path) for path in paths)]
            self._manifest.remove_roots(named)
            self._manifest.remove_failed(named)
        return len(gone)

    def remove_collection(self, name: str) -> int:
        """Take out all documents of a collection; the files stay. Returns how many there were.

        Raises:
            IndexFolderError: another process is writing, or the index is damaged.
        """
        with self._writing():
            gone = [document.source for document in self._manifest.documents(name)]
            self._remove(gone)
            self._manifest.remove_roots(root.path for root in self._manifest.roots() if root.collection == name)
        return len(gone)

    def documents(self, collection: str | None = None) -> list[IndexedDocument]:
        """All documents, or those of one collection, by source."""
        return self._manifest.documents(collection)

    def collections(self) -> dict[str, int]:
        """How many documents there are in each collection."""
        return self._manifest.collections()

    def count_chunks(self) -> int:
        """How many chunks can be found."""
        return self._manifest.count_chunks()

    def status(self) -> IndexStatus:
        """What is in the index."""
        collections = self._manifest.collections()
        return IndexStatus(
            folder=self.folder,
            fingerprint=self._manifest.fingerprint(),
            n_documents=sum(collections.values()),
            n_chunks=self.count_chunks(),
            n_bytes=_bytes_on_disk(self.folder),
            collections=collections,
            roots=tuple(self._manifest.roots()),
            failed=tuple(self._manifest.failed()),
            is_being_written=is_being_written(self.folder),
        )

    def doctor(self) -> list[_doctor.Problem]:
        """What is wrong with the index, as `jina_rag.rag.doctor.doctor` finds it."""
        return _doctor.doctor(self.folder)

    def nearest(self, vector: FloatArray, k: int, filters: Filters | None = None) -> list[tuple[Chunk, float]]:
        """The `k` chunks most similar to a query vector with their cosine similarity, best first.

        Args:
            vector: Of shape (d,), unit length.
            k: How many at most.
            filters: Which documents count; None for all.

        Raises:
            IndexFolderError: the index is damaged, or its vectors are gone.
        """
        ids = self._manifest.chunk_ids(filters) if filters else None
        with self._vectors_open() as store:
            n_vectors, n_chunks = store.count(), self._manifest.count_chunks()
            if n_chunks and not n_vectors and not self._manifest.unfinished():
                raise IndexFolderError(
                    f"The vectors in {self.folder} are gone. Make them again with `jina-rag rebuild --index "
                    f"{self.folder}`: no text is embedded again for that."
                )
            # Vectors that are being written, or were left by a killed process, don't count: ask for as many more.
            found = store.nearest(vector, k + max(0, n_vectors - n_chunks), ids)
        chunks = self._manifest.chunks(id_ for id_, _ in found[:k])
        if len(chunks) < k:  # Chroma looks at many more than that, and reading them all takes longer than finding them
            chunks |= self._manifest.chunks(id_ for id_, _ in found[k:])
        return [(chunks[id_], cosine) for id_, cosine in found if id_ in chunks][:k]

    def matching(self, query: str, k: int, filters: Filters | None = None) -> list[tuple[Chunk, float]]:
        """The `k` chunks whose words match a query best, each with its BM25 score; higher is better.

        What another program has deleted from Chroma is not found here either.

        Raises:
            IndexFolderError: the index is damaged.
        """
        found = self._manifest.matching(query, k, filters)
        with self._vectors_open() as store:
            there = store.existing([chunk.id for chunk, _ in found])
        return [(chunk, score) for chunk, score in found if chunk.id in there]

    def vectors(self, ids: Sequence[str]) -> FloatArray:
        """The vectors of chunks: float32 of shape (n, d), in the order of `ids`.

        Raises:
            IndexFolderError: an id is unknown, or its vector is missing.
        """
        found = self._manifest.vectors_of(ids)
        missing = [id_ for id_ in ids if id_ not in found]
        if missing:
            raise IndexFolderError(
                f"The index {self.folder} has no vector of the chunk {missing[0]}. Look into it with `jina-rag doctor`."
            )
        return np.stack([found[id_] for id_ in ids]) if ids else np.empty((0, self.embedder.dimensions), "f4")

    def chunk(self, id_: str) -> Chunk | None:
        """The chunk that has this id."""
        return self._manifest.chunks([id_]).get(id_)

    def chunks_of(self, source: str) -> list[Chunk]:
        """All chunks of a document in order."""
        return self._manifest.chunks_of(source)

    def neighbours(self, chunk: Chunk, n: int) -> list[Chunk]:
        """At most `n` chunks before and `n` after this one in its document, in order, without itself."""
        around = self._manifest.chunks_of(chunk.source, chunk.position - n, chunk.position + n)
        return [other for other in around if other.position != chunk.position]

    def sample(self, n: int) -> list[Chunk]:
        """At most `n` chunks, spread evenly over the index; the same ones each time."""
        return self._manifest.sample(n)

    def export(self, target: Path | TextIO, *, filters: Filters | None = None, vectors: bool = False) -> int:
        """Write chunks as JSON Lines, one a line, with all that is known of them.

        Args:
            target: A file, which is replaced, or an open text stream.
            filters: Which documents; None for all.
            vectors: Whether to write each chunk's vector too, as a list of numbers.

        Returns:
            How many chunks were written.

        Raises:
            OSError: `target` can't be written.
            IndexFolderError: the index is damaged.
        """
        if isinstance(target, Path):
            with target.open("w", encoding="utf-8") as file:
                return self.export(file, filters=filters, vectors=vectors)
        documents = {document.source: document for document in self.documents()}
        n = 0
        for chunks in _batches(self._manifest.all_chunks(filters), _CHUNKS_AT_A_TIME):
            found = self.vectors([chunk.id for chunk in chunks]) if vectors else None
            for place, chunk in enumerate(chunks):
                document = documents[chunk.source]
                row = {**asdict(chunk), "collection": document.collection, "sha256": document.sha256}
                if found is not None:
                    row["vector"] = found[place].tolist()
                target.write(json.dumps(row, ensure_ascii=False) + "\n")
            n += len(chunks)
        return n

    def close(self) -> None:
        """Give back the database's memory and files; the embedder stays open."""
        self._store.close()
        self._manifest.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # Writing

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with sole_writer(self.folder), chroma_errors(self._store.folder):
            with self._lock:
                if self._manifest.unfinished() or self._manifest.chroma_folder():
                    self._store.close()
                    repair.recover(self.folder, self._manifest, self.embedder)
                    self._open_vectors()
                self._renew_vectors()
                if self._store.count() != self._manifest.count_chunks():
                    repair.mend(self._manifest, self._store, self.embedder)
                    self._generation = self._manifest.generation()
            yield

    @contextmanager
    def _own_change(self) -> Iterator[None]:
        """Change the manifest without taking that for the change of another process."""
        with self._lock:
            yield
            self._generation = self._manifest.generation()

    def _bring_in(
        self, found: Survey, on_progress: AddProgressCallback | None, should_stop: StopCallback, *, retry_failed: bool
    ) -> SyncReport:
        known = {document.source: document for document in self._manifest.documents()}
        plan = make_plan(found, known, {} if retry_failed else {item.source: item for item in self._manifest.failed()})
        self._move(plan.elsewhere)
        progress = ProgressMeter(on_progress, plan.tasks, len(found.files) - len(plan.tasks))
        ingestion = Ingestion(self._manifest, self._store, self.embedder, self._own_change)
        result = ingestion.run(plan.tasks, progress, should_stop)
        self._clear_up(result)
        return SyncReport(
            added=tuple(result.added),
            updated=tuple(sorted([*result.updated, *plan.elsewhere])),
            unchanged=tuple(sorted([*plan.unchanged, *result.unchanged])),
            moved=tuple((twin, source) for source, twins in result.twins.items() for twin in twins[:1]),
            failed=(*found.lost, *sorted([*plan.failed, *result.failed], key=lambda item: item.source)),
            n_chunks=result.n_chunks,
            n_embedded=result.n_embedded,
            stopped=result.stopped,
        )

    def _clear_up(self, result: IngestionResult) -> None:
        """Take what was begun and came to nothing out of Chroma again, and remember what failed."""
        unfinished = self._manifest.unfinished()
        if unfinished:
            with self._own_change():
                repair.mend(self._manifest, self._store, self.embedder, unfinished)
        self._manifest.add_failed(result.failed)
        if not result.stopped and result.updated:
            self._manifest.forget_unused_vectors()

    def _move(self, elsewhere: dict[str, str]) -> None:
        """Put documents into other collections, by source."""
        for source, collection in elsewhere.items():
            self._store.describe(self._manifest.chunks_of(source), collection)
        for collection in set(elsewhere.values()):
            with self._own_change():
                self._manifest.move([source for source, name in elsewhere.items() if name == collection], collection)

    def _without_gone(self, report: SyncReport, roots: Sequence[Root], found: Survey) -> SyncReport:
        files = {str(file) for file in found.files}
        known = [document.source for document in self._manifest.documents()]
        gone = {
            source
            for source in known
            if source not in files and any(is_below(source, root.path) for root in roots) and found.is_gone(source)
        }
        self._remove(sorted(gone))
        self._manifest.remove_roots(gone)
        self._manifest.remove_failed(
            item.source for item in self._manifest.failed() if item.source not in files and found.is_gone(item.source)
        )
        moved = tuple((before, now) for before, now in report.moved if before in gone)
        return replace(
            report,
            added=tuple(sorted(set(report.added) - {now for _, now in moved})),
            removed=tuple(sorted(gone - {before for before, _ in moved})),
            moved=moved,
        )

    def _remove(self, sources: Sequence[str]) -> None:
        if not sources:
            return
        self._manifest.begin(sources)
        self._store.delete(chunk.id for source in sources for chunk in self._manifest.chunks_of(source))
        with self._own_change():
            self._manifest.remove(sources)
        self._manifest.forget_unused_vectors()

    # Reading

    def _open_vectors(self) -> None:
        generation = self._manifest.generation()  # read first: what is written meanwhile is then seen as new
        self._store = VectorStore(repair.chroma_folder(self.folder, self._manifest), self.embedder)
        self._generation = generation

    def _renew_vectors(self) -> None:
        """Open the vectors again if another process has changed them, for Chroma looks for such changes only then.

        A writer must do so too, or else it would save an old state over the new one.
        """
        if self._generation != self._manifest.generation():
            self._store.close()
            self._open_vectors()

    @contextmanager
    def _vectors_open(self) -> Iterator[VectorStore]:
        with self._lock, chroma_errors(self._store.folder):
            self._renew_vectors()
            yield self._store


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


def _recover_if_possible(folder: Path, manifest: Manifest, embedder: Embedder) -> None:
    """Put in order what a killed process has left, unless one is writing or the folder can't be written: it then waits.

    Searches pass over what is unfinished either way.
    """
    if not (manifest.unfinished() or manifest.chroma_folder()):
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(sole_writer(folder))
        except IndexFolderError:
            return
        repair.recover(folder, manifest, embedder)


def _migrate(folder: Path, manifest: Manifest, embedder: Embedder) -> None:
    """Bring an index of version 1 up to date; Chroma's vectors are kept if they can be read. The lock is held."""
    if manifest.version() >= VERSION:
        return
    chroma = repair.chroma_folder(folder, manifest)
    if embedder.fingerprint != manifest.fingerprint() or inspect_folder(chroma).fault:
        manifest.migrate(lambda _: {})
        return
    with chroma_errors(chroma):
        store = VectorStore(chroma, embedder)
        try:
            for chunks in _batches(manifest.all_chunks(), _CHUNKS_AT_A_TIME):
                store.describe(chunks, DEFAULT_COLLECTION)
            manifest.migrate(store.vectors)
        finally:
            store.close()


def _bytes_on_disk(folder: Path) -> int:
    own = [folder / name for name in _OWN_NAMES]
    chroma = (
        Path(parent, name) for place in folder.glob("chroma*") for parent, _, names in os.walk(place) for name in names
    )
    return sum(map(_size, [*own, *chroma]))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # not made yet, or gone meanwhile: another process may be writing
        return 0


def _batches(items: Iterable[Chunk], size: int) -> Iterator[list[Chunk]]:
    batch: list[Chunk] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
