import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jina_rag import Embedder
from jina_rag.bench import (
    BenchProgress,
    BenchResult,
    Fidelity,
    LengthResult,
    Spread,
    SweepResult,
    SweepRow,
    measure,
    measuring,
    process,
    sweep,
    sweeping,
)
from jina_rag.bench.files import find_model, on_this_machine, precision
from jina_rag.bench.process import Timing
from jina_rag.bench.results import CHUNK_TOKENS
from jina_rag.bench.texts import make_texts
from jina_rag.errors import BackendError, InvalidDimensionsError, ModelNotFoundError, UnknownModelError
from jina_rag.quantize import quantize_file
from jina_rag.rag.chunking import MAX_CHUNK_TOKENS

STEADY = Spread(100.0, 90.0, 110.0)
RESULT = BenchResult(
    model="m",
    quantization="F32",
    dimensions=384,
    path="m.gguf",
    file_bytes=10**6,
    cores=2,
    rounds=2,
    load_s=0.1,
    tokens_per_s=STEADY,
    texts_per_s=STEADY,
    by_length=(LengthResult(name="passage", tokens=128, tokens_per_s=Spread(1000.0, 900.0, 1100.0), texts_per_s=8),),
    query_median_s=0.01,
    query_p95_s=0.02,
    peak_bytes=200 * 10**6,
    warnings=(),
)


@pytest.fixture(scope="module", autouse=True)
def quick() -> object:
    """Rounds of a moment: these tests are not about precision."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(measuring, "ROUND_S", 0.0)
        monkeypatch.setattr(measuring, "N_QUERIES", 4)
        yield


@pytest.fixture(scope="module")
def files(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model in two types, and another model beside it."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "other-Q8_0.gguf").write_bytes(tiny_gguf.read_bytes())
    (folder / "tiny-F32.gguf").write_bytes(tiny_gguf.read_bytes())
    quantize_file(tiny_gguf, folder / "tiny-Q4_0.gguf", "Q4_0")
    return folder


def test_measure_gives_every_figure(files: Path) -> None:
    steps: list[BenchProgress] = []
    result = measure(str(files / "tiny-F32.gguf"), rounds=2, on_progress=steps.append)
    assert (result.model, result.quantization, result.dimensions, result.rounds) == ("tiny", "F32", 64, 2)
    assert [(length.name, length.texts_per_s > 0) for length in result.by_length] == [
        ("short", True),
        ("passage", True),
        ("long", True),
    ]
    assert all(
        0.7 < length.tokens / tokens < 1.3 for length, tokens in zip(result.by_length, (16, 128, 512), strict=True)
    )
    assert 0 < result.tokens_per_s.low <= result.tokens_per_s.median <= result.tokens_per_s.high
    assert 0 < result.query_median_s <= result.query_p95_s < result.load_s
    assert result.peak_bytes is None or 20e6 < result.peak_bytes < 400e6
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].done == steps[-1].total


def test_memory_is_that_of_the_model_not_of_the_caller(files: Path) -> None:
    ballast = np.ones(60 * 10**6)  # 480 MB
    result = measure(str(files / "tiny-F32.gguf"), rounds=2)
    if result.peak_bytes is None:
        pytest.skip("this system does not say")
    assert ballast.nbytes > result.peak_bytes


def test_width_is_checked_before_anything_is_loaded() -> None:
    with pytest.raises(InvalidDimensionsError):
        measure("all-MiniLM-L6-v2", dimensions=100)
    with pytest.raises(ModelNotFoundError, match="no-such"):
        measure("no-such.gguf")
    with pytest.raises(UnknownModelError):
        measure("no-such-model")


def test_a_corpus_costs_what_its_tokens_cost() -> None:
    assert MAX_CHUNK_TOKENS == CHUNK_TOKENS
    cost = RESULT.corpus(100, tokens_per_document=500)
    assert cost.chunks == 300
    assert cost.seconds == 50
    assert cost.memory_bytes == 200 * 10**6 + 4 * 384 * 300
    assert cost.index_bytes > 4 * 384 * 300
    assert cost.index_bytes < RESULT.corpus(200, tokens_per_document=500).index_bytes < 2 * cost.index_bytes
    assert replace(RESULT, peak_bytes=None).corpus(1).memory_bytes is None


def test_sweep_over_quantisations_takes_the_files_of_the_model(files: Path) -> None:
    result = sweep("quantization", str(files / "tiny-Q4_0.gguf"), rounds=3)
    assert [row.name for row in result.rows] == ["F32", "Q4_0"]
    exact, small = (row.fidelity for row in result.rows)
    assert exact is not None
    assert small is not None
    assert exact.reference == small.reference == "F32"
    assert exact.cosine == pytest.approx(1, abs=1e-5)
    assert exact.top_10 == 1
    assert small.least_cosine <= small.cosine < 0.9999
    assert 0 <= small.top_10 <= 1
    assert result.rows[1].file_bytes < result.rows[0].file_bytes
    best = next(row for row in result.rows if row.name == result.best)
    assert best.is_level
    assert best.against_best == Spread(1, 1, 1)
    assert result.best not in result.level_with_best


def test_sweep_over_threads_and_batches(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "BATCH_SIZES", (64, 512))
    monkeypatch.setattr(sweeping, "available_cores", lambda: 2)
    path = str(files / "tiny-F32.gguf")
    assert [row.name for row in sweep("batch", path, rounds=2).rows] == ["64", "512"]
    threads = sweep("threads", path, rounds=2)
    assert [row.name for row in threads.rows] == ["1", "2"]
    assert all(row.fidelity is None for row in threads.rows)


def test_nothing_to_compare_is_said(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendError, match="jina-rag quantize"):
        sweep("quantization", str(files / "other-Q8_0.gguf"))
    monkeypatch.setattr(sweeping, "available_cores", lambda: 1)
    with pytest.raises(BackendError, match="may use one core"):
        sweep("threads", str(files / "other-Q8_0.gguf"))


def test_a_type_of_a_known_model_that_nobody_offers_is_compared_too(files: Path, tmp_path: Path) -> None:
    for quantization, name in (("F32", "tiny-F32.gguf"), ("Q4_0", "tiny-Q4_0.gguf")):
        (tmp_path / f"v5-small-retrieval-{quantization}.gguf").write_bytes((files / name).read_bytes())
    found = find_model(str(tmp_path / "v5-small-retrieval-F32.gguf"))
    assert [model.quantization for model in on_this_machine(found, None)] == ["F32", "Q4_0"]


def test_models_that_do_not_fit_together_are_left_out(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "available_memory_bytes", lambda: 500 * 10**6)  # one process takes 300
    with pytest.raises(BackendError, match="nothing to compare"):
        sweep("quantization", str(files / "tiny-F32.gguf"))
    monkeypatch.setattr(sweeping, "CHILD_BYTES", 100)
    sizes = [(files / name).stat().st_size for name in ("tiny-F32.gguf", "tiny-Q4_0.gguf")]
    monkeypatch.setattr(sweeping, "available_memory_bytes", lambda: sum(sizes) + 200)
    assert len(sweep("quantization", str(files / "tiny-F32.gguf"), rounds=2).rows) == 2


@pytest.mark.parametrize(
    ("timings", "best", "level"),
    [
        ({"a": (1.0, 1.1, 1.2), "b": (1.1, 1.2, 1.3)}, "a", ()),  # quicker in every round
        ({"a": (1.0, 1.1, 1.2), "b": (1.1, 1.05, 1.3)}, "a", ("b",)),
        ({"a": (2.0, 8.0, 2.0), "b": (1.0, 4.0, 1.0)}, "b", ()),  # a slow round slows both
    ],
)
def test_level_means_that_the_rounds_overlap(
    timings: dict[str, tuple[float, ...]], best: str, level: tuple[str, ...]
) -> None:
    turns = {name: [Timing(1, 100, one) for one in seconds] for name, seconds in timings.items()}
    measured = {
        name: sweeping.Measured(timings=one, query_s=0.1, peak_bytes=None, file_bytes=1, fidelity=None)
        for name, one in turns.items()
    }
    result = sweeping.sweep_result("threads", "m", measured, ())
    assert (result.best, result.level_with_best) == (best, level)


def test_of_what_is_level_the_most_exact_or_the_least_is_advised() -> None:
    def row(name: str, *, size: int, cosine: float, is_level: bool = True) -> SweepRow:
        fidelity = Fidelity(reference="F32", cosine=cosine, least_cosine=cosine, top_10=1)
        return SweepRow(
            name=name,
            tokens_per_s=STEADY,
            query_s=0.01,
            against_best=Spread(1, 1, 1),
            is_level=is_level,
            peak_bytes=1,
            file_bytes=size,
            fidelity=fidelity,
        )

    rows = (
        row("F32", size=4, cosine=1, is_level=False),
        row("F16", size=2, cosine=0.99999),
        row("Q8_0", size=1, cosine=0.9998),
    )
    swept = SweepResult(parameter="quantization", model="m", rounds=2, rows=rows, best="Q8_0", warnings=())
    assert swept.advised == "F16"
    assert replace(swept, rows=(rows[0], replace(rows[1], is_level=False), rows[2])).advised == "Q8_0"
    equal = replace(rows[2], fidelity=rows[1].fidelity)
    assert replace(swept, rows=(*rows[:2], equal)).advised == "Q8_0"
    assert replace(swept, parameter="threads", rows=rows[1:]).advised == "F16"


def test_busy_machine_and_uneven_rounds_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 9.0, 9.0))
    assert measuring.busy_machine() == ()
    assert measuring.uneven_rounds(STEADY) == ()
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 0.0, 0.0))
    assert "a load of 1.5, with 2 processor cores" in measuring.busy_machine()[0]
    assert "60% apart" in measuring.uneven_rounds(Spread(100, 70, 130))[0]


def test_stopping_ends_the_processes(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[str]] = []
    real: Callable[..., subprocess.Popen[str]] = subprocess.Popen

    def start(*args: object, **kwargs: object) -> subprocess.Popen[str]:
        started.append(real(*args, **kwargs))
        return started[-1]

    def stop(progress: BenchProgress) -> None:
        if progress.done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(KeyboardInterrupt):
        measure(str(files / "tiny-F32.gguf"), on_progress=stop)
    assert [process.poll() is not None for process in started] == [True]


def test_a_process_that_dies_is_explained(monkeypatch: pytest.MonkeyPatch, files: Path) -> None:
    monkeypatch.setattr(process, "WORKER_COMMAND", (sys.executable, "-c", "raise SystemExit('out of memory')"))
    with pytest.raises(BackendError, match=r"out of memory.*smaller model"):
        measure(str(files / "tiny-F32.gguf"))


def test_an_error_in_the_process_is_explained(files: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken-F32.gguf"
    content = (files / "tiny-F32.gguf").read_bytes()
    broken.write_bytes(content.replace(b"blk.1.attn_q.weight", b"blk.1.attn_x.weight"))
    with pytest.raises(BackendError, match=r"llama\.cpp cannot load"):
        measure(str(broken))


def test_rows_of_files(tiny_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "v5-small-retrieval-Q4_0.gguf"
    path.write_bytes(tiny_gguf.read_bytes())
    found = find_model(str(path))
    assert (found.spec.name, found.quantization) == ("jina-embeddings-v5-text-small-retrieval", "Q4_0")
    unknown = find_model(str(tiny_gguf))
    assert (unknown.spec.name, unknown.quantization) == ("tiny-qwen3", "")
    assert (unknown.spec.dimensions, unknown.spec.max_input_tokens, unknown.spec.pooling) == (64, 4096, "last")


def test_precision_orders_types() -> None:
    names = ["Q4_0", "F16", "IQ1_S", "BF16", "F32", "Q4_K_M", "Q8_0", "Q4_K_S", "Q6_K", "Q2_K"]
    ordered = sorted(names, key=precision)
    assert ordered[:5] == ["F32", "F16", "BF16", "Q8_0", "Q6_K"]
    assert ordered[-2:] == ["Q2_K", "IQ1_S"]


def test_texts_have_the_length_asked_for_and_differ(any_embedder: Embedder) -> None:
    texts = make_texts(100, 30, any_embedder)
    assert len(set(texts)) == 30
    assert texts == make_texts(100, 30, any_embedder)
    counts = any_embedder.count_tokens(texts)
    assert 70 < min(counts) <= max(counts) < 130
