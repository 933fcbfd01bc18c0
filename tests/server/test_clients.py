"""Clients that people have, unchanged: the vectors that they get are those of the embedder in process."""

import gc
import json
import shutil
import subprocess
from collections.abc import Iterable
from typing import Any

import cohere
import httpx
import numpy as np
import openai
import pytest
from huggingface_hub import InferenceClient
from langchain_cohere import CohereRerank
from langchain_core.documents import Document
from langchain_openai import OpenAIEmbeddings
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
from llama_index.postprocessor.jinaai_rerank import JinaRerank
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference
from pydantic import SecretStr

from jina_rag import BackendError, Embedder
from jina_rag.backends.llama_cpp.reranker import LlamaCppReranker
from jina_rag.models import InputType
from jina_rag.rag import make_reranker
from tests.backends import tiny_reranker
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


RED, CLOUDS, RINGS = "mars looks red because of iron rust.", "the clouds", "saturn has rings made of ice."
TEXTS = [CLOUDS, RED, RINGS]
QUERY = "what planet is red?"


def best_first(reranker: LlamaCppReranker) -> list[tuple[int, float]]:
    """Places of the texts and their probabilities, as the model gives them in process."""
    scores = 1 / (1 + np.exp(-reranker.score(QUERY, TEXTS).astype(float)))
    return sorted(enumerate(scores.tolist()), key=lambda pair: -pair[1])


def assert_ranked(ranked: Iterable[tuple[int, float]], reranker: LlamaCppReranker, top_n: int = 3) -> None:
    places, scores = zip(*ranked, strict=True)
    expected_places, expected_scores = zip(*best_first(reranker)[:top_n], strict=True)
    assert places == expected_places
    assert scores == pytest.approx(expected_scores, abs=1e-6)


def test_our_own_reranker_gives_the_scores_that_it_has_in_process(
    reranking_server: RunningServer, reranker: LlamaCppReranker
) -> None:
    texts = [f"{text} {word}" for text in TEXTS for word in tiny_reranker.WORDS * 3]
    assert np.array_equal(make_reranker(reranking_server.url).score(QUERY, texts), reranker.score(QUERY, texts))
    assert make_reranker(f"openai+{reranking_server.url}").score(QUERY, TEXTS) == pytest.approx(
        [dict(best_first(reranker))[place] for place in range(len(TEXTS))], abs=1e-6
    )


def test_our_own_reranker_learns_that_there_is_none(server: RunningServer) -> None:
    with pytest.raises(BackendError, match="which is no reranker"):
        make_reranker(server.url).score(QUERY, TEXTS)
    with pytest.raises(BackendError, match="jina-rag serve --reranker"):
        make_reranker(f"openai+{server.url}").score(QUERY, TEXTS)


def test_cohere(reranking_server: RunningServer, reranker: LlamaCppReranker) -> None:
    documents = [{"text": text} for text in TEXTS]
    with cohere.Client("none", base_url=reranking_server.url) as first:
        rows = first.rerank(model=reranker.name, query=QUERY, documents=documents, top_n=2).results
    assert_ranked([(row.index, row.relevance_score) for row in rows], reranker, top_n=2)
    assert [row.document and row.document.text for row in rows] == [TEXTS[row.index] for row in rows]
    with httpx.Client() as http:
        second = cohere.ClientV2("none", base_url=reranking_server.url, httpx_client=http)
        found = second.rerank(model=reranker.name, query=QUERY, documents=TEXTS)
        assert_ranked([(row.index, row.relevance_score) for row in found.results], reranker)
        with pytest.raises(cohere.NotFoundError, match="Ask for tiny-reranker"):
            second.rerank(model="rerank-v3.5", query=QUERY, documents=TEXTS)


def test_langchain_cohere(reranking_server: RunningServer, reranker: LlamaCppReranker) -> None:
    documents = [Document(text, metadata={"place": place}) for place, text in enumerate(TEXTS)]
    with httpx.Client() as http:
        client = cohere.ClientV2("none", base_url=reranking_server.url, httpx_client=http)
        compressor = CohereRerank(model=reranker.name, client=client, top_n=2)
        found = compressor.compress_documents(documents, QUERY)
    assert_ranked([(doc.metadata["place"], doc.metadata["relevance_score"]) for doc in found], reranker, top_n=2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # JinaRerank never closes its session
def test_llama_index_rerankers(reranking_server: RunningServer, reranker: LlamaCppReranker) -> None:
    nodes = [NodeWithScore(node=TextNode(text=text, id_=str(place))) for place, text in enumerate(TEXTS)]
    url = reranking_server.url
    jina = JinaRerank(top_n=2, model=reranker.name, base_url=f"{url}/v1", api_key="none")
    for postprocessor in (jina, TextEmbeddingInference(top_n=2, base_url=url)):
        found = postprocessor.postprocess_nodes(nodes, query_str=QUERY)
        assert_ranked([(int(node.node.node_id), node.score or 0.0) for node in found], reranker, top_n=2)
    with pytest.raises(RuntimeError, match="Ask for tiny-reranker"):
        JinaRerank(base_url=f"{url}/v1", api_key="none").postprocess_nodes(nodes, query_str=QUERY)
    del jina, postprocessor
    gc.collect()
