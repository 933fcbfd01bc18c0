"""jina_rag beside the other ways to run the same GGUF through llama.cpp in Python: speed and memory.

    python -m tests.benchmarks.peers FOLDER [QUANTIZATION]

Speed: paired rounds in turns, in one process; a ratio over 1 means that jina_rag is quicker. Memory: the peak of a
process that does one round alone.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jina_rag import Embedder, LlamaCppOptions
from jina_rag.backends.llama_cpp import LlamaCppBackend, _Context, pack
from tests.benchmarks.long_text import LETTERS, peak_megabytes, say
from tests.benchmarks.small_shape import SPEC, small_shape_gguf

ROUNDS = 7
Embed = Callable[[Sequence[str]], object]


def jina_rag(path: Path) -> Embed:
    """This project, with its defaults."""
    return Embedder.from_file(path, SPEC).embed_documents


def one_pass(path: Path) -> Embed:
    """The same batches with embeddings on for every token, as llama-server and llama-embedding do it."""
    backend = LlamaCppBackend(path, pooling=SPEC.pooling)
    model = backend._model()
    model._context = None
    context = _Context(model._model, 512, SPEC.pooling, LlamaCppOptions(), two_passes=False)

    def embed(texts: Sequence[str]) -> object:
        tokens = sorted((tuple(ids) for ids in model.tokenize(texts)), key=len)
        return [context.embed(batch) for batch in pack(tokens, max_tokens=512)]

    return embed


def llama_embed(path: Path, n_batch: int) -> Embed:
    """llama-cpp-python's `Llama.embed`, given all the texts at once."""
    from llama_cpp import LLAMA_POOLING_TYPE_LAST, Llama

    model = Llama(
        str(path),
        embedding=True,
        pooling_type=LLAMA_POOLING_TYPE_LAST,
        n_ctx=n_batch,
        n_batch=n_batch,
        n_ubatch=n_batch,
        n_threads=2,
        n_threads_batch=2,
        verbose=False,
    )
    return lambda texts: model.embed(list(texts), normalize=True)


PEERS: dict[str, Callable[[Path], Embed]] = {
    "jina_rag": jina_rag,
    "one pass, embeddings on": one_pass,
    "Llama.embed, n_batch 512": lambda path: llama_embed(path, 512),
    "Llama.embed, n_batch 2048": lambda path: llama_embed(path, 2048),
}


def passages(n: int = 12) -> list[str]:
    """Texts of 80 to 190 tokens."""
    rng = np.random.default_rng(0)
    return ["".join(rng.choice(list(LETTERS), length)) for length in rng.integers(80, 190, n)]


def main(folder: Path, quantization: str = "Q4_K_M") -> None:
    """Print a line for each peer."""
    path = small_shape_gguf(folder, quantization)
    memory = {name: _peak_of(name, path) for name in PEERS}
    peers = {name: make(path) for name, make in PEERS.items()}
    texts = passages()
    ratios: dict[str, list[float]] = {name: [] for name in PEERS}
    for turn in range(ROUNDS):
        seconds = {name: _seconds(peers[name], texts) for name in (list(PEERS) if turn % 2 else list(PEERS)[::-1])}
        for name in PEERS:
            ratios[name].append(seconds[name] / seconds["jina_rag"])
    say(f"{quantization}, {ROUNDS} rounds of {len(texts)} passages")
    for name, values in ratios.items():
        spread = f"{min(values):.2f} to {max(values):.2f}"
        share = memory["jina_rag"] / memory[name]
        say(f"{name}: jina_rag is {statistics.median(values):.2f} times as fast ({spread}),")
        say(f"    peak {memory[name]:,} MB, of which jina_rag takes {share:.2f}")


def _seconds(embed: Embed, texts: Sequence[str]) -> float:
    started = time.perf_counter()
    embed(texts)
    return time.perf_counter() - started


def _peak_of(name: str, path: Path) -> int:
    command = [sys.executable, "-m", "tests.benchmarks.peers", "--memory", name, str(path)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    if sys.argv[1] == "--memory":
        PEERS[sys.argv[2]](Path(sys.argv[3]))(passages())
        say(str(peak_megabytes()))
    else:
        main(Path(sys.argv[1]), *sys.argv[2:3])
