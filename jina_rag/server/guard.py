"""What stands before both APIs: room, host, key, media type, the body's size and time; and the log of requests."""

import asyncio
import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Coroutine
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jina_rag.server.budget import ByteBudget
from jina_rag.server.errors import RERANK_PATHS, TEI_PATHS, RequestError, error_response, overloaded
from jina_rag.server.logs import log_event
from jina_rag.server.request_body import DOCUMENT, parse_json
from jina_rag.server.service import EmbeddingService

_FREE_PATHS = frozenset({"/health", "/ping", "/metrics", "/docs", "/openapi.json"})
_POST_PATHS = RERANK_PATHS | {"/v1/embeddings", "/embeddings", "/embed", "/", "/embed_all", "/similarity", "/tokenize"}

PATHS = TEI_PATHS | RERANK_PATHS | {"/v1/embeddings", "/embeddings", "/v1/models", "/metrics", "/docs", "/openapi.json"}
"""Those that the log and the figures name; all others are one."""

_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_CLIENT_GONE = 499  # as nginx logs it; nobody reads it
_MAX_OTHER_STRINGS = 64  # of a body: its fields' names, and values that are no texts
_QUICK_BODY_BYTES = 64 * 1024  # parsed sooner than handed to another thread
_PIECE_BYTES = 256 * 1024


class Guard:
    """ASGI middleware, the outermost: lets in what may come in, with its whole body read, and logs what came of it.

    A request whose client hangs up is cancelled, whatever is being done for it.
    """

    def __init__(self, app: ASGIApp, service: EmbeddingService) -> None:
        """Stand before the app of a service."""
        self._app = app
        self._service = service
        self._keys = [_digest(key.encode()) for key in service.settings.api_keys]
        self._n_requests = self._n_complete = 0
        self._readers: dict[asyncio.Timeout, None] = {}  # bodies that are being read, the oldest first

    @property
    def n_requests(self) -> int:
        """Requests being handled."""
        return self._n_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        exchange = _Exchange(send, self._service.budget)
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # uvicorn leaves out the body
        scope["jina_rag"] = {"request_id": exchange.request_id}
        self._n_requests += 1
        self._service.metrics.in_progress.set(self._n_requests)
        try:
            await self._handle(scope, receive, exchange)
        finally:
            exchange.hold(-exchange.n_bytes)
            self._n_requests -= 1
            self._service.metrics.in_progress.set(self._n_requests)
            self._record(scope, exchange.status, time.monotonic() - started)

    async def _handle(self, scope: Scope, receive: Receive, exchange: "_Exchange") -> None:
        try:
            self._check(scope)
            if scope["method"] != "POST" or scope["path"] not in _POST_PATHS:
                await self._app(scope, receive, exchange.send)
                return
            body = await self._read_body(Headers(scope=scope), receive, exchange)
            self._check_room()
            self._n_complete += 1
            try:
                await self._until_gone(self._answer(scope, receive, exchange, body), receive, exchange)
            finally:
                self._n_complete -= 1
        except RequestError as error:
            self._service.metrics.rejected.labels(error.reason).inc()
            await error_response(error, scope["path"])(scope, receive, exchange.send)

    def _check(self, scope: Scope) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        if self._service.draining and path != "/metrics":
            raise RequestError(
                "unavailable", "The server is stopping. Try again in a few seconds.", headers={"Retry-After": "5"}
            )
        if self._service.settings.is_local and not self._keys and _host(headers) not in _LOCAL_HOSTS:
            # A page from elsewhere that has its own name resolve to this machine gets no further.
            raise RequestError(
                "forbidden",
                "This server has no API key, so it only answers to localhost and 127.0.0.1. Use one of these in the "
                "address, or set a key.",
            )
        if path in _FREE_PATHS:
            return
        if self._keys and not self._has_key(headers):
            raise RequestError(
                "unauthorized",
                "The API key is missing or wrong. Send it as: Authorization: Bearer KEY",
                headers={"WWW-Authenticate": "Bearer"},
            )
        self._check_room()

    def _check_room(self) -> None:
        if self._n_complete >= self._service.settings.max_concurrent_requests:
            raise overloaded(1.0)

    def _has_key(self, headers: Headers) -> bool:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = _digest(key.strip().encode("latin-1"))
        # Every key is compared, in constant time, so that timing tells nothing.
        matches = [hmac.compare_digest(given, known) for known in self._keys]
        return scheme.lower() == "bearer" and any(matches)

    async def _read_body(self, headers: Headers, receive: Receive, exchange: "_Exchange") -> bytes:
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            # It must be named: a web page can send any other type here without the browser asking first.
            raise RequestError("media_type", "The body must be JSON. Send the header Content-Type: application/json")
        limit = self._service.settings.max_body_bytes
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:18]) > limit:
            raise _too_large(limit)
        pieces: list[bytes] = []
        deadline = asyncio.timeout(self._service.settings.body_timeout)
        try:
            async with deadline:
                self._readers[deadline] = None
                more = True
                while more:
                    message = await receive()  # at a disconnection half a body: no JSON, and nobody to answer
                    more = message.get("more_body", False)
                    pieces.append(message.get("body", b""))
                    if exchange.n_bytes + len(pieces[-1]) > limit:
                        raise _too_large(limit)
                    self._make_room(len(pieces[-1]), deadline)
                    exchange.hold(len(pieces[-1]))
        except TimeoutError as error:
            raise RequestError("body_timeout", "The body did not come in time. Send it again.") from error
        finally:
            self._readers.pop(deadline, None)
        return b"".join(pieces)

    def _make_room(self, n_bytes: int, deadline: asyncio.Timeout) -> None:
        """Give up the body that has been under way longest, if it takes that to read on.

        So clients which never finish theirs keep nobody else out.
        """
        budget = self._service.budget
        if budget.held + n_bytes <= budget.limit:
            return
        oldest = next(iter(self._readers))
        if oldest is deadline:
            raise overloaded(1.0)
        del self._readers[oldest]
        if not oldest.expired():
            oldest.reschedule(-math.inf)

    async def _answer(self, scope: Scope, receive: Receive, exchange: "_Exchange", body: bytes) -> None:
        strings_per_text = 2 if scope["path"] in RERANK_PATHS else 1  # a document may be {"text": "…"}
        max_strings = strings_per_text * self._service.settings.max_client_batch_size + _MAX_OTHER_STRINGS
        if len(body) <= _QUICK_BODY_BYTES:
            scope[DOCUMENT] = parse_json(body, max_strings=max_strings)
        else:
            scope[DOCUMENT] = await self._service.run(len(body), parse_json, body, max_strings=max_strings)
        del body
        await self._app(scope, receive, exchange.send)

    async def _until_gone(self, work: Coroutine[Any, Any, None], receive: Receive, exchange: "_Exchange") -> None:
        task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnection(receive))
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and not exchange.is_complete:
                self._service.metrics.cancelled.inc()
                exchange.status = _CLIENT_GONE
                task.cancel()
            await asyncio.wait((task,))
        finally:
            task.cancel()
            gone.cancel()
        if not task.cancelled():
            task.result()

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        # A path is only named if it is one of ours: anything else comes from strangers, in any number.
        path = scope["path"] if scope["path"] in PATHS else "other"
        self._service.metrics.requests.labels(path, str(status)).inc()
        self._service.metrics.request_seconds.labels(path).observe(seconds)
        fields: dict[str, Any] = {
            "method": scope["method"],
            "path": path,
            "status": status,
            "ms": round(1000 * seconds, 1),
        }
        log_event("request", {**fields, **scope["jina_rag"]})


class _Exchange:
    """A request's id, the bytes that it holds, and its answer.

    The answer goes out in pieces, so that it counts as held until its client has taken it.
    """

    def __init__(self, send: Send, budget: ByteBudget) -> None:
        self._send = send
        self._budget = budget
        self.request_id = secrets.token_hex(8)
        self.status = 500
        self.is_complete = False
        self.n_bytes = 0

    def hold(self, n_bytes: int) -> None:
        self.n_bytes += n_bytes
        self._budget.held += n_bytes

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", []), (b"x-request-id", self.request_id.encode())]
            await self._send({**message, "headers": headers})
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        self.hold(len(body))
        for start in range(0, max(1, len(body)), _PIECE_BYTES):
            piece = body[start : start + _PIECE_BYTES]
            is_last = start + len(piece) == len(body)
            self.is_complete = is_last and not more
            await self._send({**message, "body": piece, "more_body": more or not is_last})


async def _disconnection(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _too_large(limit: int) -> RequestError:
    return RequestError("body_too_large", f"The body is larger than {limit:,} bytes. Send fewer texts at a time.")


def _host(headers: Headers) -> str:
    host = headers.get("host", "").lower()
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
