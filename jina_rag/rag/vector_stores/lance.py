"""A table of LanceDB as a store: its own vector index, full-text search and filters, in a folder.

Rows are found as soon as they are written; until `optimize` those that no index has are compared one by one.
"""

import os
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from jina_rag.errors import MissingDependencyError, StoreError, StoreNotFoundError
from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.store.chroma_store import slices
from jina_rag.rag.store.files import refuse_links
from jina_rag.rag.store.filters import Filters
from jina_rag.rag.vector_stores.address import StoreAddress
from jina_rag.rag.vector_stores.base import DocumentState, Found, VectorStore, foreign_errors
from jina_rag.rag.vector_stores.lance_filters import as_sql, quoted
from jina_rag.rag.vector_stores.rows import (
    check_columns,
    check_rows,
    check_vectors,
    read_chunk,
    read_document,
    read_fingerprint,
    row_schema,
    vectors_of,
)
from jina_rag.vectors import FloatArray

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.table import Table

_ROWS_AT_A_TIME = 8192
_IDS_AT_A_TIME = 1000
LEAST_INDEXED = 20_000
"""Fewer vectors have no index: they are compared exactly in some milliseconds."""
_GROWN = 4  # times as many rows as the vector index was trained for need more partitions
_REFINED = 4  # times as many candidates are compared exactly as are asked for
_KEPT = timedelta(minutes=1)  # versions of the table that a reader may still be at

_OTHER_MODEL = "Open it with the model that it was made with, or fill a new table from the documents."

_OF_A_CHUNK = ["id", "source", "title", "position", "page", "heading", "start", "end", "text"]
_OF_A_DOCUMENT = ["source", "sha256", "size", "mtime_ns", "n_chunks", "collections"]


class LanceStore(VectorStore):
    """A table of LanceDB."""

    def __init__(self, address: StoreAddress, table: "Table", fingerprint: Fingerprint) -> None:
        """Take ready parts; `open` fetches them."""
        self.address = str(address)
        self.fingerprint = fingerprint
        self._opened = table
        self._process = os.getpid()

    @classmethod
    def open(cls, address: StoreAddress, fingerprint: Fingerprint | None, *, create: bool) -> Self:
        """Open it; see `open_store`."""
        try:
            import lancedb
        except ImportError as error:
            raise MissingDependencyError.for_extra("lancedb", "lancedb") from error

        where, folder = str(address), address.folder
        assert folder is not None
        exists = (folder / f"{address.name}.lance").is_dir()
        if not exists and not create:
            raise StoreNotFoundError(f"There is no table {where}. Fill it with `jina-rag index --to {where}`.")
        refuse_links(folder)
        with foreign_errors(where):
            # Without the interval a table stays as it was when it was opened, whatever others write.
            database = lancedb.connect(folder.resolve(), read_consistency_interval=timedelta(0))
            if exists or fingerprint is None:
                table = database.open_table(address.name)
            else:
                table = database.create_table(address.name, schema=row_schema(fingerprint), exist_ok=True)
                _index_words(table)
            schema = table.schema
        stored = read_fingerprint(schema, where)
        if fingerprint:
            fingerprint.check(stored, where=where, remedy=_OTHER_MODEL)
        check_columns(schema, stored, where)
        return cls(address, table, stored)

    def count(self) -> int:
        """How many rows there are."""
        with foreign_errors(self.address):
            return self._table.count_rows()

    def upsert(self, rows: "pa.Table") -> None:
        """As `VectorStore.upsert`."""
        check_rows(rows, self.fingerprint)
        for start in range(0, rows.num_rows, _ROWS_AT_A_TIME):
            merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            with foreign_errors(self.address):
                merge.execute(rows.slice(start, _ROWS_AT_A_TIME))

    def delete(self, ids: Iterable[str]) -> None:
        """As `VectorStore.delete`."""
        for part in slices(list(ids), _IDS_AT_A_TIME):
            with foreign_errors(self.address):
                self._table.delete(f"id IN ({', '.join(map(quoted, part))})")

    def ids(self, source: str | None = None) -> Iterator[str]:
        """As `VectorStore.ids`."""
        where = None if source is None else f"source = {quoted(source)}"
        return (row["id"] for row in self._read(where, ["id"]))

    def documents(self) -> Iterator[DocumentState]:
        """As `VectorStore.documents`."""
        return (read_document(row, self.address) for row in self._read("position = 0", _OF_A_DOCUMENT))

    def optimize(self) -> None:
        """Merge small files, bring the indexes up to date, and make those that are due."""
        from lancedb.index import Bitmap, BTree, LabelList

        with foreign_errors(self.address):
            self._table.optimize(cleanup_older_than=_KEPT)
            indexed = {column for index in self._table.list_indices() for column in index.columns}
            wanted: dict[str, BTree | LabelList | Bitmap] = {
                "id": BTree(),
                "source": BTree(),
                "collections": LabelList(),
                "kind": Bitmap(),
            }
            for column in wanted.keys() - indexed:
                self._table.create_index(column, config=wanted[column])
            self._index_vectors()

    def nearest(self, vector: FloatArray, n: int, filters: Filters) -> list[Found]:
        """As `VectorStore.nearest`; the index finds candidates, which are compared exactly."""
        with foreign_errors(self.address):
            query: Any = self._table.search(vector, vector_column_name="vector")
            found = self._found(query.distance_type("cosine").refine_factor(_REFINED), n, filters, "_distance")
        exact = [each._replace(score=float(each.vector @ vector)) for each in found]
        return sorted(exact, key=lambda each: (-each.score, each.chunk.id))

    def matching(self, query: str, n: int, filters: Filters) -> list[Found]:
        """As `VectorStore.matching`, by LanceDB's full-text search of the texts."""
        from lancedb.query import MatchQuery

        with foreign_errors(self.address):
            words: Any = MatchQuery(query, "text")  # type: ignore[call-arg]  # its defaults are hidden from mypy
            return self._found(self._table.search(words, query_type="fts"), n, filters, "_score")

    def around(self, chunk: Chunk, n: int) -> list[Chunk]:
        """As `VectorStore.around`."""
        near = f"position BETWEEN {chunk.position - n} AND {chunk.position + n}"
        rows = self._read(f"source = {quoted(chunk.source)} AND {near}", _OF_A_CHUNK)
        chunks = [read_chunk(row, self.address) for row in rows if row["id"] != chunk.id]
        return sorted(chunks, key=lambda each: each.position)

    def has_document(self, filters: Filters) -> bool:
        """As `VectorStore.has_document`."""
        return any(self._read(as_sql(filters), ["id"], limit=1))

    def close(self) -> None:
        """Nothing is open between two calls."""

    def _index_vectors(self) -> None:
        """Train the vector index if there is none or the table has outgrown it; its name says for how many rows."""
        from lancedb.index import IvfSq

        before = [index.name for index in self._table.list_indices() if index.columns == ["vector"]]
        trained, rows = max((int(name.rpartition("_")[2]) for name in before), default=0), self._table.count_rows()
        if rows >= max(LEAST_INDEXED, _GROWN * trained):
            self._table.create_index("vector", config=IvfSq(distance_type="cosine"), name=f"vector_{rows}")
            for name in before:
                self._table.drop_index(name)

    @property
    def _table(self) -> "Table":
        if self._process != os.getpid():
            raise StoreError(
                f"{self.address} was opened before this process was forked, and LanceDB does not survive that. Open it "
                'after the fork, or start processes with multiprocessing\'s "spawn".'
            )
        return self._opened

    def _found(self, query: Any, n: int, filters: Filters, score: str) -> list[Found]:  # noqa: ANN401 - LanceDB's
        if condition := as_sql(filters):
            query = query.where(condition, prefilter=True)
        rows = query.limit(n).select([*_OF_A_CHUNK, "vector", score]).to_arrow()
        vectors = vectors_of(rows)
        check_vectors(vectors, self.fingerprint.dimensions, self.address)
        scores = rows[score].to_pylist()
        chunks = [read_chunk(row, self.address) for row in rows.select(_OF_A_CHUNK).to_pylist()]
        return [Found(*each) for each in zip(chunks, vectors, scores, strict=True)]

    def _read(self, condition: str | None, columns: list[str], limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Rows that meet a condition, in no order, batch by batch."""
        with foreign_errors(self.address):
            query = self._table.search().select(columns)
            query = query.where(condition) if condition else query
            for batch in (query.limit(limit) if limit else query).to_batches(_ROWS_AT_A_TIME):
                yield from batch.to_pylist()


def _index_words(table: "Table") -> None:
    """Words of all languages by Unicode's rules and ICU's dictionaries; no stems and no stop words of one language."""
    from lancedb.index import FTS

    words = FTS(base_tokenizer="icu/split", stem=False, remove_stop_words=False, ascii_folding=True)
    table.create_index("text", config=words)
