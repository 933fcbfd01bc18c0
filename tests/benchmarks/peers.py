"""jina_rag beside the other ways to run the same weights: speed and memory, in paired rounds.

    python -m tests.benchmarks.peers FOLDER                                    # ways through llama.cpp, Q4_K_M
    python -m tests.benchmarks.peers FOLDER --quantization F16 BF16 Q8_0 Q4_K_M IQ4_NL Q4_0
    python -m tests.benchmarks.peers FOLDER --group others langchain           # more ways through llama.cpp
    python -m tests.benchmarks.peers FOLDER --group others --llama-server PROGRAM
    python -m tests.benchmarks.peers FOLDER --group onnx                       # our engines
    python -m tests.benchmarks.peers FOLDER --group torch --torch PYTHON       # torch, from an environment of its own
    python -m tests.benchmarks.peers FOLDER --report FOLDER                    # tables and a plot of what was measured

Every way runs in a process of its own, with its own memory and its own settings for waiting threads, two threads each,
and is asked for the same tokens in turns, in an order that goes forth and back. Rounds are kept in FOLDER/peers.json
after each, so `--minutes 4` may be given as often as it takes; `--fresh` throws them away.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.long_text import LETTERS, say
from tests.benchmarks.peer_report import report, table
from tests.benchmarks.peer_worker import load_model, tokenize
from tests.benchmarks.servers import Process, Server, llama_cpp_python_server, llama_server
from tests.benchmarks.small_shape import SPEC, small_shape_gguf

ROUNDS = 7
QUANTIZATIONS = ("F16", "BF16", "Q8_0", "Q4_K_M", "IQ4_NL", "Q4_0")
LEAST_COSINE = 0.99  # with and without flash attention, a quantisation's random weights differ by less
SERVER_CLIENTS = 8


@dataclass(frozen=True)
class Sample:
    """The texts of a round, with their prompt, and their tokens."""

    texts: list[str]
    tokens: list[list[int]]


@dataclass(frozen=True)
class Way:
    """A process, and what it is asked for.

    Attributes:
        name: As the tables have it.
        process: Ways of one process share its memory figure.
        start: Starts the process.
        ask: Has it embed, and gives the seconds.
        vector: Gives the vector of a text, where the weights are the same file's.
    """

    name: str
    process: str
    start: Callable[[], Process]
    ask: Callable[[Any, Sample], float]
    vector: Callable[[Any, str], Sequence[float]] | None = None


class Worker(Process):
    """A process that answers lines of JSON with lines of JSON, ready when this is made."""

    def __init__(self, command: Sequence[str]) -> None:
        super().__init__(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._answer()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and give its answer."""
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps(request) + "\n")
        self.child.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            raise self.ended()
        answer: dict[str, Any] = json.loads(line)
        return answer


def llama_cpp_worker(name: str, path: Path) -> Worker:
    """The process of `tests.benchmarks.peer_worker`."""
    return Worker([sys.executable, "-m", "tests.benchmarks.peer_worker", name, str(path)])


def llama_cpp_way(name: str, path: Path, label: str | None = None) -> Way:
    """One of `tests.benchmarks.peer_worker`."""

    def ask(process: Any, sample: Sample) -> float:
        seconds: float = process.ask({"texts": sample.texts})["seconds"]
        return seconds

    def vector(process: Any, text: str) -> Sequence[float]:
        numbers: list[float] = process.ask({"texts": [text], "vector": True})["vector"]
        return numbers

    return Way(label or name, label or name, lambda: llama_cpp_worker(name, path), ask, vector)


def torch_way(python: str, kind: str, batch_size: int) -> Way:
    """One of `torch_worker.py`, in its own environment."""

    def ask(process: Any, sample: Sample) -> float:
        seconds: float = process.ask({"tokens": sample.tokens, "batch_size": batch_size})["seconds"]
        return seconds

    command = [python, str(Path(__file__).with_name("torch_worker.py")), kind]
    how = "one by one" if batch_size == 1 else f"batches of {batch_size}"
    return Way(f"torch {kind}, {how}", f"torch {kind}", lambda: Worker(command), ask)


def server_ways(name: str, start: Callable[[], Server]) -> list[Way]:
    """A server over HTTP: all texts in one request, and one text in each request of many clients."""

    def one_request(server: Any, sample: Sample) -> float:
        started = time.perf_counter()
        server.embed(sample.texts)
        return time.perf_counter() - started

    def many_clients(server: Any, sample: Sample) -> float:
        started = time.perf_counter()
        with ThreadPoolExecutor(SERVER_CLIENTS) as pool:
            list(pool.map(server.embed, ([text] for text in sample.texts)))
        return time.perf_counter() - started

    def vector(server: Any, text: str) -> Sequence[float]:
        numbers: list[float] = server.embed([text])[0]
        return numbers

    return [
        Way(f"{name}, one request", name, start, one_request, vector),
        Way(f"{name}, {SERVER_CLIENTS} clients", name, start, many_clients, vector),
    ]


def core(path: Path) -> list[Way]:
    """What most people use."""
    names = ("jina_rag", "one pass, embeddings on", "Llama.embed, n_batch=512", "Llama.embed, n_batch=2048")
    return [llama_cpp_way(name, path) for name in names]


def others(path: Path, llama_server_program: Path | None, longest: int) -> list[Way]:
    """More ways through llama.cpp, servers among them; the longest text has so many tokens."""
    names = ("jina_rag", "Llama.embed, one by one", "LlamaCppEmbeddings")
    ways = [llama_cpp_way(name, path) for name in names]
    ways += server_ways("llama_cpp.server", lambda: llama_cpp_python_server(path))
    if llama_server_program is None:
        return ways

    def start() -> Server:
        return llama_server(llama_server_program, path, slots=SERVER_CLIENTS, longest=longest)

    return ways + server_ways("llama-server", start)


def langchain(path: Path) -> list[Way]:
    """One `embed_documents` of many passages."""
    return [llama_cpp_way(name, path) for name in ("jina_rag", "LlamaCppEmbeddings")]


def engines(path: Path) -> list[Way]:
    """llama.cpp and ONNX Runtime, as this project runs them."""
    return [llama_cpp_way(name, path) for name in ("jina_rag", "jina_rag, onnx f32", "jina_rag, onnx int8")]


def torch(folder: Path, quantizations: Sequence[str], python: str) -> list[Way]:
    """jina_rag in each quantisation, and torch."""
    ours = [llama_cpp_way("jina_rag", small_shape_gguf(folder, name), f"jina_rag {name}") for name in quantizations]
    kinds = (("bfloat16", 1), ("bfloat16", 8), ("float32", 1), ("float32", 8), ("int8", 1), ("int8", 8))
    return [*ours, *(torch_way(python, kind, batch_size) for kind, batch_size in kinds)]


def sample(path: Path, passages: int, shortest: int = 80, longest: int = 190) -> Sample:
    """Passages of so many tokens, prompt excluded; always the same ones. Its vocabulary has a token for each letter."""
    rng = np.random.default_rng(0)
    prompt = SPEC.prompts.document
    lengths = rng.integers(shortest, longest, passages)
    texts = [prompt + "".join(rng.choice(list(LETTERS), length)) for length in lengths]
    vocabulary = load_model(path, vocab_only=True)
    return Sample(texts, [tokenize(vocabulary, text) for text in texts])


@contextmanager
def running(ways: Sequence[Way]) -> Iterator[dict[str, Process]]:
    """The processes of the ways, each started once."""
    with ExitStack() as stack:
        processes: dict[str, Process] = {}
        for way in ways:
            if way.process not in processes:
                processes[way.process] = process = way.start()
                stack.callback(process.close)
        yield processes


def run(key: str, ways: Sequence[Way], texts: Sample, store: "Store", *, rounds: int, deadline: float) -> None:
    """Add rounds to those of this key until there are enough or the time is up."""
    done = store.rounds(key)
    if done and set(done[0]) != {way.name for way in ways}:
        raise SystemExit(f"the rounds of {key!r} in {store.path} are of other ways; add --fresh to begin anew")
    missing = rounds - len(done)
    if missing <= 0 or time.monotonic() > deadline:
        return
    with running(ways) as processes:
        warm = Sample(texts.texts[:1], texts.tokens[:1])
        for way in ways:
            way.ask(processes[way.process], warm)
        if key.rpartition(" ")[2] not in ("onnx", "torch"):  # which round random weights otherwise, or have others
            check_agreement(ways, processes, texts.texts[0])
        longest = 0.0
        for turn in range(missing):
            started = time.monotonic()
            if started + longest > deadline:
                break
            seconds = {way.name: way.ask(processes[way.process], texts) for way in ways[:: 1 if turn % 2 else -1]}
            peaks = {way.name: processes[way.process].peak_megabytes for way in ways}
            store.add(key, seconds, peaks, sum(map(len, texts.tokens)), len(texts.texts))
            longest = max(longest, time.monotonic() - started)
    say(f"{key}: {len(store.rounds(key))} of {rounds} rounds")


def check_agreement(ways: Sequence[Way], processes: dict[str, Process], text: str) -> None:
    """Refuse to compare ways that do not compute the same vector as the first."""
    vectors = {way.name: np.array(way.vector(processes[way.process], text)) for way in ways if way.vector}
    ours = vectors[ways[0].name]
    for name, vector in vectors.items():
        cosine = float(vector @ ours / np.linalg.norm(vector) / np.linalg.norm(ours))
        if cosine < LEAST_COSINE:
            raise RuntimeError(f"{name} gives another vector: cosine {cosine:.4f}")


class Store:
    """The rounds so far, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.groups: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}

    def rounds(self, key: str) -> list[dict[str, float]]:
        """Seconds by way, for each round."""
        found: list[dict[str, float]] = self.groups.get(key, {}).get("rounds", [])
        return found

    def add(self, key: str, seconds: dict[str, float], peaks: dict[str, int], tokens: int, passages: int) -> None:
        """Keep a round."""
        group = self.groups.setdefault(key, {"rounds": [], "peaks": {}})
        group["rounds"].append(seconds)
        group["peaks"] = {name: max(peak, group["peaks"].get(name, 0)) for name, peak in peaks.items()}
        self.keep(key, group | {"tokens": tokens, "passages": passages})

    def keep(self, key: str, group: dict[str, Any]) -> None:
        """Put these figures, with the machine and the date, in the place of those before."""
        self.groups[key] = group | {"machine": machine(), "date": f"{datetime.now(UTC):%Y-%m-%d}"}
        self.path.write_text(json.dumps(self.groups, indent=1))


def machine() -> str:
    """Processor, cores, Python and llama-cpp-python."""
    from importlib.metadata import version

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    fields = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    cpu = f"{fields['model name'].strip()} (family {fields['cpu family'].strip()})"
    python, library = platform.python_version(), version("llama-cpp-python")
    return f"{cpu}, {os.cpu_count()} cores, Python {python}, llama-cpp-python {library}"


def main() -> None:
    """Measure what is asked for, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the GGUF files and the rounds are")
    parser.add_argument("--quantization", nargs="+", default=["Q4_K_M"], choices=QUANTIZATIONS)
    parser.add_argument("--group", nargs="+", default=[], choices=["core", "others", "langchain", "onnx", "torch"])
    parser.add_argument("--torch", metavar="PYTHON", help="of an environment with torch and transformers")
    parser.add_argument("--llama-server", type=Path, metavar="PROGRAM", help="llama.cpp's own, for the group others")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--passages", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no round that would end later")
    parser.add_argument("--fresh", action="store_true", help="forget the rounds of what is measured now")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="measure nothing; write peers.md and peers.svg")
    arguments = parser.parse_args()
    store = Store(arguments.folder / "peers.json")
    if arguments.report:
        say(str(report(store.groups, arguments.report)))
        return
    deadline = time.monotonic() + 60 * arguments.minutes
    for key, ways, texts, rounds in _jobs(arguments):
        if arguments.fresh:
            store.groups.pop(key, None)
        run(key, ways, texts, store, rounds=rounds, deadline=deadline)
        if key in store.groups:
            say(table(key, store.groups[key]) + "\n")


def _jobs(arguments: argparse.Namespace) -> Iterator[tuple[str, list[Way], Sample, int]]:
    groups, passages, rounds = arguments.group or ["core"], arguments.passages, arguments.rounds
    for name in arguments.quantization:
        path = small_shape_gguf(arguments.folder, name)
        if "core" in groups:
            yield name, core(path), sample(path, passages), rounds
        if "others" in groups:
            texts = sample(path, passages)
            longest = max(map(len, texts.tokens))
            yield f"{name} others", others(path, arguments.llama_server, longest), texts, rounds
        if "onnx" in groups:
            yield f"{name} onnx", engines(path), sample(path, passages), rounds
        if "langchain" in groups:
            # So many passages take long: they are shorter.
            yield f"{name} langchain", langchain(path), sample(path, 200, 16, 48), rounds
    if "torch" in groups:
        if not arguments.torch:
            raise SystemExit("--group torch needs --torch PYTHON, an environment with torch and transformers in it")
        ways = torch(arguments.folder, QUANTIZATIONS, arguments.torch)
        yield "torch", ways, sample(small_shape_gguf(arguments.folder), passages), rounds


if __name__ == "__main__":
    main()
