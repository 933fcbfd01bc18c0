"""Whether speed and memory stay level: many passages, many calls, and one question.

    python -m tests.benchmarks.scaling FOLDER [--part level outside memory query] [--quantization Q4_K_M] [--rounds 7]

- level: tokens a second from 100 to 10,000 passages, all-MiniLM-L6-v2, each size once in each of --rounds rounds
- outside: the share of an embedding run of 2,000 passages that is not spent in llama_decode
- memory: resident memory over 20 calls of `embed_documents`
- query: one short text beside a single pass with embeddings on, in --turns turns, small shape
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jina_rag import Embedder, LlamaCppOptions
from jina_rag.backends.llama_cpp.context import ONE_PASS_TOKENS
from jina_rag.bench.texts import make_texts
from tests.benchmarks.long_text import LETTERS, say
from tests.benchmarks.peer_worker import THREADS
from tests.benchmarks.peers import Worker, llama_cpp_worker
from tests.benchmarks.small_shape import SPEC, small_shape_gguf

LEVEL_SIZES = {100: 20, 1_000: 4, 10_000: 1}  # passages, and calls of so many in a round
LEVEL_TOKENS = 24
OUTSIDE_PASSAGES = 2_000
MEMORY_CALLS = 20
MEMORY_PASSAGES = 64
QUERY_LENGTHS = (8, 16, 32, 64)
QUERY_WARM_TURNS = 3


def minilm() -> Embedder:
    """The bundled model."""
    return Embedder.from_pretrained("all-MiniLM-L6-v2", options=LlamaCppOptions(n_threads=THREADS))


def small(path: Path) -> Embedder:
    """The small model's shape."""
    return Embedder.from_file(path, SPEC, options=LlamaCppOptions(n_threads=THREADS))


def level(rounds: int) -> None:
    """Rates by number of passages, in rounds: by the clock, and by the processor's time, which others disturb less."""
    with minilm() as embedder:
        texts = make_texts(LEVEL_TOKENS, max(LEVEL_SIZES), embedder)
        embedder.embed_documents(texts[:100])
        rates: dict[int, list[tuple[float, float]]] = {size: [] for size in LEVEL_SIZES}
        for turn in range(rounds):
            for size in list(LEVEL_SIZES)[:: 1 if turn % 2 else -1]:
                rates[size].append(_rates(embedder, texts[:size], LEVEL_SIZES[size]))
    for size, values in rates.items():
        pairs = list(zip(values, rates[1_000], strict=True))
        clock = _spread([rate[0] / base[0] for rate, base in pairs])
        processor = _spread([rate[1] / base[1] for rate, base in pairs])
        speed = statistics.median(rate[0] for rate in values)
        say(f"{size:,} passages: {speed:,.0f} tokens/s; of that with 1,000: {clock}, by processor time {processor}")


def _rates(embedder: Embedder, texts: list[str], calls: int) -> tuple[float, float]:
    """Tokens a second, and tokens for each second of processor time."""
    tokens, started, started_processor = 0, time.perf_counter(), time.process_time()
    for _ in range(calls):
        tokens += sum(embedder.embed(texts, "document").token_counts)
    return tokens / (time.perf_counter() - started), tokens / (time.process_time() - started_processor)


def outside(path: Path) -> None:
    """What of a run is not spent in llama.cpp's own computing."""
    for name, load, tokens in (("all-MiniLM-L6-v2", minilm, 128), ("small shape", lambda: small(path), 24)):
        with load() as embedder:
            texts = make_texts(tokens, OUTSIDE_PASSAGES, embedder)
            embedder.embed_documents(texts[:8])
            with timed_decode() as spent:
                started = time.perf_counter()
                counts = embedder.embed(texts, "document").token_counts
                whole = time.perf_counter() - started
        if not spent:
            raise RuntimeError("llama_decode was never called by that name: this script must follow the engine")
        share = 1 - sum(spent) / whole
        mean = sum(counts) / len(counts)
        say(f"{name}, {len(texts):,} passages of {mean:.0f} tokens: {share:.2%} of {whole:.0f} s outside llama_decode")


@contextmanager
def timed_decode() -> Iterator[list[float]]:
    """The seconds of each call of llama_decode and llama_encode while this lasts."""
    from llama_cpp import llama_cpp

    spent: list[float] = []

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                spent.append(time.perf_counter() - started)

        return call

    originals = {name: getattr(llama_cpp, name) for name in ("llama_decode", "llama_encode")}
    for name, function in originals.items():
        setattr(llama_cpp, name, timed(function))
    try:
        yield spent
    finally:
        for name, function in originals.items():
            setattr(llama_cpp, name, function)


def memory(path: Path) -> None:
    """Resident memory after the first, second and last of many calls."""
    for name, load, tokens in (("all-MiniLM-L6-v2", minilm, 128), ("small shape", lambda: small(path), 32)):
        with load() as embedder:
            texts = make_texts(tokens, MEMORY_PASSAGES, embedder)
            sizes = []
            for _ in range(MEMORY_CALLS):
                embedder.embed_documents(texts)
                sizes.append(_resident_bytes() / 1e6)
        growth = sizes[-1] - sizes[1]
        told = ", ".join(f"{sizes[call - 1]:,.1f}" for call in (1, 2, 5, 10, MEMORY_CALLS))
        say(f"{name}: {told} MB after 1, 2, 5, 10 and {MEMORY_CALLS} calls; {growth:+.2f} MB since the second")


def _resident_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def query(path: Path, turns: int) -> None:
    """One text in this project's way and in a single pass, in turns, each in its own process."""
    rng = np.random.default_rng(0)
    alike: list[float] = []
    with (
        closing(llama_cpp_worker("jina_rag", path)) as ours,
        closing(llama_cpp_worker("one pass, embeddings on", path)) as single,
    ):
        for length in QUERY_LENGTHS:
            text = "".join(rng.choice(list(LETTERS), length))
            pairs = _turns(ours, single, text, turns)
            ratios = [mine / other for mine, other in pairs]
            if length <= ONE_PASS_TOKENS:
                alike += ratios
            milliseconds = 1000 * statistics.median(mine for mine, _ in pairs)
            say(f"{length} tokens: {milliseconds:.1f} ms, of a single pass {_certain_median(ratios)}")
    say(f"where both take one pass, up to {ONE_PASS_TOKENS} tokens together: {_certain_median(alike)}")


def _turns(ours: Worker, single: Worker, text: str, turns: int) -> list[tuple[float, float]]:
    """The seconds of each, a pair for each turn, the first of the pair by turns."""
    pairs = []
    for turn in range(QUERY_WARM_TURNS + turns):
        seconds = {
            worker: worker.ask({"texts": [text]})["seconds"] for worker in (ours, single)[:: 1 if turn % 2 else -1]
        }
        pairs.append((seconds[ours], seconds[single]))
    return pairs[QUERY_WARM_TURNS:]


def _certain_median(values: Sequence[float]) -> str:
    """The median, the values in which it lies with a certainty of 95%, and the middle half.

    So many of n independent values lie below their median as heads fall in n throws of a coin.
    """
    ordered = sorted(values)
    margin = math.ceil(0.98 * len(ordered) ** 0.5)
    low, high = (
        ordered[max(len(ordered) // 2 - margin, 0)],
        ordered[min((len(ordered) - 1) // 2 + margin, len(ordered) - 1)],
    )
    quartiles = statistics.quantiles(ordered, n=4)
    return (
        f"{statistics.median(ordered):.3f} (95% certain: {low:.3f} to {high:.3f}; "
        f"middle half {quartiles[0]:.3f} to {quartiles[2]:.3f})"
    )


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


PARTS = ("level", "outside", "memory", "query")


def main() -> None:
    """Print the figures, a part after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the small shape's GGUF files are")
    parser.add_argument("--part", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--quantization", default="Q4_K_M")
    parser.add_argument("--rounds", type=int, default=7, help="of the part level")
    parser.add_argument("--turns", type=int, default=60, help="of the part query, for each length")
    arguments = parser.parse_args()
    path = small_shape_gguf(arguments.folder, arguments.quantization)
    parts: dict[str, Callable[[], None]] = {
        "level": lambda: level(arguments.rounds),
        "outside": lambda: outside(path),
        "memory": lambda: memory(path),
        "query": lambda: query(path, arguments.turns),
    }
    for name in arguments.part:
        say(f"{name} ({arguments.quantization})")
        parts[name]()


if __name__ == "__main__":
    main()
