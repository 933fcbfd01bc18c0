"""Server, MCP, app and ingestion together under load, kills and hostile input, on this machine alone.

    make soak               # 20 minutes
    make soak SECONDS=120

Real processes: `jina-rag serve`, `jina-rag mcp --http`, the app through its launcher, and one `jina-rag sync` after
another, most of them killed. A fifth of the time is quiet, a fifth has ingestion, and in the rest each surface is
attacked as well, while a well-behaved client asks each of them twice a second. The report is printed and kept as JSON;
the exit code is 1 if a server ended, answered with a 5xx or a wrong answer, or the index differs from a fresh one.
"""

import argparse
import json
import multiprocessing
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from tests.server.test_hostile import random_value, send_one, send_raw

ROOT = Path(__file__).parents[2]
MODEL = "all-MiniLM-L6-v2"
QUESTION = "Which note is about the lighthouse?"
CLI = [sys.executable, "-m", "jina_rag.cli"]
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "STREAMLIT_SERVER_ENABLE_AGENT_API": "true"}
NEW_CONNECTION = {"Connection": "close"}  # uvicorn's own time for idle ones is short, and its end may cross a request
PAUSE = 0.5  # seconds between the questions of a well-behaved client
START_SECONDS = 180


@dataclass
class Surface:
    """A server that is attacked.

    Attributes:
        name: Of the row in the report.
        url: Its address.
        process: Its process.
        ask: One request of a well-behaved client; raises if the answer is not what it should be.
        attack: One hostile request that is HTTP; gives its status.
    """

    name: str
    url: str
    process: psutil.Process
    ask: Callable[[], None]
    attack: Callable[[random.Random], int]


@dataclass
class Record:
    """What happened, by surface and phase."""

    phase: str = "quiet"
    seconds: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    hostile: dict[str, Counter[str]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    ingestion: Counter[str] = field(default_factory=Counter)
    memory: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


# The servers


@contextmanager
def started(
    command: Sequence[str], log: Path, address: str, **environment: str
) -> Iterator[tuple[psutil.Process, str]]:
    """A process, and the part of its output that this pattern finds."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**ENVIRONMENT, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (found := re.search(address, log.read_text())):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command} did not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield psutil.Process(process.pid), found[0]
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def serve(folder: Path) -> Iterator[Surface]:
    """`jina-rag serve`, without a key, so that the attack gets further."""
    command = [*CLI, "serve", "--model", MODEL, "--port", "0"]
    with (
        started(command, folder / "serve.log", r"http://127\.0\.0\.1:\d+") as (process, url),
        httpx.Client(base_url=url, timeout=60) as good,
        httpx.Client(base_url=url, timeout=60) as bad,
    ):
        first = _vector(good)

        def ask() -> None:
            if np.abs(_vector(good) - first).max() > 1e-3:
                raise ValueError("wrong vector")

        yield Surface("serve", url, process, ask, lambda rng: send_one(bad, rng))


def _vector(client: httpx.Client) -> Any:
    answer = client.post("/v1/embeddings", json={"model": f"{MODEL}:query", "input": QUESTION})
    answer.raise_for_status()
    return np.array(answer.json()["data"][0]["embedding"])


@contextmanager
def mcp(folder: Path) -> Iterator[Surface]:
    """`jina-rag mcp --http`."""
    token = "soak-" * 8
    command = [*CLI, "mcp", "--http", "--port", "0", "--index", str(folder / "index")]
    pattern = r"http://127\.0\.0\.1:\d+(?=/mcp)"
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream", **NEW_CONNECTION}
    with (
        started(command, folder / "mcp.log", pattern, JINA_RAG_MCP_TOKEN=token) as (process, url),
        httpx.Client(base_url=url, timeout=60, headers=headers) as client,
        httpx.Client(base_url=url, timeout=60, headers=headers) as bad,
    ):
        while _refuses(url):
            time.sleep(0.1)

        def ask() -> None:
            arguments = {"name": "search", "arguments": {"query": QUESTION}}
            answer = client.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": arguments})
            answer.raise_for_status()
            if "lighthouse" not in answer.text:
                raise ValueError(f"wrong answer: {answer.text[:200]}")

        def attack(rng: random.Random) -> int:
            tool = {"name": rng.choice(["search", "get", "status", "x"]), "arguments": random_value(rng)}
            params = rng.choice([tool, random_value(rng)])
            method = rng.choice(["tools/call", "tools/list", "initialize", "x"])
            body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
            chosen = rng.choice([{}, {}, {"Authorization": "Bearer x"}, {"Host": "evil.example"}, {"Origin": "null"}])
            content = rng.choice([body, body, body[: len(body) // 2], "[" * 10_000])
            return bad.post("/mcp", content=content, headers={"Content-Type": "application/json", **chosen}).status_code

        yield Surface("mcp", url, process, ask, attack)


@contextmanager
def app(folder: Path) -> Iterator[Surface]:
    """The app."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "apps/qa/launcher.py", "--port", str(port), "--index", str(folder / "index")]
    url = f"http://127.0.0.1:{port}"
    with (
        started(command, folder / "app.log", rf"{url}\S*") as (process, address),
        httpx.Client(base_url=url, timeout=60, headers=NEW_CONNECTION, follow_redirects=True) as client,
        httpx.Client(base_url=url, timeout=60) as bad,
    ):
        while _refuses(url):
            time.sleep(0.1)

        def ask() -> None:
            answer = client.get(address)  # with its token, where it has one
            answer.raise_for_status()
            if "<title>" not in answer.text:
                raise ValueError("not the page")

        def attack(rng: random.Random) -> int:
            path = rng.choice(
                [
                    "/_stcore/agent/interact",
                    "/_stcore/upload_file/a/b",
                    "/media/../../etc/passwd",
                    "/static/%2e%2e/x",
                    "/_stcore/stream",
                    "/component/x/..%2f..%2fsetup.py",
                    "/_stcore/health",
                    f"/{rng.randrange(10**9)}",
                ]
            )
            chosen = rng.choice([{}, {}, {"Host": "evil.example"}, {"Origin": "https://evil.example"}])
            content = json.dumps(random_value(rng))
            return bad.request(rng.choice(["GET", "POST", "PUT"]), path, content=content, headers=chosen).status_code

        yield Surface("app", url, process, ask, attack)


def _refuses(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as connection:
        return connection.connect_ex((host, int(port))) != 0


# The clients


def behave(surface: Surface, record: Record, stop: threading.Event) -> None:
    """Ask twice a second, and note how long each answer took."""
    while not stop.wait(PAUSE):
        phase, began = record.phase, time.perf_counter()
        try:
            surface.ask()
        except (httpx.HTTPError, ValueError) as error:
            record.errors[f"{surface.name}, {phase}: {type(error).__name__} {str(error)[:200]}"] += 1
        record.seconds[surface.name, phase].append(time.perf_counter() - began)


class Attack:
    """Hostile requests from a process for each surface, so that no client waits for another."""

    def __init__(self, surfaces: Sequence[Surface], rate: float) -> None:
        context = multiprocessing.get_context("fork")  # surfaces can't be pickled; no thread has been started yet
        self._may_begin, self._must_end, self._outcomes = context.Event(), context.Event(), context.Queue()
        self._processes = [
            context.Process(target=self._run, args=(surface, rate / len(surfaces), seed), daemon=True)
            for seed, surface in enumerate(surfaces)
        ]
        for process in self._processes:
            process.start()

    def begin(self) -> None:
        """Let it begin."""
        self._may_begin.set()

    def end(self) -> dict[str, Counter[str]]:
        """Stop it; gives how often what came of a request, by surface."""
        self._must_end.set()
        return dict(self._outcomes.get(timeout=120) for _ in self._processes)

    def _run(self, surface: Surface, rate: float, seed: int) -> None:
        """Send so many requests a second; every tenth is none that an HTTP client could send."""
        rng = random.Random(seed)
        kept: list[socket.socket] = []
        outcomes: Counter[str] = Counter()
        self._may_begin.wait()
        while not self._must_end.is_set():
            time.sleep(rng.expovariate(rate))
            try:
                if rng.random() < 0.1:
                    outcomes[rng.choice([_silent, _hang_up, _pipelined, _junk])(surface.url, rng, kept)] += 1
                else:
                    outcomes[str(surface.attack(rng))] += 1
            except (httpx.HTTPError, OSError) as error:
                outcomes[type(error).__name__] += 1
        self._outcomes.put((surface.name, outcomes))


def _connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=5)


def _silent(url: str, rng: random.Random, kept: list[socket.socket]) -> str:
    for _ in range(20):
        kept.append(_connect(url))
        kept[-1].sendall(
            rng.choice([b"", b"GET / HTTP/1.1\r\nHo", b"POST /embed HTTP/1.1\r\nContent-Length: 99\r\n\r\n{"])
        )
    while len(kept) > 300:
        kept.pop(0).close()
    return "silent"


def _hang_up(url: str, rng: random.Random, _kept: list[socket.socket]) -> str:
    body = json.dumps({"inputs": ["lorem ipsum dolor sit amet " * 80] * rng.randrange(1, 100)}).encode()
    with _connect(url) as connection:
        head = (
            f"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
    return "hung up"


def _pipelined(url: str, _rng: random.Random, _kept: list[socket.socket]) -> str:
    with _connect(url) as connection:
        connection.settimeout(0.5)
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20_000)
    return "pipelined"


def _junk(url: str, rng: random.Random, _kept: list[socket.socket]) -> str:
    send_raw(url, rng)
    return "junk"


# Ingestion


def write_documents(folder: Path, rng: random.Random, n_changes: int) -> None:
    """Write, change and remove some documents; one in ten is damaged or worse."""
    folder.mkdir(exist_ok=True)
    (folder / "lighthouse.md").write_text("# Lighthouse\n\nThis note is about the lighthouse. It is never changed.\n")
    for _ in range(n_changes):
        number = rng.randrange(80)
        if rng.random() < 0.1:
            ending = rng.choice(["pdf", "docx", "xlsx", "epub", "html", "csv"])
            (folder / f"damaged-{number}.{ending}").write_bytes(rng.randbytes(rng.randrange(5000)))
        elif rng.random() < 0.2:
            (folder / f"note-{number}.md").unlink(missing_ok=True)
        else:
            words = " ".join(rng.choice(["tide", "lamp", "keeper", "storm", "boat", "rope"]) for _ in range(300))
            (folder / f"note-{number}.md").write_text(f"# Note {number}\n\n{words} {rng.random()}\n")


def run_cli(*arguments: str | Path, kill_after: float | None = None) -> subprocess.CompletedProcess[str]:
    """A command, killed after so many seconds if it has not ended by then."""
    process = subprocess.Popen(
        [*CLI, *map(str, arguments)],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=kill_after or 600)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, output)


def ingest(folder: Path, record: Record, stop: threading.Event) -> None:
    """One sync after another, two of three killed somewhere."""
    rng = random.Random(0)
    while not stop.is_set():
        if record.phase == "quiet":
            time.sleep(0.1)
            continue
        write_documents(folder / "documents", rng, n_changes=10)
        kill_after = rng.uniform(2, 20) if rng.random() < 0.66 else None
        done = run_cli("sync", "--index", folder / "index", kill_after=kill_after)
        record.ingestion["killed" if done.returncode == -signal.SIGKILL else f"exit code {done.returncode}"] += 1
        if "Traceback" in done.stdout or (done.returncode not in (0, 1) and kill_after is None):
            record.errors[f"sync ended with {done.returncode}: {done.stdout[-300:]}"] += 1


def exported(index: Path, folder: Path, name: str) -> list[tuple[str, list[float]]]:
    """Every chunk of an index without its id, and its vector, in an order of its own."""
    done = run_cli("export", folder / f"{name}.jsonl", "--vectors", folder / f"{name}.npy", "--index", index)
    if done.returncode:
        raise RuntimeError(done.stdout)
    chunks = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
    keys = [json.dumps([chunk["source"], chunk["position"], chunk["text"]]) for chunk in chunks]
    return sorted(zip(keys, np.load(folder / f"{name}.npy").tolist(), strict=True))


def compare_with_fresh(folder: Path, record: Record) -> None:
    """Finish the last sync, and compare the index with one that was made at once."""
    for command in (["sync", "--index", "index"], ["add", "documents", "--index", "fresh", "--model", MODEL]):
        done = run_cli(*(folder / word if word in ("index", "fresh", "documents") else word for word in command))
        if done.returncode not in (0, 1):
            record.errors[f"{command[0]} at the end: {done.returncode} {done.stdout[-300:]}"] += 1
    soaked, fresh = (exported(folder / name, folder, name) for name in ("index", "fresh"))
    if [key for key, _ in soaked] != [key for key, _ in fresh]:
        record.errors[f"the index differs from a fresh one: {len(soaked)} and {len(fresh)} chunks"] += 1
    elif not np.allclose([row for _, row in soaked], [row for _, row in fresh], atol=1e-3):
        record.errors["the vectors differ from those of a fresh index"] += 1


# The whole


def watch(surfaces: Sequence[Surface], record: Record, seconds: float) -> None:
    """Note the memory of the servers for so long, and that they run."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        for surface in surfaces:
            if not surface.process.is_running() or surface.process.status() == psutil.STATUS_ZOMBIE:
                raise RuntimeError(f"{surface.name} has ended")
            record.memory[surface.name].append(surface.process.memory_info().rss // 10**6)
        time.sleep(min(2.0, seconds / 10))


def soak(folder: Path, seconds: float, rate: float) -> Record:
    """Run it."""
    record, stop = Record(), threading.Event()
    write_documents(folder / "documents", random.Random(1), n_changes=60)
    made = run_cli("add", folder / "documents", "--index", folder / "index", "--model", MODEL)
    if made.returncode not in (0, 1):
        raise RuntimeError(made.stdout)
    with ExitStack() as stack:
        surfaces = [stack.enter_context(start(folder)) for start in (serve, mcp, app)]
        attack = Attack(surfaces, rate)
        for surface in surfaces:
            surface.ask()
        threads = [threading.Thread(target=ingest, args=(folder, record, stop))]
        threads += [threading.Thread(target=behave, args=(surface, record, stop)) for surface in surfaces]
        for thread in threads:
            thread.start()
        try:
            watch(surfaces, record, 0.2 * seconds)
            record.phase = "ingestion"
            watch(surfaces, record, 0.2 * seconds)
            record.phase = "attack"
            attack.begin()
            watch(surfaces, record, 0.6 * seconds)
            record.hostile = attack.end()
            for surface in surfaces:
                for outcome, n in record.hostile[surface.name].items():
                    if outcome.startswith("5"):
                        record.errors[f"{surface.name}: hostile requests got {outcome}"] += n
        finally:
            stop.set()
        for thread in threads:
            thread.join(600)
        for surface in surfaces:
            surface.ask()
            if "Traceback" in (folder / f"{surface.name}.log").read_text():
                record.errors[f"{surface.name}: there is a traceback in its log"] += 1
    compare_with_fresh(folder, record)
    return record


def report(record: Record) -> dict[str, Any]:
    """The figures: milliseconds, megabytes and counts."""
    times = {
        f"{name}, {phase}": {
            "requests": len(seconds),
            "p50 ms": round(1000 * float(np.percentile(seconds, 50)), 1),
            "p95 ms": round(1000 * float(np.percentile(seconds, 95)), 1),
        }
        for (name, phase), seconds in record.seconds.items()
    }
    memory = {
        name: {"first": values[0], "middle": values[len(values) // 2], "last": values[-1], "most": max(values)}
        for name, values in record.memory.items()
    }
    return {
        "well-behaved clients": times,
        "hostile requests": {name: dict(outcomes.most_common()) for name, outcomes in record.hostile.items()},
        "sum of hostile requests": sum(outcomes.total() for outcomes in record.hostile.values()),
        "ingestion": dict(record.ingestion),
        "memory MB": memory,
        "errors": dict(record.errors),
    }


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1200)
    parser.add_argument("--rate", type=float, default=20, help="hostile requests a second, over all surfaces")
    parser.add_argument("--folder", type=Path, help="where to keep logs, index and report (a temporary one)")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="jina-rag-soak-"))
    folder.mkdir(exist_ok=True)
    record = soak(folder, arguments.seconds, arguments.rate)
    text = json.dumps(report(record), indent=1)
    (folder / "report.json").write_text(text)
    sys.stdout.write(f"{text}\n{folder}\n")
    return 1 if record.errors else 0


if __name__ == "__main__":
    sys.exit(main())
