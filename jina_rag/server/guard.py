"""What stands before both APIs: room, host, key, media type, the body's size and time; and the log of requests."""

import asyncio
import hashlib
import hmac
import time
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jina_rag.server.errors import TEI_PATHS, RequestError, error_response
from jina_rag.server.logs import log_event
from jina_rag.server.service import EmbeddingService, overloaded

_FREE_PATHS = frozenset({"/health", "/ping", "/metrics", "/docs", "/openapi.json"})
_POST_PATHS = frozenset({"/v1/embeddings", "/embeddings", "/embed", "/", "/embed_all", "/similarity", "/tokenize"})

PATHS = TEI_PATHS | {"/v1/embeddings", "/embeddings", "/v1/models", "/metrics", "/docs", "/openapi.json"}
"""Those that the log and the figures name; all others are one."""

_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Guard:
    """ASGI middleware, the outermost: lets in what may come in, with its whole body read, and logs what came of it."""

    def __init__(self, app: ASGIApp, service: EmbeddingService) -> None:
        """Stand before the app of a service."""
        self._app = app
        self._service = service
        self._keys = [_digest(key.encode()) for key in service.settings.api_keys]
        self._n_requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 500

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._n_requests += 1
        self._service.metrics.in_progress.set(self._n_requests)
        scope["jina_rag"] = {}
        try:
            await self._handle(scope, receive, note_status)
        finally:
            self._n_requests -= 1
            self._service.metrics.in_progress.set(self._n_requests)
            self._record(scope, status, time.monotonic() - started)

    @property
    def n_requests(self) -> int:
        """Requests being handled."""
        return self._n_requests

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._check(scope)
            if scope["method"] == "POST" and scope["path"] in _POST_PATHS:
                receive = await self._read_body(Headers(scope=scope), receive)
        except RequestError as error:
            self._service.metrics.rejected.labels(error.reason).inc()
            await error_response(error, scope["path"])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        settings = self._service.settings
        if self._service.draining and path != "/metrics":
            raise RequestError(
                "unavailable", "The server is stopping. Try again in a few seconds.", headers={"Retry-After": "5"}
            )
        if self._n_requests > settings.max_concurrent_requests and path not in _FREE_PATHS:
            raise overloaded(1.0)
        if settings.is_local and not self._keys and _host(headers) not in _LOCAL_HOSTS:
            # A page from elsewhere that has its own name resolve to this machine gets no further.
            raise RequestError(
                "forbidden",
                "This server has no API key, so it only answers to localhost and 127.0.0.1. Use one of these in the "
                "address, or set a key.",
            )
        if self._keys and path not in _FREE_PATHS and not self._has_key(headers):
            raise RequestError(
                "unauthorized",
                "The API key is missing or wrong. Send it as: Authorization: Bearer KEY",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _has_key(self, headers: Headers) -> bool:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = _digest(key.strip().encode("latin-1"))
        # Every key is compared, in constant time, so that timing tells nothing.
        matches = [hmac.compare_digest(given, known) for known in self._keys]
        return scheme.lower() == "bearer" and any(matches)

    async def _read_body(self, headers: Headers, receive: Receive) -> Receive:
        """The whole body at once, as an ASGI `receive` that gives it and then goes on with the old one."""
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            # It must be named: a web page can send any other type here without the browser asking first.
            raise RequestError("media_type", "The body must be JSON. Send the header Content-Type: application/json")
        limit = self._service.settings.max_body_bytes
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:18]) > limit:
            raise _too_large(limit)
        try:
            async with asyncio.timeout(self._service.settings.body_timeout):
                body = await _read_all(receive, limit)
        except TimeoutError as error:
            raise RequestError("body_timeout", "The body did not come in time. Send it again.") from error
        message: Message | None = {"type": "http.request", "body": body, "more_body": False}
        del body

        async def replay() -> Message:
            nonlocal message
            if message is None:
                return await receive()
            given, message = message, None
            return given

        return replay

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


async def _read_all(receive: Receive, limit: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)  # half a body: no JSON, or nobody to answer
        body += message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return bytes(body)


def _too_large(limit: int) -> RequestError:
    return RequestError(
        "body_too_large",
        f"The body is larger than {limit:,} bytes. Send fewer texts at a time.",
        headers={"Connection": "close"},
    )


def _host(headers: Headers) -> str:
    host = headers.get("host", "").lower()
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
