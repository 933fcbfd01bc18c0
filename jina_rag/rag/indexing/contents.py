"""`IndexContents`: what an index holds, read from its catalog. Neither the model nor Chroma is needed for that."""

import os
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Self, TextIO

from jina_rag.closeable import Closeable
from jina_rag.errors import DocumentError
from jina_rag.formatting import escaped
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.indexing.export import ExportCallback, export_chunks
from jina_rag.rag.indexing.opening import OWN_NAMES, find_catalog
from jina_rag.rag.indexing.parsing import READING_VERSION
from jina_rag.rag.indexing.reports import IndexStatus
from jina_rag.rag.indexing.scan import as_sources, outermost
from jina_rag.rag.store.catalog import Catalog
from jina_rag.rag.store.filters import Filters
from jina_rag.rag.store.lock import is_being_written
from jina_rag.rag.store.types import IndexedDocument, TrackedPath

_SHOWN_NAMES = 20
_COMPARED_NAMES = 20_000
_LONGEST_COMPARED = 100  # characters; comparing takes time by the square of the length


class IndexContents(Closeable):
    """The documents, chunks and vectors of an index, to be looked at. Safe to use from many threads.

    What another process adds or removes is seen at once.
    """

    def __init__(self, folder: Path, catalog: Catalog) -> None:
        """Take ready parts; `open` fetches them."""
        self.folder = folder
        self._catalog = catalog

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """The contents of the index in `folder`, which must exist.

        Raises:
            IndexFolderError: there is no index, or it is damaged.
        """
        return cls(Path(folder), find_catalog(Path(folder)))

    def documents(self, collection: str | None = None) -> list[IndexedDocument]:
        """All documents, or those of one collection, by source."""
        return self._catalog.documents(collection)

    def documents_below(self, paths: Iterable[Path | str]) -> list[IndexedDocument]:
        """The documents that are these files or lie in these folders, by source; the files may be gone."""
        sources = set(self._catalog.sources_below(as_sources(paths)))
        return [document for document in self._catalog.documents() if document.source in sources]

    def find_document(self, name: str) -> IndexedDocument:
        """The document that a name means: its source, its path from the current folder, or the end of its path.

        Raises:
            DocumentError: there is none or more than one; the message lists the nearest names, or those.
        """
        documents = {document.source: document for document in self._catalog.documents()}
        for source in as_sources([name]):
            if source in documents:
                return documents[source]
        end = escaped(name.replace("/", os.sep))
        found = [source for source in documents if source.endswith(f"{os.sep}{end}")]
        if len(found) == 1:
            return documents[found[0]]
        if found:
            raise DocumentError(f"{name} may be any of these: {_listed(found)}. Write more of the path.")
        near = _nearest(end, documents)
        suggestion = f" Do you mean {_listed(near)}?" if near else ""
        raise DocumentError(f"There is no document {name} in the index.{suggestion}")

    def tracked_paths(self) -> list[TrackedPath]:
        """The files and folders that were added, by path."""
        return self._catalog.tracked_paths()

    def collections(self) -> dict[str, int]:
        """How many documents there are in each collection."""
        return self._catalog.collections()

    def check_names(self, filters: Filters) -> None:
        """Make sure that the index has the collections and kinds of files that filters name.

        Raises:
            DocumentError: it lacks one; the message lists those that it has.
        """
        _check_names("collection", filters.collections, self.collections() if filters.collections else ())
        kinds = {f".{kind.lower().lstrip('.')}" for kind in filters.file_types}
        _check_names("file of the type", sorted(kinds), self._catalog.file_types() if kinds else ())

    def count_chunks(self) -> int:
        """How many chunks can be found."""
        return self._catalog.count_chunks()

    def status(self) -> IndexStatus:
        """What is in the index."""
        return IndexStatus(
            folder=self.folder,
            fingerprint=self._catalog.fingerprint(),
            n_documents=self._catalog.count_documents(),
            n_chunks=self.count_chunks(),
            n_bytes=_bytes_on_disk(self.folder),
            collections=self._catalog.collections(),
            tracked_paths=tuple(self._catalog.tracked_paths()),
            failed=tuple(self._catalog.failed()),
            n_with_notes=self._catalog.count_documents_with_notes(),
            n_outdated=self._catalog.count_documents_of_other_versions(READING_VERSION),
            skipped=outermost(self._catalog.skipped()),
            removed=tuple(sorted(self._catalog.removed())),
            is_being_written=is_being_written(self.folder),
        )

    def chunk(self, id_: str) -> Chunk | None:
        """The chunk that has this id."""
        return self._catalog.chunks([id_]).get(id_)

    def chunks_of(self, source: str) -> list[Chunk]:
        """All chunks of a document in order."""
        return self._catalog.chunks_of(source)

    def neighbours(self, chunk: Chunk, n: int) -> list[Chunk]:
        """At most `n` chunks before and `n` after this one in its document, in order, without itself."""
        return self.windows([chunk], n)[0]

    def windows(self, chunks: Sequence[Chunk], n: int) -> list[list[Chunk]]:
        """The same for several chunks, in one read."""
        return self._catalog.windows(chunks, n)

    def sample(self, n: int) -> list[Chunk]:
        """At most `n` chunks, spread evenly over the index; the same ones each time."""
        return self._catalog.sample(n)

    def export(
        self,
        target: Path | TextIO,
        *,
        vectors: Path | None = None,
        filters: Filters | None = None,
        on_progress: ExportCallback | None = None,
    ) -> int:
        """Write chunks as JSON Lines, one a line, with all that is known of them, and their vectors beside them.

        It is the index of one moment, whatever a writer does meanwhile, and takes no more memory for a large index. A
        file is put in the place of one that has its name only when it is whole.

        Args:
            target: A file, or an open text stream.
            vectors: A file for the vectors, which `numpy.load` reads: float32 of shape (n, d), in the order of the
                lines; None writes none.
            filters: Which documents; None for all.
            on_progress: Called with how many chunks are written, and how many there are.

        Returns:
            How many chunks were written.

        Raises:
            OSError: `target` or `vectors` can't be written.
            IndexFolderError: the index is damaged, or has lost a vector.
        """
        return export_chunks(self._catalog, target, vectors=vectors, filters=filters, on_progress=on_progress)

    def close(self) -> None:
        """Give back files."""
        self._catalog.close()


def _nearest(name: str, sources: Iterable[str]) -> list[str]:
    """The sources whose last part is most like that of a name (Ratcliff and Obershelp's similarity)."""
    by_name: dict[str, list[str]] = {}
    for source in islice(sources, _COMPARED_NAMES):
        by_name.setdefault(Path(source).name.casefold(), []).append(source)
    near = get_close_matches(Path(name).name.casefold()[:_LONGEST_COMPARED], by_name, cutoff=0.5)
    return [source for each in near for source in by_name[each]]


def _listed(names: Sequence[str], at_most: int = 5) -> str:
    n_more = len(names) - at_most
    return ", ".join([*names[:at_most], *([f"and {n_more:,} more"] if n_more > 0 else [])])


def _check_names(what: str, names: Iterable[str], existing: Iterable[str]) -> None:
    existing = sorted(existing)
    for name in names:
        if name not in existing:
            listed = _listed([each or "(none)" for each in existing], _SHOWN_NAMES) or "no documents yet"
            raise DocumentError(f"There is no {what} {name} in the index. It has: {listed}.")


def _bytes_on_disk(folder: Path) -> int:
    own = [folder / name for name in OWN_NAMES]
    chroma = (
        Path(parent, name) for place in folder.glob("chroma*") for parent, _, names in os.walk(place) for name in names
    )
    return sum(map(_size, [*own, *chroma]))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # not made yet, or gone meanwhile: another process may be writing
        return 0
