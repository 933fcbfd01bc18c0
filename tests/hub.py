"""A hub for tests: an HTTP server on this machine that answers as the Hugging Face hub does, or fails as it is told."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Literal, cast

COMMIT = "c0ffee" * 6 + "c0ff"


@dataclass(frozen=True)
class Request:
    """What the hub was asked."""

    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass
class Fault:
    """One bad answer: an HTTP error, or a body that ends too early (`cut_after` bytes)."""

    method: Literal["HEAD", "GET"]
    status: int = 0
    error_code: str | None = None
    cut_after: int | None = None
    times: int = 1


@dataclass
class Hub:
    """The repositories, the faults to come, and the requests for files so far.

    Attributes:
        url: What HF_ENDPOINT should be.
        files: Contents by `owner/repository/file`.
        wrong_contents: Sent instead of them, under their names, sizes and checksums.
        commit: Named in each answer; None leaves it out, as a server that is no hub does.
        etags: Sent instead of checksums, one for each answer with a record; None leaves one as it is.
        go_on: The second half of a file is sent when this is set; None sends it at once.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    wrong_contents: dict[str, bytes] = field(default_factory=dict)
    commit: str | None = COMMIT
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    etags: list[str | None] = field(default_factory=list)
    go_on: Event | None = None

    def fail(self, *faults: Fault) -> None:
        self.faults.extend(faults)

    def refuse_all(self, status: int, error_code: str | None = None) -> None:
        self.fail(*(Fault(method, status, error_code, times=1000) for method in ("HEAD", "GET")))

    def next_fault(self, method: str) -> Fault | None:
        for fault in self.faults:
            if fault.method == method and fault.times:
                fault.times -= 1
                return fault
        return None

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """Run a hub until the end of the block."""
    hub = Hub()
    with _Server(hub) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    def __init__(self, hub: Hub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5

    @property
    def hub(self) -> Hub:
        return cast(_Server, self.server).hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self) -> None:
        if "/resolve/" not in self.path:  # what the client asks on its own account
            self._refuse(404, None)
            return
        headers = self.headers
        self.hub.requests.append(Request(self.command, self.path, headers["Range"], headers["Authorization"]))
        fault = self.hub.next_fault(self.command)
        name = self._name()
        if fault and fault.status:
            self._refuse(fault.status, fault.error_code)
        elif name not in self.hub.files:
            self._refuse(404, "EntryNotFound")
        else:
            self._send_file(name, fault.cut_after if fault else None)

    def _name(self) -> str:
        repository, _, rest = self.path.lstrip("/").partition("/resolve/")
        return f"{repository}/{rest.partition('/')[2]}"

    def _refuse(self, status: int, error_code: str | None) -> None:
        self.send_response(status)
        if error_code:
            self.send_header("X-Error-Code", error_code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_file(self, name: str, cut_after: int | None) -> None:
        content = self.hub.files[name]
        start = int(self.headers["Range"].removeprefix("bytes=").partition("-")[0]) if self.headers["Range"] else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self._send_record(content)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "GET":
            body = self.hub.wrong_contents.get(name, content)[start:][:cut_after]
            half = len(body) // 2 if self.hub.go_on else len(body)
            self.wfile.write(body[:half])
            if self.hub.go_on and self.hub.go_on.wait(30):
                self.wfile.write(body[half:])
            self.close_connection = cut_after is not None

    def _send_record(self, content: bytes) -> None:
        checksum = self.hub.etags.pop(0) if self.hub.etags else None
        checksum = hashlib.sha256(content).hexdigest() if checksum is None else checksum
        self.send_header("ETag", f'"{checksum}"')
        self.send_header("X-Linked-ETag", f'"{checksum}"')
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("Accept-Ranges", "bytes")
        if self.hub.commit:
            self.send_header("X-Repo-Commit", self.hub.commit)
