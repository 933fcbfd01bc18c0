"""One collection, three doors: whoever fills it, all find the same passages in the same order."""

from collections.abc import Callable
from pathlib import Path

import chromadb
import pytest
from chromadb.api import ClientAPI
from langchain_jina_rag import JinaRagEmbeddings, open_vector_store
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.embeddings.jina_rag import JinaRagEmbedding
from llama_index.vector_stores.chroma import ChromaVectorStore

from jina_rag import Embedder
from jina_rag.chroma import open_collection, upsert_documents
from jina_rag.rag import DocumentIndex, Retriever, SearchOptions

MINILM = "all-MiniLM-L6-v2"
NAME = "documents"
QUESTION = "Which planet is red?"
PASSAGES = [
    "Mars looks red because of the rust in its soil.",
    "Venus is covered in thick clouds of sulphuric acid.",
    "Saturn is known for the rings of ice around it.",
    "Red giants are stars near the end of their lives.",
    "The keeper painted the lighthouse red and white.",
]


def fill_with_jina_rag(folder: Path, minilm: Embedder) -> Path:
    """As `jina-rag add` does."""
    for number, text in enumerate(PASSAGES):
        (folder / f"{number}.txt").write_text(text)
    with DocumentIndex.create_or_open(folder / "index", minilm) as index:
        index.add([folder])
    return folder / "index" / "chroma"


def fill_with_chroma(folder: Path, minilm: Embedder) -> Path:
    collection = open_collection(chromadb.PersistentClient(folder), NAME, minilm)
    upsert_documents(collection, [str(number) for number in range(len(PASSAGES))], PASSAGES)
    return folder


def fill_with_langchain(folder: Path, minilm: Embedder) -> Path:  # noqa: ARG001 - all take the same
    open_vector_store(chromadb.PersistentClient(folder), NAME, JinaRagEmbeddings(model=MINILM)).add_texts(PASSAGES)
    return folder


def fill_with_llama_index(folder: Path, minilm: Embedder) -> Path:
    collection = open_collection(chromadb.PersistentClient(folder), NAME, minilm)
    VectorStoreIndex(
        [TextNode(text=text) for text in PASSAGES],
        storage_context=StorageContext.from_defaults(vector_store=ChromaVectorStore(chroma_collection=collection)),
        embed_model=JinaRagEmbedding(model_name=MINILM),
    )
    return folder


def find_with_chroma(client: ClientAPI) -> list[str]:
    found = client.get_collection(NAME).query(query_texts=[QUESTION], n_results=4)["documents"]
    assert found is not None
    return found[0]


def find_with_langchain(client: ClientAPI) -> list[str]:
    store = open_vector_store(client, NAME, JinaRagEmbeddings(model=MINILM))
    return [document.page_content for document in store.similarity_search(QUESTION, k=4)]


def find_with_llama_index(client: ClientAPI) -> list[str]:
    index = VectorStoreIndex.from_vector_store(
        ChromaVectorStore(chroma_collection=client.get_collection(NAME)),
        embed_model=JinaRagEmbedding(model_name=MINILM),
    )
    return [node.get_content() for node in index.as_retriever(similarity_top_k=4).retrieve(QUESTION)]


@pytest.mark.parametrize("fill", [fill_with_jina_rag, fill_with_chroma, fill_with_langchain, fill_with_llama_index])
def test_all_doors_find_the_same(fill: Callable[[Path, Embedder], Path], tmp_path: Path, minilm: Embedder) -> None:
    client = chromadb.PersistentClient(fill(tmp_path, minilm))
    scores = minilm.similarity(minilm.embed_query(QUESTION), minilm.embed_documents(PASSAGES))
    expected = [PASSAGES[place] for place in (-scores).argsort()[:4]]
    assert expected[0] == PASSAGES[0]
    for find in (find_with_chroma, find_with_langchain, find_with_llama_index):
        assert find(client) == expected, find.__name__


def test_the_frameworks_see_where_a_passage_stands(tmp_path: Path, minilm: Embedder) -> None:
    client = chromadb.PersistentClient(fill_with_jina_rag(tmp_path, minilm))
    (document,) = open_vector_store(client, NAME, JinaRagEmbeddings(model=MINILM)).similarity_search(QUESTION, k=1)
    store = ChromaVectorStore(chroma_collection=client.get_collection(NAME))
    index = VectorStoreIndex.from_vector_store(store, embed_model=JinaRagEmbedding(model_name=MINILM))
    (node,) = index.as_retriever(similarity_top_k=1).retrieve(QUESTION)
    assert document.id == node.node_id
    for metadata in (document.metadata, node.metadata):
        assert (metadata["source"], metadata["title"]) == (str(tmp_path / "0.txt"), "0")
        assert PASSAGES[0][metadata["start"] : metadata["end"]] == PASSAGES[0]


def test_what_llama_index_deletes_is_back_with_the_next_write(tmp_path: Path, minilm: Embedder) -> None:
    client = chromadb.PersistentClient(fill_with_jina_rag(tmp_path, minilm))
    store = ChromaVectorStore(chroma_collection=client.get_collection(NAME))
    store.delete(str(tmp_path / "0.txt"))
    assert PASSAGES[0] not in find_with_chroma(client)
    (tmp_path / "another.txt").write_text("Another document.")
    with DocumentIndex.open(tmp_path / "index", minilm) as index:
        index.add([tmp_path / "another.txt"])
        (best, *_) = Retriever(index).retrieve(QUESTION, SearchOptions(mode="dense"))
        assert best.chunk.text == PASSAGES[0]
