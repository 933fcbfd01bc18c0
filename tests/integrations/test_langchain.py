from pathlib import Path
from typing import Any

import pytest
from langchain_chroma import Chroma
from langchain_core.embeddings import Embeddings
from langchain_jina_rag import JinaRagEmbeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests
from pydantic import ValidationError

from jina_rag import Embedder

MINILM: dict[str, Any] = {"model": "all-MiniLM-L6-v2"}


class TestUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return JinaRagEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return MINILM


class TestIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return JinaRagEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return MINILM


def test_making_one_loads_nothing() -> None:
    JinaRagEmbeddings(model="jina-v5-small", dimensions=256)  # its weights are not here


def test_vectors_are_the_embedders(minilm: Embedder) -> None:
    embeddings = JinaRagEmbeddings(model="minilm")
    assert embeddings.embed_query("red planet") == minilm.embed_query("red planet").tolist()
    assert embeddings.embed_documents(["a", "b"]) == minilm.embed_documents(["a", "b"]).tolist()
    assert embeddings.embed_documents([]) == []


def test_equal_settings_share_a_model_and_others_have_another_namespace() -> None:
    first, second = JinaRagEmbeddings(**MINILM), JinaRagEmbeddings(**MINILM)
    other = JinaRagEmbeddings(**MINILM, quantization="F16")
    assert first.embedder is second.embedder
    assert first.cache_namespace == second.cache_namespace != other.cache_namespace


def test_a_misspelt_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="dimension"):
        JinaRagEmbeddings(dimension=256)  # type: ignore[call-arg]


def test_in_langchains_chroma(tmp_path: Path) -> None:
    store = Chroma.from_texts(
        ["Mars looks red because of rust.", "Venus is covered in clouds."],
        JinaRagEmbeddings(**MINILM),
        persist_directory=str(tmp_path),
        collection_configuration={"hnsw": {"space": "cosine"}},
    )
    assert store.similarity_search("Which planet is red?", k=1)[0].page_content.startswith("Mars")
