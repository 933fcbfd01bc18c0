"""A language model behind an OpenAI-compatible address."""

import json
import secrets
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from jina_rag.backends.base import Message
from jina_rag.errors import ContextTooSmallError, GenerationError
from jina_rag.rag.answering.factory import make_generator
from jina_rag.rag.answering.openai_chat import OpenAIChatModel
from tests.rag.conftest import passages


class _Server(BaseHTTPRequestHandler):
    """A small OpenAI-compatible server; the model's name decides how it behaves."""

    requests: list[tuple[str, dict[str, Any]]]
    reader_left: threading.Event
    server_is_done: threading.Event

    def do_GET(self) -> None:
        self._send(200, {"object": "list", "data": [{"id": "first", "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.append((self.headers["Authorization"], body))
        status = {"unknown": 404, "locked": 401, "broken": 400, "short": 400}.get(body["model"])
        if status:
            told = (
                "exceeds the available context size"
                if body["model"] == "short"
                else f"no: {self.headers['Authorization']}"
            )
            self._send(status, {"error": {"message": told}})
            return
        if body["model"] == "endless":
            self._write_until_the_reader_leaves()
            return
        if body["model"] in ("flood", "packed"):
            self._flood(is_packed=body["model"] == "packed")
            return
        if body["model"] == "silent":
            self.server_is_done.wait(5)
            return
        if body["model"] == "strict" and (body.keys() & {"chat_template_kwargs", "reasoning_effort"}):
            self._send(400, {"error": {"message": "Unrecognized request argument supplied"}})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        if body["model"].startswith("thinking"):
            self._write("Let me see", field=body["model"].partition(" in ")[2])
        for piece in () if body["model"] == "thinking in reasoning" else ("It is ", None, "red [1]."):
            if body["model"] == "breaking" and piece is None:
                self.wfile.write(b"data: {")
                return
            self._write(piece)
        self.wfile.write(b"data: [DONE]\n\n")

    def _write(self, piece: str | None, field: str = "content") -> None:
        delta = {"id": "1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {field: piece}}]}
        self.wfile.write(f"data: {json.dumps(delta)}\n\n".encode())

    def _write_until_the_reader_leaves(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for _ in range(2000):
            try:
                self._write("more " * 100)
            except OSError:
                self.reader_left.set()
                return
            self.reader_left.wait(0.005)

    def _flood(self, *, is_packed: bool) -> None:
        """One line, or one object, that does not end."""
        self.send_response(200)
        if is_packed:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        with suppress(OSError):
            for _ in range(1000):
                self.wfile.write(b'data: {"id": "' + b" " * 1_000_000)

    def _send(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _serving() -> Iterator[str]:
    _Server.requests, _Server.reader_left, _Server.server_is_done = [], threading.Event(), threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            _Server.server_is_done.set()
            server.shutdown()
            thread.join()


STRANGE_CHUNKS = ("{broken", "[1]", '"x"', '{"choices": 5}', '{"choices": [{"delta": {"content": 5}}]}')
MESSAGES: list[Message] = [{"role": "user", "content": "What colour?"}]


def test_a_server_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with _serving() as url:
        generator = make_generator(f"{url}#phi")
        assert generator
        assert "".join(generator.stream("What colour?", passages("Mars is red."))) == "It is red [1]."
        assert "".join(OpenAIChatModel(url).stream(MESSAGES)) == "It is red [1]."
    (key, named), (no_key, unnamed) = _Server.requests
    assert (key, named["model"], named["stream"]) == ("Bearer secret", "phi", True)
    assert (no_key, unnamed["model"]) == ("Bearer none", "first")


def test_reasoning_is_turned_off_where_the_server_takes_that() -> None:
    with _serving() as url:
        for model in ("phi", "strict", "thinking in reasoning_content"):
            assert "".join(OpenAIChatModel(url, model).stream(MESSAGES)) == "It is red [1]."
        strict = OpenAIChatModel(url, "strict")
        assert ["".join(strict.stream(MESSAGES)) for _ in range(2)] == ["It is red [1]."] * 2
    bodies = [body for _, body in _Server.requests]
    assert bodies[0]["chat_template_kwargs"] == {"enable_thinking": False}
    assert bodies[0]["reasoning_effort"] == "none"
    assert len(bodies) == 1 + 3 + 1 + 3 + 1  # what a server has refused is not sent to it again


def test_reasoning_alone_is_no_answer() -> None:
    with _serving() as url, pytest.raises(GenerationError, match="wrote nothing but its reasoning"):
        list(OpenAIChatModel(url, "thinking in reasoning").stream(MESSAGES))


@pytest.mark.parametrize(
    ("model", "advice"), [("unknown", "after a #"), ("locked", "OPENAI_API_KEY"), ("broken", "no: Bearer .*log")]
)
def test_a_server_that_refuses_is_explained(model: str, advice: str) -> None:
    with _serving() as url, pytest.raises(GenerationError, match=advice):
        list(OpenAIChatModel(url, model).stream(MESSAGES))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", "<html>"),
        ("application/json", "<html>"),
        ("application/json", '{"data": 5}'),
        *(("text/event-stream", f"data: {data}\n\n") for data in STRANGE_CHUNKS),
    ],
)
def test_what_is_no_chat_server_is_explained(kind: str, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(server: _Server) -> None:
        server.rfile.read(int(server.headers["Content-Length"] or 0))
        server.send_response(200)
        server.send_header("Content-Type", kind)
        server.end_headers()
        server.wfile.write(body.encode())

    for method in ("do_GET", "do_POST"):
        monkeypatch.setattr(_Server, method, answer)
    with _serving() as url:
        for model in (None, "phi"):
            with pytest.raises(GenerationError, match="does not answer as a chat server does"):
                list(OpenAIChatModel(url, model).stream(MESSAGES))


def test_a_server_that_is_not_there_is_explained() -> None:
    with _serving() as url:
        pass
    with pytest.raises(GenerationError, match="Can't reach http://127"):
        list(OpenAIChatModel(url, "phi", max_retries=0).stream(MESSAGES))


def test_a_key_is_never_told() -> None:
    key, password = (secrets.token_hex(8) for _ in range(2))
    with _serving() as url:
        for model in ("broken", "locked", "unknown", "short"):
            with pytest.raises(GenerationError) as caught:
                list(OpenAIChatModel(url, model, key).stream(MESSAGES))
            assert key not in "".join(traceback.format_exception(caught.value))
    silent = OpenAIChatModel(f"http://me:{password}@127.0.0.1:1/v1", "phi", max_retries=0)
    with pytest.raises(GenerationError) as caught:
        list(silent.stream(MESSAGES))
    assert password not in f"{caught.value}{silent.name}"


def test_a_server_that_reads_too_little_is_told_apart() -> None:
    with _serving() as url, pytest.raises(ContextTooSmallError):
        list(OpenAIChatModel(url, "short").stream(MESSAGES))


def test_closing_closes_the_connection() -> None:
    with _serving() as url:
        pieces: Any = OpenAIChatModel(url, "endless").stream(MESSAGES)
        assert next(pieces).startswith("more")
        pieces.close()
        assert _Server.reader_left.wait(5)


def test_a_server_that_falls_silent_is_not_waited_for() -> None:
    with _serving() as url:
        model = OpenAIChatModel(url, "silent", timeout=0.2, max_retries=0)
        with pytest.raises(GenerationError, match=r"silent for 0\.2 seconds"):
            list(model.stream(MESSAGES))


@pytest.mark.parametrize(("model", "message"), [("flood", "writes without end"), ("packed", "compresses")])
def test_no_answer_fills_the_memory(model: str, message: str) -> None:
    with _serving() as url:
        chat = OpenAIChatModel(url, model, max_retries=0)
        with pytest.raises(GenerationError, match=message):
            list(chat.stream(MESSAGES))
        with pytest.raises(GenerationError, match=message):
            chat.yes_probability(MESSAGES)
