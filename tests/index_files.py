"""The two halves of an index, opened as any other program would open them."""

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import chromadb
import numpy as np
from chromadb.api.models.Collection import Collection

import jina_rag.chroma  # noqa: F401 - Chroma then knows the embedding function of the collection
from jina_rag.rag import DocumentIndex, Retriever, SearchOptions
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.store.chroma_store import COLLECTION
from jina_rag.rag.store.seal import seal
from jina_rag.rag.vector_stores import open_store
from jina_rag.rag.vector_stores.rows import make_rows
from jina_rag.vectors import FloatArray


@contextmanager
def chroma_collection(folder: Path) -> Iterator[Collection]:
    """The vectors of an index in Chroma."""
    # Chroma has one state for each path in a process; spelled like this, it is another one than the index's own.
    with chromadb.PersistentClient(f"{folder}/./chroma") as client:  # type: ignore[attr-defined]
        yield client.get_collection(COLLECTION, embedding_function=None)


@contextmanager
def database(folder: Path) -> Iterator[sqlite3.Connection]:
    """The SQLite file of an index; each statement is a transaction."""
    with closing(sqlite3.connect(folder / "index.sqlite3", isolation_level=None)) as connection:
        yield connection


def nearest(index: DocumentIndex, query: str, n: int = 1) -> list[Chunk]:
    """The chunks that a search by meaning finds, best first."""
    return [found.chunk for found in Retriever(index).retrieve(query, SearchOptions(k=n, mode="dense"))]


def fill_store(address: str, index: DocumentIndex) -> None:
    """Write the rows of an index to a vector store."""
    made_with = index.status().fingerprint
    with open_store(address, made_with, create=True) as store:
        for document in index.documents():
            chunks = index.chunks_of(document.source)
            vectors = stored_vectors(index.folder, [chunk.id for chunk in chunks])
            store.upsert(make_rows(document, chunks, vectors, made_with))


def stored_vectors(folder: Path, ids: Sequence[str]) -> FloatArray:
    """The vectors of chunks in the SQLite file of an index."""
    with database(folder) as connection:
        found = dict(connection.execute("SELECT id, vector FROM chunks JOIN vectors USING (digest)"))
    return np.stack([np.frombuffer(found[id_], "<f4") for id_ in ids])


def copy_of_index(folder: Path, copy: Path) -> Path:
    """A copy that this machine takes for one that it has written."""
    shutil.copytree(folder, copy)
    with database(copy) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'seal'", [seal(copy / "chroma")])
    return copy


def whole_contents(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Texts and vectors of all chunks by their ids, once it is checked that both halves and the words agree."""
    with database(folder) as connection:
        rows = connection.execute("SELECT id, text, vector FROM chunks JOIN vectors USING (digest)").fetchall()
        assert connection.execute("SELECT count(*) FROM chunks").fetchone() == (len(rows),)
        assert connection.execute("SELECT ifnull(sum(n_chunks), 0) FROM documents").fetchone() == (len(rows),)
        assert connection.execute("SELECT * FROM dirty").fetchall() == []
        words = connection.execute("SELECT id FROM lexical_docsize ORDER BY id").fetchall()
        assert words == connection.execute("SELECT number FROM chunks ORDER BY number").fetchall()
    if not (folder / "chroma").exists():  # nothing was written yet
        assert rows == []
        return {}
    with chroma_collection(folder) as collection:
        stored = collection.get(include=["documents", "embeddings"])
    assert stored["documents"] is not None
    assert stored["embeddings"] is not None
    assert sorted(stored["ids"]) == sorted(id_ for id_, _, _ in rows)
    found = {id_: (text, vector) for id_, text, vector in rows}
    for id_, text, vector in zip(stored["ids"], stored["documents"], stored["embeddings"], strict=True):
        assert found[id_][0] == text
        np.testing.assert_allclose(vector, np.frombuffer(found[id_][1], "<f4"), atol=1e-6)
    return found
