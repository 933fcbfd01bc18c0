"""Flash attention on a CPU: what it does to speed and to exactness, by length of text.

    python -m tests.benchmarks.flash_attention FOLDER [QUANTIZATION]

Paired rounds, in turns; a ratio under 1 means that flash attention is quicker. The cosine compares the two results.
"""

import statistics
import sys
import time
from pathlib import Path
from typing import Literal

import numpy as np

from jina_rag import Embedder, LlamaCppOptions
from jina_rag.vectors import FloatArray
from tests.benchmarks.long_text import LETTERS, say
from tests.benchmarks.small_shape import SPEC, small_shape_gguf

ROUNDS = 7
LENGTHS = {
    "8 texts of 60 to 140 tokens": (60, 80, 90, 100, 105, 110, 125, 140),
    "one of 500": (500,),
    "one of 2,000": (2000,),
}
Switch = Literal["on", "off"]


def main(folder: Path, quantization: str = "Q4_K_M") -> None:
    """Print a line for each kind of text."""
    path = small_shape_gguf(folder, quantization)
    embedders: dict[Switch, Embedder] = {
        "on": Embedder.from_file(path, SPEC, options=LlamaCppOptions(flash_attention="on")),
        "off": Embedder.from_file(path, SPEC, options=LlamaCppOptions(flash_attention="off")),
    }
    rng = np.random.default_rng(0)
    for name, lengths in LENGTHS.items():
        texts = ["".join(rng.choice(list(LETTERS), length)) for length in lengths]
        ratios, least = [], 1.0
        for turn in range(ROUNDS):
            seconds: dict[Switch, float] = {}
            vectors: dict[Switch, FloatArray] = {}
            order: tuple[Switch, Switch] = ("on", "off") if turn % 2 else ("off", "on")
            for switch in order:
                started = time.perf_counter()
                vectors[switch] = embedders[switch].embed_documents(texts)
                seconds[switch] = time.perf_counter() - started
            ratios.append(seconds["on"] / seconds["off"])
            least = min(least, float(np.sum(vectors["on"] * vectors["off"], axis=1).min()))
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        say(f"{name}: time on/off {statistics.median(ratios):.2f} ({spread}), least cosine {least:.5f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
