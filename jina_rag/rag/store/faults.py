"""Rows that disagree with others, as after damage: how many there are, and how they are put right.

The functions work inside the transaction of the connection that they are handed.
"""

import sqlite3

from jina_rag.rag.store import fulltext
from jina_rag.rag.store.rows import CHUNK_COLUMNS, as_chunk

_FAULTS = {
    "chunks without a document": "SELECT count(*) FROM chunks WHERE source NOT IN (SELECT source FROM documents)",
    "documents whose chunks are not as many as noted": """SELECT count(*) FROM documents
        WHERE n_chunks != (SELECT count(*) FROM chunks WHERE chunks.source = documents.source)""",
    "chunks that can't be found by their words": """SELECT count(*) FROM chunks
        WHERE number NOT IN (SELECT id FROM lexical_docsize)""",
    "words of chunks that are gone": """SELECT count(*) FROM lexical_docsize
        WHERE id NOT IN (SELECT number FROM chunks)""",
    "chunks whose vectors are not kept": "SELECT count(*) FROM chunks WHERE digest NOT IN (SELECT digest FROM vectors)",
}


def count(connection: sqlite3.Connection) -> dict[str, int]:
    """Kinds of fault with how many rows have them, those that occur."""
    counts = {name: connection.execute(query).fetchone()[0] for name, query in _FAULTS.items()}
    return {name: n for name, n in counts.items() if n}


def delete_orphans(connection: sqlite3.Connection) -> None:
    """Drop chunks without a document, have documents that have lost chunks read again, and make all words anew."""
    connection.execute("DELETE FROM chunks WHERE source NOT IN (SELECT source FROM documents)")
    connection.execute(
        """UPDATE documents SET sha256 = '', mtime_ns = -1,
        n_chunks = (SELECT count(*) FROM chunks WHERE chunks.source = documents.source)
        WHERE n_chunks != (SELECT count(*) FROM chunks WHERE chunks.source = documents.source)"""
    )
    fulltext.clear(connection)
    query = f"SELECT {CHUNK_COLUMNS} FROM chunks ORDER BY source, position"  # noqa: S608
    fulltext.add(connection, map(as_chunk, connection.execute(query)))
