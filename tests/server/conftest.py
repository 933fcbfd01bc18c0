"""A real server on a loopback port, in a thread of the test."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from jina_rag import Embedder
from jina_rag.backends.base import BackendResult
from jina_rag.backends.llama_cpp.reranker import LlamaCppReranker
from jina_rag.server.app import Application, GracefulServer, uvicorn_config
from jina_rag.server.reranking import ServedReranker
from jina_rag.server.settings import ServerSettings
from jina_rag.testing import FAKE_SPEC, FakeBackend, fake_embedder
from tests.backends import tiny_reranker


@dataclass(frozen=True)
class RunningServer:
    url: str
    application: Application
    client: httpx.Client

    def figure(self, name: str) -> float:
        """The sum of a Prometheus figure over its labels."""
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


class HeldBackend(FakeBackend):
    """Remembers its calls; holds each back until it may go on, and fails for one text."""

    def __init__(self, failing: str = "bad") -> None:
        super().__init__()
        self.failing = failing
        self.calls: list[list[str]] = []
        self.may_go_on = threading.Event()
        self.has_call = threading.Semaphore(0)

    def embed(self, texts: Sequence[str], **settings: Any) -> BackendResult:
        self.calls.append(list(texts))
        self.has_call.release()
        assert self.may_go_on.wait(10)
        if self.failing in texts:
            raise RuntimeError(f"cannot embed {texts}")
        return super().embed(texts, **settings)


@contextmanager
def running_server(
    embedder: Embedder, settings: ServerSettings | None = None, reranker: ServedReranker | None = None
) -> Iterator[RunningServer]:
    application = Application(embedder, settings, reranker)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = GracefulServer(application, uvicorn_config(application))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        with httpx.Client(base_url=url, timeout=60) as client:
            yield RunningServer(url, application, client)
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()


@contextmanager
def held_server(
    settings: ServerSettings | None = None, *, failing: str = "bad"
) -> Iterator[tuple[RunningServer, HeldBackend]]:
    """A server whose engine waits to be let go."""
    backend = HeldBackend(failing)
    with running_server(Embedder(backend, FAKE_SPEC), settings) as server:
        try:
            yield server, backend
        finally:
            backend.may_go_on.set()


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that another thread brings about."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """Over the engine that needs no model."""
    with running_server(fake_embedder()) as running:
        yield running


@pytest.fixture(scope="module")
def tiny_server(tiny: Embedder) -> Iterator[RunningServer]:
    """Over a real, tiny decoder with prompts."""
    with running_server(tiny) as running:
        yield running


@pytest.fixture(scope="session")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> LlamaCppReranker:
    """A real, tiny cross-encoder that gives logits and reads 48 tokens."""
    return LlamaCppReranker(tiny_reranker.write(tmp_path_factory.mktemp("reranker") / "tiny-reranker.gguf"))


@pytest.fixture(scope="module")
def reranking_server(reranker: LlamaCppReranker) -> Iterator[RunningServer]:
    """Over that, and the engine that needs no model."""
    with running_server(fake_embedder(), reranker=reranker) as running:
        yield running
