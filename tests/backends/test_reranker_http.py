"""Rerankers behind an address, against servers that answer as the real ones are documented to."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from jina_rag import BackendError, BackendUnavailableError, InvalidTextError
from jina_rag.backends.llama_cpp.reranker import LlamaCppReranker
from jina_rag.backends.remote.reranker import HttpReranker
from jina_rag.errors import UnknownBackendError
from jina_rag.rag import make_reranker
from tests.backends import processes, tiny_reranker
from tests.backends.servers import (
    Answer,
    Json,
    Standin,
    TeiStandin,
    answers,
    changes,
    resets,
    running,
    truncates_json,
    unknown_fields,
)

QUERY = "What is red?"
TEXTS = ["Mars is red.", "Ice is white.", "Red iron rust is red."]
QUICK = "?retry_timeout=0.2"


def relevance(query: str, text: str) -> float:
    """What the fake models say: shared letters, less the length."""
    return len(set(query) & set(text)) - len(text) / 10


EXPECTED = [relevance(QUERY, text) for text in TEXTS]


class TeiReranker(TeiStandin):
    """Text Embeddings Inference with a reranker: best first, at most 32 at a time."""

    embed_path = "/rerank"

    def info(self) -> Json:
        return {
            **super().info(),
            "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
        }

    def routes(self) -> dict[tuple[str, str], Callable[[Any], Answer]]:
        return {**super().routes(), ("POST", "/rerank"): self.rerank}

    def rerank(self, body: Json) -> Answer:
        known = {"query", "texts", "truncate", "truncation_direction", "raw_scores", "return_text"}
        if extra := unknown_fields(body, known):
            return self.refuse(f"unknown fields {extra}")
        if refusal := self.too_many(body["texts"]):
            return refusal
        if not body["texts"]:
            return self.refuse("`texts` cannot be empty")
        if not body.get("truncate") and max(map(len, body["texts"])) > 1000:
            return self.refuse("Input validation error: `inputs` must have less than 512 tokens. Given: 700")
        return Answer(body=best_first(body["query"], body["texts"], "score"))


class JinaReranker(Standin):
    """`/v1/rerank` as Jina's service, llama-server and vLLM have it."""

    embed_path = "/v1/rerank"
    fields: ClassVar = {"model", "query", "documents", "top_n", "return_documents"}

    def __init__(self, *, key: str | None = None, wants_model: bool = False) -> None:
        super().__init__()
        self.key, self.wants_model = key, wants_model

    def routes(self) -> dict[tuple[str, str], Callable[[Any], Answer]]:
        return {("POST", "/v1/rerank"): self.rerank}

    def unauthorized(self) -> Answer:
        return Answer(401, {"detail": f"The key '{self.key}' cannot be used."})

    def rerank(self, body: Json) -> Answer:
        if extra := unknown_fields(body, self.fields):
            return Answer(422, {"detail": f"Extra inputs are not permitted: {extra}"})
        if not body["documents"]:
            return Answer(400, {"error": {"message": '"documents" must be a non-empty string array'}})
        if self.wants_model and "model" not in body:
            return Answer(422, {"detail": "model: Field required"})
        rows = best_first(body["query"], body["documents"], "relevance_score")[: body["top_n"]]
        if body.get("return_documents", True):
            rows = [{**row, "document": {"text": body["documents"][row["index"]]}} for row in rows]
        usage = {"total_tokens": 100, "prompt_tokens": 100}
        return Answer(body={"model": "reranker", "object": "list", "usage": usage, "results": rows})


def best_first(query: str, texts: list[str], name: str) -> list[Json]:
    rows = [{"index": place, name: relevance(query, text)} for place, text in enumerate(texts)]
    return sorted(rows, key=lambda row: -row[name])


@pytest.mark.parametrize("prefix", ["", "tei+"])
def test_tei(prefix: str) -> None:
    server = TeiReranker()
    texts = [f"{text} {number}" for number in range(30) for text in TEXTS]
    with running(server) as url:
        scores = make_reranker(prefix + url).score(QUERY, texts)
    assert scores.dtype == np.float32
    assert scores == pytest.approx([relevance(QUERY, text) for text in texts])
    assert [len(body["texts"]) for body in server.bodies("/rerank")] == [32, 32, 26]


def test_tei_is_told_to_cut_and_where() -> None:
    server = TeiReranker()
    with running(server) as url:
        make_reranker(url).score(QUERY, ["long " * 500])
    (body,) = server.bodies("/rerank")
    assert (body["truncate"], body["truncation_direction"]) == (True, "Right")


@pytest.mark.parametrize("prefix", ["", "openai+"])
def test_servers_with_jinas_shape(prefix: str) -> None:
    server = JinaReranker()
    with running(server) as url:
        reranker = make_reranker(f"{prefix}{url}/v1")
        assert reranker.score(QUERY, TEXTS) == pytest.approx(EXPECTED)
        assert reranker.score(QUERY, TEXTS * 40) == pytest.approx(EXPECTED * 40)
    assert [len(body["documents"]) for body in server.bodies("/v1/rerank")] == [3, 120]  # they may be compared
    assert all("model" not in body for body in server.bodies("/v1/rerank"))


def test_a_model_and_a_key_travel_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    server = JinaReranker(key="secret", wants_model=True)
    with running(server) as url:
        reranker = make_reranker(f"openai+{url}?model=bge&key_env=MY_KEY")
        assert reranker.score(QUERY, TEXTS) == pytest.approx(EXPECTED)
        assert reranker.name == f"bge at {url}"
        monkeypatch.setenv("MY_KEY", "wrong")
        with pytest.raises(BackendError, match="needs another key") as error:
            make_reranker(f"{url}?model=bge&key_env=MY_KEY").score(QUERY, TEXTS)
    assert "wrong" not in str(error.value)


def test_jinas_service_wants_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendError, match=r"jina\?model=NAME"):
        make_reranker("jina")
    server = JinaReranker(key="jina_secret", wants_model=True)
    monkeypatch.setenv("JINA_API_KEY", "jina_secret")
    with running(server) as url:
        monkeypatch.setattr("jina_rag.backends.remote.address.JINA_URL", url)
        reranker = make_reranker("jina?model=jina-reranker-v3")
        assert reranker.score(QUERY, TEXTS) == pytest.approx(EXPECTED)
    (body,) = server.bodies("/v1/rerank")
    assert (body["model"], body["return_documents"]) == ("jina-reranker-v3", False)


def test_no_texts_are_not_sent() -> None:
    server = JinaReranker()
    with running(server) as url:
        assert make_reranker("openai+" + url).score(QUERY, []).shape == (0,)
    assert server.requests == []


@pytest.mark.parametrize(
    "change",
    [
        lambda body: {**body, "results": body["results"][:2]},
        lambda body: {**body, "results": [*body["results"][:2], body["results"][0]]},
        lambda body: {**body, "results": [*body["results"], {"index": 3, "relevance_score": 1.0}]},
        lambda body: {**body, "results": [{"index": row["index"]} for row in body["results"]]},
        lambda body: {**body, "results": [{**row, "relevance_score": None} for row in body["results"]]},
        lambda body: {**body, "results": [{**row, "relevance_score": float("nan")} for row in body["results"]]},
        lambda body: {**body, "results": "none"},
        lambda body: {**body, "results": 3},
        lambda body: {"data": body["results"]},
        lambda _: [],
    ],
)
def test_what_is_no_answer_is_refused(change: Callable[[Any], Any]) -> None:
    server = JinaReranker()
    server.faults.append(changes(change))
    with running(server) as url, pytest.raises(BackendError, match=r"answer|give"):
        make_reranker("openai+" + url).score(QUERY, TEXTS)


def test_a_text_too_long_for_llama_server_is_told_in_its_words() -> None:
    words = "input (700 tokens) is too large to process. increase the physical batch size (current batch size: 512)"
    server = JinaReranker()
    server.faults.append(answers(400, {"error": {"code": 400, "message": words, "type": "invalid_request_error"}}))
    with running(server) as url, pytest.raises(BackendError, match=r"700 tokens.*physical batch size"):
        make_reranker("openai+" + url).score(QUERY, TEXTS)


def test_a_server_that_embeds_is_refused() -> None:
    with running(TeiStandin()) as url:
        for prefix in ("", "tei+"):
            with pytest.raises(BackendError, match="serves org/fake, which is no reranker"):
                make_reranker(prefix + url).score(QUERY, TEXTS)
    with running(JinaReranker()) as url, pytest.raises(BackendError, match="is not Text Embeddings Inference"):
        make_reranker("tei+" + url).score(QUERY, TEXTS)


def test_a_server_without_a_reranker_says_so() -> None:
    server = JinaReranker()
    words = "This server does not support reranking. Start it with `--reranking`"
    server.faults.append(answers(501, {"error": {"code": 501, "message": words, "type": "not_supported_error"}}))
    with running(server) as url, pytest.raises(BackendError, match="does not support reranking"):
        make_reranker("openai+" + url).score(QUERY, TEXTS)


def test_what_passes_is_tried_again() -> None:
    server = JinaReranker()
    server.faults.extend([answers(503, {"error": {"message": "Loading model"}}), resets])
    with running(server) as url:
        assert make_reranker("openai+" + url).score(QUERY, TEXTS) == pytest.approx(EXPECTED)
        server.faults.append(truncates_json)
        with pytest.raises(BackendError, match="did not answer in JSON"):
            make_reranker("openai+" + url).score(QUERY, TEXTS)
    with pytest.raises(BackendUnavailableError, match="Check that it runs"):
        make_reranker(f"openai+{url}{QUICK}").score(QUERY, TEXTS)


@pytest.mark.parametrize(
    "setting", ["elastic+http://host?endpoint=x", "sentence-transformers", "reranker", "http://user:word@host"]
)
def test_settings_that_name_no_reranker(setting: str) -> None:
    with pytest.raises(UnknownBackendError, match=r"Name a \.gguf file|Write http|environment variable"):
        make_reranker(setting)


def test_text_that_has_no_encoding_is_not_sent() -> None:
    server = JinaReranker()
    with running(server) as url, pytest.raises(InvalidTextError):
        make_reranker("openai+" + url).score("\ud800", TEXTS)
    assert server.requests == []


def test_copies_and_closing() -> None:
    with running(TeiReranker()) as url:
        reranker = HttpReranker(url)
        assert reranker.score(QUERY, TEXTS) == pytest.approx(EXPECTED)
        copy = pickle.loads(pickle.dumps(reranker))
        reranker.close()
        assert copy.score(QUERY, TEXTS) == pytest.approx(EXPECTED)
        assert reranker.score(QUERY, TEXTS) == pytest.approx(EXPECTED)


@pytest.mark.skipif(not processes.LLAMA_SERVER, reason="LLAMA_SERVER names no llama-server")
def test_llama_server_gives_our_scores(tmp_path: Path) -> None:
    """For WordPiece it leaves out the closing [SEP] that models of this kind were trained with; else they agree."""
    path = tiny_reranker.write(tmp_path / "tiny-reranker.gguf")
    query, texts = "what planet is red?", ["mars looks red because of iron rust.", "saturn has rings", "clouds"]
    with processes.llama_server(path, pooling="rank", options=["--reranking"]) as url:
        served = make_reranker(url).score(query, texts)
    cls, sep = [tiny_reranker.CLS], [tiny_reranker.SEP]
    pairs = [cls + tiny_reranker.tokens(query) + sep + tiny_reranker.tokens(text) for text in texts]
    assert served == pytest.approx([tiny_reranker.score(pair) for pair in pairs], abs=3e-3)
    assert LlamaCppReranker(path).score(query, texts) != pytest.approx(served, abs=3e-3)
