"""Reranking over HTTP: the shapes of Jina, Cohere and TEI, the scores of the model, and the limits of every address."""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from jina_rag import Embedder
from jina_rag.backends.base import ProgressCallback
from jina_rag.backends.llama_cpp.cross_encoder import TokenPair
from jina_rag.backends.llama_cpp.reranker import LlamaCppReranker
from jina_rag.server.settings import ServerSettings
from jina_rag.testing import (
    FAKE_SPEC,
    TINY_SHAPE,
    fake_embedder,
    tiny_merges,
    tiny_vocabulary,
    tiny_weights,
    write_qwen3_gguf,
)
from jina_rag.vectors import FloatArray
from tests.server.conftest import HeldBackend, RunningServer, running_server, wait_until

QUERY = "what planet is red?"
TEXTS = ["the clouds", "mars looks red because of iron rust.", "saturn has rings made of ice."]
JINA = {"query": QUERY, "documents": TEXTS}
TEI = {"query": QUERY, "texts": TEXTS}


def post(server: RunningServer, path: str, **body: Any) -> Any:
    answer = server.client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_jinas_shape(reranking_server: RunningServer, reranker: LlamaCppReranker) -> None:
    scores = reranker.score(QUERY, TEXTS)
    order = np.argsort(-scores).tolist()
    answer = post(reranking_server, "/v1/rerank", **JINA)
    assert [row["index"] for row in answer["results"]] == order
    assert [row["document"]["text"] for row in answer["results"]] == [TEXTS[place] for place in order]
    probabilities = 1 / (1 + np.exp(-scores.astype(float)[order]))
    assert [row["relevance_score"] for row in answer["results"]] == pytest.approx(probabilities, abs=1e-6)
    n_tokens = sum(len(pair.tokens) for pair in reranker.tokenize(QUERY, TEXTS))
    assert answer["usage"] == {"total_tokens": n_tokens, "prompt_tokens": n_tokens}
    assert (answer["model"], answer["object"]) == ("tiny-reranker", "list")
    objects = post(reranking_server, "/v1/rerank", query=QUERY, documents=[{"text": text} for text in TEXTS])
    assert objects["results"] == answer["results"]


@pytest.mark.parametrize(("path", "model"), [("/v1/rerank", {}), ("/v2/rerank", {"model": "Tiny-Reranker"})])
def test_the_best_alone_and_without_their_texts(
    reranking_server: RunningServer, path: str, model: dict[str, str]
) -> None:
    bare = {} if path == "/v2/rerank" else {"return_documents": False}
    rows = post(reranking_server, path, **JINA, top_n=2, **bare, **model)["results"]
    assert [set(row) for row in rows] == [{"index", "relevance_score"}] * 2
    assert len(post(reranking_server, path, **JINA, top_n=9, max_tokens_per_doc=None, **model)["results"]) == 3


def test_teis_shape(reranking_server: RunningServer, reranker: LlamaCppReranker) -> None:
    scores = reranker.score(QUERY, TEXTS)
    raw = post(reranking_server, "/rerank", **TEI, raw_scores=True, return_text=True)
    assert {row["index"]: np.float32(row["score"]) for row in raw} == dict(enumerate(scores))
    assert all(row["text"] == TEXTS[row["index"]] for row in raw)
    assert [row["score"] for row in raw] == sorted((row["score"] for row in raw), reverse=True)
    answer = reranking_server.client.post("/rerank", json=TEI)
    assert [set(row) for row in answer.json()] == [{"index", "score"}] * 3
    assert all(0 < row["score"] < 1 for row in answer.json())
    assert answer.headers["x-compute-tokens"] == str(sum(len(p.tokens) for p in reranker.tokenize(QUERY, TEXTS)))


def test_a_model_that_says_yes_or_no_gives_probabilities_already(tmp_path: Path) -> None:
    vocabulary = tiny_vocabulary()
    weights = tiny_weights(vocabulary_size=len(vocabulary))
    weights["cls.output.weight"] = np.random.default_rng(1).standard_normal((2, TINY_SHAPE.width), dtype=np.float32)
    path = write_qwen3_gguf(
        tmp_path / "yes-or-no.gguf",
        TINY_SHAPE,
        weights,
        vocabulary,
        tiny_merges(),
        rerank_template="<|endoftext|>Query: {query}\nDocument: {document}<|endoftext|>The answer:",
    )
    texts = ["the report", "one two " * 400]  # one in a batch, one in steps
    scores = LlamaCppReranker(path).score(QUERY, texts)
    with running_server(fake_embedder(), reranker=LlamaCppReranker(path)) as server:
        assert server.client.get("/info").json()["jina_rag"]["reranker"]["raw_scores"] == "probabilities"
        for raw in (False, True):
            rows = post(server, "/rerank", query=QUERY, texts=texts, raw_scores=raw)
            assert {row["index"]: np.float32(row["score"]) for row in rows} == dict(enumerate(scores))
        with ThreadPoolExecutor(8) as pool:  # none waits for what another holds
            long = [pool.submit(post, server, "/rerank", query=QUERY, texts=texts * 3) for _ in range(8)]
            assert [len(answer.result(60)) for answer in long] == [6] * 8


def test_information_names_both_models(reranking_server: RunningServer) -> None:
    info = reranking_server.client.get("/info").json()
    assert info["model_type"]["embedding"] == {"pooling": "mean"}
    assert info["model_type"]["reranker"] == {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    assert info["jina_rag"]["reranker"] == {"model": "tiny-reranker", "max_input_tokens": 48, "raw_scores": "logits"}


def test_without_a_reranker_it_is_said_how_to_get_one(server: RunningServer) -> None:
    assert "reranker" not in server.client.get("/info").json()["model_type"]
    for path, body in (("/v1/rerank", JINA), ("/v2/rerank", {**JINA, "model": "x"}), ("/rerank", TEI)):
        answer = server.client.post(path, json=body)
        assert answer.status_code == 404
        assert "jina-rag serve --reranker" in answer.text


LONG = "iron rust " * 100


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"documents": []}, 400, "list of strings"),
        ({"documents": "a text"}, 400, "list of strings"),
        ({"documents": ["a", 1]}, 400, "list of strings"),
        ({"documents": [{"text": "a", "title": "b"}]}, 400, "other fields"),
        ({"documents": ["a"] * 2049}, 400, "batch size 2049 > maximum"),
        ({"documents": [LONG], "truncate": False}, 400, "208 tokens, the query included, and the model reads 48"),
        ({"query": "red " * 50}, 400, "Ask a shorter question"),
        ({"query": "red " * 1000, "documents": ["a"] * 1000}, 400, "4,001,000 characters"),
        ({"query": None}, 400, "valid string"),
        ({"top_n": 0}, 400, "greater than or equal to 1"),
        ({"max_tokens_per_doc": 100}, 400, "Leave it out"),
        ({"rank_fields": ["text"]}, 400, "Leave it out"),
        ({"model": "gpt"}, 404, "Ask for tiny-reranker"),
    ],
)
def test_refusals_say_what_is_wrong_where_each_client_looks(
    reranking_server: RunningServer, body: dict[str, Any], status: int, told: str
) -> None:
    answer = reranking_server.client.post("/v1/rerank", json={**JINA, **body})
    assert answer.status_code == status, answer.text
    assert told in answer.json()["error"]["message"]
    assert answer.json()["detail"] == answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status", "error_type"),
    [
        ({"texts": []}, 400, "Empty"),
        ({"texts": [LONG]}, 422, "Validation"),
        ({"texts": [1]}, 422, "Validation"),
        ({"query": "red " * 50}, 422, "Validation"),
        ({"truncation_direction": "Left"}, 422, "Validation"),
        ({"documents": ["a"]}, 422, "Validation"),
    ],
)
def test_refusals_have_teis_shape(
    reranking_server: RunningServer, body: dict[str, Any], status: int, error_type: str
) -> None:
    answer = reranking_server.client.post("/rerank", json={**TEI, **body})
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "error_type"}
    assert answer.json()["error_type"] == error_type


def test_a_long_document_is_read_by_its_beginning_and_that_is_said(
    reranking_server: RunningServer, reranker: LlamaCppReranker
) -> None:
    texts = [*TEXTS, LONG]
    assert post(reranking_server, "/v1/rerank", query=QUERY, documents=texts)["jina_rag"] == {"truncated": [3]}
    answer = reranking_server.client.post(
        "/rerank", json={"query": QUERY, "texts": texts, "truncate": True, "raw_scores": True}
    )
    assert answer.headers["x-jina-rag-truncated"] == "1"
    expected = dict(enumerate(reranker.score(QUERY, texts)))
    assert {row["index"]: np.float32(row["score"]) for row in answer.json()} == expected
    settings = ServerSettings(truncate=True, served_names=("Other",), reranker_names=("org/tiny",))
    with running_server(fake_embedder(), settings, reranker) as server:
        assert len(post(server, "/rerank", query=QUERY, texts=texts)) == 4
        for name in ("other", "org/tiny"):
            assert post(server, "/v1/rerank", query=QUERY, documents=texts, model=name)["model"] == name


class HeldReranker:
    """Scores a pair at a time, each when it may; of a pair it reads a token for each letter, 100 at most."""

    name, max_tokens, gives_probabilities = "held", 100, True

    def __init__(self) -> None:
        self.n_tokenized = 0
        self.scored: list[str] = []
        self.may_go_on = threading.Semaphore(0)

    def tokenize(self, query: str, texts: Sequence[str]) -> list[TokenPair]:  # noqa: ARG002 - as rerankers have it
        self.n_tokenized += len(texts)
        return [TokenPair(np.array([ord(c) for c in text], np.int32), 0) for text in texts]

    def score_pairs(self, pairs: Sequence[TokenPair], on_progress: ProgressCallback | None = None) -> FloatArray:
        for pair in pairs:
            text = "".join(map(chr, pair.tokens))
            self.scored.append(text)
            assert self.may_go_on.acquire(timeout=10)
            if text == "bad":
                raise RuntimeError("cannot score a secret text")
            if on_progress:
                on_progress(1)
        return np.full(len(pairs), 0.5, np.float32)


def test_a_question_is_embedded_in_the_middle_of_a_request_to_rerank() -> None:
    held = HeldReranker()
    with ThreadPoolExecutor(4) as pool, running_server(fake_embedder(), reranker=held) as server:
        reranking = [pool.submit(post, server, "/rerank", query="q", texts=[name] * 50) for name in ("a", "b")]
        wait_until(lambda: len(held.scored) == 1 and server.figure("jina_rag_queue_tokens") == 100)
        question = pool.submit(post, server, "/embed", inputs="which planet?")
        wait_until(lambda: server.application.service.turns.n_waiting == 2)
        held.may_go_on.release()
        question.result(10)
        wait_until(lambda: len(held.scored) == 2)
        assert set(held.scored) == {"a", "b"}  # one of each in turn
        held.may_go_on.release(200)
        assert [len(future.result(10)) for future in reranking] == [50, 50]


def test_reranking_goes_on_while_many_ingest() -> None:
    held, backend = HeldReranker(), HeldBackend()
    held.may_go_on.release(10)
    with ThreadPoolExecutor(9) as pool, running_server(Embedder(backend, FAKE_SPEC), reranker=held) as server:
        ingesting = [pool.submit(post, server, "/embed", inputs=["a " * 120] * 9) for _ in range(8)]
        wait_until(lambda: backend.calls)
        reranked = pool.submit(post, server, "/rerank", query="q", texts=["a"])
        wait_until(lambda: server.application.service.turns.n_waiting == 1)
        backend.may_go_on.set()
        assert len(reranked.result(10)) == 1
        assert not all(future.done() for future in ingesting)
        for future in ingesting:
            future.result(10)


def test_a_client_that_hangs_up_frees_its_place() -> None:
    held = HeldReranker()
    with running_server(fake_embedder(), reranker=held) as server:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/rerank", json={"query": "q", "texts": ["a"] * 50}, timeout=0.3)
        wait_until(lambda: server.figure("jina_rag_cancelled_requests_total") == 1)
        assert server.figure("jina_rag_queue_tokens") == server.application.service.budget.held == 0
        held.may_go_on.release(2)
        assert len(post(server, "/rerank", query="q", texts=["b"])) == 1
        assert held.scored == ["a", "b"]


def test_what_waits_is_limited_in_tokens_and_bytes() -> None:
    for settings in (ServerSettings(max_queue_tokens=60), ServerSettings(max_bytes_in_flight=900)):
        held = HeldReranker()
        with ThreadPoolExecutor(1) as pool, running_server(fake_embedder(), settings, held) as server:
            taken = pool.submit(post, server, "/rerank", query="q", texts=["a"] * 50)
            wait_until(lambda held=held: held.scored)  # type: ignore[misc]
            full = server.client.post("/rerank", json={"query": "q", "texts": ["b"] * 50})
            assert full.status_code == 429
            assert 1 <= int(full.headers["Retry-After"]) <= 60
            held.may_go_on.release(50)
            assert len(taken.result(10)) == 50


def test_nothing_is_tokenized_of_a_request_that_is_too_large() -> None:
    held = HeldReranker()
    settings = ServerSettings(max_request_characters=1000, max_client_batch_size=20, api_keys=("a-key",))
    with running_server(fake_embedder(), settings, held) as server:
        for path in ("/rerank", "/v1/rerank"):
            assert server.client.post(path, json=TEI).status_code == 401
        server.client.headers["Authorization"] = "Bearer a-key"
        for body in (
            {"query": "q" * 100, "texts": ["a"] * 10},  # the query is read with each text
            {"query": "q", "texts": ["a" * 1000]},
            {"query": "q", "texts": ["a"] * 21},
        ):
            assert server.client.post("/rerank", json=body).status_code == 422
        assert held.n_tokenized == 0


def test_a_failing_engine_is_told_from_a_bad_request(caplog: pytest.LogCaptureFixture) -> None:
    held = HeldReranker()
    held.may_go_on.release(100)
    with caplog.at_level(logging.INFO), running_server(fake_embedder(), reranker=held) as server:
        assert server.client.post("/rerank", json={"query": "q", "texts": ["bad"]}).status_code == 424
        assert server.client.post("/v1/rerank", json={"query": "q", "documents": ["bad"]}).status_code == 500
        assert len(post(server, "/rerank", query="q", texts=["good"])) == 1
        assert server.figure("jina_rag_queue_tokens") == 0
    assert "secret" not in caplog.text
