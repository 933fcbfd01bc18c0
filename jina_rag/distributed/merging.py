"""Small bundles into larger ones, so that the number of files doesn't grow with that of the runs."""

from collections.abc import Sequence

import pyarrow as pa

from jina_rag.distributed.loading import Owners, rows_of
from jina_rag.distributed.shards import Bundle, DocumentRecord, bundle_name, shard_name
from jina_rag.distributed.stages import BUNDLE_BYTES, BUNDLE_DOCUMENTS, WorkerSettings, packed
from jina_rag.rag.vector_stores.rows import row_schema

MOST_SMALL = 16
"""So many bundles may have less than half of the documents and of the bytes that a bundle may have."""


def merge_bundles(owners: Owners, settings: WorkerSettings) -> None:
    """Merge small bundles if there are many, without the documents that have left or changed.

    Killed in the middle, it leaves the same documents in two bundles, of which either will do.

    Args:
        owners: The documents and their bundles, all of them embedded.
        settings: Of the run.

    Raises:
        IndexFolderError: a file can't be read or written.
    """
    records: dict[str, list[DocumentRecord]] = {}
    for record, bundle in owners.values():
        records.setdefault(bundle.name, []).append(record)
    bundles = {bundle.name: bundle for _, bundle in owners.values()}
    kept = [bundles[name]._replace(documents=tuple(documents)) for name, documents in records.items()]
    small = [each for each in kept if 2 * len(each.documents) < BUNDLE_DOCUMENTS and 2 * _size(each) < BUNDLE_BYTES]
    for part in packed(small, lambda each: (len(each.documents), _size(each))) if len(small) > MOST_SMALL else ():
        _merge(part, settings)


def _size(bundle: Bundle) -> int:
    return sum(record.size for record in bundle.documents)


def _merge(bundles: Sequence[Bundle], settings: WorkerSettings) -> None:
    """Write one bundle with the documents of some and its shards, first these, and remove the others."""
    folder, schema = settings.folder, row_schema(settings.fingerprint)
    documents = [record for bundle in bundles for record in bundle.documents]
    chunks, rows, failed = [schema.empty_table().drop_columns("vector")], [schema.empty_table()], []
    failures = folder.failures()
    for bundle in bundles:
        sources = {record.source for record in bundle.documents}
        for group, shard in enumerate(bundle.shards):
            chunks.append(rows_of(folder.read_group(bundle.name, group), sources))
            rows.append(rows_of(folder.read_shard(shard), sources))
            failed += [each for each in failures.get(shard, ()) if each.source in sources]
    chunk_table, row_table = pa.concat_tables(chunks).combine_chunks(), pa.concat_tables(rows)
    name = bundle_name(chunk_table, documents, settings.shard_rows)
    for group, start in enumerate(range(0, len(chunk_table), settings.shard_rows)):
        part = chunk_table.slice(start, settings.shard_rows)
        places = set(zip(part["source"].to_pylist(), part["position"].to_pylist(), strict=True))
        folder.write_shard(
            shard_name(name, group),
            row_table.filter(pa.compute.is_in(row_table["id"], part["id"].combine_chunks())),
            [each for each in failed if (each.source, each.position) in places],
        )
    folder.write_bundle(name, chunk_table, documents, settings.shard_rows)
    for bundle in bundles:
        if bundle.name != name:
            folder.remove(bundle)
