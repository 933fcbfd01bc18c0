"""`jina-rag serve` as a process of its own: what it says, what it refuses, and how it stops."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from jina_rag import Embedder
from jina_rag.backends.llama_cpp.reranker import LlamaCppReranker
from jina_rag.testing import random_texts

MODEL = "all-MiniLM-L6-v2"
HTTP = httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0))  # machines may be busy


@contextmanager
def serving(*options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """A server's process, its address and the lines that it writes."""
    command = [sys.executable, "-m", "jina_rag.cli", "serve", "--model", MODEL, "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})
    assert process.stderr
    lines: list[str] = []
    address = None
    while not address:
        line = process.stderr.readline()
        assert line, lines
        lines.append(line)
        address = re.search(r"at (http://\S+) \(", line)
    reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()))
    reader.start()
    try:
        yield process, address[1], lines
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        reader.join(10)
        process.stderr.close()


def test_it_serves_the_engine_that_is_named() -> None:
    with serving("--backend", "onnx?precision=int8", JINA_RAG_BACKEND="http://127.0.0.1:9") as (_, url, _):
        assert HTTP.get(f"{url}/info").json()["model_sha"].endswith("/onnx/int8")


def test_it_serves_and_finishes_what_it_took(minilm: Embedder, reranker: LlamaCppReranker) -> None:
    texts = random_texts(120, words=60)
    environment = {"JINA_RAG_SERVER_API_KEY": "a-key", "JINA_RAG_SERVER_MAX_CLIENT_BATCH_SIZE": "700"}
    with serving("--reranker", str(reranker.path), **environment) as (process, url, lines):
        headers = {"Authorization": "Bearer a-key"}
        assert HTTP.get(f"{url}/v1/models").status_code == 401
        assert HTTP.get(f"{url}/info", headers=headers).json()["max_client_batch_size"] == 700
        assert answer_to_upgrade(url) == 200
        ranked = HTTP.post(f"{url}/rerank", json={"query": "mars", "texts": ["ice", "rust"]}, headers=headers).json()
        assert {row["index"] for row in ranked} == {0, 1}
        assert HTTP.head(f"{url}/health").status_code == 200
        answers: list[httpx.Response] = []
        body = {"model": MODEL, "input": texts}
        client = threading.Thread(
            target=lambda: answers.append(HTTP.post(f"{url}/v1/embeddings", json=body, headers=headers, timeout=60))
        )
        client.start()
        while not _queue_tokens(url):
            assert client.is_alive()
        process.send_signal(signal.SIGTERM)
        refused = HTTP.post(f"{url}/embed", json={"inputs": "a"}, headers=headers)
        assert refused.status_code == 503
        client.join(60)
        assert process.wait(60) == 0
    assert answers[0].status_code == 200
    vectors = [item["embedding"] for item in answers[0].json()["data"]]
    np.testing.assert_allclose(vectors, minilm.embed_documents(texts), atol=1e-4)
    told = "".join(lines)
    assert "curl http://" in told
    assert "/docs" in told
    assert "tiny-reranker reranks at http://" in told
    assert "a-key" not in told
    events = [json.loads(line) for line in lines if line.startswith("{")]
    assert [event["event"] for event in events if event["event"] != "request"] == ["stopping"]
    assert {"path": "/v1/embeddings", "status": 200, "texts": 120}.items() <= events[-1].items()


def answer_to_upgrade(url: str) -> int:
    """The status that a request gets which asks for HTTP/2, as Java's client does."""
    address = httpx.URL(url)
    body = json.dumps({"inputs": "a"}).encode()
    lines = [
        "POST /embed HTTP/1.1",
        f"Host: {address.host}",
        "Authorization: Bearer a-key",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    ]
    with socket.create_connection((address.host, address.port or 80), timeout=30) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        return int(connection.recv(100).split()[1])


def _queue_tokens(url: str) -> float:
    return float(re.findall(r"^jina_rag_queue_tokens (\S+)", HTTP.get(f"{url}/metrics").text, re.MULTILINE)[0])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--host", "0.0.0.0"], "no API key is set"),
        (["--api-key-file", "missing"], "cannot be read from missing"),
        (["--reranker", "missing.gguf"], "no reranking model missing.gguf"),
        (["--reranker", "Qwen3-Reranker-0.6B"], "jina-rag download Qwen3-Reranker-0.6B"),
        (["--default-prompt", "passage"], "There is no default prompt 'passage'"),
        (["--host", "203.0.113.1", "--allow-without-key"], "cannot listen on 203.0.113.1"),
    ],
)
def test_it_refuses_to_start_and_says_why(options: list[str], told: str) -> None:
    command = [sys.executable, "-m", "jina_rag.cli", "serve", "--model", MODEL, *options]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1
    assert told in run.stderr
    assert "Traceback" not in run.stderr
