"""What the routes of both APIs need of the connection."""

from collections.abc import Awaitable, Callable

from fastapi import Request

from jina_rag.server.service import Embedded


def disconnection(request: Request) -> Callable[[], Awaitable[None]]:
    """A wait for the client to hang up; the request's body must have been read."""

    async def wait() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return wait


def note(request: Request, embedded: Embedded) -> None:
    """Leave the figures of a request for the log."""
    request.scope["jina_rag"].update(
        texts=len(embedded.token_counts),
        tokens=sum(embedded.token_counts),
        truncated=len(embedded.truncated),
        **{f"{stage}_ms": round(1000 * seconds, 1) for stage, seconds in embedded.seconds.items() if stage != "total"},
    )
