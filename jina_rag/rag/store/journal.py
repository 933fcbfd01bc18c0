"""What is under way: the chunks that Chroma has not followed yet, and the vectors of a rebuild to another model.

The functions work inside the transaction of the connection that they are handed.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.store.rows import as_vector, read_vectors, write_vectors
from jina_rag.vectors import FloatArray


def mark_dirty(connection: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Note that Chroma may hold these chunks in another state, lack them, or have them too many."""
    connection.executemany("INSERT OR IGNORE INTO dirty VALUES (?)", ((id_,) for id_ in ids))


def clear_dirty(connection: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Note that Chroma has followed."""
    connection.executemany("DELETE FROM dirty WHERE id = ?", ((id_,) for id_ in ids))


def count_dirty(connection: sqlite3.Connection) -> int:
    """How many chunks are dirty."""
    count: int = connection.execute("SELECT count(*) FROM dirty").fetchone()[0]
    return count


def dirty_ids(connection: sqlite3.Connection, n: int) -> list[str]:
    """At most `n` of them."""
    return [id_ for (id_,) in connection.execute("SELECT id FROM dirty LIMIT ?", [n])]


def dirty_vectors(
    connection: sqlite3.Connection, condition: str, parameters: Sequence[str | int], dimensions: int
) -> dict[str, FloatArray]:
    """The vectors of the dirty chunks that meet a condition on the table `chunks`, by id."""
    query = f"""SELECT chunks.id, vector FROM dirty JOIN chunks USING (id) JOIN vectors USING (digest)
        WHERE length(vector) = ? AND {condition}"""  # noqa: S608 - our own condition
    return {id_: as_vector(vector) for id_, vector in connection.execute(query, [4 * dimensions, *parameters])}


def stage_vectors(
    connection: sqlite3.Connection, fingerprint: Fingerprint, vectors: Mapping[bytes, FloatArray]
) -> None:
    """Keep vectors of another model; those of a third one go."""
    if _staged(connection) != fingerprint.to_json():
        connection.execute("DELETE FROM staged_vectors")
        connection.execute("UPDATE meta SET value = ? WHERE key = 'staged'", [fingerprint.to_json()])
    write_vectors(connection, vectors, "staged_vectors")


def staged_vectors(
    connection: sqlite3.Connection, fingerprint: Fingerprint, digests: Iterable[bytes]
) -> dict[bytes, FloatArray]:
    """The vectors that are kept for a model, by digest."""
    return read_vectors(connection, digests, "staged_vectors") if _staged(connection) == fingerprint.to_json() else {}


def swap_in(connection: sqlite3.Connection, fingerprint: Fingerprint, new_ids: Mapping[str, str]) -> None:
    """Put the staged vectors in the place of those in use, with their fingerprint and the chunk ids that go with it."""
    if _staged(connection) == fingerprint.to_json():
        connection.execute("DELETE FROM vectors")
        connection.execute("INSERT INTO vectors SELECT * FROM staged_vectors")
        connection.execute("DELETE FROM unused_vectors")
    connection.execute("DELETE FROM staged_vectors")
    values = {"staged": "", "seal": "", "fingerprint": fingerprint.to_json()}
    connection.executemany("UPDATE meta SET value = ? WHERE key = ?", [(value, key) for key, value in values.items()])
    connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")
    connection.executemany("UPDATE chunks SET id = ? WHERE id = ?", [(new, old) for old, new in new_ids.items()])
    connection.execute("DELETE FROM dirty")
    connection.execute("INSERT INTO dirty SELECT id FROM chunks")


def _staged(connection: sqlite3.Connection) -> str:
    staged: str = connection.execute("SELECT value FROM meta WHERE key = 'staged'").fetchone()[0]
    return staged
