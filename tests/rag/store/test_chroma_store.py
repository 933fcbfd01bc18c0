"""Folders of Chroma beside a program's own client that has them open."""

from pathlib import Path

import chromadb

from jina_rag.rag.store.chroma_store import VectorStore
from jina_rag.rag.vector_stores import open_store
from jina_rag.testing import fake_embedder


def test_an_index_opens_beside_a_client_of_its_folder(tmp_path: Path) -> None:
    """However often it is opened, it has another path than the client's, with whose settings Chroma would refuse it."""
    client = chromadb.PersistentClient(tmp_path)
    for _ in range(65):
        store = VectorStore(tmp_path, fake_embedder().fingerprint)
        assert store.count() == 0
        store.close()
    assert client.list_collections()


def test_a_store_opens_beside_a_client_of_its_folder(tmp_path: Path) -> None:
    client = chromadb.PersistentClient(tmp_path)
    with open_store(f"chroma+file://{tmp_path}", fake_embedder().fingerprint, create=True) as store:
        assert store.count() == 0
    assert client.list_collections()
