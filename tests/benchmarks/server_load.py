"""`jina-rag serve` under load: beside the other ways to serve the same file in paired rounds, and over minutes.

    python -m tests.benchmarks.server_load FOLDER --part rounds --llama-server PATH --minutes 7   # until it says 7 of 7
    python -m tests.benchmarks.server_load FOLDER --part load                                     # 5 minutes
    python -m tests.benchmarks.server_load FOLDER --part load --server llama-server-8 --llama-server PATH
    python -m tests.benchmarks.server_load FOLDER --part report

FOLDER holds small-shape-Q4_K_M.gguf (see small_shape.py; it is made if it is not there) and server_load.json, in which
rounds and runs are kept, so every command may be given alone and `--part rounds` as often as it takes.

Rounds: 32 clients send the same passages of mixed lengths, one to four a request, to each server in turn; in process
they are one call. Each server is a process of its own with two threads, as in peers.py.

Load: 31 clients ingest without a pause while one asks a question every half second; latencies, errors and memory are
read from outside, so the other servers can be measured alike.

What the others are given is the best for each that was found in its source:

- llama-cpp-python's server holds one text at a time and computes one request at a time, so there is nothing to choose
  but the batch: 512, with which `Llama.embed` is fastest.
- llama-server: `--pooling last`, which lets it cut a text between batches; `-b 512 -ub 512`, as large as ours. A slot
  is a text being computed, so the slots decide how full its batches are, and what finds no slot waits. `--kv-unified`,
  because separate streams cut a batch into pieces of equal length. But in the unified cache attention runs over all
  cells up to the last one used, idle slots' included, so more slots than fill a batch make it slower: it is started
  once with 8 slots, which fill 512 tokens of these passages, and once with one for each client. Each slot has room for
  the longest passage.
"""

import argparse
import statistics
import sys
import threading
import time
import urllib.error
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.benchmarks.long_text import LETTERS, say
from tests.benchmarks.peer_report import table
from tests.benchmarks.peer_worker import THREADS, load_model, tokenize
from tests.benchmarks.peers import ROUNDS, Sample, Store, Way, llama_cpp_way, run
from tests.benchmarks.servers import Server, llama_cpp_python_server, llama_server
from tests.benchmarks.small_shape import SPEC, small_shape_gguf

CLIENTS = 32
LONGEST = 480  # tokens without the prompt: llama-cpp-python's server cuts at its batch of 512 without a word
SLOTS = (8, CLIENTS)
OURS = "jina-rag serve"
QUESTION = "Query: which planet is red?"
PAUSE = 0.5  # seconds between questions


def passages(path: Path, n_tokens: int, seed: int = 0) -> Sample:
    """Passages of mixed lengths, most of them short, of about so many tokens together."""
    rng = np.random.default_rng(seed)
    vocabulary = load_model(path, vocab_only=True)
    texts: list[str] = []
    tokens: list[list[int]] = []
    while sum(map(len, tokens)) < n_tokens:
        length = int(min(LONGEST, 20 + rng.lognormal(4.2, 0.9)))
        texts.append(SPEC.prompts.document + "".join(rng.choice(list(LETTERS), length)))
        tokens.append(tokenize(vocabulary, texts[-1]))
    return Sample(texts, tokens)


def in_requests(sample: Sample, seed: int = 0) -> list[Sample]:
    """The same passages, one to four a request."""
    rng = np.random.default_rng(seed)
    requests, start = [], 0
    while start < len(sample.texts):
        end = start + int(rng.integers(1, 5))
        requests.append(Sample(sample.texts[start:end], sample.tokens[start:end]))
        start = end
    return requests


def servers(path: Path, program: Path | None, longest: int) -> dict[str, Callable[[], Server]]:
    """How each is started, ours first; the longest passage has so many tokens."""
    ours = [sys.executable, "-m", "tests.benchmarks.server_load", str(path), "--serve"]
    found = {
        OURS: lambda: Server(ours, model=f"{SPEC.name}:none"),  # the texts carry their prompts, for the others' sake
        "llama_cpp.server": lambda: llama_cpp_python_server(path),
    }
    if program is not None:
        for slots in SLOTS:
            found[f"llama-server-{slots}"] = partial(llama_server, program, path, slots=slots, longest=longest)
    return found


def server_way(name: str, start: Callable[[], Server]) -> Way:
    """A server, asked by all clients at once, each as soon as it has its answer."""

    def ask(server: Any, sample: Sample) -> float:
        requests = [request.texts for request in in_requests(sample)]
        started = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            n_vectors = sum(map(len, pool.map(server.embed, requests)))
        seconds = time.perf_counter() - started
        if n_vectors != len(sample.texts):
            raise RuntimeError(f"{name} gave {n_vectors} vectors for {len(sample.texts)} texts")
        return seconds

    def vector(server: Any, text: str) -> Sequence[float]:
        numbers: list[float] = server.embed([text])[0]
        return numbers

    return Way(name, name, start, ask, vector)


def rounds(path: Path, arguments: argparse.Namespace, store: Store) -> None:
    """Add paired rounds until there are enough or the time is up."""
    sample = passages(path, arguments.tokens)
    starts = servers(path, arguments.llama_server, max(map(len, sample.tokens)))
    ways = [server_way(name, start) for name, start in starts.items()]
    ways.insert(1, llama_cpp_way("jina_rag", path, "in process"))
    if arguments.against:
        ways = [way for way in ways if way.name in {OURS, *arguments.against}]
    key = "rounds " + ", ".join(way.name for way in ways)
    deadline = time.monotonic() + 60 * arguments.minutes
    run(key, ways, sample, store, rounds=arguments.rounds, deadline=deadline)


class Load:
    """Clients that ingest without a pause, and one that asks between; what they saw."""

    def __init__(self, server: Server, requests: Sequence[Sample]) -> None:
        self._server = server
        self._requests = cycle(requests)
        self._lock, self._stop = threading.Lock(), threading.Event()
        self.n_requests = self.n_tokens = 0
        self.errors: Counter[str] = Counter()
        self.questions: list[float] = []
        self.memory: list[float] = []

    def run(self, seconds: float) -> float:
        """Load the server for so long; gives the seconds that it took until the last answer."""
        process = psutil.Process(self._server.child.pid)
        started = time.monotonic()
        with ThreadPoolExecutor(CLIENTS - 1) as pool:
            for _ in range(CLIENTS - 1):
                pool.submit(self._ingest)
            while time.monotonic() - started < seconds:
                time.sleep(PAUSE)
                self._ask()
                self.memory.append(process.memory_info().rss / 1e6)
            self._stop.set()
        return time.monotonic() - started

    def _ingest(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                request = next(self._requests)
            if self._succeeds(request.texts):
                with self._lock:
                    self.n_requests += 1
                    self.n_tokens += sum(map(len, request.tokens))

    def _ask(self) -> None:
        started = time.perf_counter()
        if self._succeeds([QUESTION]):
            self.questions.append(time.perf_counter() - started)

    def _succeeds(self, texts: Sequence[str]) -> bool:
        try:
            wrong = "" if len(self._server.embed(texts)) == len(texts) else "wrong number of vectors"
        except urllib.error.HTTPError as error:
            wrong = f"status {error.code}"
        except OSError as error:
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            with self._lock:
                self.errors[wrong] += 1
            time.sleep(0.1)
        return not wrong


def load(path: Path, arguments: argparse.Namespace, store: Store) -> None:
    """Ingest without a pause, ask between, watch the memory."""
    sample = passages(path, 40_000, seed=99)
    starts = servers(path, arguments.llama_server, max(map(len, sample.tokens)))
    if arguments.server not in starts:
        raise SystemExit(f"there is no {arguments.server!r}; there are {', '.join(starts)} (see --llama-server)")
    with closing(starts[arguments.server]()) as server:
        alone = [_seconds(lambda: server.embed([QUESTION])) for _ in range(20)]
        under_load = Load(server, in_requests(sample))
        seconds = under_load.run(60 * arguments.load_minutes)
    quarter = max(1, len(under_load.memory) // 4)
    figures = {
        "minutes": round(seconds / 60, 2),
        "requests": under_load.n_requests,
        "errors": dict(under_load.errors),
        "tokens/s": round(under_load.n_tokens / seconds),
        "question alone": quantiles(alone),
        "question during the load": quantiles(under_load.questions),
        "questions": len(under_load.questions),
        "memory MB": {
            "most": round(max(under_load.memory)),
            "second quarter": round(statistics.mean(under_load.memory[quarter : 2 * quarter] or under_load.memory)),
            "last quarter": round(statistics.mean(under_load.memory[-quarter:])),
        },
    }
    store.keep(f"load {arguments.server}", figures)


def quantiles(seconds: Sequence[float]) -> dict[str, int]:
    """Milliseconds."""
    return {f"p{share}": round(1000 * np.percentile(seconds, share)) for share in (50, 95, 100)} if seconds else {}


def told(name: str, figures: dict[str, Any]) -> str:
    """A run under load, one figure a line."""
    return "\n".join(
        [f"{name} under load, {CLIENTS} clients:", *(f"  {key}: {value}" for key, value in figures.items())]
    )


def _seconds(job: Callable[[], object]) -> float:
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def report(store: Store) -> None:
    """Say what is known."""
    for key, group in store.groups.items():
        kind, _, name = key.partition(" ")
        say(table("32 clients", group) if kind == "rounds" else told(name, group))
        say("")


def serve(path: Path, port: int) -> None:
    """Be our server: `jina-rag serve`, but over a file whose name is no published model's."""
    from jina_rag import Embedder, LlamaCppOptions
    from jina_rag.server.app import run as run_server
    from jina_rag.server.settings import ServerSettings

    embedder = Embedder.from_file(path, SPEC, options=LlamaCppOptions(n_threads=THREADS))
    run_server(embedder, ServerSettings(port=port), on_ready=say)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the GGUF file and the figures are")
    parser.add_argument("--part", nargs="+", choices=["rounds", "load", "report"], default=["rounds", "load"])
    parser.add_argument("--llama-server", type=Path, metavar="PATH", help="compare with this program too")
    parser.add_argument("--against", nargs="+", metavar="WAY", help="only these, by their names in the table")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--tokens", type=int, default=12_000, help="in a round")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no round that would end later")
    parser.add_argument("--server", default=OURS, help="which one to load")
    parser.add_argument("--load-minutes", type=float, default=5)
    parser.add_argument("--fresh", action="store_true", help="forget the rounds so far")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.folder, arguments.port)
        return
    store = Store(arguments.folder / "server_load.json")
    if arguments.fresh:
        store.groups = {key: group for key, group in store.groups.items() if not key.startswith("rounds")}
    path = small_shape_gguf(arguments.folder, "Q4_K_M")
    if "rounds" in arguments.part:
        rounds(path, arguments, store)
    if "load" in arguments.part:
        load(path, arguments, store)
    report(store)


if __name__ == "__main__":
    main()
