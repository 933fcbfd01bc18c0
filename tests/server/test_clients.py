"""Clients that people have, unchanged: the vectors that they get are those of the embedder in process."""

import json
import shutil
import subprocess
from typing import Any

import numpy as np
import openai
import pytest
from huggingface_hub import InferenceClient
from langchain_openai import OpenAIEmbeddings
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
from pydantic import SecretStr

from jina_rag import Embedder
from jina_rag.models import InputType
from tests.server.conftest import RunningServer

PASSAGES = ["Mars looks red because of rust.", "Venus is covered in clouds.", "Zażółć 😀"]
QUESTION = "Which planet is red?"


def assert_same(vectors: Any, expected: Any) -> None:
    """With whom a text shares a batch shows in the fourth decimal, as it does in process."""
    np.testing.assert_allclose(vectors, expected, atol=1e-3)


def test_openai(tiny_server: RunningServer, tiny: Embedder) -> None:
    with openai.OpenAI(base_url=f"{tiny_server.url}/v1", api_key="none", max_retries=0) as client:
        answer = client.embeddings.create(model="tiny-qwen3", input=PASSAGES)  # base64, and decoded by the client
        assert_same([item.embedding for item in answer.data], tiny.embed_documents(PASSAGES))
        assert answer.usage.prompt_tokens == sum(tiny.count_tokens(PASSAGES))
        query = client.embeddings.create(model="tiny-qwen3:query", input=QUESTION, dimensions=16)
        expected = tiny.embed_query(QUESTION)[:16]
        assert_same(query.data[0].embedding, expected / np.linalg.norm(expected))
        extra = client.embeddings.create(model="tiny-qwen3", input=QUESTION, extra_body={"prompt_name": "query"})
        assert_same(extra.data[0].embedding, tiny.embed_query(QUESTION))
        assert "tiny-qwen3:query" in [model.id for model in client.models.list()]
        with pytest.raises(openai.NotFoundError) as missing:
            client.embeddings.create(model="gpt", input="a")
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
            client.embeddings.create(model="tiny-qwen3", input=[[1, 2, 3]])


def test_langchain_openai(tiny_server: RunningServer, tiny: Embedder) -> None:
    documents, questions = (
        OpenAIEmbeddings(
            model=name,
            base_url=f"{tiny_server.url}/v1",
            api_key=SecretStr("none"),
            check_embedding_ctx_length=False,
        )
        for name in ("tiny-qwen3", "tiny-qwen3:query")
    )
    assert_same(documents.embed_documents(PASSAGES), tiny.embed_documents(PASSAGES))
    assert_same(questions.embed_query(QUESTION), tiny.embed_query(QUESTION))


def test_llama_index_openai_like(tiny_server: RunningServer, tiny: Embedder) -> None:
    embedding = OpenAILikeEmbedding(
        model_name="tiny-qwen3:document", api_base=f"{tiny_server.url}/v1", api_key="none", reuse_client=False
    )
    assert_same(embedding.get_text_embedding_batch(PASSAGES), tiny.embed_documents(PASSAGES))


def test_llama_index_tei(tiny_server: RunningServer, tiny: Embedder) -> None:
    # It puts the prompts before the texts itself, each with a blank after it.
    embedding = TextEmbeddingsInference(
        model_name="tiny-qwen3", base_url=tiny_server.url, query_instruction="Query:", text_instruction="Document:"
    )
    assert_same(embedding.get_text_embedding_batch(PASSAGES), tiny.embed_documents(PASSAGES))
    assert_same(embedding.get_query_embedding(QUESTION), tiny.embed_query(QUESTION))


@pytest.mark.parametrize("path", ["/embed", ""])
def test_huggingface_hub(tiny_server: RunningServer, tiny: Embedder, path: str) -> None:
    client = InferenceClient(model=f"{tiny_server.url}{path}")
    assert_same(client.feature_extraction(PASSAGES), tiny.embed_documents(PASSAGES))
    query = client.feature_extraction(QUESTION, prompt_name="query", normalize=True, truncate=True, dimensions=64)
    assert_same(query, [tiny.embed_query(QUESTION)])


def test_langchain_tei(tiny_server: RunningServer, tiny: Embedder) -> None:
    """Its package is not among the project's own: install langchain-huggingface to have this run."""
    langchain = pytest.importorskip("langchain_huggingface")
    input_types: tuple[InputType, ...] = ("document", "query")
    for input_type in input_types:
        embedding = langchain.HuggingFaceEndpointEmbeddings(model_kwargs={"prompt_name": input_type})
        embedding.client = InferenceClient(model=tiny_server.url)  # it takes no address itself
        assert_same(embedding.embed_documents(PASSAGES), tiny.embed(PASSAGES, input_type).vectors)


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
@pytest.mark.parametrize("path", ["/v1/embeddings", "/embed"])
def test_curl_as_in_the_model_card(tiny_server: RunningServer, tiny: Embedder, path: str) -> None:
    """The card's lines put the prompts into the texts."""
    texts = [f"Query: {QUESTION}", *(f"Document: {passage}" for passage in PASSAGES)]
    body = {"model": "tiny-qwen3", "input": texts} if path.startswith("/v1") else {"inputs": texts}
    command = ["curl", "-sS", tiny_server.url + path, "-H", "Content-Type: application/json", "-d", json.dumps(body)]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)
    vectors = [item["embedding"] for item in answer["data"]] if path.startswith("/v1") else answer
    assert_same(vectors[0], tiny.embed_query(QUESTION))
    assert_same(vectors[1:], tiny.embed_documents(PASSAGES))
