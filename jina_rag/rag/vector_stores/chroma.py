"""A Chroma collection as a store: on a server, or in a folder that this process opens.

Chroma's own client is used for both. Only its HTTP requests go through our connection, which bounds a response in time
and size, tries again, follows no redirect and takes the token from the environment. What a server answers is checked
before it is used.
"""

import json
import os
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from jina_rag.errors import MissingDependencyError, StoreError, StoreNotFoundError
from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.store.chroma_store import slices
from jina_rag.rag.store.files import refuse_links
from jina_rag.rag.store.filters import Filters
from jina_rag.rag.store.sqlite import refuse_super_journal
from jina_rag.rag.vector_stores.address import StoreAddress
from jina_rag.rag.vector_stores.base import DocumentState, Found, VectorStore, foreign_errors
from jina_rag.rag.vector_stores.chroma_filters import as_where
from jina_rag.rag.vector_stores.rows import check_rows, check_vectors, read_chunk, read_document, vectors_of
from jina_rag.vectors import FloatArray

if TYPE_CHECKING:
    import pyarrow as pa
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection

_ROWS_AT_A_TIME = 250  # Chroma Cloud takes and gives 300; by Chroma's own tests more are no faster

_MOST_ROWS = 100_000_000  # of a server that may claim any number; Chroma's documents speak of some 15 million

_NO_WORDS = "Chroma has no BM25 outside of Chroma Cloud: passages are found by meaning alone."


class ChromaStore(VectorStore):
    """A collection of Chroma."""

    has_words = False
    limits = (_NO_WORDS,)

    def __init__(
        self, address: StoreAddress, client: "ClientAPI", collection: "Collection", fingerprint: Fingerprint
    ) -> None:
        """Take ready parts; `open` fetches them."""
        self.address = str(address)
        self.fingerprint = fingerprint
        self._client = client
        self._collection = collection
        with foreign_errors(self.address):
            most = client.get_max_batch_size()
        self._at_a_time = min(_ROWS_AT_A_TIME, most) if type(most) is int and most > 0 else _ROWS_AT_A_TIME

    @classmethod
    def open(cls, address: StoreAddress, fingerprint: Fingerprint | None, *, create: bool) -> Self:
        """Open it; see `open_store`."""
        client = _folder_client(address, create=create) if address.folder else _server_client(address)
        try:
            with foreign_errors(str(address)):
                collection, stored = _open_collection(client, address, fingerprint, create=create)
            return cls(address, client, collection, stored)
        except BaseException:
            client.close()  # type: ignore[attr-defined]
            raise

    def count(self) -> int:
        """How many rows there are."""
        with foreign_errors(self.address):
            count = self._collection.count()
        if type(count) is not int or not 0 <= count <= _MOST_ROWS:
            raise self._strange("a count that is none")
        return count

    def upsert(self, rows: "pa.Table") -> None:
        """As `VectorStore.upsert`, in batches that the server takes."""
        check_rows(rows, self.fingerprint)
        for start in range(0, rows.num_rows, self._at_a_time):
            part = rows.slice(start, self._at_a_time)
            columns = part.drop_columns(["vector"]).to_pylist()
            with foreign_errors(self.address):
                self._collection.upsert(
                    ids=[row["id"] for row in columns],
                    documents=[row["text"] for row in columns],
                    metadatas=[_metadata(row, rows.schema.names) for row in columns],
                    embeddings=vectors_of(part),
                )

    def delete(self, ids: Iterable[str]) -> None:
        """As `VectorStore.delete`."""
        for part in slices(list(ids), self._at_a_time):
            with foreign_errors(self.address):
                self._collection.delete(ids=list(part))

    def ids(self, source: str | None = None) -> Iterator[str]:
        """As `VectorStore.ids`."""
        where = None if source is None else {"source": {"$eq": source}}
        for page in self._pages(where, []):
            yield from (row["id"] for row in page)

    def documents(self) -> Iterator[DocumentState]:
        """As `VectorStore.documents`."""
        for page in self._pages({"position": {"$eq": 0}}, ["metadatas"]):
            yield from (read_document(row, self.address) for row in page)

    def optimize(self) -> None:
        """Chroma does so by itself."""

    def nearest(self, vector: FloatArray, n: int, filters: Filters) -> list[Found]:
        """As `VectorStore.nearest`, by Chroma's HNSW."""
        where = as_where(filters)
        with foreign_errors(self.address):
            reply: Any = self._collection.query(
                query_embeddings=vector[np.newaxis],
                n_results=n,
                where=where,
                include=["metadatas", "documents", "embeddings"],
            )
            rows = _rows({name: values[0] for name, values in reply.items() if name in _COLUMNS and values is not None})
        found = self._found(rows[:n], vector)
        return sorted(found, key=lambda each: (-each.score, each.chunk.id))

    def matching(self, query: str, n: int, filters: Filters) -> list[Found]:  # noqa: ARG002 - see `has_words`
        """Nothing."""
        return []

    def around(self, chunk: Chunk, n: int) -> list[Chunk]:
        """As `VectorStore.around`."""
        near = [
            {"source": {"$eq": chunk.source}},
            {"position": {"$gte": max(0, chunk.position - n)}},
            {"position": {"$lte": chunk.position + n}},
        ]
        rows = self._get({"$and": near}, ["metadatas", "documents"], limit=2 * n + 1)
        chunks = [read_chunk(row, self.address) for row in rows if row["id"] != chunk.id]
        return sorted(chunks, key=lambda each: each.position)

    def has_document(self, filters: Filters) -> bool:
        """As `VectorStore.has_document`."""
        return bool(self._get(as_where(filters), [], limit=1))

    def close(self) -> None:
        """Close the connections, or the folder."""
        self._client.close()  # type: ignore[attr-defined]

    def _found(self, rows: Sequence[dict[str, Any]], vector: FloatArray) -> list[Found]:
        if not rows:
            return []
        with foreign_errors(self.address):
            vectors = np.asarray([row["vector"] for row in rows], np.float32)
        check_vectors(vectors, self.fingerprint.dimensions, self.address)
        chunks = [read_chunk(row, self.address) for row in rows]
        return [Found(*each) for each in zip(chunks, vectors, (vectors @ vector).tolist(), strict=True)]

    def _pages(self, where: Any, include: list[str]) -> Iterator[list[dict[str, Any]]]:  # noqa: ANN401 - Chroma's
        seen: set[str] = set()
        while page := self._get(where, include, limit=_ROWS_AT_A_TIME, offset=len(seen)):
            n_before = len(seen)
            seen.update(row["id"] for row in page)
            if len(seen) < n_before + len(page) or len(seen) > self.count():
                raise self._strange("a row twice, or with more rows than it has")
            yield page

    def _get(self, where: Any, include: list[str], *, limit: int, offset: int = 0) -> list[dict[str, Any]]:  # noqa: ANN401
        with foreign_errors(self.address):
            reply: Any = self._collection.get(where=where, include=cast(Any, include), limit=limit, offset=offset)
            rows = _rows({name: reply[name] for name in _COLUMNS if reply.get(name) is not None})
        if len(rows) > limit or not all(isinstance(row["id"], str) for row in rows):
            raise self._strange("other rows than it was asked for")
        return rows

    def _strange(self, what: str) -> StoreError:
        return StoreError(f"{self.address} answered with {what}. Check that it is a Chroma server.")


_COLUMNS = {"ids": "id", "documents": "text", "metadatas": None, "embeddings": "vector"}
_WITHOUT = ("id", "text", "metadata")
_REFUSED = ("#", "$", "chroma:")  # beginnings of keys; validate_metadata_key in Chroma's rust/types/src/validators.rs


def _rows(columns: dict[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Chroma's columns as one dictionary for each row; raises whatever a wrong shape brings."""
    rows: list[dict[str, Any]] = [{} for _ in columns["ids"]]
    for name, values in columns.items():
        if not isinstance(values, list | np.ndarray):
            raise TypeError(f"{name} is no list")
        for row, value in zip(rows, values, strict=True):
            key = _COLUMNS[name]
            row.update(value if key is None else {key: value})
    return rows


def _metadata(row: dict[str, Any], columns: Container[str]) -> dict[str, Any]:
    """What Chroma keeps beside a chunk, for filters of all frameworks; what the document says of itself as well.

    A document may say anything of itself: what has the name of a column, or one that Chroma refuses, stays out.
    """
    said = {name: value for name, value in json.loads(row["metadata"]).items() if name and name not in columns}
    said = {name: value for name, value in said.items() if not name.startswith(_REFUSED)}
    own = {name: value for name, value in row.items() if name not in _WITHOUT and value is not None}
    # LlamaIndex deletes a document's nodes by this name for it.
    return {**said, **own, "document_id": row["source"]}


def _open_collection(
    client: "ClientAPI", address: StoreAddress, fingerprint: Fingerprint | None, *, create: bool
) -> tuple["Collection", Fingerprint]:
    from chromadb.errors import NotFoundError

    from jina_rag.chroma import check_collection, open_collection, stored_fingerprint

    if create and fingerprint:
        return open_collection(client, address.name, fingerprint), fingerprint
    try:
        # Without a function: vectors come with the rows.
        collection = client.get_collection(address.name, embedding_function=None)
    except NotFoundError as error:
        raise StoreNotFoundError(
            f"There is nothing at {address} ({error}). Fill it with `jina-rag index --to {address}`, or check the name."
        ) from error
    stored = stored_fingerprint(collection)
    if fingerprint or stored is None:
        check_collection(collection, fingerprint or _UNKNOWN)
    return collection, cast(Fingerprint, fingerprint or stored)


_UNKNOWN = Fingerprint(
    model="", quantization="", weights="", dimensions=0, query_prompt="", document_prompt="", pooling=""
)


def _folder_client(address: StoreAddress, *, create: bool) -> "ClientAPI":
    folder = address.folder
    assert folder is not None
    if not create and not (folder / "chroma.sqlite3").is_file():
        raise StoreNotFoundError(f"There is no Chroma in {folder}. Fill it with `jina-rag index --to {address}`.")
    try:
        from chromadb import PersistentClient
        from chromadb.config import Settings
    except ImportError as error:
        raise MissingDependencyError.for_extra("chromadb", "chroma") from error

    refuse_links(folder)
    refuse_super_journal(folder / "chroma.sqlite3")
    with foreign_errors(str(address)):
        # With a slash it is another path: Chroma refuses one that a program's own client has open with other settings.
        return PersistentClient(f"{folder.resolve()}{os.sep}", Settings(anonymized_telemetry=False))


def _server_client(address: StoreAddress) -> "ClientAPI":
    from jina_rag.rag.vector_stores.chroma_http import ServerClient

    return cast("ClientAPI", ServerClient(address))
