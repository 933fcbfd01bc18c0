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
    LengthResult,
    Spread,
    measure,
    measuring,
    process,
)
from jina_rag.bench.files import find_model, on_this_machine, precision
from jina_rag.bench.results import CHUNK_TOKENS
from jina_rag.bench.texts import make_texts
from jina_rag.errors import BackendError, InvalidDimensionsError, ModelNotFoundError, UnknownModelError
from jina_rag.quantize import quantize_file
from jina_rag.rag.chunking import MAX_CHUNK_TOKENS

STEADY = Spread(100.0, 90.0, 110.0)
RESULT = BenchResult(
    model="m",
    quantization="F32",
    engine="llama.cpp",
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


def test_a_type_of_a_known_model_that_nobody_offers_is_compared_too(files: Path, tmp_path: Path) -> None:
    for quantization, name in (("F32", "tiny-F32.gguf"), ("Q4_0", "tiny-Q4_0.gguf")):
        (tmp_path / f"v5-small-retrieval-{quantization}.gguf").write_bytes((files / name).read_bytes())
    found = find_model(str(tmp_path / "v5-small-retrieval-F32.gguf"))
    assert [model.quantization for model in on_this_machine(found, None)] == ["F32", "Q4_0"]


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
