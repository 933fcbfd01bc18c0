"""What a search reads of SQLite: the words that match, what the filters let through, and exact nearest neighbours.

The functions work inside the transaction of the connection that they are handed.
"""

import heapq
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.store import fulltext, journal
from jina_rag.rag.store.filters import Filters
from jina_rag.rag.store.rows import read_chunks
from jina_rag.rag.store.types import FoundChunk
from jina_rag.vectors import FloatArray

_VECTORS_AT_A_TIME = 4096


@dataclass(frozen=True)
class Matches:
    """The first of the two reads of a search.

    Attributes:
        fingerprint: What the vectors are made with now.
        generation: See `Catalog.generation`.
        seal: Of the Chroma folder.
        n_chunks: How many chunks the filters let through.
        ids: Those of them that Chroma holds as they are; None where nothing is filtered.
        dirty: The vectors of those that Chroma may lack, by id.
        n_dirty: How many ids Chroma may hold in another state, or too many.
        lexical: The chunks whose words match, best first.
        chunks: These chunks with their vectors, by id.
    """

    fingerprint: Fingerprint
    generation: int
    seal: str
    n_chunks: int
    ids: Sequence[str] | None
    dirty: Mapping[str, FloatArray]
    n_dirty: int
    lexical: Sequence[fulltext.Hit]
    chunks: Mapping[str, FoundChunk]


def matches(connection: sqlite3.Connection, query: str, n: int, filters: Filters, *, with_ids: bool) -> Matches:
    """All that is known before Chroma is asked; see `Catalog.matches`."""
    condition, parameters = filters.chunk_condition()
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    fingerprint = Fingerprint.from_json(meta["fingerprint"])
    lexical = fulltext.search(connection, query, n, condition, parameters)
    ids: list[str] | None = None
    if filters and with_ids:
        clean = f"SELECT id FROM chunks WHERE id NOT IN (SELECT id FROM dirty) AND {condition}"  # noqa: S608
        ids = [id_ for (id_,) in connection.execute(clean, parameters)]
    return Matches(
        fingerprint=fingerprint,
        generation=int(meta["generation"]),
        seal=meta["seal"],
        n_chunks=fulltext.count(connection) if ids is None else len(ids),
        ids=ids,
        dirty=journal.dirty_vectors(connection, condition, parameters, fingerprint.dimensions),
        n_dirty=journal.count_dirty(connection),
        lexical=lexical,
        chunks=read_chunks(connection, [hit.id for hit in lexical], fingerprint.dimensions),
    )


def nearest(connection: sqlite3.Connection, vector: FloatArray, n: int, filters: Filters) -> dict[str, FoundChunk]:
    """Exact nearest neighbours: compares with every vector, block by block, and keeps the ids of the best."""
    condition, parameters = filters.chunk_condition()
    query = f"""SELECT chunks.id, vector FROM chunks JOIN vectors USING (digest)
        WHERE length(vector) = ? AND {condition}"""  # noqa: S608 - our own condition
    best: list[tuple[float, str]] = []
    rows = connection.execute(query, [4 * len(vector), *parameters])
    while block := rows.fetchmany(_VECTORS_AT_A_TIME):
        similarities = np.frombuffer(b"".join(row[1] for row in block), "<f4").reshape(len(block), -1) @ vector
        best = heapq.nlargest(n, [*best, *zip(similarities.tolist(), (id_ for id_, _ in block), strict=True)])
    return read_chunks(connection, [id_ for _, id_ in best], len(vector))
