"""One model: its speed with short and long texts, a question's time, its memory."""

import os
import statistics
from collections.abc import Sequence

from jina_rag.bench.files import find_model
from jina_rag.bench.process import Process, Timing
from jina_rag.bench.progress import BenchProgressCallback, Steps
from jina_rag.bench.results import BenchResult, LengthResult, Spread
from jina_rag.machine import available_cores
from jina_rag.models import ModelSpec

PASSAGE_TOKENS = 128
_MIX = {"short": (16, 16), "passage": (PASSAGE_TOKENS, 4), "long": (512, 1)}  # tokens of a text, texts in a unit
N_QUERIES = 50
ROUND_S = 1.5  # a round takes this long where the machine is quick; where it is slow, a unit of texts is a round
_MAX_UNITS = 64
_NOISY_SPREAD = 0.25
_BUSY_LOAD = 0.5  # of each core


def measure(
    model: str = "auto",
    *,
    quantization: str | None = None,
    dimensions: int | None = None,
    backend: str | None = None,
    rounds: int = 5,
    on_progress: BenchProgressCallback | None = None,
) -> BenchResult:
    """Measure one model; the bundled one takes about 15 seconds, a larger one up to a minute.

    Args:
        model: A name from `list_models()`, "auto", or the path of a GGUF file.
        quantization: How the weights are stored; None takes the model's default.
        dimensions: Cut vectors to this width; None keeps the full one.
        backend: "onnx" or "auto", with settings, or None for llama.cpp, as for `Embedder.from_file`.
        rounds: How often to measure, at least 2.
        on_progress: Called after each step.

    Raises:
        UnknownModelError, InvalidDimensionsError: the name, quantisation or width does not exist.
        ModelNotFoundError: the file is not here and could not be fetched.
        ModelLoadError, BackendError: the model can't be loaded or run, or `backend` names no engine that runs files.
    """
    found = find_model(model, quantization)
    found.spec.check_dimensions(dimensions)
    steps = Steps(on_progress, total=len(_MIX) * (rounds + 1) + rounds)
    warnings = busy_machine()
    steps.begin("Loading")
    with Process() as process:
        loaded = process.load(found, backend, dimensions)
        steps.begin("Warming up")
        once = [process.documents(*_shape(name, found.spec), steps=steps) for name in _MIX]
        units = units_of_a_round(Timing.total(once).seconds)
        timings: dict[str, list[Timing]] = {name: [] for name in _MIX}
        queries: list[float] = []
        steps.begin("Measuring")
        for _ in range(rounds):
            for name in _MIX:
                timings[name].append(process.documents(*_shape(name, found.spec, units), steps=steps))
            queries += process.queries(-(-N_QUERIES // rounds))
            steps.done()
        peak = process.peak_bytes()
    totals = [Timing.total(turn) for turn in zip(*timings.values(), strict=True)]
    speed = Spread.of([timing.tokens_per_s for timing in totals])
    return BenchResult(
        model=found.spec.name,
        quantization=found.quantization,
        engine=loaded["engine"],
        dimensions=loaded["dimensions"],
        path=str(found.path),
        file_bytes=found.path.stat().st_size,
        cores=available_cores(),
        rounds=rounds,
        load_s=loaded["seconds"],
        tokens_per_s=speed,
        texts_per_s=Spread.of([timing.texts / timing.seconds for timing in totals]),
        by_length=tuple(_by_length(name, turns) for name, turns in timings.items()),
        query_median_s=statistics.median(queries),
        query_p95_s=_percentile_95(queries),
        peak_bytes=peak,
        warnings=(*warnings, *uneven_rounds(speed)),
    )


def _shape(name: str, spec: ModelSpec, units: int = 1) -> tuple[int, int]:
    """Tokens of a text of this kind, and how many of them make a round."""
    tokens, texts = _MIX[name]
    return min(tokens, int(0.9 * spec.max_input_tokens)), texts * units


def units_of_a_round(seconds: float) -> int:
    """How many units of texts make a round, when one took so long."""
    return max(1, min(_MAX_UNITS, round(ROUND_S / seconds)))


def _by_length(name: str, timings: Sequence[Timing]) -> LengthResult:
    speed = Spread.of([timing.tokens_per_s for timing in timings])
    tokens = timings[0].tokens / timings[0].texts
    return LengthResult(name=name, tokens=tokens, tokens_per_s=speed, texts_per_s=speed.median / tokens)


def _percentile_95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def busy_machine() -> tuple[str, ...]:
    """A sentence of warning if others are using the machine."""
    if not hasattr(os, "getloadavg"):
        return ()
    load, cores = os.getloadavg()[0], os.cpu_count() or 1  # both the whole machine's, whatever part of it is ours
    if load < _BUSY_LOAD * cores:
        return ()
    return (
        f"The machine was busy when this began (a load of {load:.1f}, with {cores} processor cores): the figures may "
        "be too low. Measure again when it is quiet.",
    )


def uneven_rounds(speed: Spread) -> tuple[str, ...]:
    """A sentence of warning if the rounds differ much."""
    if speed.width < _NOISY_SPREAD:
        return ()
    return (
        f"The rounds lie {speed.width:.0%} apart, so something else was using the machine: trust the median only "
        "roughly, or measure again with more --rounds.",
    )
