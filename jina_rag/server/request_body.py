"""What the routes of both APIs have of the connection: the body, which the guard has read and parsed, and the log."""

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Scope

from jina_rag.server.errors import RequestError
from jina_rag.server.service import Result

DOCUMENT = "jina_rag.document"
"""Where the parsed body is in a request's scope."""

_MAX_BYTES_BETWEEN_STRINGS = 1024 * 1024


def parse_json(body: bytes, *, max_strings: int) -> Any:  # noqa: ANN401 - whatever was sent
    """Parse a body after a look at its size: millions of small values take seconds and a hundred times its memory.

    Args:
        body: JSON in UTF-8.
        max_strings: How many strings it may hold, the names of its fields included.

    Raises:
        RequestError: it holds more, or is no JSON.
    """
    without_escapes = body.replace(rb"\\", b"").replace(rb"\"", b"")
    n_strings = without_escapes.count(b'"') // 2
    if n_strings > max_strings:
        raise RequestError(
            "validation", f"The body holds {n_strings:,} strings; it may have {max_strings:,}. Send fewer at a time."
        )
    if sum(map(len, without_escapes.split(b'"')[::2])) > _MAX_BYTES_BETWEEN_STRINGS:
        raise RequestError("validation", "The body holds too much that is no text. Send texts, and fewer at a time.")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(
            "validation", "The body is not JSON that can be read. Check its quotes, brackets and encoding (UTF-8)."
        ) from error


class ParsedRoute(APIRoute):
    """A route that takes the body as the guard has parsed it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler over such a request."""
        handle = super().get_route_handler()

        async def handle_parsed(request: Request) -> Response:
            return await handle(_ParsedRequest(request.scope, request.receive))

        return handle_parsed


class _ParsedRequest(Request):
    async def body(self) -> bytes:
        return b"parsed"

    async def json(self) -> Any:  # noqa: ANN401 - as in Request
        return self.scope[DOCUMENT]


def log_result(scope: Scope, result: Result) -> None:
    """Leave the figures of a request for the log."""
    scope["jina_rag"].update(
        texts=len(result.token_counts),
        tokens=sum(result.token_counts),
        truncated=len(result.truncated),
        **{f"{stage}_ms": round(1000 * seconds, 1) for stage, seconds in result.seconds.items() if stage != "total"},
    )
