"""A language model behind an OpenAI-compatible address of this machine; it writes when a test lets it."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class SlowModel:
    """A language model that waits in the middle of each answer.

    Attributes:
        pieces: The answer in pieces.
        n_at_once: How many of them come at once.
        go_on: Set to let the others come.
        url: Its setting for `--llm`.
        reader_left: Set when a reader hung up before the end.
    """

    pieces: Sequence[str]
    n_at_once: int
    go_on: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    reader_left: threading.Event = field(default_factory=threading.Event)


@contextmanager
def slow_model(pieces: Sequence[str], n_at_once: int) -> Iterator[SlowModel]:
    """A model that answers every question with the same pieces, until the end of the block."""
    model = SlowModel(pieces, n_at_once)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._begin("application/json")
            self.wfile.write(json.dumps({"object": "list", "data": [{"id": "slow", "object": "model"}]}).encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._begin("text/event-stream")
            try:
                for piece in model.pieces[: model.n_at_once]:
                    self._write(piece)
                while not model.go_on.wait(0.1):
                    self._write(" ")  # fails once the reader has hung up
                for piece in model.pieces[model.n_at_once :]:
                    self._write(piece)
                self.wfile.write(b"data: [DONE]\n\n")
            except OSError:
                model.reader_left.set()

        def _write(self, piece: str) -> None:
            choice = {"index": 0, "delta": {"content": piece}}
            chunk = {"id": "1", "object": "chat.completion.chunk", "choices": [choice]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

        def _begin(self, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        model.url = f"http://127.0.0.1:{server.server_port}/v1#slow"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield model
        finally:
            model.go_on.set()
            server.shutdown()
            thread.join()
