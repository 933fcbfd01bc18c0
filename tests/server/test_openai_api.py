"""OpenAI's shapes, and the same vectors as in process."""

import base64
from typing import Any

import numpy as np
import pytest

from jina_rag import Embedder
from jina_rag.server.settings import ServerSettings
from jina_rag.testing import TINY_SPEC, fake_embedder
from tests.server.conftest import RunningServer, running_server

TEXTS = ["Mars looks red because of rust.", "Venus", "", "Zażółć gęślą jaźń 😀", "Mars looks red because of rust."]


def post(server: RunningServer, **body: Any) -> Any:
    answer = server.client.post("/v1/embeddings", json={"model": "tiny-qwen3", **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def vectors(server: RunningServer, **body: Any) -> Any:
    return np.array([item["embedding"] for item in post(server, **body)["data"]], np.float32)


def refused(server: RunningServer, body: dict[str, Any], status: int = 400) -> Any:
    answer = server.client.post("/v1/embeddings", json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_vectors_are_those_of_the_embedder(tiny_server: RunningServer, tiny: Embedder) -> None:
    np.testing.assert_allclose(vectors(tiny_server, input=TEXTS), tiny.embed_documents(TEXTS), atol=1e-5)
    one = vectors(tiny_server, input="red planet", model="tiny-qwen3:query")
    np.testing.assert_allclose(one[0], tiny.embed_query("red planet"), atol=1e-5)


def test_the_answer_has_openais_shape(tiny_server: RunningServer, tiny: Embedder) -> None:
    answer = post(tiny_server, input=TEXTS, user="somebody")
    counts = tiny.count_tokens(TEXTS)
    assert answer["object"] == "list"
    assert answer["model"] == "tiny-qwen3"
    assert answer["usage"] == {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
    assert [(item["object"], item["index"]) for item in answer["data"]] == [("embedding", i) for i in range(5)]
    assert answer["jina_rag"] == {"token_counts": counts, "truncated": []}


def test_base64_is_little_endian_float32(tiny_server: RunningServer) -> None:
    item = post(tiny_server, input="Mars", encoding_format="base64")["data"][0]
    decoded = np.frombuffer(base64.b64decode(item["embedding"]), "<f4")
    np.testing.assert_array_equal(decoded, vectors(tiny_server, input="Mars", encoding_format="float")[0])


def test_dimensions_are_cut_before_normalising(tiny_server: RunningServer, tiny: Embedder) -> None:
    short = vectors(tiny_server, input="Mars", dimensions=16)[0]
    whole = tiny.embed_documents(["Mars"])[0][:16]
    np.testing.assert_allclose(short, whole / np.linalg.norm(whole), atol=1e-5)


def test_pooled_states_can_be_had_as_they_are(tiny_server: RunningServer, tiny: Embedder) -> None:
    states = tiny.backend.embed(["Document: Mars"], max_tokens=512).vectors
    np.testing.assert_allclose(vectors(tiny_server, input="Mars", normalize=False), states, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("body", "with_prompt"),
    [
        ({}, "Document: Mars"),
        ({"prompt_name": "query"}, "Query: Mars"),
        ({"input_type": "search_document"}, "Document: Mars"),
        ({"task": "retrieval.query"}, "Query: Mars"),
        ({"prompt_name": "none"}, "Mars"),
        ({"model": "tiny-qwen3:query"}, "Query: Mars"),
        ({"model": "Tiny-Qwen3:F32:none"}, "Mars"),
        ({"model": "tiny-qwen3:query", "prompt_name": "document"}, "Document: Mars"),
        ({"input": "Query: Mars"}, "Query: Mars"),
        ({"input": "Query: Mars", "prompt_name": "document"}, "Document: Query: Mars"),
        ({"input": "Document: Mars", "model": "tiny-qwen3:query"}, "Query: Document: Mars"),
    ],
)
def test_the_prompt_is_chosen_by_the_request(
    tiny_server: RunningServer, tiny: Embedder, body: dict[str, str], with_prompt: str
) -> None:
    (expected,) = tiny.backend.embed([with_prompt], max_tokens=512).vectors
    (vector,) = vectors(tiny_server, **{"input": "Mars", **body})
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)


def test_a_server_may_have_another_default_prompt(tiny: Embedder) -> None:
    with running_server(tiny, ServerSettings(default_prompt="query")) as server:
        np.testing.assert_allclose(vectors(server, input="Mars")[0], tiny.embed_query("Mars"), atol=1e-5)


@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        ({"input": []}, 400, "input", None),
        ({"input": None}, 400, "input", None),
        ({"input": ["a", None]}, 400, "input", None),
        ({"input": {"text": "a"}}, 400, "input", None),
        ({}, 400, "input", None),
        ({"input": "a", "model": 3}, 400, "model", None),
        ({"input": "a", "model": "gpt"}, 404, "model", "model_not_found"),
        ({"input": "a", "model": "fake:QUERY:query"}, 404, "model", "model_not_found"),
        ({"input": "a", "dimensions": 0}, 400, "dimensions", None),
        ({"input": "a", "dimensions": 17}, 400, "dimensions", None),
        ({"input": "a", "dimensions": "16"}, 400, "dimensions", None),
        ({"input": "a", "encoding_format": "hex"}, 400, "encoding_format", None),
        ({"input": "a", "late_chunking": True}, 400, "late_chunking", None),
        ({"input": "a", "prompt_name": "Query: "}, 400, "prompt_name", None),
        ({"input": "a", "prompt_name": "query", "input_type": "passage"}, 400, None, None),
        ({"input": "word " * 600}, 400, "input", "context_length_exceeded"),
    ],
)
def test_refusals_name_the_field(
    server: RunningServer, body: dict[str, Any], status: int, param: str | None, code: str | None
) -> None:
    error = refused(server, {"model": "fake", **body}, status)
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")


def test_token_ids_are_refused_with_the_setting_that_sends_them(server: RunningServer) -> None:
    for tokens in ([1, 2, 3], [[1, 2], [3]]):
        error = refused(server, {"model": "fake", "input": tokens})
        assert "check_embedding_ctx_length=False" in error["message"]


def test_a_text_is_cut_only_when_asked(server: RunningServer) -> None:
    long = "word " * 600
    answer = server.client.post("/v1/embeddings", json={"model": "fake", "input": ["a", long], "truncate": True}).json()
    assert answer["jina_rag"]["truncated"] == [1]
    assert answer["jina_rag"]["token_counts"][1] == 512
    assert server.figure("jina_rag_truncated_texts_total") == 1


def test_a_request_is_limited_in_texts_and_tokens() -> None:
    settings = ServerSettings(max_client_batch_size=3, max_request_tokens=20)
    with running_server(fake_embedder(), settings) as server:
        assert "batch size 4 > maximum" in refused(server, {"model": "fake", "input": ["a"] * 4})["message"]
        assert "may have 20" in refused(server, {"model": "fake", "input": ["a b c d e f g"] * 3})["message"]


def test_the_models_say_what_a_client_must_know(tiny_server: RunningServer, tiny: Embedder) -> None:
    listed = tiny_server.client.get("/v1/models").json()["data"]
    assert [model["id"] for model in listed] == [
        f"tiny-qwen3{ending}" for ending in ("", ":query", ":document", ":none")
    ]
    about = listed[0]["jina_rag"]
    assert about["prompts"] == {"query": "Query: ", "document": "Document: "}
    assert about["weights"] == tiny.backend.identity
    assert about["fingerprint"] == tiny.fingerprint.digest
    assert about["max_input_tokens"] == TINY_SPEC.max_input_tokens
    one = tiny_server.client.get("/v1/models/tiny-qwen3:F32:query").json()
    assert (one["id"], one["jina_rag"]["prompt"]) == ("tiny-qwen3:F32:query", "query")
    assert tiny_server.client.get("/v1/models/gpt").status_code == 404


def test_more_names_may_be_served() -> None:
    with running_server(fake_embedder(), ServerSettings(served_names=("text-embedding-3-small",))) as server:
        body = {"model": "text-embedding-3-small:query", "input": "a"}
        assert server.client.post("/embeddings", json=body).json()["model"] == "text-embedding-3-small:query"
