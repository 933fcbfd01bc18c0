"""Our server is killed in the middle of an ingestion through it, and started again on the same port."""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from jina_rag import BackendError, Embedder
from jina_rag.backends.registry import make_backend
from jina_rag.testing import TINY_SPEC, random_texts, write_tiny_gguf
from tests.backends.processes import free_port, start_ours, wait_until_ready

Process = subprocess.Popen[bytes]


@pytest.fixture
def started() -> Iterator[list[Process]]:
    """Processes that end with the test."""
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def test_kill_9_during_an_ingestion_loses_nothing(tiny: Embedder, tiny_gguf: Path, started: list[Process]) -> None:
    texts = random_texts(600, words=50)
    port = free_port()
    started.append(start_ours(tiny_gguf, port))
    url = wait_until_ready(started[0], port, "/health")
    n_done, killed = 0, threading.Event()

    def kill_and_start_again(n_more: int) -> None:
        nonlocal n_done
        n_done += n_more
        if n_done > 100 and not killed.is_set():
            killed.set()
            started[0].kill()  # SIGKILL: nothing is finished, no connection is closed in order
            started[0].wait()
            started.append(start_ours(tiny_gguf, port))

    with Embedder(make_backend(url, TINY_SPEC), TINY_SPEC) as embedder:
        before = embedder.fingerprint
        result = embedder.embed(texts, "document", on_progress=kill_and_start_again)
        assert killed.is_set()
        assert embedder.fingerprint == before
    assert n_done == len(texts)
    here = tiny.embed(texts, "document")
    assert np.sum(result.vectors * here.vectors, axis=1).min() >= 0.9999
    assert result.token_counts == here.token_counts


def test_another_file_behind_the_same_address_is_noticed(
    tiny_gguf: Path, tmp_path: Path, started: list[Process]
) -> None:
    port = free_port()
    started.append(start_ours(tiny_gguf, port))
    url = wait_until_ready(started[0], port, "/health")
    with Embedder(make_backend(url, TINY_SPEC), TINY_SPEC) as embedder:
        embedder.embed_query("hello")
        started[0].kill()
        started[0].wait()
        started.append(start_ours(write_tiny_gguf(tmp_path / "other.gguf", seed=5), port))
        with pytest.raises(BackendError, match="now holds another model"):
            embedder.embed_query("hello")
