"""The two stages that workers run: documents to chunks, chunks to vectors. Each call leaves whole files or none."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pyarrow as pa

from jina_rag.distributed.embed_batch import EmbedBatch, EmbedderSource, embedder_of, vector_array
from jina_rag.distributed.shards import DocumentRecord, FailedChunk, ShardFolder, bundle_name, shard_name
from jina_rag.distributed.sources import SourceFile, read_source
from jina_rag.errors import BackendUnavailableError, MissingDependencyError
from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.chunking import split_document
from jina_rag.rag.documents.reading import parse_document
from jina_rag.rag.indexing.parsing import FAULTS_OF_A_DOCUMENT
from jina_rag.rag.store.types import IndexedDocument, file_kind
from jina_rag.rag.text.search_text import search_text
from jina_rag.rag.vector_stores.rows import make_rows, row_schema

T = TypeVar("T")

BUNDLE_DOCUMENTS, BUNDLE_BYTES = 256, 16 * 2**20
"""A bundle has at most so many documents, and of more than one at most so many bytes."""


@dataclass(frozen=True)
class WorkerSettings:
    """What every worker gets.

    Attributes:
        embedder: What makes its model.
        fingerprint: What the vectors must be like.
        folder: Where the files go.
        shard_rows: The largest number of chunks in a shard.
    """

    embedder: EmbedderSource
    fingerprint: Fingerprint
    folder: ShardFolder
    shard_rows: int


class ReadBundle:
    """Reads documents, cuts them into chunks and writes these to a file; gives how many documents it has read."""

    def __init__(self, settings: WorkerSettings) -> None:
        """Take the settings. Raises if this worker's model, whose tokens are counted, is another."""
        self._settings = settings
        self._embedder = embedder_of(settings.embedder, settings.fingerprint)

    def __call__(self, files: Sequence[SourceFile]) -> int:
        """Read a bundle. What can't be read is listed in the file with the reason."""
        read = [self._read(file) for file in files]
        records = [record for record, _ in read]
        empty = row_schema(self._settings.fingerprint).empty_table().drop_columns("vector")
        table = pa.concat_tables([empty, *(rows for _, rows in read if rows is not None)]).combine_chunks()
        n_rows = self._settings.shard_rows
        self._settings.folder.write_bundle(bundle_name(table, records, n_rows), table, records, n_rows)
        return len(files)

    def _read(self, file: SourceFile) -> tuple[DocumentRecord, pa.Table | None]:
        record = DocumentRecord(file.source, file.version, "", file.size, file.mtime_ns, 0, failure="")
        try:
            content = read_source(file)
            document = replace(parse_document(content), source=file.source)
            chunks = split_document(document, self._embedder)
        except BackendUnavailableError:  # no document's fault
            raise
        except (*FAULTS_OF_A_DOCUMENT, MissingDependencyError) as error:
            return record._replace(failure=str(error)), None
        record = record._replace(sha256=content.sha256, size=len(content.data), n_chunks=len(chunks))
        row = IndexedDocument(
            source=file.source,
            title=document.title,
            sha256=content.sha256,
            size=record.size,
            mtime_ns=file.mtime_ns,
            n_chunks=len(chunks),
            added_at="",
            kind=file_kind(file.source),
            metadata=document.metadata,
        )
        return record, make_rows(row, chunks, None, self._settings.fingerprint)


class EmbedGroup:
    """Embeds a row group of a bundle and writes the shard; gives how many chunks it has embedded."""

    def __init__(self, settings: WorkerSettings) -> None:
        """Load the model, so that this worker is ready. Raises if it is another than it must be."""
        self._settings = settings
        self._embed = EmbedBatch(settings.embedder, fingerprint=settings.fingerprint)
        self._embed.warm_up()

    def __call__(self, unit: tuple[str, int]) -> int:
        """Embed a group, named by its bundle and number. A shard that is there is left as it is."""
        folder, name = self._settings.folder, shard_name(*unit)
        if folder.has_shard(name):
            return 0
        table = folder.read_group(*unit)
        vectors, errors = self._embed.embed([search_text(text) for text in table["text"].to_pylist()])
        places = zip(table["source"].to_pylist(), table["position"].to_pylist(), errors, strict=True)
        failures = [FailedChunk(source, position, error) for source, position, error in places if error]
        is_good = np.array([error is None for error in errors], bool)
        rows = table.filter(pa.array(is_good)).append_column("vector", vector_array(vectors[is_good]))
        folder.write_shard(name, rows.cast(row_schema(self._settings.fingerprint)), failures)
        return len(table)


def bundles_of(files: Sequence[SourceFile]) -> list[list[SourceFile]]:
    """Documents in the order of their names, in bundles."""
    return list(packed(sorted(files), lambda file: (1, file.size)))


def packed(items: Iterable[T], sizes: Callable[[T], tuple[int, int]]) -> Iterator[list[T]]:
    """Items in order, in parts that are no larger than a bundle may be; `sizes` gives an item's documents and bytes."""
    part: list[T] = []
    n_documents = n_bytes = 0
    for item in items:
        more_documents, more_bytes = sizes(item)
        if part and (n_documents + more_documents > BUNDLE_DOCUMENTS or n_bytes + more_bytes > BUNDLE_BYTES):
            yield part
            part, n_documents, n_bytes = [], 0, 0
        part.append(item)
        n_documents, n_bytes = n_documents + more_documents, n_bytes + more_bytes
    if part:
        yield part
