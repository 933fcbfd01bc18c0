import json
from dataclasses import replace
from pathlib import Path

import pytest

from jina_rag import bench as bench_module
from jina_rag.bench import Fidelity, Spread, SweepResult, SweepRow
from tests.cli.conftest import Run
from tests.test_bench import RESULT


def row(name: str, median: float, *, is_level: bool, cosine: float) -> SweepRow:
    return SweepRow(
        name=name,
        tokens_per_s=Spread(median, median - 10, median + 10),
        query_s=0.005,
        against_best=Spread(200 / median, 0.9, 2.2),
        is_level=is_level,
        peak_bytes=150 * 10**6,
        file_bytes=int(median) * 10**6,
        fidelity=Fidelity(reference="F32", cosine=cosine, least_cosine=cosine, top_10=0.93),
    )


SWEPT = SweepResult(
    parameter="quantization",
    model="m",
    rounds=3,
    rows=(row("F32", 100, is_level=False, cosine=1), row("BF16", 200, is_level=True, cosine=0.9999)),
    best="BF16",
    warnings=("The machine was busy.",),
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What the library is asked for, by a command that measures nothing."""
    calls: list[dict[str, object]] = []

    def measure(model: str, **options: object) -> object:
        calls.append({"model": model, **options})
        return RESULT

    def sweep(parameter: str, model: str, **options: object) -> object:
        calls.append({"parameter": parameter, "model": model, **options})
        return SWEPT

    monkeypatch.setattr(bench_module, "measure", measure)
    monkeypatch.setattr(bench_module, "sweep", sweep)
    return calls


def test_bench_says_what_a_newcomer_wants_to_know(run: Run, asked: list[dict[str, object]]) -> None:
    result = run("bench", "--model", "minilm", "--documents", "100", "--words", "375")
    assert result.exit_code == 0
    assert asked[0]["model"] == "minilm"
    for sentence in (
        "100 (90 to 110) tokens a second",
        "10.0 ms usually; 95 of 100 take less than 20.0 ms",
        "0.1 s until the first vector",
        "200.0 MB at the most",
        "2, as many as this process may use",
        "100 documents of 375 words would take",
        "about 50 s to embed 300 passages",
    ):
        assert sentence in result.stdout
    assert "--sweep quantization" in result.stderr


def test_bench_gives_json(run: Run, asked: list[dict[str, object]]) -> None:
    found = json.loads(run("bench", "--json", "--rounds", "3").stdout)
    assert asked[0]["rounds"] == 3
    assert found["tokens_per_s"] == {"median": 100.0, "low": 90.0, "high": 110.0}
    assert found["corpus"]["documents"] == 10_000


@pytest.mark.usefixtures("asked")
def test_sweep_names_the_quickest_and_what_fidelity_is(run: Run) -> None:
    result = run("bench", "--sweep", "quantization")
    header, exact, small, _, verdict, advice = result.stdout.splitlines()[1:7]
    assert header.split()[:2] == ["QUANTISATION", "TOKENS/S"]
    assert exact.split()[:2] == ["F32", "100"]
    assert "2.00 times the least" in exact
    assert small.split()[0] == "BF16"
    assert "least" in small
    assert verdict == "Quickest here: BF16, in every round. Smallest: F32."
    assert advice == "Take BF16, nothing else is as quick: --quantization BF16"
    assert "It is not how well they find" in result.stderr
    assert "Note: The machine was busy." in result.stderr


@pytest.mark.usefixtures("asked")
def test_sweep_gives_json(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    level = replace(SWEPT, rows=tuple(replace(one, is_level=True) for one in SWEPT.rows))
    monkeypatch.setattr(bench_module, "sweep", lambda *_, **__: level)
    found = json.loads(run("bench", "--sweep", "threads", "--json").stdout)
    assert (found["best"], found["level_with_best"]) == ("BF16", ["F32"])
    shown = run("bench", "--sweep", "threads").stdout
    assert "Level with it, as far as these rounds can tell: F32." in shown
    assert "Take F32, the most exact of these: --quantization F32" in shown
    assert found["advised"] == "F32"


def test_bench_measures_a_file(run: Run, tiny_gguf: Path) -> None:
    found = json.loads(run("bench", "--model", str(tiny_gguf), "--rounds", "2", "--json").stdout)
    assert found["dimensions"] == 64
    assert found["tokens_per_s"]["median"] > 0
