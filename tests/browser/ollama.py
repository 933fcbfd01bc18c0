"""A stand-in for Ollama on this machine, whose models behave as their names say."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODELS = ("quick", "waiting", "silent", "thinking", "empty", "html", "dead")
"""Answers at once; stops in the middle until a test lets it go on; says nothing; only reasons; writes nothing; is a web
page; hangs up."""


@dataclass
class Ollama:
    """A server with language models.

    Attributes:
        pieces: What its models write, in pieces.
        n_at_once: How many of them "waiting" writes before it waits.
        go_on: Set to let it write the others.
        address: Where it listens, as OLLAMA_HOST has it.
        reader_left: Set when a reader hung up before the end.
        is_dead: Whether all models hang up.
        keys: What requests sent as Authorization.
    """

    pieces: Sequence[str]
    n_at_once: int
    go_on: threading.Event = field(default_factory=threading.Event)
    address: str = ""
    reader_left: threading.Event = field(default_factory=threading.Event)
    is_dead: bool = False
    keys: set[str] = field(default_factory=set)

    def llm(self, model: str) -> str:
        """The setting for `--llm` that names one of `MODELS`."""
        return f"{self.address}/v1#{model}"


@contextmanager
def ollama(pieces: Sequence[str], n_at_once: int = 0) -> Iterator[Ollama]:
    """A server whose models answer every question with the same pieces, until the end of the block."""
    owner = Ollama(pieces, n_at_once)
    handler = type("Handler", (_Handler,), {"owner": owner})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listener:
        owner.address = f"http://127.0.0.1:{listener.server_port}"
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        try:
            yield owner
        finally:
            owner.go_on.set()
            listener.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    owner: Ollama

    def do_GET(self) -> None:
        rows = [{"name": name, "model": name, "details": {"family": "qwen3"}} for name in MODELS]
        self._begin("application/json")
        self.wfile.write(json.dumps({"models": rows} if self.path == "/api/tags" else {"data": []}).encode())

    def do_POST(self) -> None:
        model = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["model"]
        self.owner.keys.add(self.headers["Authorization"])
        if self.owner.is_dead or model == "dead":
            return
        self._begin("text/html" if model == "html" else "text/event-stream")
        with suppress(OSError):
            self._answer(model)
            self.wfile.write(b"data: [DONE]\n\n")
            return
        self.owner.reader_left.set()

    def _answer(self, model: str) -> None:
        pieces, n_at_once = self.owner.pieces, self.owner.n_at_once
        if model == "html":
            self.wfile.write(b"<html><title>A router</title></html>")
        elif model in ("thinking", "empty"):
            self._write(**{"reasoning" if model == "thinking" else "content": "Let me see." * (model == "thinking")})
        elif model == "quick":
            self._write_all(pieces)
        else:
            at_once = pieces[: n_at_once if model == "waiting" else 0]
            self._write_all(at_once)
            while not self.owner.go_on.wait(0.1):  # writing fails once the reader has hung up
                self._write(content=" ") if at_once else self.wfile.write(b": \n\n")
            self._write_all(pieces[len(at_once) :])

    def _write_all(self, pieces: Sequence[str]) -> None:
        for piece in pieces:
            self._write(content=piece)

    def _write(self, **delta: str) -> None:
        chunk = {"id": "1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass
