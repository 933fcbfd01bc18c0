"""HTTP/1.1 for uvicorn, with deadlines and a cap on connections.

uvicorn waits without end for a first request and for the rest of its headers, and takes any number of connections. With
httptools, which it prefers where that is installed, it also reads pipelined requests faster than it answers them and
drops the body of a request that asks for an upgrade (`Upgrade: h2c`). h11 reads one request at a time and ignores
upgrades, so the protocol here is h11's.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from jina_rag.connection_limits import ConnectionLimits

_log = logging.getLogger("jina_rag.server")

_MIN_PIECE_BYTES = 64
_SMALL_PIECES_ALLOWED = 10_000
_SECONDS_BETWEEN_WARNINGS = 60


class LimitedProtocol(H11Protocol):
    """One connection. Make a server's own class with `limited_protocol`."""

    limits: ClassVar[ConnectionLimits]
    waiting: ClassVar["_WaitingConnections"]

    def __init__(self, *args: Any, **settings: Any) -> None:  # noqa: ANN401 - as uvicorn calls it
        super().__init__(*args, **settings)
        self.conn = _Connection(h11.SERVER)
        self._header_deadline = _Deadline(self.loop)
        self._answer_deadline = _Deadline(self.loop)
        self._is_idle = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in H11Protocol
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait_for_request()
        if len(self.connections) > self.limits.max_connections:
            self.waiting.close_one_for(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._header_deadline.cancel()
        self._answer_deadline.cancel()
        self.waiting.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        if self._is_idle:
            self._is_idle = False
            self._wait_for_request()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE and self.conn.our_state is not h11.DONE:
            self._header_deadline.cancel()  # the headers are complete; the application minds the body
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self.waiting.remove(self)

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of one that was refused before its end."""
        super().on_response_complete()
        if not self.flow.write_paused:
            self._answer_deadline.cancel()
        if self.transport.is_closing() or self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            return
        self._is_idle = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        if self._is_idle:
            self.waiting.add(self)  # as long as `timeout_keep_alive` says
        else:
            self._wait_for_request()

    def pause_writing(self) -> None:
        """Give a client that does not read a while."""
        super().pause_writing()
        if not self._answer_deadline.is_running:
            self._answer_deadline.start(self.limits.answer_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on with an answer; the deadline is that of the whole of it."""
        super().resume_writing()
        if self.cycle is None or self.cycle.response_complete:
            self._answer_deadline.cancel()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, also one whose client never read the last answer."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, also in the middle of a request that is being answered."""
        if self.cycle and not self.cycle.response_complete:
            self.cycle.disconnected = True  # or the application's answer would follow this one
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.abort()

    def _wait_for_request(self) -> None:
        self.waiting.add(self)
        self._header_deadline.start(self.limits.header_timeout, self.transport.abort)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: the request is answered as if it had not asked."""


class _WaitingConnections:
    """Connections whose clients owe the server a request, in the order in which they are closed to make room."""

    def __init__(self, max_connections: int) -> None:
        self._max_connections = max_connections
        self._connections: dict[LimitedProtocol, None] = {}
        self._last_warning = float("-inf")

    def add(self, connection: LimitedProtocol) -> None:
        """Put a connection last."""
        self._connections.pop(connection, None)
        self._connections[connection] = None

    def remove(self, connection: LimitedProtocol) -> None:
        """Forget a connection: a whole request has come, or it is closed."""
        self._connections.pop(connection, None)

    def close_one_for(self, newcomer: LimitedProtocol) -> None:
        """Make room."""
        victim = next(iter(self._connections), newcomer)
        self._connections.pop(victim, None)
        victim.connections.discard(victim)  # its socket is closed in the loop's next turn
        victim.transport.abort()
        if time.monotonic() - self._last_warning > _SECONDS_BETWEEN_WARNINGS:
            self._last_warning = time.monotonic()
            _log.warning("connections_full", extra={"fields": {"connections": self._max_connections}})


class _Deadline:
    """A call in some seconds, unless it is cancelled before."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        return self._timer is not None

    def start(self, seconds: float, action: Callable[[], None]) -> None:
        self.cancel()
        self._timer = self._loop.call_later(seconds, action)

    def cancel(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


class _Connection(h11.Connection):
    """Refuses bodies in crumbs: each costs as much to parse as a whole segment."""

    _n_pieces = _n_bytes = 0

    def next_event(self) -> Any:  # noqa: ANN401 - as h11 has it
        event = super().next_event()
        if isinstance(event, h11.Data):
            self._n_pieces += 1
            self._n_bytes += len(event.data)
            if self._n_pieces > _SMALL_PIECES_ALLOWED and self._n_bytes < self._n_pieces * _MIN_PIECE_BYTES:
                raise h11.RemoteProtocolError("the body comes in pieces that are too small")
        elif isinstance(event, h11.Request):
            self._n_pieces = self._n_bytes = 0
        return event


def limited_protocol(limits: ConnectionLimits) -> type[LimitedProtocol]:
    """The class of a server's connections: what `uvicorn.Config(http=…)` takes.

    The cap is lowered to half of the files that this process may open, and that number is raised before as far as the
    system lets a program do so by itself.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        pass
    else:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 2 * limits.max_connections
        if soft < wanted and soft != resource.RLIM_INFINITY:
            soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            limits = replace(limits, max_connections=min(limits.max_connections, soft // 2))
    waiting = _WaitingConnections(limits.max_connections)
    return type("Connection", (LimitedProtocol,), {"limits": limits, "waiting": waiting})
