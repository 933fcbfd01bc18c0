"""Servers on loopback that answer as the real ones are documented to, and fail as they do, with a fake model inside.

They are strict: a field that the real API doesn't have is refused, limits are enforced, and errors have the documented
bodies. Shapes are from the sources of vLLM and Text Embeddings Inference 1.9.3, Jina's own clients and Elasticsearch's
specification; none of these servers itself runs here.
"""

import base64
import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import numpy as np

from jina_rag import get_model_spec
from jina_rag.testing import FakeBackend

Json = dict[str, Any]
FAKE = FakeBackend()

JINA_SPEC = replace(
    get_model_spec("jina-v5-small"),
    dimensions=64,
    matryoshka_dimensions=(16, 32, 64),
    max_input_tokens=512,
    pooling="mean",
)
"""A model that Jina and Elastic know, as small as the fake one."""


@dataclass
class Answer:
    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Fault = Callable[["Handler", Answer], None]
"""Answers in the server's place; it gets the proper answer, and may spoil it."""


class Standin:
    """A kind of server: what it is asked and what it answers."""

    key: str | None = None
    embed_path = ""

    def __init__(self) -> None:
        self.faults: deque[Fault] = deque()
        self.requests: list[tuple[str, str, Any]] = []
        self.n_at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def routes(self) -> dict[tuple[str, str], Callable[[Any], Answer]]:
        raise NotImplementedError

    def unauthorized(self) -> Answer:
        raise NotImplementedError

    def authorized(self, header: str) -> bool:
        return self.key is None or header == f"Bearer {self.key}"

    def bodies(self, path: str) -> list[Any]:
        return [body for _, requested, body in self.requests if requested == path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's acknowledgement
    server: "Server"

    def do_GET(self) -> None:
        self.respond()

    def do_POST(self) -> None:
        self.respond()

    def do_PUT(self) -> None:
        self.respond()

    def respond(self) -> None:
        standin = self.server.standin
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.loads(raw) if raw else None
        path = self.path.partition("?")[0]
        with standin.lock:
            standin.requests.append((self.command, path, body))
            standin.n_at_once += 1
            standin.most_at_once = max(standin.most_at_once, standin.n_at_once)
            is_embedding = self.command == "POST" and path == standin.embed_path
            fault = standin.faults.popleft() if is_embedding and standin.faults else None
        try:
            answer = self.answer(standin, path, body)
            if fault is not None:
                fault(self, answer)
            else:
                self.write(answer)
        finally:
            with standin.lock:
                standin.n_at_once -= 1

    def answer(self, standin: Standin, path: str, body: Any) -> Answer:
        if not standin.authorized(self.headers.get("Authorization", "")):
            return standin.unauthorized()
        route = standin.routes().get((self.command, path))
        return route(body) if route else Answer(404, {"detail": "Not Found"})

    def write(self, answer: Answer) -> None:
        encoded = answer.encoded()
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    standin: Standin

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Also of the connections that are kept alive, as the end of a process does."""
        super().server_close()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is what the tests are about."""


@contextmanager
def running(standin: Standin, port: int = 0) -> Iterator[str]:
    """The server's address while it runs."""
    server = Server(("127.0.0.1", port), Handler)
    server.standin = standin
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# Faults


def answers(status: int, body: Any, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, _: handler.write(Answer(status, body, named))


def resets(handler: Handler, answer: Answer) -> None:
    """Break the connection in the middle of the answer."""
    encoded = answer.encoded()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(encoded)))
    handler.end_headers()
    handler.wfile.write(encoded[: len(encoded) // 2])
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def waits(seconds: float) -> Fault:
    def wait(handler: Handler, answer: Answer) -> None:
        time.sleep(seconds)
        handler.write(answer)

    return wait


def drips(seconds: float) -> Fault:
    """Send a byte now and then, so that a time limit between two bytes never runs out."""

    def drip(handler: Handler, answer: Answer) -> None:
        encoded = answer.encoded()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(encoded)))
        handler.end_headers()
        for byte in encoded:
            handler.wfile.write(bytes([byte]))
            time.sleep(seconds)

    return drip


def changes(change: Callable[[Any], Any]) -> Fault:
    return lambda handler, answer: handler.write(replace(answer, body=change(answer.body)))


def truncates_json(handler: Handler, answer: Answer) -> None:
    handler.write(replace(answer, body=answer.encoded()[:-20]))


# What the fake model computes


def fake_tokens(text: str) -> list[int]:
    return FAKE.token_ids(text)


_token_vector = cache(FAKE.token_vector)


def fake_vector(tokens: list[int]) -> list[float]:
    vector = np.sum([_token_vector(token) for token in tokens], axis=0)
    return [float(number) for number in vector / np.linalg.norm(vector)]


def encoded(vector: list[float], as_base64: bool) -> object:
    return base64.b64encode(np.array(vector, "<f4").tobytes()).decode() if as_base64 else vector


def unknown_fields(body: Json, known: set[str]) -> list[str]:
    return sorted(set(body) - known)


class VllmStandin(Standin):
    """vLLM: takes texts or tokens, tells its tokens, and says nothing of its width."""

    embed_path = "/v1/embeddings"
    fields: ClassVar = {"model", "input", "encoding_format", "dimensions", "user", "truncate_prompt_tokens"}

    def __init__(self, max_model_len: int = 512, name: str = "served-name", root: str = "org/fake") -> None:
        super().__init__()
        self.max_model_len, self.name, self.root = max_model_len, name, root

    def routes(self) -> dict[tuple[str, str], Callable[[Any], Answer]]:
        return {
            ("GET", "/v1/models"): lambda _: Answer(body={"object": "list", "data": [self.row()]}),
            ("POST", "/tokenize"): self.tokenize,
            ("POST", "/v1/embeddings"): self.embed,
        }

    def row(self) -> Json:
        return {
            "id": self.name,
            "object": "model",
            "created": 1,
            "owned_by": "vllm",
            "root": self.root,
            "parent": None,
            "max_model_len": self.max_model_len,
            "permission": [],
        }

    def unauthorized(self) -> Answer:
        return Answer(401, {"error": "Unauthorized"})

    def refuse(self, message: str, status: int = 400) -> Answer:
        return Answer(status, {"error": {"message": message, "type": "BadRequestError", "param": None, "code": status}})

    def tokenize(self, body: Json) -> Answer:
        if extra := unknown_fields(body, {"model", "prompt", "add_special_tokens", "return_token_strs"}):
            return self.refuse(f"unknown fields {extra}")
        tokens = fake_tokens(body["prompt"])
        return Answer(
            body={"count": len(tokens), "max_model_len": self.max_model_len, "tokens": tokens, "token_strs": None}
        )

    def embed(self, body: Json) -> Answer:
        if extra := unknown_fields(body, self.fields):
            return self.refuse(f"unknown fields {extra}")
        if body["model"] != self.name:
            return self.refuse(f"The model `{body['model']}` does not exist.", 404)
        inputs = [fake_tokens(item) if isinstance(item, str) else item for item in body["input"]]
        longest = max(map(len, inputs))
        if longest > self.max_model_len:
            return self.refuse(
                f"This model's maximum context length is {self.max_model_len} tokens. However, you requested {longest} "
                "tokens in the input for embedding generation. Please reduce the length of the input."
            )
        n_tokens = sum(map(len, inputs))
        as_base64 = body.get("encoding_format") == "base64"
        data = [
            {"index": index, "object": "embedding", "embedding": encoded(fake_vector(ids), as_base64)}
            for index, ids in enumerate(inputs)
        ]
        usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens, "completion_tokens": 0}
        return Answer(
            body={"id": "embd-1", "object": "list", "created": 1, "model": self.name, "data": data, "usage": usage}
        )


class OllamaStandin(VllmStandin):
    """A server of which only the API is known; it cuts long texts without a word."""

    fields: ClassVar = {"model", "input", "encoding_format", "dimensions", "user"}

    def row(self) -> Json:
        return {"id": self.name, "object": "model", "created": 1, "owned_by": "library"}

    def routes(self) -> dict[tuple[str, str], Callable[[Any], Answer]]:
        return {route: answer for route, answer in super().routes().items() if route[1] != "/tokenize"}

    def embed(self, body: Json) -> Answer:
        cut = [" ".join(text.split()[: self.max_model_len // 2]) for text in body["input"]]
        return super().embed({**body, "input": cut})


class TeiStandin(Standin):
    """Text Embeddings Inference 1.9.3."""

    embed_path = "/embed"

    def __init__(
        self, pooling: str = "mean", prompt: str = "", max_input_length: int = 512, model_id: str = "org/fake"
    ) -> None:
        super().__init__()
        self.pooling, self.prompt, self.max_input_length, self.model_id = pooling, prompt, max_input_length, model_id
        self.max_client_batch_size = 32
        self.sha: str | None = "abc123"

    def routes(self) -> dict[tuple[str, str], Callable[[Any], Answer]]:
        return {
            ("GET", "/info"): lambda _: Answer(body=self.info()),
            ("GET", "/health"): lambda _: Answer(),
            ("POST", "/tokenize"): self.tokenize,
            ("POST", "/embed"): self.embed,
        }

    def unauthorized(self) -> Answer:
        return Answer(401, b"")

    def info(self) -> Json:
        return {
            "model_id": self.model_id,
            "model_sha": self.sha,
            "model_dtype": "float16",
            "served_model_name": self.model_id,
            "model_type": {"embedding": {"pooling": self.pooling}},
            "max_concurrent_requests": 512,
            "max_input_length": self.max_input_length,
            "max_batch_tokens": 16384,
            "max_batch_requests": None,
            "max_client_batch_size": self.max_client_batch_size,
            "auto_truncate": True,
            "tokenization_workers": 4,
            "version": "1.9.3",
            "sha": None,
            "docker_label": None,
        }

    def refuse(self, message: str) -> Answer:
        return Answer(422, {"error": message, "error_type": "Validation"})

    def too_many(self, texts: list[str]) -> Answer | None:
        if len(texts) <= self.max_client_batch_size:
            return None
        return self.refuse(f"batch size {len(texts)} > maximum allowed batch size {self.max_client_batch_size}")

    def tokenize(self, body: Json) -> Answer:
        if extra := unknown_fields(body, {"inputs", "add_special_tokens", "prompt_name"}):
            return self.refuse(f"unknown fields {extra}")
        return self.too_many(body["inputs"]) or Answer(body=[self.spans(self.prompt + text) for text in body["inputs"]])

    def spans(self, text: str) -> list[Json]:
        """The fake tokens with places in the text, the opening one special."""
        ids = fake_tokens(text)
        special = {"id": ids[0], "text": "[CLS]", "special": True, "start": None, "stop": None}
        step = len(text) / max(len(ids) - 1, 1)
        others = [
            {"id": token, "text": "w", "special": False, "start": int(index * step), "stop": int((index + 1) * step)}
            for index, token in enumerate(ids[1:])
        ]
        return [special, *others]

    def embed(self, body: Json) -> Answer:
        known = {"inputs", "truncate", "truncation_direction", "prompt_name", "normalize", "dimensions"}
        if extra := unknown_fields(body, known):
            return self.refuse(f"unknown fields {extra}")
        if refusal := self.too_many(body["inputs"]):
            return refusal
        tokens = [fake_tokens(self.prompt + text) for text in body["inputs"]]
        truncate = True if body.get("truncate") is None else body["truncate"]  # auto_truncate
        for ids in tokens:
            if len(ids) > self.max_input_length and not truncate:
                return self.refuse(
                    f"Input validation error: `inputs` must have less than {self.max_input_length} tokens. "
                    f"Given: {len(ids)}"
                )
        tokens = [ids[: self.max_input_length] for ids in tokens]
        return Answer(
            body=[fake_vector(ids) for ids in tokens], headers={"x-compute-tokens": str(sum(map(len, tokens)))}
        )


class JinaStandin(Standin):
    """Jina's service: puts prompts before texts by their task."""

    embed_path = "/v1/embeddings"
    key = "jina_secret"
    prompts: ClassVar = {"retrieval.query": "Query: ", "retrieval.passage": "Document: "}

    def routes(self) -> dict[tuple[str, str], Callable[[Any], Answer]]:
        return {("POST", "/v1/embeddings"): self.embed}

    def unauthorized(self) -> Answer:
        return Answer(401, {"detail": f"[RID: 1] The key '{self.key}' cannot be used."})  # a careless service

    def refuse(self, message: str) -> Answer:
        return Answer(422, {"detail": f"[RID: 1] Validation error: 'body -> jina-embeddings-v5' {message}"})

    def embed(self, body: Json) -> Answer:
        known = {"model", "task", "input", "dimensions", "embedding_type", "normalized", "truncate", "late_chunking"}
        if extra := unknown_fields(body, known):
            return self.refuse(f"Extra inputs are not permitted: {extra}")
        if body["model"] != "jina-embeddings-v5-text-small" or body["task"] not in self.prompts:
            return self.refuse("Input tag does not match any of the expected tags")
        if len(body["input"]) > 512:
            return self.refuse(f"Each input list can contain at most 512 items. Received {len(body['input'])} items.")
        if body["late_chunking"]:
            return self.refuse("late_chunking is not supported")
        tokens = [fake_tokens(self.prompts[body["task"]] + text) for text in body["input"]]
        if max(map(len, tokens)) > 512 and not body["truncate"]:
            return self.refuse("The input is too long.")
        tokens = [ids[:512] for ids in tokens]
        n_tokens = sum(map(len, tokens))
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": encoded(fake_vector(ids), body["embedding_type"] == "base64"),
            }
            for index, ids in enumerate(tokens)
        ]
        return Answer(
            body={
                "model": body["model"],
                "object": "list",
                "usage": {"total_tokens": n_tokens, "prompt_tokens": n_tokens},
                "data": data,
            }
        )


class ElasticStandin(Standin):
    """An Elasticsearch with Elastic's own inference service."""

    endpoint = ".jina-embeddings-v5-text-small"
    embed_path = f"/_inference/text_embedding/{endpoint}"
    key = "elastic_secret"
    prompts: ClassVar = {"search": "Query: ", "ingest": "Document: "}

    def __init__(self, *, exists: bool = True) -> None:
        super().__init__()
        self.exists = exists

    def routes(self) -> dict[tuple[str, str], Callable[[Any], Answer]]:
        return {
            ("GET", f"/_inference/{self.endpoint}"): self.get,
            ("PUT", self.embed_path): self.put,
            ("POST", self.embed_path): self.embed,
        }

    def authorized(self, header: str) -> bool:
        return header == f"ApiKey {self.key}"

    def unauthorized(self) -> Answer:
        return self.refuse(401, "security_exception", f"unable to authenticate with key {self.key}")

    def ok(self, body: Json) -> Answer:
        return Answer(200, body, self.headers)

    def refuse(self, status: int, kind: str, reason: str) -> Answer:
        cause = {"type": kind, "reason": reason}
        return Answer(status, {"error": {"root_cause": [cause], **cause}, "status": status}, self.headers)

    headers: ClassVar = {
        "X-Elastic-Product": "Elasticsearch",
        "Content-Type": "application/vnd.elasticsearch+json;compatible-with=9",
    }

    def row(self) -> Json:
        return {
            "inference_id": self.endpoint,
            "task_type": "text_embedding",
            "service": "elastic",
            "service_settings": {"model_id": "jina-embeddings-v5-text-small", "similarity": "cosine", "dimensions": 64},
        }

    def get(self, _: Any) -> Answer:
        if not self.exists:
            return self.refuse(404, "resource_not_found_exception", f"Inference endpoint not found [{self.endpoint}]")
        return self.ok({"endpoints": [self.row()]})

    def put(self, body: Json) -> Answer:
        wanted = {"service": "elastic", "service_settings": {"model_id": "jina-embeddings-v5-text-small"}}
        if body != wanted:
            return self.refuse(400, "status_exception", f"unexpected settings {body}")
        self.exists = True
        return self.ok(self.row())

    def embed(self, body: Json) -> Answer:
        if extra := unknown_fields(body, {"input", "input_type", "task_settings"}):
            return self.refuse(400, "x_content_parse_exception", f"unknown field {extra}")
        if body["input_type"] not in self.prompts:
            return self.refuse(400, "illegal_argument_exception", f"invalid input type {body['input_type']}")
        if len(body["input"]) > 16:
            return self.refuse(413, "content_too_large_exception", "too many inputs")
        rows = [
            {"embedding": fake_vector(fake_tokens(self.prompts[body["input_type"]] + text))} for text in body["input"]
        ]
        return self.ok({"text_embedding": rows})
