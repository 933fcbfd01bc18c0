"""The adapters' retrievers open a vector store by its address, as they open an index folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_jina_rag import JinaRagRetriever as LangChainRetriever
from llama_index.embeddings.jina_rag import JinaRagRetriever as LlamaIndexRetriever

from jina_rag import Embedder
from jina_rag.rag import DocumentIndex
from jina_rag.rag.vector_stores import open_store
from tests.index_files import fill_store


@pytest.fixture(params=["chroma", "lance"])
def address(request: pytest.FixtureRequest, tmp_path: Path, minilm: Embedder) -> Iterator[str]:
    """A store with two documents."""
    address = f"lance://{tmp_path / 'lance'}"
    if request.param == "chroma":
        address = f"{request.getfixturevalue('chroma')}/adapters"
    (tmp_path / "mars.md").write_text("Mars looks red because of iron rust.")
    (tmp_path / "saturn.txt").write_text("Saturn has rings made of ice.")
    with DocumentIndex.create_or_open(tmp_path / "index", minilm) as index:
        index.add([tmp_path / "mars.md", tmp_path / "saturn.txt"])
        fill_store(address, index)
    yield address
    with open_store(address) as store:
        store.delete(store.ids())


def test_the_adapters_retrievers_open_a_store(address: str) -> None:
    (document,) = LangChainRetriever(index=address, k=1).invoke("Which planet has rings?")
    (node,) = LlamaIndexRetriever(address, similarity_top_k=1).retrieve("Which planet has rings?")
    assert document.page_content == node.node.get_content() == "Saturn has rings made of ice."
    assert document.metadata["title"] == node.node.metadata["title"] == "saturn"
    filtered = LangChainRetriever(index=address, k=5, file_types=["md"]).invoke("Which planet has rings?")
    assert [each.metadata["title"] for each in filtered] == ["mars"]
