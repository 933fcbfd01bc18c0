"""How fast a model is on this machine, what memory it takes, and what embedding a library of documents would cost.

Each configuration is measured in a process of its own: its memory is then the model's, and nothing that the caller has
loaded disturbs it. A sweep keeps all its processes and asks them in turn, round after round, so that whatever else the
machine does meets them alike; figures are medians over the rounds with the lowest and the highest.

>>> result = measure("all-MiniLM-L6-v2")                            # doctest: +SKIP
>>> result.tokens_per_s.median, result.corpus(1_000).seconds        # doctest: +SKIP
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Literal, Self, TypeAlias

from jina_rag.errors import BackendError, JinaRagError, ModelNotFoundError
from jina_rag.models import (
    QUANTIZABLE,
    QUANTIZATIONS,
    ModelSpec,
    Pooling,
    get_model_spec,
    list_models,
    parse_model_name,
)

if TYPE_CHECKING:
    from jina_rag.backends.llama_cpp import LlamaCppOptions
    from jina_rag.embedder import Embedder

SweepParameter: TypeAlias = Literal["quantization", "batch", "threads"]

BATCH_SIZES = (128, 256, 512, 1024, 2048)
"""What a sweep over batches tries, in tokens."""

BUNDLED_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0")
"""What a sweep over the bundled model's quantisations tries; those that are not here yet take a second to make."""

PASSAGE_TOKENS = 128
_MIX = {"short": (16, 16), "passage": (PASSAGE_TOKENS, 4), "long": (512, 1)}  # tokens of a text, texts in a unit
_SWEEP_PASSAGES = {"quantization": 8, "batch": 16, "threads": 8}  # enough to fill the largest batch
_QUERIES = 50
_QUERY_TOKENS = 12
_FIDELITY_DOCUMENTS, _FIDELITY_QUERIES, _FIDELITY_TOKENS, _TOP = 48, 12, 24, 10
_ROUND_S = 1.5  # a round takes this long where the machine is quick; where it is slow, a unit of texts is a round
_MAX_UNITS = 64
_NOISY_SPREAD = 0.25
_BUSY_LOAD = 0.5  # of each core
_CHILD_BYTES = 300 * 10**6  # what a process takes besides its weights

# What an index takes on disk, with passages of about 840 bytes under vectors of 64 and 1,024 numbers: text and words in
# SQLite and in Chroma, and Chroma's graph of vectors. Measured with `tests/benchmarks/index_size.py`, 700 passages.
INDEX_BYTES = 700_000
INDEX_BYTES_PER_CHUNK = 10_300
INDEX_BYTES_PER_VECTOR_BYTE = 2.2
CHUNK_TOKENS = 200


@dataclass(frozen=True)
class Spread:
    """A figure over several rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Median, least and greatest."""
        return cls(statistics.median(values), min(values), max(values))

    @property
    def width(self) -> float:
        """How far the rounds lie apart, as a share of the median."""
        return (self.high - self.low) / self.median


@dataclass(frozen=True, kw_only=True)
class LengthResult:
    """Speed with texts of one length.

    Attributes:
        name: "short", "passage" or "long".
        tokens: Tokens of one such text, on average.
        tokens_per_s: Tokens embedded a second.
        texts_per_s: Texts embedded a second, the median.
    """

    name: str
    tokens: float
    tokens_per_s: Spread
    texts_per_s: float


@dataclass(frozen=True, kw_only=True)
class CorpusCost:
    """What embedding a library of documents would cost.

    Attributes:
        documents: How many documents.
        tokens_per_document: Tokens of each; a thousand are about 750 English words.
        chunks: Passages that they are cut into.
        seconds: Time to embed them.
        memory_bytes: Most memory while they are embedded, and their vectors in memory as a search needs them.
        index_bytes: The index on disk: vectors, text and word index.
    """

    documents: int
    tokens_per_document: int
    chunks: int
    seconds: float
    memory_bytes: int | None
    index_bytes: int


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """What `measure` found.

    Attributes:
        model: Name of the model's row, or of the file.
        quantization: How the weights are stored; empty if the file's name doesn't tell.
        dimensions: Width of the vectors.
        path: The model's file.
        file_bytes: Its size.
        cores: How many the process may use.
        rounds: How often each figure was taken.
        load_s: From nothing loaded to the first vector, with the file in the system's cache.
        tokens_per_s: Tokens embedded a second, in a mix of short and long texts.
        texts_per_s: Texts of that mix a second.
        by_length: The same by length of text.
        query_median_s: Time for one question.
        query_p95_s: What 95 of 100 questions stay under.
        peak_bytes: Most memory that the process held, the mapped weights included; None where that can't be read.
        warnings: Why the figures may be off, a sentence each.
    """

    model: str
    quantization: str
    dimensions: int
    path: str
    file_bytes: int
    cores: int
    rounds: int
    load_s: float
    tokens_per_s: Spread
    texts_per_s: Spread
    by_length: tuple[LengthResult, ...]
    query_median_s: float
    query_p95_s: float
    peak_bytes: int | None
    warnings: tuple[str, ...]

    def corpus(self, documents: int, tokens_per_document: int = 1000) -> CorpusCost:
        """What so many documents would cost, cut into passages as `jina-rag add` cuts them."""
        passages = next(length for length in self.by_length if length.name == "passage")
        tokens = documents * tokens_per_document
        chunks = documents * -(-tokens_per_document // CHUNK_TOKENS)
        vector_bytes = 4 * self.dimensions * chunks
        index_bytes = INDEX_BYTES + INDEX_BYTES_PER_CHUNK * chunks + INDEX_BYTES_PER_VECTOR_BYTE * vector_bytes
        return CorpusCost(
            documents=documents,
            tokens_per_document=tokens_per_document,
            chunks=chunks,
            seconds=tokens / passages.tokens_per_s.median,
            memory_bytes=None if self.peak_bytes is None else self.peak_bytes + vector_bytes,
            index_bytes=round(index_bytes),
        )


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How near a file's vectors come to those of the most exact file at hand. It is not how well they find.

    Attributes:
        reference: The quantisation compared with.
        cosine: Mean cosine of the two vectors of a passage.
        least_cosine: The least of them.
        top_10: Share of the ten nearest passages of a question that both agree on, on average.
    """

    reference: str
    cosine: float
    least_cosine: float
    top_10: float


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """One configuration of a sweep.

    Attributes:
        name: What was changed, such as "Q8_0" or "512".
        tokens_per_s: Tokens embedded a second.
        query_s: Time for one question, the median.
        against_best: Its time over that of the quickest, in the same round: 1.2 takes a fifth longer.
        is_level: Whether its rounds and those of the quickest overlap, so that neither is surely quicker.
        peak_bytes: Most memory of its process, the mapped weights included.
        file_bytes: Size of the model's file.
        fidelity: Only in a sweep over quantisations.
    """

    name: str
    tokens_per_s: Spread
    query_s: float
    against_best: Spread
    is_level: bool
    peak_bytes: int | None
    file_bytes: int
    fidelity: Fidelity | None = None


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """What `sweep` found.

    Attributes:
        parameter: What was changed.
        model: Name of the model's row, or of the file.
        rounds: How often each configuration was measured.
        rows: The configurations, in the order of the sweep.
        best: Name of the quickest.
        warnings: Why the figures may be off, a sentence each.
    """

    parameter: SweepParameter
    model: str
    rounds: int
    rows: tuple[SweepRow, ...]
    best: str
    warnings: tuple[str, ...]

    @property
    def level_with_best(self) -> tuple[str, ...]:
        """Names of those that are as quick, as far as these rounds can tell."""
        return tuple(row.name for row in self.rows if row.is_level and row.name != self.best)


@dataclass(frozen=True)
class BenchProgress:
    """How far a measurement is: `done` of `total` steps of much the same length."""

    stage: str
    done: int
    total: int


BenchProgressCallback = Callable[[BenchProgress], None]
"""What it raises ends the measurement and its processes."""


def measure(
    model: str = "auto",
    *,
    quantization: str | None = None,
    dimensions: int | None = None,
    options: "LlamaCppOptions | None" = None,
    rounds: int = 5,
    on_progress: BenchProgressCallback | None = None,
) -> BenchResult:
    """Measure one model; the bundled one takes about 15 seconds, a larger one up to a minute.

    Args:
        model: A name from `list_models()`, "auto", or the path of a GGUF file.
        quantization: How the weights are stored; None takes the model's default.
        dimensions: Cut vectors to this width; None keeps the full one.
        options: How llama.cpp is to run.
        rounds: How often to measure, at least 2.
        on_progress: Told of each step.

    Raises:
        UnknownModelError, InvalidDimensionsError: the name, quantisation or width does not exist.
        ModelNotFoundError: the file is not here and could not be fetched.
        ModelLoadError, BackendError: the model can't be loaded or run.
    """
    found = find_model(model, quantization)
    found.spec.check_dimensions(dimensions)
    steps = _Steps(on_progress, total=len(_MIX) * (rounds + 1) + rounds)
    warnings = _busy_machine()
    with steps.at("Loading"), _Process(_COMMAND) as process:
        loaded = process.load(found, options, dimensions)
        with steps.at("Warming up"):
            units = _units(sum(process.documents(*_shape(name, found.spec), steps=steps).seconds for name in _MIX))
        timings: dict[str, list[_Timing]] = {name: [] for name in _MIX}
        queries: list[float] = []
        with steps.at("Measuring"):
            for _ in range(rounds):
                for name in _MIX:
                    timings[name].append(process.documents(*_shape(name, found.spec, units), steps=steps))
                queries += process.queries(-(-_QUERIES // rounds))
                steps.done()
        peak = process.peak_bytes()
    totals = [_Timing.total(turn) for turn in zip(*timings.values(), strict=True)]
    speed = Spread.of([timing.tokens_per_s for timing in totals])
    return BenchResult(
        model=found.spec.name,
        quantization=found.quantization,
        dimensions=loaded["dimensions"],
        path=str(found.path),
        file_bytes=found.path.stat().st_size,
        cores=_cores(),
        rounds=rounds,
        load_s=loaded["seconds"],
        tokens_per_s=speed,
        texts_per_s=Spread.of([timing.texts / timing.seconds for timing in totals]),
        by_length=tuple(_by_length(name, turns) for name, turns in timings.items()),
        query_median_s=statistics.median(queries),
        query_p95_s=_percentile_95(queries),
        peak_bytes=peak,
        warnings=(*warnings, *_uneven_rounds(speed)),
    )


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
        on_progress: Told of each step.

    Raises:
        BackendError: there is only one configuration, or a process failed.
        And what `measure` raises.
    """
    found = find_model(model, quantization)
    warnings = list(_busy_machine())
    configurations = _that_fit(_configurations(parameter, found, on_progress), warnings)
    if len(configurations) < 2:
        raise BackendError(
            f"There is nothing to compare: {found.spec.name} has one {parameter} here. "
            "Fetch or make another file (`jina-rag download`, `jina-rag quantize`), or sweep something else."
        )
    passes = rounds + (2 if parameter == "quantization" else 1)
    steps = _Steps(on_progress, total=len(configurations) * passes)
    passages = _SWEEP_PASSAGES[parameter]
    with ExitStack() as stack:
        processes = {name: stack.enter_context(_Process(_COMMAND)) for name in configurations}
        with steps.at("Loading"):
            slowest = 0.0
            for name, (candidate, options) in configurations.items():
                processes[name].load(candidate, options, None)
                slowest = max(slowest, processes[name].documents(PASSAGE_TOKENS, passages, steps=steps).seconds)
        with steps.at("Measuring in turns"):
            turns = _turns(processes, passages * _units(slowest), rounds, steps)
        queries = {name: statistics.median(process.queries(10)) for name, process in processes.items()}
        peaks = {name: process.peak_bytes() for name, process in processes.items()}
        with steps.at("Comparing vectors"):
            fidelity = _fidelity(processes, steps) if parameter == "quantization" else {}
    return _sweep_result(parameter, found, configurations, turns, queries, peaks, fidelity, warnings)


@dataclass(frozen=True)
class FoundModel:
    """A model's file, the row that describes it, and how its weights are stored."""

    path: Path
    spec: ModelSpec
    quantization: str


def find_model(model: str = "auto", quantization: str | None = None) -> FoundModel:
    """The file of a model that is named, or the row of a file.

    A file whose name is none of the known ones gets a row made from its header: without prompts, so for speed only.

    Raises:
        UnknownModelError, ModelNotFoundError, ModelLoadError, ChecksumError, MissingDependencyError: as
            `Embedder.from_pretrained` does.
    """
    if model.endswith(".gguf"):
        return _found_file(Path(model))
    from jina_rag.download import choose_model, find_model_file

    spec, named = parse_model_name(choose_model() if model == "auto" else model)
    file = spec.file(quantization or named)
    return FoundModel(find_model_file(spec, file.quantization), spec, file.quantization)


def _found_file(path: Path) -> FoundModel:
    if not path.is_file():
        raise ModelNotFoundError(f"There is no file {path}. Check the path, or name a model of `jina-rag models`.")
    return FoundModel(path, _row_of_file(path), split_name(path)[1])


def split_name(path: Path) -> tuple[str, str]:
    """What stands before and after the last hyphen of a file's name, if that is a quantisation."""
    known = sorted({*QUANTIZATIONS, *QUANTIZABLE, "F32"}, key=len, reverse=True)
    found = re.fullmatch(rf"(.+)-({'|'.join(known)})", path.stem, re.IGNORECASE)
    return (found[1], found[2].upper()) if found else (path.stem, "")


def _row_of_file(path: Path) -> ModelSpec:
    from jina_rag.gguf_file import read_gguf_header

    stem, _ = split_name(path)
    for spec in list_models():
        if stem in {split_name(Path(file.filename))[0] for file in spec.files}:
            return spec
    header = read_gguf_header(path)
    poolings: dict[object, Pooling] = {1: "mean", 2: "cls"}
    metadata, prefix = header.metadata, header.architecture
    return ModelSpec(
        name=stem,
        dimensions=int(metadata.get(f"{prefix}.embedding_length", 0)),
        max_input_tokens=int(metadata.get(f"{prefix}.context_length", 512)),
        pooling=poolings.get(metadata.get(f"{prefix}.pooling_type"), "last"),
        license="",
    )


_Configurations: TypeAlias = "dict[str, tuple[FoundModel, LlamaCppOptions]]"


def _configurations(
    parameter: SweepParameter, found: FoundModel, on_progress: BenchProgressCallback | None
) -> _Configurations:
    from jina_rag.backends.llama_cpp import LlamaCppOptions

    if parameter == "quantization":
        return {
            candidate.quantization: (candidate, LlamaCppOptions()) for candidate in _on_this_machine(found, on_progress)
        }
    if parameter == "batch":
        return {str(size): (found, LlamaCppOptions(batch_tokens=size)) for size in BATCH_SIZES}
    cores = _cores()
    counts = sorted({1, 2, cores // 4, cores // 2, cores - 1, cores} & set(range(1, cores + 1)))
    return {str(count): (found, LlamaCppOptions(n_threads=count)) for count in counts}


def _on_this_machine(found: FoundModel, on_progress: BenchProgressCallback | None) -> list[FoundModel]:
    """The files of a model that need not be fetched, most exact first."""
    from jina_rag.download import find_model_file, is_on_this_machine

    spec = found.spec
    if not spec.files or spec.file(found.quantization or None).filename != found.path.name:
        stem, _ = split_name(found.path)
        siblings = [replace(found, path=path, quantization=name) for path, name in _siblings(found.path, stem)]
        return sorted(siblings, key=lambda model: (_precision(model.quantization), model.quantization))
    if spec.repo_id is None:
        names: Sequence[str] = BUNDLED_TYPES
    else:
        names = [name for name in _types_of(spec) if is_on_this_machine(spec, name)]
    models = []
    for done, name in enumerate(names):
        if on_progress:
            on_progress(BenchProgress(f"Finding {name}", done, len(names)))
        models.append(FoundModel(find_model_file(spec, name), spec, name))
    return models


def _siblings(path: Path, stem: str) -> Iterator[tuple[Path, str]]:
    for other in path.parent.glob("*.gguf"):
        other_stem, quantization = split_name(other)
        if other_stem == stem and quantization:
            yield other, quantization


def _types_of(spec: ModelSpec) -> list[str]:
    offered = {file.quantization for file in spec.files} | ({*QUANTIZABLE} if spec.quantized_from else set())
    return sorted(offered, key=lambda name: (_precision(name), name))


def _precision(quantization: str) -> int:
    """Rank of a type by how exactly it keeps the weights, 0 the most."""
    order = ("F32", "F16", "BF16", *QUANTIZATIONS[1:])
    if quantization in order:
        return order.index(quantization)
    bits = re.search(r"\d", quantization)  # of a type that no card ships: among those of as many bits
    same = [rank for rank, name in enumerate(order[3:], 3) if bits and bits[0] in name[:3]]
    return same[-1] if same else len(order)


def _that_fit(configurations: _Configurations, warnings: list[str]) -> _Configurations:
    """All that fit into memory together; the largest are left out first, and that is said."""
    kept, free = dict(configurations), _available_bytes()
    while free is not None and len(kept) > 1 and _needed_bytes(kept) > free:
        largest = max(kept, key=lambda name: kept[name][0].path.stat().st_size)
        warnings.append(f"{largest} was left out, because memory does not hold all these models at once.")
        del kept[largest]
    return kept


def _needed_bytes(configurations: _Configurations) -> int:
    paths = {found.path for found, _ in configurations.values()}  # mapped weights are shared
    return sum(path.stat().st_size for path in paths) + _CHILD_BYTES * len(configurations)


@dataclass(frozen=True)
class _Timing:
    """One call: how many texts and tokens, and how long it took."""

    texts: int
    tokens: int
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.seconds

    @classmethod
    def total(cls, timings: Sequence["_Timing"]) -> "_Timing":
        return cls(
            sum(timing.texts for timing in timings),
            sum(timing.tokens for timing in timings),
            sum(timing.seconds for timing in timings),
        )


def _turns(
    processes: Mapping[str, "_Process"], passages: int, rounds: int, steps: "_Steps"
) -> dict[str, list[_Timing]]:
    """Every configuration once a round, in an order that goes forth and back."""
    turns: dict[str, list[_Timing]] = {name: [] for name in processes}
    for turn in range(rounds):
        for name in list(processes)[:: 1 if turn % 2 else -1]:
            turns[name].append(processes[name].documents(PASSAGE_TOKENS, passages, steps=steps))
    return turns


def _fidelity(processes: Mapping[str, "_Process"], steps: "_Steps") -> dict[str, Fidelity]:
    import numpy as np

    from jina_rag.vectors import cosine_similarity

    documents, queries = {}, {}
    for name, process in processes.items():
        documents[name] = process.vectors(_FIDELITY_TOKENS, _FIDELITY_DOCUMENTS, "document")
        queries[name] = process.vectors(_FIDELITY_TOKENS, _FIDELITY_QUERIES, "query")
        steps.done()
    reference = min(processes, key=_precision)
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


def _sweep_result(
    parameter: SweepParameter,
    found: FoundModel,
    configurations: _Configurations,
    turns: Mapping[str, Sequence[_Timing]],
    queries: Mapping[str, float],
    peaks: Mapping[str, int | None],
    fidelity: Mapping[str, Fidelity],
    warnings: Sequence[str],
) -> SweepResult:
    speeds = {name: Spread.of([timing.tokens_per_s for timing in timings]) for name, timings in turns.items()}
    best = max(speeds, key=lambda name: speeds[name].median)
    rows = []
    for name, timings in turns.items():
        against_best = Spread.of(
            [fast.tokens_per_s / timing.tokens_per_s for timing, fast in zip(timings, turns[best], strict=True)]
        )
        rows.append(
            SweepRow(
                name=name,
                tokens_per_s=speeds[name],
                query_s=queries[name],
                against_best=against_best,
                is_level=against_best.low <= 1,
                peak_bytes=peaks[name],
                file_bytes=configurations[name][0].path.stat().st_size,
                fidelity=fidelity.get(name),
            )
        )
    return SweepResult(
        parameter=parameter,
        model=found.spec.name,
        rounds=len(turns[best]),
        rows=tuple(rows),
        best=best,
        warnings=(*warnings, *_uneven_rounds(speeds[best])),
    )


def _shape(name: str, spec: ModelSpec, units: int = 1) -> tuple[int, int]:
    """Tokens of a text of this kind, and how many of them make a round."""
    tokens, texts = _MIX[name]
    return min(tokens, int(0.9 * spec.max_input_tokens)), texts * units


def _units(seconds: float) -> int:
    """How many units of texts make a round, when one took so long."""
    return max(1, min(_MAX_UNITS, round(_ROUND_S / seconds)))


def _by_length(name: str, timings: Sequence[_Timing]) -> LengthResult:
    speed = Spread.of([timing.tokens_per_s for timing in timings])
    tokens = timings[0].tokens / timings[0].texts
    return LengthResult(name=name, tokens=tokens, tokens_per_s=speed, texts_per_s=speed.median / tokens)


def _percentile_95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]


def _busy_machine() -> tuple[str, ...]:
    if not hasattr(os, "getloadavg"):
        return ()
    load, cores = os.getloadavg()[0], _cores()
    if load < _BUSY_LOAD * cores:
        return ()
    return (
        f"The machine was busy when this began (load {load:.1f} on {cores} cores): the figures may be too low. "
        "Measure again when it is quiet.",
    )


def _uneven_rounds(speed: Spread) -> tuple[str, ...]:
    if speed.width < _NOISY_SPREAD:
        return ()
    return (
        f"The rounds lie {speed.width:.0%} apart, so something else was using the machine: trust the median only "
        "roughly, or measure again with more --rounds.",
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _available_bytes() -> int | None:
    """Memory that processes could still take; None where the system doesn't say (only Linux does)."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


class _Steps:
    """Counts steps for whoever watches, under the name of the stage that they belong to."""

    def __init__(self, on_progress: BenchProgressCallback | None, total: int) -> None:
        self._on_progress, self._total = on_progress, total
        self._stage, self._done = "", 0

    def at(self, stage: str) -> "_Steps":
        self._stage = stage
        self._tell()
        return self

    def done(self) -> None:
        self._done += 1
        self._tell()

    def _tell(self) -> None:
        if self._on_progress:
            self._on_progress(BenchProgress(self._stage, self._done, self._total))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


_COMMAND = (sys.executable, "-P", "-m", "jina_rag.bench")


class _Process:
    """A process with one model in it, which answers one request after another, each a line of JSON."""

    def __init__(self, command: Sequence[str]) -> None:
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )

    def load(self, found: FoundModel, options: "LlamaCppOptions | None", dimensions: int | None) -> dict[str, Any]:
        """Load the model and embed a word: gives the seconds and the width of vectors."""
        row = found.spec.name if found.spec.files else None
        return self._ask(
            "load",
            path=str(found.path),
            row=row,
            dimensions=dimensions,
            options=asdict(options) if options else {},
        )

    def documents(self, tokens: int, texts: int, *, steps: _Steps) -> _Timing:
        """Embed `texts` texts of `tokens` tokens each, the same at every call."""
        answer = self._ask("documents", tokens=tokens, texts=texts)
        steps.done()
        return _Timing(texts, answer["tokens"], answer["seconds"])

    def queries(self, count: int) -> list[float]:
        """Embed questions, one after another: seconds of each."""
        seconds: list[float] = self._ask("queries", tokens=_QUERY_TOKENS, texts=count)["seconds"]
        return seconds

    def vectors(self, tokens: int, texts: int, input_type: str) -> Any:  # noqa: ANN401 - numpy is imported late
        import numpy as np

        answer = self._ask("vectors", tokens=tokens, texts=texts, input_type=input_type)
        return np.array(answer["vectors"], np.float32)

    def peak_bytes(self) -> int | None:
        peak: int | None = self._ask("memory")["peak_bytes"]
        return peak

    def _ask(self, kind: str, **request: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"kind": kind, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            raise BackendError(
                f"The process that measures has ended ({self._last_words()}). Close other programs if memory is "
                "short, and try a smaller model or quantisation."
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BackendError(answer["error"])
        return answer

    def _last_words(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), f"code {code}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()


class _Subject:
    """The other end: holds the model, and times what it is asked for."""

    def __init__(self) -> None:
        self._embedder: Embedder | None = None
        self._texts: dict[tuple[int, int], list[str]] = {}

    def load(self, path: str, row: str | None, dimensions: int | None, options: dict[str, Any]) -> dict[str, Any]:
        started = time.perf_counter()
        from jina_rag.backends.llama_cpp import LlamaCppOptions
        from jina_rag.embedder import Embedder

        spec = get_model_spec(row) if row else _row_of_file(Path(path))
        self._embedder = Embedder.from_file(
            path, spec, dimensions=dimensions, truncate=True, options=LlamaCppOptions(**options)
        )
        self._embedder.embed_query("word")
        return {"seconds": time.perf_counter() - started, "dimensions": self._embedder.dimensions}

    def documents(self, tokens: int, texts: int) -> dict[str, Any]:
        batch = self._texts_of(tokens, texts)
        started = time.perf_counter()
        result = self._model.embed(batch, "document")
        return {"seconds": time.perf_counter() - started, "tokens": sum(result.token_counts)}

    def queries(self, tokens: int, texts: int) -> dict[str, Any]:
        seconds = []
        for text in self._texts_of(tokens, texts):
            started = time.perf_counter()
            self._model.embed_query(text)
            seconds.append(time.perf_counter() - started)
        return {"seconds": seconds}

    def vectors(self, tokens: int, texts: int, input_type: Literal["query", "document"]) -> dict[str, Any]:
        # Questions are other texts than passages: they are the last of a longer list.
        batch = self._texts_of(tokens, texts + (_FIDELITY_DOCUMENTS if input_type == "query" else 0))[-texts:]
        return {"vectors": self._model.embed(batch, input_type).vectors.tolist()}

    def memory(self) -> dict[str, Any]:
        return {"peak_bytes": peak_memory_bytes()}

    @property
    def _model(self) -> "Embedder":
        assert self._embedder is not None
        return self._embedder

    def _texts_of(self, tokens: int, count: int) -> list[str]:
        if (tokens, count) not in self._texts:
            self._texts[tokens, count] = make_texts(tokens, count, self._model)
        return self._texts[tokens, count]


def make_texts(tokens: int, count: int, embedder: "Embedder") -> list[str]:
    """Different English texts of about so many tokens each, prompt and special tokens included; always the same."""
    import numpy as np

    rng = np.random.default_rng(tokens)
    words = " ".join(_SENTENCES).split()
    (none,), (all_of_them,) = embedder.count_tokens(["1"]), embedder.count_tokens([" ".join(words)])
    n_words = max(1, round((tokens - none) * len(words) / max(1, all_of_them - none)))
    texts = []
    for number in range(count):
        chosen: list[str] = []
        while len(chosen) < n_words:
            chosen += _SENTENCES[rng.integers(len(_SENTENCES))].split()
        texts.append(" ".join([str(number), *chosen[: n_words - 1]]))
    return texts


def peak_memory_bytes() -> int | None:
    """The most memory that this process has held, mapped weights included; None where the system doesn't say."""
    try:
        # Not getrusage(): what it gives on Linux includes the process that started this one.
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _serve() -> None:
    """Answer requests until there are no more. What libraries print must not be taken for an answer."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    subject = _Subject()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(subject, request.pop("kind"))(**request)
        except JinaRagError as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


_SENTENCES = (
    "The library opens at nine on weekdays and closes before the last train leaves.",
    "Mars looks red because the iron in its soil has rusted over a very long time.",
    "Please keep the receipt, since a repair is only free within two years of purchase.",
    "Bread rises when yeast turns sugar into gas that the dough holds back.",
    "A contract may be ended by either side with three months' notice in writing.",
    "The bridge was closed to lorries after engineers found cracks in two of its pillars.",
    "Whales sleep with one half of the brain at a time so that they keep breathing.",
    "Whoever moves house should tell the bank, the insurer and the tax office.",
    "The new timetable adds a later bus on Fridays and drops the one at noon.",
    "Salt lowers the temperature at which water freezes, which is why roads are salted.",
    "Students who miss the examination for a good reason may sit it again in autumn.",
    "The valley is known for its apples, its steep vineyards and its narrow railway.",
    "To reset the device, hold both buttons until the light turns from green to white.",
    "An invoice must name the seller, the buyer, the date and the amount of tax.",
    "Glaciers carry stones far from where they broke off and leave them in long ridges.",
    "The orchestra rehearses in the old gymnasium while the concert hall is repaired.",
    "Vaccines show the body a harmless part of a germ so that it learns to fight it.",
    "Our guests reach the hut on foot in two hours, and the luggage comes by cable car.",
    "Copper conducts heat better than steel, so good pans have it in their base.",
    "The council voted to plant three hundred trees along the road to the harbour.",
    "Each sample was weighed twice, and the mean of the two figures went into the table.",
    "In winter the ferry runs only when the wind stays below forty knots.",
    "The museum lends its maps to schools and shows the fragile ones on screens.",
    "Rice needs less water when the field dries out between two floodings.",
)


if __name__ == "__main__":
    _serve()
