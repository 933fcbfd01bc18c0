"""What servers do wrong, and what comes of it: another try, a clear error, and never a wrong vector or a lost one."""

import logging
import pickle
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jina_rag import BackendError, BackendUnavailableError, Embedder, InputTooLongError, ModelSpec
from jina_rag.backends.registry import make_backend, served_model
from jina_rag.backends.remote import backend
from jina_rag.backends.remote import engine as remote
from jina_rag.backends.remote.address import BackendAddress, parse_backend
from jina_rag.backends.remote.http import RetryPolicy, StatusError, retry_after_s
from jina_rag.testing import FAKE_SPEC, FakeBackend, random_texts
from tests.backends.processes import free_port
from tests.backends.servers import (
    JINA_SPEC,
    Answer,
    ElasticStandin,
    Fault,
    JinaStandin,
    OllamaStandin,
    Standin,
    TeiStandin,
    VllmStandin,
    answers,
    changes,
    drips,
    fake_tokens,
    resets,
    running,
    truncates_json,
    waits,
)

TEXTS = random_texts(10, words=10)
HERE = Embedder(FakeBackend(), FAKE_SPEC)


@pytest.fixture(autouse=True)
def _quick_and_with_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jina_rag.backends.remote.http.FIRST_WAIT_S", 0.02)
    monkeypatch.setenv("JINA_API_KEY", str(JinaStandin.key))
    monkeypatch.setenv("ELASTIC_API_KEY", str(ElasticStandin.key))


@pytest.fixture
def vllm() -> VllmStandin:
    return VllmStandin()


@pytest.fixture
def vllm_url(vllm: VllmStandin) -> Iterator[str]:
    with running(vllm) as url:
        yield url


def connected(setting: str, spec: ModelSpec = FAKE_SPEC) -> Embedder:
    return Embedder(make_backend(setting, spec), spec)


def assert_all_right(embedder: Embedder, texts: list[str] = TEXTS) -> None:
    np.testing.assert_allclose(embedder.embed_documents(texts), HERE.embed_documents(texts), atol=1e-5)


PASSING: dict[str, Fault] = {
    "busy": answers(429, {"error": {"message": "busy"}}),
    "failing": answers(500, {"error": {"message": "out of memory"}}),
    "bad gateway": answers(502, b"<html><h1>502 Bad Gateway</h1></html>", Content_Type="text/html"),
    "restarting": answers(503, {"error": {"message": "Loading model"}}),
    "reset in the middle": resets,
}
SLOW: dict[str, Fault] = {"slow": waits(1.5), "a byte now and then": drips(0.05)}


@pytest.mark.parametrize("fault", PASSING.values(), ids=list(PASSING))
def test_what_passes_is_tried_again(vllm: VllmStandin, vllm_url: str, fault: Fault) -> None:
    with connected(vllm_url) as embedder:
        vllm.faults.extend([fault, fault])
        assert_all_right(embedder)
    assert len(vllm.bodies(vllm.embed_path)) == 4  # one for the width, two spoilt, one right


@pytest.mark.parametrize("fault", SLOW.values(), ids=list(SLOW))
def test_what_takes_too_long_is_tried_again(vllm: VllmStandin, vllm_url: str, fault: Fault) -> None:
    with connected(f"{vllm_url}?timeout=1") as embedder:
        vllm.faults.append(fault)
        assert_all_right(embedder)
    assert len(vllm.bodies(vllm.embed_path)) >= 3


def test_a_busy_server_says_when_to_come_again(vllm: VllmStandin, vllm_url: str) -> None:
    with connected(vllm_url) as embedder:
        vllm.faults.append(answers(429, {}, Retry_After="1"))
        began = time.monotonic()
        assert_all_right(embedder)
        assert time.monotonic() - began >= 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [("7", 7.0), ("", None), ("soon", None), ("-5", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_retry_after_is_a_number_or_a_date(value: str, expected: float | None) -> None:
    assert retry_after_s({"retry-after": value}) == expected


def test_a_server_that_asks_for_more_patience_than_there_is(vllm: VllmStandin, vllm_url: str) -> None:
    with connected(f"{vllm_url}?retry_timeout=2") as embedder:
        vllm.faults.append(answers(429, {"error": {"message": "come back tomorrow"}}, Retry_After="86400"))
        with pytest.raises(BackendUnavailableError, match="come back tomorrow"):
            embedder.embed_documents(TEXTS)
    assert len(vllm.bodies(vllm.embed_path)) == 2  # one for the width, one refused


REFUSED: dict[str, tuple[Fault, str]] = {
    "bad request": (answers(400, {"error": {"message": "no such thing"}}), r"400: no such thing\)"),
    "not implemented": (answers(501, {"error": {"message": "no embeddings"}}), "501: no embeddings"),
    "key": (answers(401, {"error": "Unauthorized"}), "JINA_RAG_API_KEY"),
    "page of a proxy": (answers(200, b"<html>Please log in</html>"), "Please log in"),
    "cut JSON": (truncates_json, "did not answer in JSON"),
    "too few": (changes(lambda body: {**body, "data": body["data"][:-1]}), r"\(9, 64\) instead of \(10, 64\)"),
    "one twice": (changes(lambda body: {**body, "data": [body["data"][0]] * 10}), "one embedding for each index"),
    "no index": (changes(lambda body: {**body, "data": [{"embedding": [1.0]}]}), "one embedding for each index"),
    "no data": (changes(lambda _: {"ok": True}), "one embedding for each index"),
    "no object": (changes(lambda _: []), "one embedding for each index"),
    "not a number": (changes(lambda body: _with(body, [float("nan")] * 64)), "NaN or infinity"),
    "null": (changes(lambda body: _with(body, [None] * 64)), "NaN or infinity"),
    "words": (changes(lambda body: _with(body, ["a"] * 64)), "something else than vectors"),
    "broken base64": (changes(lambda body: _with(body, "AAA")), "one embedding for each index"),
    "another width": (changes(lambda body: _all(body, [1.0] * 32)), r"\(10, 32\)"),
    "unequal widths": (changes(lambda body: _with(body, [1.0] * 32)), "something else than vectors"),
    "a vector a token": (changes(lambda body: _all(body, [[1.0] * 64])), "pooling"),
    "read too little": (changes(lambda body: {**body, "usage": {"prompt_tokens": 5}}), "cuts long texts without"),
    "read too much": (changes(lambda body: {**body, "usage": {"prompt_tokens": 5000}}), "perhaps a prompt"),
}


def _with(body: Any, embedding: object) -> Any:
    return {**body, "data": [{**body["data"][0], "embedding": embedding}, *body["data"][1:]]}


def _all(body: Any, embedding: object) -> Any:
    return {**body, "data": [{**item, "embedding": embedding} for item in body["data"]]}


@pytest.mark.parametrize(("fault", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_does_not_pass_is_told_at_once(vllm: VllmStandin, vllm_url: str, fault: Fault, message: str) -> None:
    with connected(vllm_url) as embedder:
        vllm.faults.append(fault)
        with pytest.raises(BackendError, match=message) as caught:
            embedder.embed_documents(TEXTS)
        assert not isinstance(caught.value, BackendUnavailableError)
        assert len(vllm.bodies(vllm.embed_path)) == 2
        assert_all_right(embedder)  # the next call is not spoilt by it


def test_the_index_decides_the_order(vllm: VllmStandin, vllm_url: str) -> None:
    with connected(vllm_url) as embedder:
        vllm.faults.append(changes(lambda body: {**body, "data": body["data"][::-1]}))
        assert_all_right(embedder)


def test_a_redirect_is_not_followed(vllm: VllmStandin, vllm_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINA_RAG_API_KEY", "hunter2")
    thief = VllmStandin()
    with running(thief) as elsewhere, connected(vllm_url) as embedder:
        vllm.faults.append(answers(307, b"", Location=f"{elsewhere}/v1/embeddings?key=hunter2"))
        with pytest.raises(BackendError, match=r"redirects to 127\.0\.0\.1:") as caught:
            embedder.embed_documents(TEXTS)
    assert thief.requests == []
    assert "hunter2" not in str(caught.value)


def test_too_large_a_request_is_halved(vllm: VllmStandin, vllm_url: str) -> None:
    def take_four(handler: Any, answer: Any) -> None:
        n_texts = len(answer.body["data"])
        handler.write(answer) if n_texts <= 4 else answers(413, b"Payload Too Large")(handler, answer)

    with connected(vllm_url) as embedder:
        vllm.faults.extend([take_four] * 20)
        assert_all_right(embedder)
    assert [len(body["input"]) for body in vllm.bodies(vllm.embed_path)] == [1, 10, 5, 2, 3, 5, 2, 3]


def test_one_text_too_large_is_told(vllm: VllmStandin, vllm_url: str) -> None:
    with connected(vllm_url) as embedder:
        vllm.faults.append(answers(413, b"Payload Too Large"))
        with pytest.raises(StatusError, match="413: Payload Too Large"):
            embedder.embed_documents(["one"])


def test_requests_keep_to_the_servers_limits_and_travel_together() -> None:
    server = TeiStandin()
    texts = random_texts(300, words=100)
    with running(server) as url, connected(url) as embedder:
        server.faults.extend([waits(0.05)] * 100)
        assert_all_right(embedder, texts)
    assert all(len(body["inputs"]) <= server.max_client_batch_size for body in server.bodies("/embed"))
    assert 2 <= server.most_at_once <= 8


def test_a_server_that_stays_away_is_an_error() -> None:
    server = VllmStandin()
    with running(server) as url, connected(f"{url}?retry_timeout=1&concurrency=2") as embedder:
        server.faults.extend([resets] * 100)
        with pytest.raises(BackendUnavailableError, match=r"cannot be used: .* tries in \d+ s"):
            embedder.embed_documents(random_texts(500, words=10))
        server.faults.clear()
        assert_all_right(embedder)


def test_a_server_that_comes_back_is_waited_for() -> None:
    server, port = VllmStandin(), free_port()
    with running(server, port):
        embedder = connected(f"http://127.0.0.1:{port}?retry_timeout=20")

    def come_back() -> None:
        time.sleep(0.5)
        with running(server, port):
            done.wait(20)

    done = threading.Event()
    thread = threading.Thread(target=come_back)
    thread.start()
    assert_all_right(embedder)
    done.set()
    thread.join()
    embedder.close()


def test_a_server_that_comes_back_with_another_model_is_refused() -> None:
    port = free_port()
    with running(VllmStandin(root="org/fake"), port):
        embedder = connected(f"http://127.0.0.1:{port}")
    other = VllmStandin(root="org/other")
    other.faults.append(resets)
    with running(other, port):
        for _ in range(2):  # and it stays refused
            with pytest.raises(BackendError, match=r"now holds another model.*org/other"):
                embedder.embed_documents(TEXTS)
    embedder.close()


class ComesBackAsAnother(remote.Engine):
    """Two requests meet a server that was away; both are answered by the other model that it then holds."""

    def __init__(self, address: BackendAddress, spec: ModelSpec) -> None:
        super().__init__(address, spec, RetryPolicy(address))
        self.identity = "first"
        self.both_are_there = threading.Barrier(2, timeout=10)

    def describe(self) -> remote.ServerInfo:
        return remote.ServerInfo(kind="fake", name="fake", identity=self.identity, dimensions=64, max_batch_texts=2)

    def send(
        self,
        inputs: Sequence[remote.RemoteInput],
        cancelled: threading.Event,  # noqa: ARG002
    ) -> remote.EmbeddingResponse:
        if self.identity == "first":
            self.both_are_there.wait()
            self.policy.interrupted_at, self.identity = time.monotonic(), "second"
        texts = [str(each.payload) for each in inputs]
        return remote.EmbeddingResponse(vectors=FakeBackend().embed(texts, max_tokens=512).vectors)

    def close(self) -> None:
        pass


def test_no_vector_of_another_model_is_returned() -> None:
    """That a first request noticed the change is no reason for a second to pass, or for the next call."""
    engines = backend.RemoteBackend(parse_backend("http://localhost?concurrency=2"), FAKE_SPEC, ComesBackAsAnother)
    texts = [f"text {index}" for index in range(4)]
    for _ in range(2):
        with pytest.raises(BackendError, match="now holds another model"):
            engines.embed(texts, max_tokens=512)


def test_a_server_is_asked_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    with running(TeiStandin(), port):
        embedder = connected(f"http://127.0.0.1:{port}")
    monkeypatch.setattr(backend, "RECHECK_AFTER_S", 0.0)
    other = TeiStandin()
    other.sha = "def456"
    with running(other, port), pytest.raises(BackendError, match=r"now holds another model.*def456"):
        embedder.embed_documents(TEXTS)
    embedder.close()


def test_nobody_at_the_address() -> None:
    with pytest.raises(BackendUnavailableError, match=r"cannot be used: .*refused.* Check that it runs"):
        connected(f"http://127.0.0.1:{free_port()}?retry_timeout=1")


def test_a_port_that_never_answers() -> None:
    expected = pytest.raises(BackendUnavailableError, match="takes too long to answer")
    with socket.create_server(("127.0.0.1", 0)) as silent, expected:
        connected(f"http://127.0.0.1:{silent.getsockname()[1]}?timeout=0.3&retry_timeout=0.5")


def test_something_else_at_the_address() -> None:
    class Website(Standin):
        def routes(self) -> dict[tuple[str, str], Any]:
            return {}

    with running(Website()) as url:
        with pytest.raises(BackendError, match=r"no embedding server that is known here"):
            connected(url)
        with pytest.raises(BackendError, match=r"404"):
            connected(f"tei+{url}")


class TestTextEmbeddingsInference:
    def test_wrong_pooling_is_refused(self) -> None:
        with running(TeiStandin(pooling="cls")) as url, pytest.raises(BackendError, match=r"pools 'cls'.*'mean'"):
            connected(url)

    def test_a_reranker_is_refused(self) -> None:
        class Reranker(TeiStandin):
            def info(self) -> dict[str, Any]:
                return {**super().info(), "model_type": {"reranker": {"id2label": {}, "label2id": {}}}}

        with running(Reranker()) as url, pytest.raises(BackendError, match="does not serve embeddings"):
            connected(url)

    def test_a_prompt_of_its_own_is_refused(self) -> None:
        expected = pytest.raises(BackendError, match=r"a prompt of its own.*without --default-prompt")
        with running(TeiStandin(prompt="Document: ")) as url, expected:
            connected(url)

    def test_another_model_is_refused(self) -> None:
        server = TeiStandin(model_id="jinaai/jina-embeddings-v5-text-nano-retrieval")
        with running(server) as url, pytest.raises(BackendError, match=r"nano-retrieval, not .*small-retrieval"):
            connected(url, JINA_SPEC)

    def test_it_is_told_neither_to_cut_nor_to_prompt(self) -> None:
        server = TeiStandin()
        with running(server) as url, connected(url) as embedder:
            embedder.embed_documents(TEXTS)
        assert all(body["truncate"] is False for body in server.bodies("/embed"))
        assert all("dimensions" not in body and "prompt_name" not in body for body in server.bodies("/embed"))

    def test_its_limit_may_be_lower_than_the_models(self) -> None:
        expected = pytest.raises(InputTooLongError, match="the model reads 20")
        with running(TeiStandin(max_input_length=20)) as url, connected(url) as embedder, expected:
            embedder.embed_documents(["word " * 30])


class LlamaServerStandin(VllmStandin):
    """llama-server as far as it fails in its own way; the real one is in the contract tests."""

    def row(self) -> dict[str, Any]:
        meta = {"n_ctx": 513, "n_embd": 64, "n_params": 1000, "size": 700, "ftype": "Q4_K - Medium"}
        return {"id": "/models/some.gguf", "object": "model", "owned_by": "llamacpp", "meta": meta}

    def tokenize(self, body: Any) -> Answer:
        assert body["add_special"] is body["parse_special"] is True
        return Answer(body={"tokens": fake_tokens(body["content"])})


class TestLlamaServer:
    def test_what_it_says_of_itself(self) -> None:
        with running(LlamaServerStandin()) as url:
            info = make_backend(url, FAKE_SPEC).server_info
        assert (info.quantization, info.max_input_tokens) == ("Q4_K_M", 512)
        assert info.identity == "llama-server/some.gguf/Q4_K_M/1000 parameters/700 bytes"

    def test_a_physical_batch_that_is_too_small_is_no_passing_matter(self) -> None:
        message = (
            "input (601 tokens) is too large to process. increase the physical batch size (current batch size: 512)"
        )
        server = LlamaServerStandin(name="/models/some.gguf")
        with running(server) as url, connected(url) as embedder:
            server.faults.append(answers(500, {"error": {"code": 500, "message": message, "type": "server_error"}}))
            with pytest.raises(
                BackendError, match=r"601 tokens at once and its physical batch is 512\. Start .* -ub 512"
            ):
                embedder.embed_documents(TEXTS)
            assert len(server.bodies(server.embed_path)) == 1


class TestUnknownServers:
    """Ollama, LocalAI and others that say no more than the API."""

    def test_a_text_that_may_be_too_long_needs_a_tokenizer(self) -> None:
        with running(OllamaStandin()) as url, connected(url) as embedder:
            assert_all_right(embedder, ["short enough"])
            assert embedder.embed(["short"], "document").token_counts == ()
            with pytest.raises(BackendError, match=r"\?tokenizer=/path/to/tokenizer\.json"):
                embedder.embed_documents(["word " * 120])

    def test_a_silent_cut_is_seen(self, tmp_path: Path) -> None:
        path = _word_tokenizer(tmp_path)
        with running(OllamaStandin(max_model_len=100)) as url, connected(f"{url}?tokenizer={path}") as embedder:
            assert embedder.embed(["three short words"], "document").token_counts == (6,)
            with pytest.raises(BackendError, match="cuts long texts without saying so"):
                embedder.embed_documents(["word " * 150])


def _word_tokenizer(folder: Path) -> Path:
    """Counts as the fake model does: words, punctuation marks, and one more."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "[CLS]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|[^\w\s]"), "removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 1)])
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return path


class TestJina:
    def test_what_is_sent(self) -> None:
        server = JinaStandin()
        with running(server) as url, connected(f"jina+{url}", JINA_SPEC) as embedder:
            embedder.embed_query("who?")
            embedder.embed_documents(["Query: me"])
        query, document = server.bodies("/v1/embeddings")
        assert (query["task"], query["input"]) == ("retrieval.query", ["who?"])
        assert (document["task"], document["input"]) == ("retrieval.passage", ["Query: me"])
        assert (document["truncate"], document["late_chunking"], "dimensions" in document) == (False, False, False)

    def test_a_key_is_needed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("JINA_API_KEY")
        with pytest.raises(BackendError, match="environment variable JINA_API_KEY"):
            connected("jina+http://127.0.0.1:1", JINA_SPEC)

    def test_another_model_is_not_there(self) -> None:
        with pytest.raises(BackendError, match="no model fake"):
            connected("jina+http://127.0.0.1:1")


class TestElastic:
    def test_the_endpoint_is_made_on_request_only(self) -> None:
        server = ElasticStandin(exists=False)
        with running(server) as url:
            with pytest.raises(BackendError, match=r"no inference endpoint .*\?create=true"):
                connected(f"elastic+{url}", JINA_SPEC)
            with connected(f"elastic+{url}?create=true", JINA_SPEC) as embedder:
                embedder.embed_query("who?")
        assert [method for method, path, _ in server.requests if path == server.embed_path] == ["PUT", "POST"]
        assert server.bodies(server.embed_path)[-1] == {"input": ["who?"], "input_type": "search"}

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_it_is_tried_again(self, status: int) -> None:
        server = ElasticStandin()
        with running(server) as url, connected(f"elastic+{url}", JINA_SPEC) as embedder:
            server.faults.append(answers(status, {"error": {"type": "x", "reason": "busy"}}, **ElasticStandin.headers))
            here = Embedder(FakeBackend(), JINA_SPEC)
            np.testing.assert_allclose(embedder.embed_documents(TEXTS), here.embed_documents(TEXTS), atol=1e-5)

    def test_bytes_are_no_vectors(self) -> None:
        server = ElasticStandin()
        with running(server) as url, connected(f"elastic+{url}", JINA_SPEC) as embedder:
            server.faults.append(changes(lambda body: {"text_embedding_bytes": body["text_embedding"]}))
            with pytest.raises(BackendError, match="text_embedding_bytes instead of vectors of floats"):
                embedder.embed_documents(TEXTS)


class TestKeys:
    """A key comes from the environment or a file, and shows nowhere."""

    @pytest.mark.parametrize(("standin", "prefix", "variable"), [
        (JinaStandin, "jina+", "JINA_API_KEY"),
        (ElasticStandin, "elastic+", "ELASTIC_API_KEY"),
    ])  # fmt: skip
    def test_a_wrong_key_is_told_without_the_key(
        self,
        standin: Any,
        prefix: str,
        variable: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        server = standin()
        caplog.set_level(logging.DEBUG)
        with running(server) as url, connected(prefix + url, JINA_SPEC) as embedder:
            embedder.embed_query("fine")
            right, server.key = server.key, "another"
            server.unauthorized = lambda: answers_with_the_key(right)
            with pytest.raises(BackendError, match=variable) as caught:
                embedder.embed_query("refused")
            shown = repr(embedder.backend) + embedder.fingerprint.to_json() + repr(vars(embedder.backend))
        assert right not in str(caught.value) + shown
        ours = [record.getMessage() for record in caplog.records if not record.name.startswith("elastic_transport")]
        assert right not in "".join(ours)
        assert f"ApiKey {right}" not in caplog.text  # that library writes down what a server says, key and all
        assert right.encode() not in pickle.dumps((embedder, caught.value))

    def test_from_a_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("JINA_API_KEY")
        path = tmp_path / "key"
        path.write_text(f"{JinaStandin.key}\n")
        with running(JinaStandin()) as url, connected(f"jina+{url}?key_file={path}", JINA_SPEC) as embedder:
            assert embedder.embed_query("fine").shape == (64,)

    def test_what_cannot_be_a_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JINA_API_KEY", "two\nlines-of-secret")
        with pytest.raises(BackendError, match="environment variable JINA_API_KEY") as caught:
            connected("jina+http://127.0.0.1:1", JINA_SPEC)
        assert "secret" not in str(caught.value)


def answers_with_the_key(key: str) -> Any:
    body = {"detail": f"The key {key} is wrong", "error": {"type": "security_exception", "reason": f"bad key {key}"}}
    return Answer(401, body, ElasticStandin.headers)


class TestChoosingTheModel:
    def test_the_server_names_it(self) -> None:
        with running(TeiStandin(model_id="jinaai/jina-embeddings-v5-text-nano-retrieval")) as url:
            assert served_model(url).name == served_model(f"tei+{url}").name == "jina-embeddings-v5-text-nano-retrieval"
        with running(VllmStandin(name="v5-small-clustering-Q8_0.gguf")) as url:
            assert served_model(url).name == "jina-embeddings-v5-text-small-clustering"

    def test_a_name_of_its_own_must_be_explained(self) -> None:
        with running(VllmStandin()) as url, pytest.raises(BackendError, match="holds served-name, which"):
            served_model(url)

    def test_a_name_that_is_not_there(self) -> None:
        with running(VllmStandin()) as url, pytest.raises(BackendError, match=r"no model 'x'; it has: served-name"):
            connected(f"{url}?model=x")
