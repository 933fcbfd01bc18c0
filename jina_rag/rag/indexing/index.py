"""`DocumentIndex`: documents in a folder that can be searched, added and removed."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

from jina_rag.embedder import Embedder
from jina_rag.errors import DocumentError, IndexFolderError
from jina_rag.rag.indexing.candidates import Candidate, Mode, Rank
from jina_rag.rag.indexing.chroma_side import ChromaSide
from jina_rag.rag.indexing.contents import IndexContents
from jina_rag.rag.indexing.index_model import EmbedderLoader, IndexModel
from jina_rag.rag.indexing.opening import (
    DEFAULT_INDEX_FOLDER,
    find_catalog,
    leave_private,
    load_index_embedder,
    make_catalog,
    read_index_settings,
)
from jina_rag.rag.indexing.progress import AddProgress, AddProgressCallback, StopCallback
from jina_rag.rag.indexing.rebuild import rebuild
from jina_rag.rag.indexing.reports import IndexStatus, SyncReport
from jina_rag.rag.indexing.scan import (
    ScanResult,
    as_sources,
    covering,
    is_below,
    joined,
    scan_paths,
    scan_tracked,
    tracked_paths_for,
    without_covered,
)
from jina_rag.rag.indexing.sync import IndexWriter
from jina_rag.rag.store.catalog import Catalog
from jina_rag.rag.store.chroma_store import COLLECTION
from jina_rag.rag.store.filters import Filters
from jina_rag.rag.store.lock import sole_writer
from jina_rag.rag.store.searching import Matches
from jina_rag.rag.store.types import FailedDocument, FoundChunk, TrackedPath, as_collections
from jina_rag.vectors import FloatArray

__all__ = [
    "COLLECTION",
    "DEFAULT_INDEX_FOLDER",
    "AddProgress",
    "AddProgressCallback",
    "DocumentIndex",
    "FailedDocument",
    "IndexContents",
    "IndexStatus",
    "SyncReport",
    "load_index_embedder",
    "read_index_settings",
    "rebuild",
]


class DocumentIndex(IndexContents):
    """Documents, their chunks and vectors in a folder. One process at a time may write, any number may search.

    Safe to use from many threads. What another process adds is found at once.
    """

    def __init__(self, folder: Path, catalog: Catalog, model: IndexModel) -> None:
        """Take ready parts; `create_or_open` and `open` fetch them. Chroma is opened at the first use."""
        super().__init__(folder, catalog)
        self._model = model
        self._chroma = ChromaSide(folder, catalog, model.fingerprint)

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

        make_catalog(folder, lambda: load().fingerprint)
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
        catalog = find_catalog(folder)
        try:
            return cls(folder, catalog, IndexModel(folder, catalog.fingerprint(), embedder))
        except BaseException:
            catalog.close()
            raise

    @property
    def embedder(self) -> Embedder:
        """The model, which is loaded at the first use of this.

        Raises:
            FingerprintMismatchError: what was loaded is not the model that the index was made with.
            JinaRagError: otherwise as `Embedder.from_pretrained`.
        """
        return self._model.embedder

    # Searching

    def candidates(
        self, query: str, vector: FloatArray, n: int, *, mode: Mode = "hybrid", filters: Filters | None = None
    ) -> list[Candidate]:
        """The chunks that are nearest to a query's vector and those that have its words, `n` of each side at most.

        It reads SQLite once before it asks Chroma and once after. Where Chroma can't be asked, as on a full disk, every
        vector in SQLite is compared instead, and the log says so.

        Args:
            query: Any text.
            vector: Of shape (d,), unit length.
            n: How many of each side.
            mode: Both sides, or one.
            filters: Which documents count; None for all.

        Raises:
            FingerprintMismatchError: the index was rebuilt with another model since it was opened.
            IndexFolderError: the index is damaged, or this process was forked after the index was opened.
        """
        filters = filters or Filters()
        matches = self._catalog.matches("" if mode == "dense" else query, n, filters, with_ids=mode != "lexical")
        self._model.check(matches.fingerprint)
        chunks = dict(matches.chunks)
        dense: dict[str, Rank] = {}
        if mode != "lexical":
            near = self._nearest(vector, n, filters, matches)
            ordered = sorted((-float(self._vector_of(stored) @ vector), id_) for id_, stored in near.items())
            dense = {id_: Rank(place, -minus) for place, (minus, id_) in enumerate(ordered[:n], start=1)}
            chunks |= {id_: near[id_] for id_ in dense}
        found = [hit for hit in matches.lexical if hit.id in matches.chunks]
        lexical = {hit.id: Rank(place, hit.score) for place, hit in enumerate(found, start=1)}
        coverage = {hit.id: hit.coverage for hit in found}
        vectors = {id_: self._vector_of(stored) for id_, stored in chunks.items()}
        return [
            Candidate(
                chunk=stored.chunk,
                vector=vectors[id_],
                similarity=float(vectors[id_] @ vector),
                dense=dense.get(id_),
                lexical=lexical.get(id_),
                coverage=coverage.get(id_, 0.0),
            )
            for id_, stored in chunks.items()
        ]

    def _nearest(self, vector: FloatArray, n: int, filters: Filters, matches: Matches) -> dict[str, FoundChunk]:
        """At least the `n` nearest chunks, if there are so many: those that Chroma finds, and those it may lack."""
        found = self._chroma.nearest(vector, n, matches)
        if found is None:
            return self._catalog.nearest(vector, n, filters)
        scores = {**dict(found), **{id_: float(each @ vector) for id_, each in matches.dirty.items()}}
        return self._catalog.best_of(sorted(scores, key=lambda id_: -scores[id_]), n, len(vector)) if scores else {}

    def _vector_of(self, stored: FoundChunk) -> FloatArray:
        if stored.vector is None:
            raise IndexFolderError(
                f"The index {self.folder} has no vector of the chunk {stored.chunk.id}. Look into it with "
                "`jina-rag doctor`."
            )
        return stored.vector

    # Changing

    def add(
        self,
        paths: Iterable[Path | str],
        on_progress: AddProgressCallback | None = None,
        *,
        collections: Sequence[str] = (),
        exclude: Sequence[str] = (),
        should_stop: StopCallback = lambda: False,
        retry_failed: bool = False,
        restore: bool = False,
    ) -> SyncReport:
        """Add files, and all documents in folders. What is unchanged is left alone; what fails doesn't stop the rest.

        A document may be in several collections: it is in those of every file and folder that was added and that it
        lies in. What `remove` removed stays out unless it is named itself.

        Args:
            paths: Files, folders, glob patterns and file:// addresses; remembered for `sync`, a pattern as the files
                that it named.
            on_progress: Called with the progress.
            collections: Those that the documents shall be in, beside those that they are in already.
            exclude: Patterns, as in .gitignore, of what to leave out below folders.
            should_stop: Asked between batches whether to end early. Documents that are complete by then stay.
            retry_failed: Read files again that failed before and have not changed since.
            restore: Let in again all that was removed below `paths`.

        Raises:
            DocumentError: a path doesn't exist, or is a file of a kind that can't be read.
            IndexFolderError: another process is writing, the index is damaged, or the disk is full.
            MissingDependencyError: a package without which nothing can be added is not installed.
            JinaRagError: otherwise as `embedder`, if the model is not loaded yet.
        """
        found, tracked = scan_paths(paths, collections, exclude)
        with self._writing() as writer:
            names, removed = {item.path for item in tracked}, self._catalog.removed()
            self._catalog.let_in(path for path in removed if path in names or (restore and any(covering(path, names))))
            self._track(joined(tracked, self._catalog.tracked_paths()), found)
            report, _ = writer.add(found, on_progress, should_stop, retry_failed=retry_failed)
            return report

    def sync(
        self,
        paths: Iterable[Path | str] | None = None,
        on_progress: AddProgressCallback | None = None,
        *,
        collections: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        should_stop: StopCallback = lambda: False,
        retry_failed: bool = False,
        allow_mass_removal: bool = False,
    ) -> SyncReport:
        """Make the index agree with what is on the disk: add what is new or has changed, remove what is gone.

        A folder that has vanished as a whole, or is suddenly empty, is taken for a disk that is not mounted: nothing
        from there is removed. Where more than half of what was added from a folder is gone, or all of a folder in it
        that is still there, nothing from there is removed either unless `allow_mass_removal` says so; the report has
        these documents as `withheld` and their folders among the failed. What `remove` removed stays out.

        Args:
            paths: As for `add`; None for everything that was ever added.
            on_progress: Called with the progress.
            collections: Those that what is in `paths` shall be in, in the place of those that they were added to;
                None leaves these.
            exclude: Patterns of what to leave out; None for those that the folder was added with.
            should_stop: Asked between batches whether to end early. Nothing is removed then.
            retry_failed: Read files again that failed before and have not changed since.
            allow_mass_removal: Remove also what looks like a disk that is not mounted.

        Raises:
            DocumentError: one of `paths` doesn't exist, has vanished, or can't be read. Without `paths` such a folder
                is reported among the failed, and the others are dealt with.
            JinaRagError: otherwise as `add`.
        """
        with self._writing() as writer:
            remembered = self._catalog.tracked_paths()
            known = set(self._catalog.sources())
            known |= {failure.source for failure in self._catalog.failed()}
            if paths is None:
                if not remembered:
                    raise DocumentError("Nothing has been added yet. Name the folder: jina-rag sync FOLDER")
                tracked = remembered
            else:
                named = tracked_paths_for(paths, remembered, collections, exclude)
                names = {item.path for item in named}
                inner = [item for item in remembered if item.path not in names and any(covering(item.path, names))]
                tracked = [*named, *inner]
            found = scan_tracked(tracked, known)
            if paths is not None:
                if found.lost:
                    raise DocumentError(found.lost[0].reason)
                self._track(named, found)
            report, duplicates = writer.add(found, on_progress, should_stop, retry_failed=retry_failed)
            if report.stopped:
                return report
            return writer.remove_missing(report, duplicates, tracked, found, allow_mass_removal=allow_mass_removal)

    def remove(self, sources: Iterable[Path | str]) -> int:
        """Remove documents, by their `source`, their path or a folder that they are in; the files stay.

        They stay out of the index, also where a folder above them is added or brought up to date, until they are named
        in `add`.

        Returns:
            How many there were.

        Raises:
            IndexFolderError: another process is writing, or the index is damaged.
        """
        paths = as_sources(sources)
        with self._writing() as writer:
            gone = self._catalog.sources_below(paths)
            writer.remove(gone, for_good=True)
            names = [item.path for item in self._catalog.tracked_paths()]
            names += [item.source for item in self._catalog.failed()]
            named = [name for name in names if any(is_below(name, path) for path in paths)]
            self._catalog.remove_tracked_paths(named)
            self._catalog.remove_failed(named)
            self._keep_out(path for path in paths if any(is_below(source, path) for source in (*gone, *named)))
        return len(gone)

    def remove_collection(self, name: str) -> int:
        """Remove a collection, and the documents that are in no other; the files stay.

        Returns:
            How many documents were removed.

        Raises:
            IndexFolderError: another process is writing, or the index is damaged.
        """
        with self._writing() as writer:
            members = self._catalog.documents(name)
            gone = [document.source for document in members if document.collections == (name,)]
            tracked = self._catalog.tracked_paths()
            self._catalog.remove_tracked_paths(item.path for item in tracked if item.collections == (name,))
            others = [item for item in tracked if name in item.collections and item.collections != (name,)]
            self._catalog.add_tracked_paths(
                replace(item, collections=as_collections({*item.collections} - {name})) for item in others
            )
            writer.remove(gone, for_good=True)
            self._keep_out(gone)
            self._catalog.set_collections(
                {
                    each.source: as_collections({*each.collections} - {name})
                    for each in members
                    if each.source not in gone
                }
            )
            self._chroma.follow()
        return len(gone)

    def close(self) -> None:
        """Give back the database's memory and files, and a model that was loaded here."""
        self._chroma.close()
        super().close()
        self._model.close()

    def _track(self, tracked: Sequence[TrackedPath], found: ScanResult) -> None:
        """Remember what was named."""
        known = [*self._catalog.tracked_paths(), *tracked]
        self._catalog.add_tracked_paths(without_covered(tracked, known, found.files, self._catalog.removed()))

    def _keep_out(self, paths: Iterable[str]) -> None:
        """Remember that files and folders were removed that a tracked folder would bring back."""
        tracked = {item.path for item in self._catalog.tracked_paths()}
        self._catalog.keep_out(path for path in paths if any(covering(path, tracked)))

    @contextmanager
    def _writing(self) -> Iterator[IndexWriter]:
        """Hold the lock over an index whose Chroma has followed."""
        with sole_writer(self.folder), leave_private(self.folder):
            self._model.check(self._catalog.fingerprint())
            with self._chroma.writing():
                yield IndexWriter(self._catalog, self._model, self._chroma.follow)
