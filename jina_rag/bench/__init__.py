"""How fast a model is on this machine, what memory it takes, and what embedding a library of documents would cost.

Each configuration is measured in a process of its own: its memory is then the model's, and nothing that the caller has
loaded disturbs it. A sweep keeps all its processes and asks them in turn, round after round, so that whatever else the
machine does meets them alike; figures are medians over the rounds with the lowest and the highest.

>>> result = measure("all-MiniLM-L6-v2")                            # doctest: +SKIP
>>> result.tokens_per_s.median, result.corpus(1_000).seconds        # doctest: +SKIP

The rooms: `measuring` one model and `sweeping` over several configurations, the `files` and `texts` that are taken,
the `process` that is asked and its other end, the `worker`, and the `results`.
"""

from jina_rag.bench.measuring import measure
from jina_rag.bench.progress import BenchProgress, BenchProgressCallback
from jina_rag.bench.results import (
    BenchResult,
    CorpusCost,
    Fidelity,
    LengthResult,
    Spread,
    SweepParameter,
    SweepResult,
    SweepRow,
)
from jina_rag.bench.sweeping import sweep

__all__ = [
    "BenchProgress",
    "BenchProgressCallback",
    "BenchResult",
    "CorpusCost",
    "Fidelity",
    "LengthResult",
    "Spread",
    "SweepParameter",
    "SweepResult",
    "SweepRow",
    "measure",
    "sweep",
]
