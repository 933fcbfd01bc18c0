"""`DocumentIndex`: documents in a folder that can be searched, added and removed."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Self, TypeVar

from jina_rag.embedder import Embedder
from jina_rag.errors import DocumentError, IndexFolderError
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.indexing import rebuild as repair
from jina_rag.rag.indexing.contents import IndexContents
from jina_rag.rag.indexing.index_model import EmbedderLoader, IndexModel
from jina_rag.rag.indexing.opening import (
    DEFAULT_INDEX_FOLDER,
    find_manifest,
    load_index_embedder,
    make_manifest,
    read_index_settings,
    rebuild,
    recover_if_possible,
)
from jina_rag.rag.indexing.progress import AddProgress, AddProgressCallback, StopCallback
from jina_rag.rag.indexing.reports import AddReport, IndexStatus, SyncReport
from jina_rag.rag.indexing.scan import (
    as_sources,
    is_below,
    scan_paths,
    scan_tracked,
    tracked_paths_for,
    without_covered,
)
from jina_rag.rag.indexing.sync import Changes
from jina_rag.rag.store.catalog import DEFAULT_COLLECTION, FailedDocument, Manifest
from jina_rag.rag.store.filters import Filters
from jina_rag.rag.store.lock import sole_writer
from jina_rag.rag.store.vectors import COLLECTION, VectorStore, chroma_errors
from jina_rag.vectors import FloatArray

__all__ = [
    "COLLECTION",
    "DEFAULT_INDEX_FOLDER",
    "AddProgress",
    "AddProgressCallback",
    "AddReport",
    "DocumentIndex",
    "FailedDocument",
    "IndexContents",
    "IndexStatus",
    "SyncReport",
    "load_index_embedder",
    "read_index_settings",
    "rebuild",
]

_logger = logging.getLogger(__name__)

T = TypeVar("T")


class DocumentIndex(IndexContents):
    """Documents, their chunks and vectors in a folder. One process at a time may write, any number may search.

    Safe to use from many threads. What another process adds is found at once.
    """

    def __init__(self, folder: Path, manifest: Manifest, model: IndexModel) -> None:
        """Take ready parts; `create_or_open` and `open` fetch them.

        Raises:
            FingerprintMismatchError: the vectors were made with another model than the manifest says.
            MissingDependencyError: chromadb is not installed.
        """
        super().__init__(folder, manifest)
        self._model = model
        self._lock = RLock()
        self._store: VectorStore | None = None
        self._generation = -1
        self._unreadable: int | None = None
        self._ask_chroma(VectorStore.count)

    @classmethod
    def create_or_open(cls, folder: Path | str, embedder: Embedder | EmbedderLoader) -> Self:
        """The index in `folder`, made if there is none.

        Args:
            folder: Where it is or shall be.
            embedder: The model, or what loads it. What it loads belongs to the index and is closed with it.

        Raises:
            IndexFolderError: the folder holds something else, is damaged, or can't be written.
            FingerprintMismatchError: the index was made with another model.
            MissingDependencyError: chromadb or filelock is not installed.
        """
        folder = Path(folder)
        loaded: list[Embedder] = []

        def load() -> Embedder:
            if not loaded:
                loaded.append(embedder() if callable(embedder) else embedder)
            return loaded[0]

        make_manifest(folder, lambda: load().fingerprint)
        return cls.open(folder, load if callable(embedder) else embedder)

    @classmethod
    def open(cls, folder: Path | str, embedder: Embedder | EmbedderLoader | None = None) -> Self:
        """The index in `folder`, which must exist.

        Args:
            folder: Where it is.
            embedder: The model that it was made with, or what loads it at the first need; None loads it by its name
                then. What was loaded so is closed with the index.

        Raises:
            IndexFolderError: there is no index, or it is damaged.
            FingerprintMismatchError: the index was made with another model.
            MissingDependencyError: chromadb is not installed.
        """
        folder = Path(folder)
        manifest = find_manifest(folder)
        try:
            model = IndexModel(folder, manifest.fingerprint(), embedder)
            recover_if_possible(folder, manifest, model)
            return cls(folder, manifest, model)
        except BaseException:
            manifest.close()
            raise

    @property
    def embedder(self) -> Embedder:
        """The model, which is loaded at the first use of this.

        Raises:
            FingerprintMismatchError: what was loaded is not the model that the index was made with.
            Otherwise as `Embedder.from_pretrained` does.
        """
        return self._model.embedder

    # Searching

    def nearest(self, vector: FloatArray, k: int, filters: Filters | None = None) -> list[tuple[Chunk, float]]:
        """The `k` chunks most similar to a query vector with their cosine similarity, best first.

        Where Chroma can't be read, as on a full disk, every vector in SQLite is compared instead, and the log says so.

        Args:
            vector: Of shape (d,), unit length.
            k: How many at most.
            filters: Which documents count; None for all.

        Raises:
            IndexFolderError: the index is damaged, or its vectors are gone.
        """
        ids = self._manifest.chunk_ids(filters) if filters else None

        def ask(store: VectorStore) -> list[tuple[str, float]]:
            n_vectors, n_chunks = store.count(), self._manifest.count_chunks()
            if n_chunks and not n_vectors and not self._manifest.unfinished():
                raise IndexFolderError(
                    f"The vectors in {store.folder} are gone. Make them again with `jina-rag rebuild --index "
                    f"{self.folder}`: no text is embedded again for that."
                )
            # Vectors that are being written, or were left by a killed process, don't count: ask for as many more.
            return store.nearest(vector, k + max(0, n_vectors - n_chunks), n_vectors, ids)

        found = self._ask_chroma(ask)
        if found is None:
            found = self._manifest.nearest(vector, k, filters)
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
        there = self._ask_chroma(lambda store: store.existing([chunk.id for chunk, _ in found]))
        return [(chunk, score) for chunk, score in found if there is None or chunk.id in there]

    # Changing

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
            paths: Files, folders, glob patterns and file:// addresses; remembered for `sync`, a pattern as the files
                that it named.
            on_progress: Called with the progress.
            collection: Where the documents go; one that is in another moves.
            exclude: Patterns, as in .gitignore, of what to leave out below folders.
            should_stop: Asked between batches whether to end early. Documents that are complete by then stay.
            retry_failed: Read files again that failed before and have not changed since.

        Raises:
            DocumentError: a path doesn't exist, or is a file of a kind that can't be read.
            IndexFolderError: another process is writing, the index is damaged, or the disk is full.
            MissingDependencyError: a package without which nothing can be added is not installed.
            Otherwise, if the model is not loaded yet, as `embedder` does.
        """
        found, tracked = scan_paths(paths, collection, exclude)
        with self._writing() as changes:
            remembered = self._manifest.tracked_paths()
            self._manifest.add_tracked_paths(without_covered(tracked, [*tracked, *remembered], found.files))
            report, _ = changes.add(found, on_progress, should_stop, retry_failed=retry_failed)
            return report

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
        from there is removed. A document that `remove` removed comes back if its file is still there.

        Args:
            paths: As for `add`; None for everything that was ever added.
            on_progress: Called with the progress.
            collection: Where the documents go; None leaves each where its folder was added to.
            exclude: Patterns of what to leave out; None for those that the folder was added with.
            should_stop: Asked between batches whether to end early. Nothing is removed then.
            retry_failed: Read files again that failed before and have not changed since.

        Raises:
            DocumentError: one of `paths` doesn't exist, has vanished, or can't be read. Without `paths` such a folder
                is reported among the failed, and the others are dealt with.
            Otherwise as `add` does.
        """
        with self._writing() as changes:
            remembered = self._manifest.tracked_paths()
            known = {document.source for document in self._manifest.documents()}
            known |= {failure.source for failure in self._manifest.failed()}
            if paths is None:
                if not remembered:
                    raise DocumentError("Nothing has been added yet. Name the folder: jina-rag sync FOLDER")
                tracked = remembered
            else:
                tracked = tracked_paths_for(paths, remembered, collection, exclude)
            found = scan_tracked(tracked, known)
            if paths is not None:
                if found.lost:
                    raise DocumentError(found.lost[0].reason)
                self._manifest.add_tracked_paths(without_covered(tracked, [*tracked, *remembered], found.files))
            report, duplicates = changes.add(found, on_progress, should_stop, retry_failed=retry_failed)
            return report if report.stopped else changes.remove_missing(report, duplicates, tracked, found)

    def remove(self, sources: Iterable[Path | str]) -> int:
        """Remove documents, by their `source`, their path or a folder that they are in; the files stay.

        Returns:
            How many there were.

        Raises:
            IndexFolderError: another process is writing, or the index is damaged.
        """
        paths = as_sources(sources)
        with self._writing() as changes:
            gone = self._manifest.sources_below(paths)
            changes.remove(gone)
            names = [item.path for item in self._manifest.tracked_paths()]
            names += [item.source for item in self._manifest.failed()]
            named = [name for name in names if any(is_below(name, path) for path in paths)]
            self._manifest.remove_tracked_paths(named)
            self._manifest.remove_failed(named)
        return len(gone)

    def remove_collection(self, name: str) -> int:
        """Remove all documents of a collection; the files stay. Returns how many there were.

        Raises:
            IndexFolderError: another process is writing, or the index is damaged.
        """
        with self._writing() as changes:
            gone = [document.source for document in self._manifest.documents(name)]
            changes.remove(gone)
            self._manifest.remove_tracked_paths(
                item.path for item in self._manifest.tracked_paths() if item.collection == name
            )
        return len(gone)

    def close(self) -> None:
        """Give back the database's memory and files, and a model that was loaded here."""
        self._close_vectors()
        super().close()
        self._model.close()

    @contextmanager
    def _writing(self) -> Iterator[Changes]:
        """Hold the lock over an index in good order."""
        with sole_writer(self.folder), chroma_errors(repair.chroma_folder(self.folder, self._manifest)):
            with self._lock:
                if self._manifest.unfinished() or self._manifest.chroma_folder():
                    self._close_vectors()
                    repair.recover(self.folder, self._manifest, self._model)
                store = self._open_vectors()
                if store.count() != self._manifest.count_chunks():
                    repair.mend(self._manifest, store, self._model)
                    self._generation = self._manifest.generation()
            yield Changes(self._manifest, store, self._model, self._own_change)

    @contextmanager
    def _own_change(self) -> Iterator[None]:
        """Change the manifest without taking that for the change of another process."""
        with self._lock:
            yield
            self._generation = self._manifest.generation()

    # The vectors in Chroma

    def _open_vectors(self) -> VectorStore:
        """The vectors, opened again if another process has changed them, for Chroma looks for such changes only then.

        A writer must do so too, or else it would save an old state over the new one.
        """
        generation = self._manifest.generation()  # read first: what is written meanwhile is then seen as new
        if self._store is None or self._generation != generation:
            self._close_vectors()
            self._store = VectorStore(repair.chroma_folder(self.folder, self._manifest), self._model.fingerprint)
            self._generation = generation
        return self._store

    def _close_vectors(self) -> None:
        if self._store:
            self._store.close()
        self._store = None

    def _ask_chroma(self, ask: Callable[[VectorStore], T]) -> T | None:
        """What Chroma answers; None if it can't be read, which the log says once for each state of the index."""
        with self._lock:
            if self._unreadable == (generation := self._manifest.generation()):
                return None
            try:
                with chroma_errors(repair.chroma_folder(self.folder, self._manifest)):
                    return ask(self._open_vectors())
            except IndexFolderError as error:
                _logger.warning("%s Until then searches compare with every vector, which takes longer.", error)
                self._unreadable = generation
                self._close_vectors()
                return None
