"""`jina-rag serve` under load: against the embedder in process, against llama-cpp-python's own server, and over time.

    python -m tests.benchmarks.server_load MODEL.gguf                 # 7 paired rounds, then 5 minutes of load
    python -m tests.benchmarks.server_load MODEL.gguf --rounds 3 --minutes 1

MODEL.gguf is a file of jina-embeddings-v5-text-small, or of its shape (see small_shape.py). In a round, 32 clients send
the same passages of mixed lengths, one to four a request, to each server in turn; in process they are one call. Then
31 clients ingest without a pause while one asks a question every half second, and the server's memory is read.
"""

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.benchmarks.long_text import say
from tests.benchmarks.small_shape import SPEC

CLIENTS = 32
LONGEST = 480  # tokens: llama-cpp-python's server cuts at its batch of 512 without a word
PEERS = ("in-process", "llama_cpp.server")
OURS, PEER = 18_451, 18_452
MODEL = f"{SPEC.name}:none"  # the texts carry their prompts, for the other server's sake
QUESTION = "Query: which planet is red?"


def passages(n_tokens: int, seed: int) -> list[str]:
    """Passages of mixed lengths, most of them short, of so many tokens together in the vocabulary of small_shape.py."""
    rng = np.random.default_rng(seed)
    texts: list[str] = []
    while n_tokens > 0:
        length = int(min(LONGEST, 20 + rng.lognormal(4.2, 0.9)))
        texts.append(SPEC.prompts.document + "".join(rng.choice(list("bcdfghjklmnpqrstvwxz"), length)))
        n_tokens -= length
    return texts


def in_requests(texts: Sequence[str], seed: int) -> list[list[str]]:
    """The same passages, one to four a request."""
    rng = np.random.default_rng(seed)
    requests, start = [], 0
    while start < len(texts):
        size = int(rng.integers(1, 5))
        requests.append(list(texts[start : start + size]))
        start += size
    return requests


def post(port: int, texts: Sequence[str]) -> dict[str, Any]:
    """One request; anything but status 200 raises."""
    body = json.dumps({"input": texts, "model": MODEL}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/embeddings", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as answer:
        parsed: dict[str, Any] = json.load(answer)
        return parsed


def load(port: int, texts: Sequence[str], seed: int) -> None:
    """Have all clients send the passages, as fast as they are answered."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        for answer in pool.map(lambda request: (post(port, request), len(request)), in_requests(texts, seed)):
            assert len(answer[0]["data"]) == answer[1]


@contextmanager
def our_server(path: Path) -> Iterator[subprocess.Popen[str]]:
    """`jina-rag serve` over a file."""
    with _process([sys.executable, "-m", "tests.benchmarks.server_load", str(path), "--serve"], OURS) as process:
        yield process


@contextmanager
def peer_server(path: Path) -> Iterator[subprocess.Popen[str]]:
    """llama-cpp-python's server, with the batch size that it is fastest with."""
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(path), "--embedding", "true"]
    command += ["--n_ctx", "512", "--n_batch", "512", "--n_threads", "2", "--n_threads_batch", "2"]
    command += ["--port", str(PEER), "--kv_overrides", "qwen3.pooling_type=int:3"]
    with _process(command, PEER) as process:
        yield process


@contextmanager
def in_process(path: Path) -> Iterator[Callable[[Sequence[str]], None]]:
    """The embedder in a process of its own, so that its threads and memory are too."""
    command = [sys.executable, "-m", "tests.benchmarks.server_load", str(path), "--worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout

        def embed(texts: Sequence[str]) -> None:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps(texts) + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{len(texts)}\n"

        embed(["ready?"])
        yield embed
        process.stdin.close()


@contextmanager
def _process(command: list[str], port: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    try:
        for _ in range(600):
            try:
                post(port, ["ready?"])
                break
            except OSError:
                if process.poll() is not None:
                    raise RuntimeError(f"{command} has ended; run it by hand to see why") from None
                time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(60)


def paired_rounds(path: Path, others: Sequence[str], n_rounds: int, n_tokens: int) -> None:
    """Tokens a second of each way, and the ratio of ours to the others in the same round."""
    ways: dict[str, Callable[[Sequence[str], int], object]] = {}
    with ExitStack() as stack:
        stack.enter_context(our_server(path))
        ways["jina-rag serve"] = lambda texts, seed: load(OURS, texts, seed)
        if "in-process" in others:
            embed = stack.enter_context(in_process(path))
            ways["in-process"] = lambda texts, _: embed(texts)
        if "llama_cpp.server" in others:
            stack.enter_context(peer_server(path))
            ways["llama_cpp.server"] = lambda texts, seed: load(PEER, texts, seed)
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(n_rounds):
            texts = passages(n_tokens, seed=number)
            size = sum(map(len, texts))
            for name in list(ways)[:: 1 if number % 2 else -1]:
                started = time.perf_counter()
                ways[name](texts, number)
                rates[name].append(size / (time.perf_counter() - started))
            say(f"round {number + 1}: " + ", ".join(f"{name} {rate[-1]:.0f}/s" for name, rate in rates.items()))
    for name in others:
        ratios = [ours / theirs for ours, theirs in zip(rates["jina-rag serve"], rates[name], strict=True)]
        median = statistics.median(ratios)
        say(f"jina-rag serve / {name}: median {median:.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")


def sustained(path: Path, minutes: float) -> None:
    """Ingest without a pause, ask between, watch the memory."""
    requests = cycle(in_requests(passages(40_000, seed=99), 99))
    lock, stop = threading.Lock(), threading.Event()
    counts = {"requests": 0, "characters": 0}
    questions: list[float] = []
    memory: list[float] = []

    def ingest() -> None:
        while not stop.is_set():
            with lock:
                texts = next(requests)
            post(OURS, texts)
            with lock:
                counts["requests"] += 1
                counts["characters"] += sum(map(len, texts))

    with our_server(path) as server:
        alone = [_seconds(lambda: post(OURS, [QUESTION])) for _ in range(20)]
        process = psutil.Process(server.pid)
        with ThreadPoolExecutor(CLIENTS - 1) as pool:
            futures = [pool.submit(ingest) for _ in range(CLIENTS - 1)]
            started = time.monotonic()
            while time.monotonic() - started < 60 * minutes:
                time.sleep(0.5)
                questions.append(_seconds(lambda: post(OURS, [QUESTION])))
                memory.append(process.memory_info().rss / 1e6)
            stop.set()
            for future in futures:
                future.result()
        seconds = time.monotonic() - started
    quarter = len(memory) // 4
    say(f"{minutes} minutes, {CLIENTS} clients: {counts['requests']} requests, none failed, ")
    say(f"  {counts['characters'] / seconds:.0f} tokens/s")
    say(f"  a question alone: {_told(alone)}; while the others ingest: {_told(questions)} ({len(questions)} asked)")
    say(
        f"  memory: {max(memory):.0f} MB at most, {statistics.mean(memory[-quarter:]):.0f} MB in the last quarter "
        f"and {statistics.mean(memory[quarter : 2 * quarter]):.0f} MB in the second"
    )


def _seconds(job: Callable[[], object]) -> float:
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def _told(seconds: Sequence[float]) -> str:
    return f"median {1000 * statistics.median(seconds):.0f} ms, p95 {1000 * np.quantile(seconds, 0.95):.0f} ms"


def serve(path: Path) -> None:
    """Be the server."""
    from jina_rag import Embedder
    from jina_rag.server.app import run
    from jina_rag.server.settings import ServerSettings

    run(Embedder.from_file(path, SPEC), ServerSettings(port=OURS), on_ready=say)


def work(path: Path) -> None:
    """Be the process of its own: texts come as JSON, a list on a line."""
    from jina_rag import Embedder

    embedder = Embedder.from_file(path, SPEC)
    for line in sys.stdin:
        texts = json.loads(line)
        say(str(len(embedder.backend.embed(texts, max_tokens=embedder.max_input_tokens).vectors)))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--against", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument("--tokens", type=int, default=12_000, help="tokens in a round")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.model)
    elif arguments.worker:
        work(arguments.model)
    else:
        if arguments.rounds:
            paired_rounds(arguments.model, arguments.against, arguments.rounds, arguments.tokens)
        if arguments.minutes:
            sustained(arguments.model, arguments.minutes)


if __name__ == "__main__":
    main()
