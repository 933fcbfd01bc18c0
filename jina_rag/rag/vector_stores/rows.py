"""Rows of vector stores and of Parquet shards: one for each chunk, as an Arrow table that knows its model."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jina_rag.errors import FingerprintMismatchError, MissingDependencyError, StoreError
from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.store.types import IndexedDocument
from jina_rag.rag.vector_stores.base import DocumentState
from jina_rag.vectors import FloatArray

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = "1"
FINGERPRINT_KEY = "jina_rag_fingerprint"
SCHEMA_KEY = "jina_rag_schema"
_KEYS = (FINGERPRINT_KEY, SCHEMA_KEY)

_MAX_TEXT = 1 << 20  # characters; chunks have some thousand
_MAX_NAME = 1 << 14
_MAX_LIST = 1000
_ALMOST = 1e-2  # of a vector's length; float16 and a server's JSON change less


def row_schema(fingerprint: Fingerprint) -> "pa.Schema":
    """The columns, and in the metadata the version of them and what the vectors are made with.

    Raises:
        MissingDependencyError: pyarrow is not installed.
    """
    pa = _pyarrow()
    text, number = pa.string(), pa.int64()
    columns = [
        ("id", text, False),
        ("source", text, False),
        ("title", text, False),
        ("position", number, False),
        ("page", number, True),
        ("heading", text, True),
        ("start", number, False),
        ("end", number, False),
        ("text", text, False),
        ("sha256", text, False),
        ("size", number, False),
        ("mtime_ns", number, False),
        ("kind", text, False),
        ("collections", pa.list_(text), False),
        ("metadata", text, False),
        ("n_chunks", number, False),
        ("vector", pa.list_(pa.float32(), fingerprint.dimensions), False),
    ]
    metadata = {FINGERPRINT_KEY: fingerprint.to_json(), SCHEMA_KEY: SCHEMA_VERSION}
    return pa.schema([pa.field(*column) for column in columns], metadata)


def make_rows(
    document: IndexedDocument, chunks: Sequence[Chunk], vectors: FloatArray | None, fingerprint: Fingerprint
) -> "pa.Table":
    """The rows of some chunks of a document.

    Args:
        document: As the local index has it.
        chunks: Of `split_document`, with the ids that it makes.
        vectors: Theirs, shape (n, d); None leaves the column out, for chunks that are not embedded yet.
        fingerprint: What they are or will be made with.
    """
    pa = _pyarrow()
    schema = row_schema(fingerprint)
    of_document = {
        "sha256": document.sha256,
        "size": document.size,
        "mtime_ns": document.mtime_ns,
        "kind": document.kind,
        "collections": list(document.collections),
        "metadata": json.dumps(dict(document.metadata), ensure_ascii=False, sort_keys=True),
        "n_chunks": document.n_chunks,
    }
    rows = pa.Table.from_pylist([vars(chunk) | of_document for chunk in chunks], schema.remove(len(schema) - 1))
    if vectors is None:
        return rows
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
    return rows.append_column(schema.field("vector"), pa.FixedSizeListArray.from_arrays(flat, fingerprint.dimensions))


def read_fingerprint(schema: "pa.Schema", where: str) -> Fingerprint:
    """What the vectors of rows are made with.

    Args:
        schema: Of a table or Parquet file.
        where: Names it in messages.

    Raises:
        StoreError: the rows are of another version, or none.
        FingerprintMismatchError: what is said of the model can't be read.
    """
    metadata = schema.metadata or {}
    stored, version = (
        metadata.get(FINGERPRINT_KEY.encode()),
        metadata.get(SCHEMA_KEY.encode(), b"").decode("utf-8", "replace"),
    )
    if not stored:
        raise FingerprintMismatchError(
            f"{where} does not say which model its vectors are made with. Make it again with `jina-rag index`."
        )
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{where} was made by another version of jina-rag ({version[:20] or 'unknown'} there, {SCHEMA_VERSION} "
            "here). Install that, or make it again with `jina-rag index`."
        )
    return Fingerprint.from_json(stored)


def check_rows(rows: "pa.Table", fingerprint: Fingerprint, where: str = "The table") -> None:
    """Refuse rows that a store of these vectors must not take.

    Raises:
        StoreError: a column is missing or has another type, an id is there twice, or a vector has not unit length.
        FingerprintMismatchError: the vectors are another model's.
    """
    fingerprint.check(read_fingerprint(rows.schema, where), where=where, remedy="Embed the documents with this model.")
    check_columns(rows.schema, fingerprint, where)
    for field in row_schema(fingerprint):
        if not field.nullable and rows[field.name].null_count:
            raise StoreError(f"{where} has rows without {field.name!r}. Make it with `make_rows`.")
    if len(set(rows["id"].to_pylist())) < rows.num_rows:
        raise StoreError(f"{where} has an id twice. Make the ids with `jina_rag.rag.chunking.chunk_id`.")
    check_vectors(vectors_of(rows), fingerprint.dimensions, where)


def check_columns(schema: "pa.Schema", fingerprint: Fingerprint, where: str) -> None:
    """Raise StoreError unless all columns of rows are there, with their types."""
    for field in row_schema(fingerprint):
        if field.name not in schema.names or schema.field(field.name).type != field.type:
            raise StoreError(f"{where} has no column {field.name!r} of type {field.type}. Make it with `make_rows`.")


def vectors_of(rows: "pa.Table") -> FloatArray:
    """The vectors of rows, shape (n, d)."""
    column = rows["vector"].combine_chunks()
    width = column.type.list_size
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(-1, width)


def check_vectors(vectors: FloatArray, dimensions: int, where: str) -> None:
    """Raise StoreError unless each is finite, of unit length and of this width."""
    if vectors.ndim != 2 or vectors.shape[1] != dimensions:
        raise StoreError(f"{where} has vectors of another width than {dimensions}. {_DAMAGED}")
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(vectors, axis=1)
    if not (np.abs(lengths - 1) < _ALMOST).all():  # numbers that are not finite compare as False
        raise StoreError(f"{where} has a vector that is damaged. {_DAMAGED}")


def read_chunk(row: Mapping[str, Any], where: str) -> Chunk:
    """The chunk in a row from elsewhere. Raises StoreError where a value is none that we write."""
    return Chunk(
        id=_text(row, "id", _MAX_NAME, where),
        source=_text(row, "source", _MAX_NAME, where),
        title=_text(row, "title", _MAX_NAME, where),
        position=_number(row, "position", where),
        page=None if row.get("page") is None else _number(row, "page", where),
        heading=None if row.get("heading") is None else _text(row, "heading", _MAX_NAME, where),
        start=_number(row, "start", where),
        end=_number(row, "end", where),
        text=_text(row, "text", _MAX_TEXT, where),
    )


def read_document(row: Mapping[str, Any], where: str) -> DocumentState:
    """The document of a row from elsewhere. Raises StoreError where a value is none that we write."""
    names = row.get("collections")
    if not isinstance(names, Sequence) or len(names) > _MAX_LIST:
        raise _damaged("collections", where)
    return DocumentState(
        source=_text(row, "source", _MAX_NAME, where),
        sha256=_text(row, "sha256", _MAX_NAME, where),
        size=_number(row, "size", where),
        mtime_ns=_number(row, "mtime_ns", where, least=-(2**63)),
        n_chunks=_number(row, "n_chunks", where),
        collections=tuple(_text({"collections": name}, "collections", _MAX_NAME, where) for name in names),
    )


_DAMAGED = "It is damaged, or another program wrote to it: make it again with `jina-rag index`."


def _text(row: Mapping[str, Any], name: str, at_most: int, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or len(value) > at_most:
        raise _damaged(name, where)
    return value


def _number(row: Mapping[str, Any], name: str, where: str, least: int = 0) -> int:
    value = row.get(name)
    if type(value) is not int or not least <= value < 2**63:
        raise _damaged(name, where)
    return value


def _damaged(name: str, where: str) -> StoreError:
    return StoreError(f"{where} gave a row whose {name!r} can't be used. {_DAMAGED}")


def _pyarrow() -> Any:  # noqa: ANN401 - it ships no types
    try:
        import pyarrow
    except ImportError as error:
        raise MissingDependencyError.for_extra("pyarrow", "lancedb") from error
    return pyarrow
