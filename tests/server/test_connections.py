"""Connections that want nothing good: each is closed in time, costs little memory, and keeps nobody out."""

import gc
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psutil
import pytest

from jina_rag.server.settings import ServerSettings
from jina_rag.testing import fake_embedder
from tests.server.conftest import RunningServer, running_server, wait_until

HEAD = b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@contextmanager
def connected(server: RunningServer, *, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.socket() as connection:
        connection.settimeout(10)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.connect((host, int(port)))
        yield connection


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed it, or does within the connection's timeout."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    except (TimeoutError, BlockingIOError):
        return False
    return True


def answers_normally(server: RunningServer) -> bool:
    return server.client.post("/embed", json={"inputs": "a"}).status_code == 200


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(b"", id="silent"),
        pytest.param(b"GET /health HTTP/1.1\r\nHost: loc", id="half of the headers"),
        pytest.param(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET", id="half of the second request's"),
        pytest.param(HEAD + b"Content-Length: 9000000000\r\n\r\n{", id="the rest of a refused body"),
    ],
)
def test_a_client_that_does_not_go_on_is_disconnected(beginning: bytes) -> None:
    settings = ServerSettings(header_timeout=0.2)
    with running_server(fake_embedder(), settings) as server, connected(server) as connection:
        connection.sendall(beginning)
        assert is_closed(connection)


def test_headers_that_come_byte_by_byte_have_one_deadline() -> None:
    settings = ServerSettings(header_timeout=0.3)
    with running_server(fake_embedder(), settings) as server, connected(server) as connection:
        for _ in range(200):
            try:
                connection.sendall(b"x")
            except OSError:
                return
            time.sleep(0.02)
        pytest.fail("it went on reading")


def test_the_connections_that_wait_longest_make_room(caplog: pytest.LogCaptureFixture) -> None:
    settings = ServerSettings(max_connections=8)
    with (
        caplog.at_level(logging.WARNING, "jina_rag.server"),
        running_server(fake_embedder(), settings) as server,
        ExitStack() as stack,
    ):
        silent = []
        for _ in range(30):
            silent.append(stack.enter_context(connected(server)))
            assert answers_normally(server)
        assert all(is_closed(connection) for connection in silent[:20])
        silent[-1].settimeout(0)
        assert not is_closed(silent[-1])
        full = [record for record in caplog.records if record.getMessage() == "connections_full"]
        assert len(full) == 1


def test_an_answer_must_be_taken() -> None:
    body = json.dumps({"inputs": ["a"] * 2000}).encode()
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with (
        running_server(fake_embedder(), ServerSettings(answer_timeout=0.3)) as server,
        connected(server, receive_buffer=4096) as connection,
    ):
        connection.sendall(request * 8)  # the answers are more than the system's own buffers hold
        address = connection.getsockname()
        wait_until(lambda: not any(other.raddr == address for other in psutil.Process().net_connections("tcp")))
        wait_until(lambda: server.application.service.budget.held == server.application.guard.n_requests == 0)
        assert is_closed(connection)


def test_pipelined_requests_are_read_one_at_a_time() -> None:
    with running_server(fake_embedder()) as server, connected(server) as connection:
        assert answers_normally(server)
        before = resident_bytes()
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n" * 400_000)
        assert resident_bytes() - before < 20e6
        assert answers_normally(server)


def test_a_body_in_crumbs_is_refused() -> None:
    with running_server(fake_embedder()) as server, connected(server) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 10_100)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")
        assert is_closed(connection)


@pytest.mark.parametrize("is_answered_before", [False, True])
def test_a_damaged_body_ends_the_connection_alone(caplog: pytest.LogCaptureFixture, is_answered_before: bool) -> None:
    settings = ServerSettings(api_keys=("a-key",))
    with running_server(fake_embedder(), settings) as server, connected(server) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + (b"" if is_answered_before else b"ZZ\r\n"))
        assert connection.recv(1000).startswith(b"HTTP/1.1 401 " if is_answered_before else b"HTTP/1.1 400 ")
        if is_answered_before:
            connection.sendall(b"ZZ\r\n")
        assert is_closed(connection)
        wait_until(lambda: server.application.guard.n_requests == 0)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_the_oldest_unfinished_bodies_make_room_for_others() -> None:
    """Bodies that never end hold all the bytes that requests may have together."""
    settings = ServerSettings(max_body_bytes=100_000, max_bytes_in_flight=250_000)
    with running_server(fake_embedder(), settings) as server, ExitStack() as stack:
        unfinished = []
        for n_held in (90_000, 180_000, 180_000, 180_000):
            unfinished.append(stack.enter_context(connected(server)))
            unfinished[-1].sendall(HEAD + b"Content-Length: 95000\r\n\r\n" + b"x" * 90_000)
            wait_until(lambda expected=n_held: server.application.service.budget.held == expected)  # type: ignore[misc]
        assert [connection.recv(1000)[9:12] for connection in unfinished[:2]] == [b"408", b"408"]
        assert server.client.post("/embed", json={"inputs": "a" * 80_000, "truncate": True}).status_code == 200


def resident_bytes() -> int:
    gc.collect()
    return int(psutil.Process(os.getpid()).memory_info().rss)
