"""The shapes of Text Embeddings Inference, and the same vectors as in process."""

from typing import Any

import numpy as np
import pytest

from jina_rag import Embedder
from tests.server.conftest import RunningServer


def post(server: RunningServer, path: str = "/embed", **body: Any) -> Any:
    answer = server.client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_vectors_are_those_of_the_embedder(tiny_server: RunningServer, tiny: Embedder) -> None:
    documents, queries = ["Mars is red.", "Venus"], ["red?"]
    np.testing.assert_allclose(post(tiny_server, inputs=documents), tiny.embed_documents(documents), atol=1e-5)
    query = post(tiny_server, inputs="red?", prompt_name="query")
    np.testing.assert_allclose(query, [tiny.embed_query(queries[0])], atol=1e-5)
    np.testing.assert_allclose(post(tiny_server, "/", inputs=documents), tiny.embed_documents(documents), atol=1e-5)


def test_width_and_length_are_as_asked(tiny_server: RunningServer, tiny: Embedder) -> None:
    state = tiny.backend.embed(["Document: Mars"], max_tokens=512).vectors[0]
    np.testing.assert_allclose(post(tiny_server, inputs="Mars", normalize=False)[0], state, rtol=1e-4, atol=1e-5)
    short = post(tiny_server, inputs="Mars", dimensions=8)[0]
    np.testing.assert_allclose(short, state[:8] / np.linalg.norm(state[:8]), atol=1e-5)


def test_a_long_text_keeps_the_end_that_was_asked_for(server: RunningServer) -> None:
    words = [f"word{number}" for number in range(600)]
    whole = " ".join(words)
    embed = server.application.service.embedder.embed_documents
    # 512 tokens: one opens each text, "Document" and ":" are two more.
    for direction, kept in (("Right", words[:509]), ("left", words[-509:])):
        answer = server.client.post(
            "/embed", json={"inputs": whole, "truncate": True, "truncation_direction": direction}
        )
        assert answer.headers["x-jina-rag-truncated"] == "1"
        assert answer.headers["x-compute-tokens"] == "512"
        np.testing.assert_allclose(answer.json(), embed([" ".join(kept)]), atol=1e-5)


@pytest.mark.parametrize(
    ("path", "body", "status", "error_type"),
    [
        ("/embed", {"inputs": []}, 400, "Empty"),
        ("/embed", {"inputs": [1, 2]}, 422, "Validation"),
        ("/embed", {"inputs": ["a", [1, 2]]}, 422, "Validation"),
        ("/embed", {}, 422, "Validation"),
        ("/embed", {"inputs": "a", "dimensions": 0}, 422, "Validation"),
        ("/embed", {"inputs": "a", "dimensions": 65}, 422, "Validation"),
        ("/embed", {"inputs": "a", "prompt_name": "x"}, 422, "Validation"),
        ("/embed", {"inputs": "a", "truncation_direction": "up"}, 422, "Validation"),
        ("/embed", {"inputs": "a", "unknown": 1}, 422, "Validation"),
        ("/embed", {"inputs": "word " * 600}, 422, "Validation"),
        ("/embed", {"inputs": ["a"] * 2049}, 422, "Validation"),
        ("/embed_all", {"inputs": "a"}, 422, "Validation"),
        ("/similarity", {"inputs": {"source_sentence": "a", "sentences": []}}, 422, "Validation"),
        ("/tokenize", {"inputs": "a"}, 422, "Validation"),
    ],
)
def test_refusals_have_teis_shape(
    server: RunningServer, path: str, body: dict[str, Any], status: int, error_type: str
) -> None:
    answer = server.client.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "error_type"}
    assert answer.json()["error_type"] == error_type


def test_similarity_is_the_cosine(tiny_server: RunningServer, tiny: Embedder) -> None:
    body = {"source_sentence": "Mars is red.", "sentences": ["Mars is red.", "Venus is bright."]}
    cosines = post(tiny_server, "/similarity", inputs=body, parameters={"prompt_name": "query"})
    expected = tiny.similarity(
        tiny.embed_query("Mars is red."), np.stack(list(map(tiny.embed_query, body["sentences"])))
    )
    np.testing.assert_allclose(cosines, expected, atol=1e-5)


def test_tokens_are_shown_with_their_places(tiny_server: RunningServer, tiny: Embedder) -> None:
    text = "the red 😀 planet"
    (tokens,) = post(tiny_server, "/tokenize", inputs=text, prompt_name="query")
    assert len(tokens) == tiny.count_tokens([text], "query")[0]
    assert tokens[0] == {"id": tokens[0]["id"], "text": "Query", "special": False, "start": 0, "stop": 5}
    whole = "Query: " + text
    assert all(whole[t["start"] : t["stop"]] == t["text"] for t in tokens if "�" not in t["text"])
    assert tokens[-1]["stop"] == len(whole)
    (bare,) = post(tiny_server, "/tokenize", inputs="a<|endoftext|>")
    assert [t["special"] for t in bare] == [False, True]


def test_special_tokens_may_be_left_out(minilm: Embedder) -> None:
    from jina_rag.backends.base import SupportsTokenize

    assert isinstance(minilm.backend, SupportsTokenize)
    (tokens,) = minilm.backend.tokenize(["Hello"])
    assert [token.text for token in tokens if token.special] == ["[CLS]", "[SEP]"]
    (bare,) = minilm.backend.tokenize(["Hello"], add_special_tokens=False)
    assert bare == [token for token in tokens if not token.special]


def test_information_and_health(tiny_server: RunningServer) -> None:
    info = tiny_server.client.get("/info").json()
    assert info["model_type"] == {"embedding": {"pooling": "last_token"}}
    assert info["max_input_length"] == 4096
    assert info["auto_truncate"] is False
    for path in ("/health", "/ping", "/"):
        answer = tiny_server.client.get(path)
        assert (answer.status_code, answer.content) == (200, b"")
