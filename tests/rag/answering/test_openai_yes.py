"""Yes against No behind an OpenAI-compatible address."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from jina_rag.backends.base import Message
from jina_rag.errors import ContextTooSmallError, GenerationError
from jina_rag.rag.answering.openai_chat import OpenAIChatModel

MESSAGES: list[Message] = [{"role": "user", "content": "Is it red? Answer Yes or No."}]


def _top(**shares: float) -> dict[str, Any]:
    tops = [{"token": token, "logprob": math.log(share), "bytes": None} for token, share in shares.items()]
    return {"content": [{**tops[0], "top_logprobs": tops}, {**tops[0], "top_logprobs": []}]}


REPLIES: dict[str, tuple[str, Any]] = {
    "logprobs": ("No.", _top(No=0.5, Yes=0.2, **{" yes": 0.1, "Maybe": 0.05})),
    "only-yes": ("Yes", _top(Yes=1.0)),
    "says-yes": (" Yes.", None),
    "says-no": ("no", {"content": []}),
    "thinks": ("<think>\nOkay", _top(**{"<think>": 0.999999, "Yes": 0.0000005, "No": 0.0000005})),
    "silent": ("", None),
    "strange": ("Perhaps", {"content": [{"token": "Yes", "logprob": "high", "bytes": None, "top_logprobs": [
        {"token": "Yes", "logprob": "high"}, {"token": None, "logprob": -1.0}, {"token": "No", "logprob": 5.0}]}]}),
    "strict": ("Yes", None),
}  # fmt: skip


class _Server(BaseHTTPRequestHandler):
    """Answers by the model's name; "strict" refuses what it doesn't know."""

    requests: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.append(body)
        model = body["model"]
        if model == "short":
            self._send(400, {"error": {"message": "the request exceeds the available context size"}})
        elif model == "strict" and "logprobs" in body:
            self._send(400, {"error": {"message": "unknown field logprobs"}})
        else:
            content, logprobs = REPLIES[model]
            message = {"role": "assistant", "content": content}
            choice = {"index": 0, "message": message, "finish_reason": "length", "logprobs": logprobs}
            self._send(200, {"id": "1", "object": "chat.completion", "created": 0, "model": model, "choices": [choice]})

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
def _model(name: str) -> Iterator[OpenAIChatModel]:
    _Server.requests = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        model = OpenAIChatModel(f"http://127.0.0.1:{server.server_port}/v1", name, max_retries=0)
        try:
            yield model
        finally:
            model.close()
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("name", "expected"), [("logprobs", 0.3 / 0.8), ("only-yes", 1.0), ("says-yes", 1.0), ("says-no", 0.0)]
)
def test_the_first_word_is_weighed_or_counted(name: str, expected: float) -> None:
    with _model(name) as model:
        assert model.yes_probability(MESSAGES) == pytest.approx(expected)
    (asked,) = _Server.requests
    assert (asked["temperature"], asked["logprobs"], asked["top_logprobs"]) == (0, True, 20)
    assert asked["max_tokens"] < 10
    assert asked["messages"] == MESSAGES


def test_a_server_that_refuses_logprobs_is_asked_without_them_from_then_on() -> None:
    with _model("strict") as model:
        assert [model.yes_probability(MESSAGES) for _ in range(2)] == [1.0, 1.0]
    # First with and without what turns reasoning off, which it could have refused as well.
    assert ["logprobs" in asked for asked in _Server.requests] == [True, True, True, False, False]
    assert all("chat_template_kwargs" in asked for asked in _Server.requests[3:])


@pytest.mark.parametrize("name", ["thinks", "silent", "strange"])
def test_a_model_that_answers_with_neither_word_is_explained(name: str) -> None:
    with _model(name) as model, pytest.raises(GenerationError, match="neither Yes nor No"):
        model.yes_probability(MESSAGES)


def test_a_prompt_that_is_too_long_is_told_apart() -> None:
    with _model("short") as model, pytest.raises(ContextTooSmallError):
        model.yes_probability(MESSAGES)
