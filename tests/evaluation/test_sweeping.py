from pathlib import Path

import pytest

from jina_rag.bench.files import FoundModel
from jina_rag.errors import EvaluationError
from jina_rag.evaluation import Dataset, ExpectedPassage, Question
from jina_rag.evaluation.sweep_report import make_sweep_report
from jina_rag.evaluation.sweeping import sweep
from jina_rag.testing import TINY_SPEC, random_texts


def test_every_width_and_precision_is_measured_and_one_advised(tiny_gguf: Path, tmp_path: Path) -> None:
    texts = {str(number): text for number, text in enumerate(random_texts(60, words=12, seed=1))}
    questions = tuple(Question(name, texts[name], (ExpectedPassage(name),)) for name in list(texts)[:20])
    model = FoundModel(tiny_gguf, TINY_SPEC, "F32", by_name=False)
    result = sweep(Dataset("random", questions, texts), [model], cache=tmp_path)
    rows = {(row.dimensions, row.precision): row for row in result.rows}
    assert {width for width, _ in rows} == {8, 16, 32, 64}
    assert {precision for _, precision in rows} == {"float32", "int8", "int8, rescored", "binary", "binary, rescored"}
    assert [rows[64, kind].memory_bytes for kind in ("float32", "int8", "binary", "binary, rescored")] == [
        256,
        64,
        8,
        8,
    ]
    assert rows[64, "binary, rescored"].disk_bytes == 8 + 256
    assert rows[64, "binary, rescored"].index_bytes == 60 * 264
    for width in (8, 16, 32, 64):
        assert rows[width, "float32"].found_again == 1
        assert rows[width, "int8"].found_again > 0.9
        assert rows[width, "binary, rescored"].found_again >= rows[width, "binary"].found_again
    assert rows[64, "float32"].ndcg.mean > 0.9  # "Query: " and "Document: " before the same text
    assert result.advised.is_no_worse
    assert result.advised.memory_bytes == min(row.memory_bytes for row in result.rows if row.is_no_worse)
    least = min(result.rows, key=lambda row: (row.memory_bytes, -row.ndcg.mean))
    assert least.is_pareto
    assert (
        not rows[64, "int8, rescored"].is_pareto or rows[64, "float32"].ndcg.mean < rows[64, "int8, rescored"].ndcg.mean
    )
    html = make_sweep_report(result)
    assert f"Take <b>{result.advised.name}</b>" in html
    assert html.count("<circle") == len(result.rows)


def test_nothing_to_search_is_said(tiny_gguf: Path, tmp_path: Path) -> None:
    model = FoundModel(tiny_gguf, TINY_SPEC, "F32", by_name=False)
    with pytest.raises(EvaluationError, match="Name the index"):
        sweep(Dataset("own", (Question("1", "a", (ExpectedPassage("a.md"),)),)), [model], cache=tmp_path)
    with pytest.raises(EvaluationError, match="nothing to search"):
        sweep(Dataset("own", (Question("1", "a"),), {"a": "b"}), [model], cache=tmp_path)
