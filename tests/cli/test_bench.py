import json
from pathlib import Path

import pytest

from jina_rag import bench as bench_module
from tests.cli.conftest import Run
from tests.test_bench import RESULT


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What the library is asked for, by a command that measures nothing."""
    calls: list[dict[str, object]] = []

    def measure(model: str, **options: object) -> object:
        calls.append({"model": model, **options})
        return RESULT

    monkeypatch.setattr(bench_module, "measure", measure)
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
    assert "jina-rag eval DATASET --sweep" in result.stderr


def test_bench_gives_json(run: Run, asked: list[dict[str, object]]) -> None:
    found = json.loads(run("bench", "--json", "--rounds", "3").stdout)
    assert asked[0]["rounds"] == 3
    assert found["tokens_per_s"] == {"median": 100.0, "low": 90.0, "high": 110.0}
    assert found["corpus"]["documents"] == 10_000


def test_bench_measures_a_file_in_the_engine_that_is_named(run: Run, tiny_gguf: Path) -> None:
    arguments = ["--model", str(tiny_gguf), "--backend", "onnx", "--rounds", "2", "--json"]
    found = json.loads(run("bench", *arguments).stdout)
    assert found["engine"] == "onnx?precision=f32"
    assert found["dimensions"] == 64
    assert found["tokens_per_s"]["median"] > 0
