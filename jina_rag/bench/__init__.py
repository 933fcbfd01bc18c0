"""How fast a model is on this machine, what memory it takes, and what embedding a library of documents would cost.

The model is measured in a process of its own: its memory is then the model's, and nothing that the caller has loaded
disturbs it. Figures are medians over the rounds with the lowest and the highest. How quantisations compare, and what
each of them finds, is measured by `jina_rag.evaluation.sweeping`.

>>> result = measure("all-MiniLM-L6-v2")                            # doctest: +SKIP
>>> result.tokens_per_s.median, result.corpus(1_000).seconds        # doctest: +SKIP

The rooms: `measuring`, the `files` and `texts` that are taken, the `process` that is asked and its other end, the
`worker`, and the `results`.
"""

from jina_rag.bench.measuring import measure
from jina_rag.bench.progress import BenchProgress, BenchProgressCallback
from jina_rag.bench.results import (
    BenchResult,
    CorpusCost,
    LengthResult,
    Spread,
)

__all__ = [
    "BenchProgress",
    "BenchProgressCallback",
    "BenchResult",
    "CorpusCost",
    "LengthResult",
    "Spread",
    "measure",
]
