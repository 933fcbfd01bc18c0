"""The application, and the process around it: starting, listening, and stopping without losing what was taken."""

import asyncio
import html
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from jina_rag import __version__
from jina_rag.connections import limited_protocol
from jina_rag.embedder import Embedder
from jina_rag.errors import ServerSettingsError
from jina_rag.server.errors import Reason, RequestError, error_response
from jina_rag.server.guard import Guard
from jina_rag.server.logs import log_event
from jina_rag.server.openai_api import openai_router
from jina_rag.server.rerank_api import rerank_router
from jina_rag.server.reranking import RerankService, ServedReranker
from jina_rag.server.service import EmbeddingService
from jina_rag.server.settings import ServerSettings
from jina_rag.server.tei_api import state_router, tei_router

_HTTP_REASONS: dict[int, tuple[Reason, str]] = {
    404: ("not_found", "There is nothing at this address. See /docs for those that there are."),
    405: ("method", "This address does not take that method. See /docs for those that it takes."),
}


class Application:
    """The ASGI application of one embedder, and of a reranker if there is one."""

    def __init__(
        self, embedder: Embedder, settings: ServerSettings | None = None, reranker: ServedReranker | None = None
    ) -> None:
        """Load the models and start the queues; the application's lifespan ends them."""
        self.settings = settings or ServerSettings()
        self.service = EmbeddingService(embedder, self.settings)
        self.api = _make_api(self.service, RerankService(reranker, self.service) if reranker else None)
        self.guard = Guard(self.api, self.service)
        self.asgi: ASGIApp = self.guard


class GracefulServer(uvicorn.Server):
    """A server that answers 503 from the first signal on, finishes what it took, and only then stops listening."""

    def __init__(self, application: Application, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._application = application

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signal handlers are called
        """Begin to stop; the second signal stops at once."""
        if self._application.service.draining:
            self.should_exit = self.force_exit = True
            return
        self._application.service.draining = True
        # A signal's handler runs between any two steps of the loop, so the loop must be woken.
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(self._begin_drain, signal.Signals(sig).name)

    def _begin_drain(self, signal_name: str) -> None:
        self._drained = asyncio.ensure_future(self._drain(signal_name))

    async def _drain(self, signal_name: str) -> None:
        guard = self._application.guard
        log_event("stopping", {"signal": signal_name, "requests": guard.n_requests})
        deadline = time.monotonic() + self._application.settings.drain_timeout
        while guard.n_requests and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        if guard.n_requests:
            log_event("requests_abandoned", {"requests": guard.n_requests}, logging.WARNING)
        self.should_exit = True


def run(
    embedder: Embedder,
    settings: ServerSettings,
    reranker: ServedReranker | None = None,
    *,
    on_ready: Callable[[str], None],
) -> None:
    """Serve an embedder until a signal comes: the first lets requests finish, the second doesn't.

    Args:
        embedder: The model.
        settings: How to serve it.
        reranker: A second model, that reranks.
        on_ready: Called with the address once the server listens.

    Raises:
        ServerSettingsError: the address is taken, or is none of this machine's.
    """
    application = Application(embedder, settings, reranker)
    with _listen(settings) as listener:
        host, port = listener.getsockname()[:2]
        on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        GracefulServer(application, uvicorn_config(application)).run(sockets=[listener])


def uvicorn_config(application: Application) -> uvicorn.Config:
    """How uvicorn is to run the application: its own access log off, ours says more."""
    settings = application.settings
    return uvicorn.Config(
        application.asgi,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http=limited_protocol(settings),
        ws="none",
        backlog=128,  # as many are accepted at once, before any is counted
        timeout_keep_alive=settings.idle_timeout,
        timeout_graceful_shutdown=5,
    )


def _listen(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=128)
    except OSError as error:
        raise ServerSettingsError(
            f"The server cannot listen on {settings.host} port {settings.port} ({error.strerror or error}). Name "
            "another with --host and --port."
        ) from error


def _make_api(service: EmbeddingService, reranking: RerankService | None) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        if reranking:
            await asyncio.to_thread(reranking.close)
        await asyncio.to_thread(service.close)

    api = FastAPI(
        title="jina-rag serve",
        version=__version__,
        description="An embedding model, and a reranker if there is one, behind OpenAI's, Jina's, Cohere's and Text "
        "Embeddings Inference's addresses.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's page loads scripts from another host
        redoc_url=None,
        dependencies=[Security(HTTPBearer(auto_error=False))] if service.settings.api_keys else None,
    )
    api.include_router(openai_router(service))
    api.include_router(tei_router(service))
    api.include_router(rerank_router(service, reranking))
    api.include_router(state_router(service, reranking))
    api.add_api_route("/docs", lambda: HTMLResponse(_docs_page(api)), include_in_schema=False)

    @api.exception_handler(RequestError)
    async def refuse(request: Request, error: RequestError) -> Response:
        service.metrics.rejected.labels(error.reason).inc()
        return error_response(error, request.url.path)

    @api.exception_handler(RequestValidationError)
    async def refuse_fields(request: Request, error: RequestValidationError) -> Response:
        return await refuse(request, _as_request_error(error))

    @api.exception_handler(HTTPException)
    async def refuse_http(request: Request, error: HTTPException) -> Response:
        reason, message = _HTTP_REASONS[error.status_code]
        return await refuse(request, RequestError(reason, message, headers=error.headers))

    @api.exception_handler(Exception)
    async def fail(request: Request, _error: Exception) -> Response:
        # A mistake of ours: uvicorn logs where it was made.
        return await refuse(request, RequestError("internal", "The server made a mistake. Report it, with its log."))

    return api


def _as_request_error(error: RequestValidationError) -> RequestError:
    """The first thing that is wrong with a body, without a word of what was in it."""
    first = error.errors()[0]
    kind, message = first["type"], str(first["msg"])
    field = ".".join(str(part) for part in first["loc"][1:])[:100]
    if not field:
        return RequestError("validation", "The body must be a JSON object with the fields that /docs names.")
    if kind == "extra_forbidden":
        message = "is no field of this server's, and leaving it out of account could give other vectors. Leave it out."
    elif kind == "missing":
        message = "is missing. Send it."
    return RequestError("empty" if kind == "empty" else "validation", f"`{field}`: {message}", param=field)


def _docs_page(api: FastAPI) -> str:
    rows = "".join(
        f"<tr><td><code>{method.upper()} {html.escape(path)}</code></td>"
        f"<td>{html.escape(operation.get('description', ''))}</td></tr>"
        for path, operations in api.openapi()["paths"].items()
        for method, operation in operations.items()
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>jina-rag serve</title>"
        "<style>body{font:1rem/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
        "td{vertical-align:top;padding:.3rem 1rem .3rem 0}</style>"
        f"<h1>jina-rag serve {__version__}</h1><p>{html.escape(api.description)} The whole description, for programs: "
        f"<a href=openapi.json>openapi.json</a>.</p><table>{rows}</table>"
    )
