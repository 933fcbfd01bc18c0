"""One model in several configurations, in turns."""

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from jina_rag.bench.files import FoundModel, find_model, on_this_machine, precision
from jina_rag.bench.measuring import PASSAGE_TOKENS, busy_machine, uneven_rounds, units_of_a_round
from jina_rag.bench.process import Process, Timing
from jina_rag.bench.progress import BenchProgressCallback, Steps
from jina_rag.bench.results import Fidelity, Spread, SweepParameter, SweepResult, SweepRow
from jina_rag.errors import BackendError
from jina_rag.machine import available_cores, available_memory_bytes

if TYPE_CHECKING:
    from jina_rag.backends.llama_cpp.options import LlamaCppOptions

BATCH_SIZES = (128, 256, 512, 1024, 2048)
"""What a sweep over batches tries, in tokens."""

_PASSAGES = {"quantization": 8, "batch": 16, "threads": 8}  # enough to fill the largest batch
N_QUERIES = 10
_FIDELITY_DOCUMENTS, _FIDELITY_QUERIES, _FIDELITY_TOKENS, _TOP = 48, 12, 24, 10
CHILD_BYTES = 300 * 10**6  # what a process takes besides its weights

_Configurations: TypeAlias = "dict[str, tuple[FoundModel, LlamaCppOptions]]"


def sweep(
    parameter: SweepParameter,
    model: str = "auto",
    *,
    quantization: str | None = None,
    rounds: int = 7,
    on_progress: BenchProgressCallback | None = None,
) -> SweepResult:
    """Measure a model in several configurations, in turns.

    Args:
        parameter: What to change: the quantisation (of those whose files are on this machine), the tokens computed at
            a time, or the threads.
        model: A name from `list_models()`, "auto", or the path of a GGUF file.
        quantization: For a sweep over something else; None takes the model's default.
        rounds: How often to measure each configuration.
        on_progress: Called after each step.

    Raises:
        BackendError: there is only one configuration, or a process failed.
        And what `measure` raises.
    """
    found = find_model(model, quantization)
    warnings = list(busy_machine())
    configurations = _that_fit(_configurations(parameter, found, on_progress), warnings)
    if len(configurations) < 2:
        raise BackendError(_nothing_to_compare(parameter, found))
    passes = rounds + (2 if parameter == "quantization" else 1)
    steps = Steps(on_progress, total=len(configurations) * passes)
    passages = _PASSAGES[parameter]
    with ExitStack() as stack:
        processes = {name: stack.enter_context(Process()) for name in configurations}
        steps.begin("Loading")
        slowest = 0.0
        for name, (candidate, options) in configurations.items():
            processes[name].load(candidate, options, None)
            slowest = max(slowest, processes[name].documents(PASSAGE_TOKENS, passages, steps=steps).seconds)
        steps.begin("Measuring in turns")
        turns = _turns(processes, passages * units_of_a_round(slowest), rounds, steps)
        steps.begin("Comparing vectors")
        fidelity = _fidelity(processes, steps) if parameter == "quantization" else {}
        measured = {
            name: Measured(
                timings=turns[name],
                query_s=statistics.median(process.queries(N_QUERIES)),
                peak_bytes=process.peak_bytes(),
                file_bytes=configurations[name][0].path.stat().st_size,
                fidelity=fidelity.get(name),
            )
            for name, process in processes.items()
        }
    return sweep_result(parameter, found.spec.name, measured, warnings)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one configuration's process was asked for."""

    timings: Sequence[Timing]
    query_s: float
    peak_bytes: int | None
    file_bytes: int
    fidelity: Fidelity | None


def _nothing_to_compare(parameter: SweepParameter, found: FoundModel) -> str:
    if parameter == "threads":
        return "There is nothing to compare: this process may use one core. Sweep something else, or let it use more."
    return (
        f"There is nothing to compare: {found.spec.name} has one {parameter} here. "
        "Fetch or make another file (`jina-rag download`, `jina-rag quantize`), or sweep something else."
    )


def _configurations(
    parameter: SweepParameter, found: FoundModel, on_progress: BenchProgressCallback | None
) -> _Configurations:
    from jina_rag.backends.llama_cpp.options import LlamaCppOptions

    if parameter == "quantization":
        return {
            candidate.quantization: (candidate, LlamaCppOptions()) for candidate in on_this_machine(found, on_progress)
        }
    if parameter == "batch":
        return {str(size): (found, LlamaCppOptions(batch_tokens=size)) for size in BATCH_SIZES}
    cores = available_cores()
    counts = sorted({1, 2, cores // 4, cores // 2, cores - 1, cores} & set(range(1, cores + 1)))
    return {str(count): (found, LlamaCppOptions(n_threads=count)) for count in counts}


def _that_fit(configurations: _Configurations, warnings: list[str]) -> _Configurations:
    """All that fit into memory together; the largest are left out first, and that is said."""
    kept, free = dict(configurations), available_memory_bytes()
    while free is not None and len(kept) > 1 and _needed_bytes(kept) > free:
        largest = max(kept, key=lambda name: kept[name][0].path.stat().st_size)
        warnings.append(f"{largest} was left out, because memory does not hold all these models at once.")
        del kept[largest]
    return kept


def _needed_bytes(configurations: _Configurations) -> int:
    paths = {found.path for found, _ in configurations.values()}  # mapped weights are shared
    return sum(path.stat().st_size for path in paths) + CHILD_BYTES * len(configurations)


def _turns(processes: Mapping[str, Process], passages: int, rounds: int, steps: Steps) -> dict[str, list[Timing]]:
    """Every configuration once a round, in an order that goes forth and back."""
    turns: dict[str, list[Timing]] = {name: [] for name in processes}
    for turn in range(rounds):
        for name in list(processes)[:: 1 if turn % 2 else -1]:
            turns[name].append(processes[name].documents(PASSAGE_TOKENS, passages, steps=steps))
    return turns


def _fidelity(processes: Mapping[str, Process], steps: Steps) -> dict[str, Fidelity]:
    import numpy as np

    from jina_rag.vectors import cosine_similarity

    documents, queries = {}, {}
    for name, process in processes.items():
        documents[name] = process.vectors(_FIDELITY_TOKENS, _FIDELITY_DOCUMENTS, "document")
        queries[name] = process.vectors(
            _FIDELITY_TOKENS,
            _FIDELITY_QUERIES,
            "query",
            skip=_FIDELITY_DOCUMENTS,  # other texts than the passages
        )
        steps.done()
    reference = min(processes, key=precision)
    nearest = {
        name: np.argsort(-cosine_similarity(queries[name], documents[name]), axis=1)[:, :_TOP] for name in processes
    }
    found = {}
    for name in processes:
        cosines = np.sum(documents[name] * documents[reference], axis=1)
        both = [len({*ours} & {*theirs}) for ours, theirs in zip(nearest[name], nearest[reference], strict=True)]
        found[name] = Fidelity(
            reference=reference,
            cosine=float(cosines.mean()),
            least_cosine=float(cosines.min()),
            top_10=float(np.mean(both)) / _TOP,
        )
    return found


def sweep_result(
    parameter: SweepParameter, model: str, measured: Mapping[str, Measured], warnings: Sequence[str]
) -> SweepResult:
    """Each value's figures beside the fastest, and which are level with it: the ranges of their rounds overlap."""
    speeds = {name: Spread.of([timing.tokens_per_s for timing in one.timings]) for name, one in measured.items()}
    best = max(speeds, key=lambda name: speeds[name].median)
    rows = []
    for name, one in measured.items():
        pairs = zip(one.timings, measured[best].timings, strict=True)
        against_best = Spread.of([quickest.tokens_per_s / timing.tokens_per_s for timing, quickest in pairs])
        rows.append(
            SweepRow(
                name=name,
                tokens_per_s=speeds[name],
                query_s=one.query_s,
                against_best=against_best,
                is_level=against_best.low <= 1,
                peak_bytes=one.peak_bytes,
                file_bytes=one.file_bytes,
                fidelity=one.fidelity,
            )
        )
    return SweepResult(
        parameter=parameter,
        model=model,
        rounds=len(measured[best].timings),
        rows=tuple(rows),
        best=best,
        warnings=(*warnings, *uneven_rounds(speeds[best])),
    )
