"""Malformed and hostile requests: never a 5xx, never a crash, memory level, and the server still answers after.

`python -m tests.server.test_hostile 10000` runs as many against a server of its own.
"""

import gc
import json
import os
import random
import socket
import string
import sys
from collections import Counter
from collections.abc import Callable

import httpx
import psutil
import pytest

from jina_rag.backends.llama_cpp.reranker import LlamaCppReranker
from jina_rag.testing import fake_embedder
from tests.server.conftest import RunningServer, running_server, wait_until

PATHS = (
    "/v1/embeddings", "/embeddings", "/embed", "/", "/similarity", "/tokenize", "/embed_all", "/v1/models", "/x",
    "/v1/rerank", "/v2/rerank", "/rerank",
)  # fmt: skip
FIELDS = (
    "input", "inputs", "model", "dimensions", "encoding_format", "user", "prompt_name", "input_type", "task",
    "truncate", "normalize", "truncation_direction", "parameters", "add_special_tokens", "source_sentence",
    "sentences", "query", "documents", "texts", "top_n", "return_documents", "raw_scores", "__class__",
)  # fmt: skip
TEXTS = (
    "",
    "a",
    "\x00",
    "\ud800",
    "Query: ",
    "e\u0301" * 50,
    "😀" * 99,
    "a" * 50_000,
    "\u202e",
    "<|endoftext|>",
    "' OR 1=1",
)


def random_value(rng: random.Random, depth: int = 0) -> object:
    kinds: list[Callable[[], object]] = [
        lambda: rng.choice(TEXTS),
        lambda: rng.choice([None, True, False, 0, -1, 1, 16, 64, 10**30, 1.5, 1e308, float("inf"), float("nan")]),
        lambda: rng.choice(["fake", "fake:query", "float", "base64", "Left", "query", "none"]),
    ]
    if depth < 4:
        kinds += [
            lambda: [random_value(rng, depth + 1) for _ in range(rng.randrange(5))],
            lambda: {rng.choice(FIELDS): random_value(rng, depth + 1) for _ in range(rng.randrange(4))},
        ]
    return rng.choice(kinds)()


def random_body(rng: random.Random) -> bytes:
    good = json.dumps({"model": "fake", rng.choice(["input", "inputs"]): rng.choice(TEXTS)}).encode()
    makers: list[Callable[[], bytes]] = [
        lambda: json.dumps({field: random_value(rng) for field in rng.sample(FIELDS, rng.randrange(6))}).encode(),
        lambda: json.dumps({"model": "fake", "input": random_value(rng)}).encode(),
        lambda: json.dumps({"inputs": random_value(rng), rng.choice(FIELDS): random_value(rng)}).encode(),
        lambda: json.dumps({"query": rng.choice(TEXTS), "texts": random_value(rng)}).encode(),
        lambda: json.dumps({"query": rng.choice(TEXTS), "documents": [{"text": random_value(rng)}] * 9}).encode(),
        lambda: json.dumps({"query": rng.choice(TEXTS), rng.choice(["texts", "documents"]): list(TEXTS)}).encode(),
        lambda: good[: rng.randrange(len(good))],
        lambda: bytes(rng.randrange(256) for _ in range(rng.randrange(200))),
        lambda: b"[" * rng.choice([10, 1000, 100_000]),
        lambda: b'{"inputs":' * 2000 + b"1" + b"}" * 2000,
        lambda: b'{"input": ' + b"9" * 5000 + b"}",
        lambda: json.dumps({"inputs": ["a"] * rng.choice([2048, 2049, 50_000])}).encode(),
        lambda: json.dumps({"model": "fake", "input": list(range(20_000))}).encode(),
        lambda: good.replace(b'"fake"', b'"fake", "model": "gpt"'),
        lambda: b"\xef\xbb\xbf" + good,
        lambda: good.decode().encode("utf-16"),
    ]
    return rng.choice(makers)()


def send_one(client: httpx.Client, rng: random.Random) -> int:
    method = rng.choices(["POST", "GET", "PUT", "DELETE", "OPTIONS", "HEAD"], [20, 1, 1, 1, 1, 1])[0]
    headers = {
        "Content-Type": rng.choices(["application/json", "text/plain", "application/x;\xff", ""], [20, 1, 1, 1])[0]
    }
    name = "".join(rng.choices(string.ascii_letters, k=8))
    path = rng.choice([*PATHS, *PATHS, f"/{name}/..%2f..", f"/v1/models/{name}", "/embed/../embed", "/embed?x=%00"])
    raw = [(key.encode(), value.encode("latin-1")) for key, value in headers.items()]
    return client.request(method, path, content=random_body(rng), headers=raw).status_code


def send_raw(url: str, rng: random.Random) -> None:
    """What no HTTP client would send."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(
            rng.choice(
                [
                    b"\x16\x03\x01\x02\x00",
                    b"GET / HTTP/9.9\r\n\r\n",
                    b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
                    b"POST /embed HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
                    b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
                    b"GET /" + b"a" * 100_000,
                    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000,
                ]
            )
        )


def attack(server: RunningServer, n_requests: int, seed: int = 0) -> Counter[int]:
    rng = random.Random(seed)
    statuses: Counter[int] = Counter()
    for number in range(n_requests):
        if number % 25 == 0:
            send_raw(server.url, rng)
        status = send_one(server.client, rng)
        assert status < 500, status
        statuses[status] += 1
    return statuses


def resident_bytes() -> int:
    gc.collect()
    return int(psutil.Process(os.getpid()).memory_info().rss)


def test_nothing_hostile_brings_it_down(reranker: LlamaCppReranker) -> None:
    with running_server(fake_embedder(), reranker=reranker) as server:
        attack(server, 300)
        before = resident_bytes()
        statuses = attack(server, 700, seed=1)
        grown = resident_bytes() - before
        assert {200, 400, 404, 405, 415, 422} <= set(statuses), statuses
        assert grown < 40e6, f"{grown / 1e6:.0f} MB"
        wait_until(lambda: server.figure("jina_rag_queue_tokens") == server.application.service.budget.held == 0)
        good = server.client.post("/v1/embeddings", json={"model": "fake", "input": "still there"})
        assert good.status_code == 200


@pytest.mark.parametrize("text", [text for text in TEXTS if text != "\ud800"])
def test_odd_texts_have_the_vectors_that_they_have_in_process(server: RunningServer, text: str) -> None:
    answer = server.client.post("/embed", json={"inputs": text, "prompt_name": "document"})
    if answer.status_code == 200:
        import numpy as np

        expected = server.application.service.embedder.embed_documents([text])
        np.testing.assert_allclose(answer.json(), expected, atol=1e-6)
    else:
        assert "model reads" in answer.json()["error"]


if __name__ == "__main__":
    with running_server(fake_embedder()) as running:
        for part in range(10):
            counts = attack(running, int(sys.argv[1]) // 10, seed=part)
            sys.stdout.write(f"{resident_bytes() / 1e6:.1f} MB {dict(sorted(counts.items()))}\n")
