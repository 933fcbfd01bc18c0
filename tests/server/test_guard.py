"""Who is let in, how much of them, and what is written down about them."""

import json
import logging
import socket
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from jina_rag import Embedder
from jina_rag.errors import ServerSettingsError
from jina_rag.server.guard import PATHS
from jina_rag.server.logs import JsonFormatter
from jina_rag.server.settings import ServerSettings, read_api_keys
from jina_rag.testing import FAKE_SPEC, FakeBackend, fake_embedder
from tests.server.conftest import RunningServer, held_server, running_server, wait_until

BODY = {"model": "fake", "input": "a secret text"}
JSON = {"Content-Type": "application/json"}


def test_a_key_is_asked_for_where_one_is_set() -> None:
    settings = ServerSettings(api_keys=("first-key", "second-key"))
    with running_server(fake_embedder(), settings) as server:
        for header in (
            None,
            "Bearer wrong",
            "first-key",
            "Basic first-key",
            "Bearer first-key-and-more",
            "Bearer \xe9",
        ):
            sent = [(b"Authorization", header.encode("latin-1"))] if header else []
            answer = server.client.post("/v1/embeddings", json=BODY, headers=sent)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.json()["error"]["code"] == "invalid_api_key"
        assert server.client.post("/embed", json={"inputs": "a"}).json()["error_type"] == "Unauthorized"
        assert server.client.get("/v1/models").status_code == 401
        for key in settings.api_keys:
            headers = {"Authorization": f"Bearer {key}"}
            assert server.client.post("/v1/embeddings", json=BODY, headers=headers).status_code == 200
        for path in ("/health", "/metrics", "/docs", "/openapi.json"):
            assert server.client.get(path).status_code == 200
        assert "first-key" not in repr(settings)


def test_an_address_that_others_reach_needs_a_key() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "example.org"):
        with pytest.raises(ServerSettingsError, match="--api-key-file"):
            ServerSettings(host=host)
        ServerSettings(host=host, api_keys=("key",))
        ServerSettings(host=host, allow_without_key=True)
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        assert ServerSettings(host=host).is_local


def test_keys_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("one\n\ntwo \n")
    assert read_api_keys(file) == ("one", "two")
    file.write_text("\n")
    with pytest.raises(ServerSettingsError, match="no API key"):
        read_api_keys(file)
    with pytest.raises(ServerSettingsError, match="cannot be read"):
        read_api_keys(tmp_path / "missing")
    with pytest.raises(ServerSettingsError, match="printable"):
        ServerSettings(api_keys=("two words",))


def test_a_web_page_gets_no_further(server: RunningServer) -> None:
    foreign = server.client.get("/v1/models", headers={"Host": "attacker.example:8080"})
    assert foreign.status_code == 403
    for host in ("localhost", "localhost:99", "[::1]", "[::1]:8080", "127.0.0.1"):
        assert server.client.get("/v1/models", headers={"Host": host}).status_code == 200
    simple = server.client.post("/v1/embeddings", content=json.dumps(BODY), headers={"Content-Type": "text/plain"})
    assert simple.status_code == 415
    preflight = server.client.options("/v1/embeddings", headers={"Origin": "https://attacker.example"})
    assert preflight.status_code == 405
    assert not [name for name in preflight.headers if name.startswith("access-control")]


def test_a_body_is_limited_in_size_and_time() -> None:
    with running_server(fake_embedder(), ServerSettings(max_body_bytes=2000, body_timeout=0.3)) as server:
        for content in (b"x" * 2001, iter([b"x" * 1500, b"x" * 1500])):  # its length told, and not
            answer = server.client.post("/embed", content=content, headers=JSON)
            assert answer.status_code == 413
            assert answer.json()["error_type"] == "Validation"
        address = server.url.removeprefix("http://").split(":")
        with socket.create_connection((address[0], int(address[1]))) as slow:
            slow.sendall(b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
            slow.sendall(b"Content-Length: 10\r\n\r\n{")
            assert b" 408 " in slow.recv(1000)
        assert server.figure("jina_rag_rejected_requests_total") == 3


def test_a_full_server_says_when_to_come_again() -> None:
    settings = ServerSettings(max_queue_tokens=110, max_concurrent_requests=4)
    with ThreadPoolExecutor(8) as pool, held_server(settings) as (server, backend):
        first = pool.submit(server.client.post, "/v1/embeddings", json={"model": "fake", "input": "a " * 90})
        wait_until(lambda: backend.calls)
        for path, body in (("/v1/embeddings", {**BODY, "input": "b " * 20}), ("/embed", {"inputs": "b " * 20})):
            full = server.client.post(path, json=body)
            assert full.status_code == 429
            assert 1 <= int(full.headers["Retry-After"]) <= 60
        assert full.json()["error_type"] == "Overloaded"
        waiting = [pool.submit(server.client.post, "/embed", json={"inputs": "c"}) for _ in range(3)]
        wait_until(lambda: server.application.guard.n_requests == 4)
        assert server.client.post("/embed", json={"inputs": "d"}).status_code == 429
        assert server.client.get("/health").status_code == 200
        backend.may_go_on.set()
        assert [future.result().status_code for future in (first, *waiting)] == [200] * 4


def test_a_question_reaches_the_engine_while_many_ingest() -> None:
    """It is read, tokenized and handed in although as many clients as there are have their documents computed."""
    documents = {"model": "fake", "input": ["a " * 120] * 4}
    with ThreadPoolExecutor(32) as pool, held_server() as (server, backend):
        ingesting = [pool.submit(server.client.post, "/v1/embeddings", json=documents) for _ in range(31)]
        wait_until(lambda: server.application.guard.n_requests == 31 and backend.calls)
        body = {"inputs": "which planet?", "prompt_name": "query"}
        question = pool.submit(server.client.post, "/embed", json=body)
        wait_until(lambda: ["Query: which planet?"] in backend.calls)
        assert len(backend.calls) == 2  # the documents' first batch, and it
        backend.may_go_on.set()
        assert {answer.result().status_code for answer in (question, *ingesting)} == {200}


def test_a_client_that_hangs_up_frees_its_place() -> None:
    with ThreadPoolExecutor(2) as pool, held_server() as (server, backend):
        running = pool.submit(server.client.post, "/embed", json={"inputs": ["a " * 200] * 20})
        wait_until(lambda: backend.calls)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/embed", json={"inputs": ["b " * 200] * 50}, timeout=0.3)
        wait_until(lambda: server.figure("jina_rag_cancelled_requests_total") == 1)
        assert server.figure("jina_rag_queue_tokens") <= 20 * 203
        backend.may_go_on.set()
        assert running.result().status_code == 200
        wait_until(lambda: server.figure("jina_rag_queue_tokens") == server.application.service.budget.held == 0)


class SlowTokenizer(FakeBackend):
    """Counts tokens when it may, and remembers how many calls there were."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go_on = threading.Event()
        self.calls: list[int] = []

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        self.calls.append(len(texts))
        assert self.may_go_on.wait(10)
        return super().count_tokens(texts)


def test_tokenizing_ends_when_the_client_hangs_up() -> None:
    backend = SlowTokenizer()
    with ThreadPoolExecutor(1) as pool, running_server(Embedder(backend, FAKE_SPEC)) as server:
        for _ in range(3):
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{server.url}/embed", json={"inputs": ["a" * 90_000] * 9}, timeout=0.3)
        wait_until(lambda: server.figure("jina_rag_cancelled_requests_total") == 3)
        small = pool.submit(server.client.post, "/embed", json={"inputs": "a"})
        wait_until(lambda: len(backend.calls) == 2)  # beside the large one's first part
        backend.may_go_on.set()
        assert small.result().status_code == 200
        large = server.client.post("/embed", json={"inputs": ["a" * 60_000] * 3})
        assert large.status_code == 200
        assert backend.calls == [1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(json.dumps({str(n): n for n in range(99)}).encode(), "99 strings", id="fields"),
        pytest.param(json.dumps({"inputs": ["a"] * 98}).encode(), "99 strings", id="texts"),
        pytest.param(json.dumps({"inputs": ["\\", 'a"b\\'] * 49}).encode(), "99 strings", id="escapes"),
        pytest.param(b'{"inputs": [' + b"[]," * 400_000 + b"[]]}", "no text", id="lists"),
        pytest.param(b'{"inputs": ["' + b"a" * 501 + b'"]}', "501 characters", id="characters"),
        pytest.param(b'{"inputs": "a', "not JSON", id="no JSON"),
    ],
)
def test_a_body_is_measured_before_it_costs_much(content: bytes, told: str) -> None:
    backend = SlowTokenizer()
    settings = ServerSettings(max_client_batch_size=20, max_request_characters=500)
    with running_server(Embedder(backend, FAKE_SPEC), settings) as server:
        answer = server.client.post("/embed", content=content, headers=JSON)
        assert answer.status_code == 422
        assert told in answer.json()["error"]
        assert not backend.calls
        wait_until(lambda: server.application.service.budget.held == 0)


def test_answers_count_as_held_while_they_are_computed() -> None:
    settings = ServerSettings(max_bytes_in_flight=5000)
    with ThreadPoolExecutor(1) as pool, held_server(settings) as (server, backend):
        first = pool.submit(server.client.post, "/embed", json={"inputs": ["a"] * 10})  # more than that, but alone
        wait_until(lambda: backend.calls)
        for path in ("/embed", "/tokenize"):
            assert server.client.post(path, json={"inputs": "b " * 20}).status_code == 429
        backend.may_go_on.set()
        assert first.result().status_code == 200
        wait_until(lambda: server.application.service.budget.held == 0)
        assert server.client.post("/embed", json={"inputs": "b"}).status_code == 200


def test_every_answer_has_an_id_that_the_log_names(caplog: pytest.LogCaptureFixture, server: RunningServer) -> None:
    with caplog.at_level(logging.INFO, "jina_rag.server"):
        answers = [server.client.get("/v1/models"), server.client.post("/embed"), server.client.get("/missing")]
        wait_until(lambda: len(own_records(caplog)) == 3)
    logged = [json.loads(JsonFormatter().format(record))["request_id"] for record in own_records(caplog)]
    assert {answer.headers["x-request-id"] for answer in answers} == set(logged)
    assert len(set(logged)) == 3


def test_head_is_answered_as_get_without_a_body(server: RunningServer) -> None:
    for path in ("/health", "/ping", "/metrics", "/info", "/v1/models", "/docs"):
        answer = server.client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


def test_a_traceback_in_the_log_does_not_quote() -> None:
    try:
        raise KeyError("a secret text")
    except KeyError:
        record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, "failed", None, sys.exc_info())
    line = json.loads(JsonFormatter().format(record))
    assert line["error"] == "KeyError"
    assert "test_guard.py" in line["traceback"]
    assert "a secret text" not in line["traceback"].replace('raise KeyError("a secret text")', "")


def test_a_stopping_server_finishes_what_it_took_and_takes_no_more() -> None:
    with ThreadPoolExecutor(1) as pool, held_server() as (server, backend):
        taken = pool.submit(server.client.post, "/embed", json={"inputs": "a"})
        wait_until(lambda: backend.calls)
        server.application.service.draining = True
        for path in ("/embed", "/v1/embeddings"):
            refused = server.client.post(path, json=BODY)
            assert refused.status_code == 503
            assert refused.headers["Retry-After"]
        assert server.client.get("/health").status_code == 503
        backend.may_go_on.set()
        assert taken.result().status_code == 200


def test_a_failing_engine_is_told_from_a_bad_request(caplog: pytest.LogCaptureFixture) -> None:
    bad = "Document: a secret text"  # the engine fails at it, and quotes it
    with caplog.at_level(logging.INFO, "jina_rag.server"), held_server(failing=bad) as (server, backend):
        backend.may_go_on.set()
        answer = server.client.post("/v1/embeddings", json=BODY)
        assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
        answer = server.client.post("/embed", json={"inputs": "a secret text"})
        assert (answer.status_code, answer.json()["error_type"]) == (424, "Backend")
        assert "secret" not in answer.text
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    assert [line["status"] for line in lines if line["event"] == "request"] == [500, 424]
    assert "secret" not in caplog.text + json.dumps(lines)


def own_records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "jina_rag.server"]


def test_the_log_has_figures_and_no_words(caplog: pytest.LogCaptureFixture, server: RunningServer) -> None:
    with caplog.at_level(logging.INFO, "jina_rag.server"):
        server.client.post("/v1/embeddings", json=BODY, headers={"Authorization": "Bearer my-key"})
        server.client.get("/secret/path?with=secret")
        wait_until(lambda: len(own_records(caplog)) == 2)
    lines = [json.loads(JsonFormatter().format(record)) for record in own_records(caplog)]
    done, lost = sorted(lines, key=lambda line: int(line["status"]))
    assert {"texts": 1, "tokens": 6, "truncated": 0, "status": 200, "path": "/v1/embeddings"}.items() <= done.items()
    assert {"path": "other", "status": 404}.items() <= lost.items()
    assert "secret" not in json.dumps([done, lost])
    assert "my-key" not in json.dumps([done, lost])


def test_figures_are_kept(server: RunningServer) -> None:
    before = server.figure("jina_rag_tokens_total")
    server.client.post("/v1/embeddings", json={**BODY, "input": ["one", "two three"]})
    assert server.figure("jina_rag_tokens_total") == before + 4 + 5
    for name in ("batch_tokens", "stage_duration_seconds", "request_duration_seconds", "input_tokens"):
        assert server.figure(f"jina_rag_{name}_count") > 0
    assert server.figure("jina_rag_queue_tokens") == 0


def test_every_documented_path_has_a_name_in_the_log(server: RunningServer) -> None:
    documented = server.client.get("/openapi.json").json()["paths"]
    assert {path for path in documented if "{" not in path} <= PATHS
    assert all(path in server.client.get("/docs").text for path in documented)
