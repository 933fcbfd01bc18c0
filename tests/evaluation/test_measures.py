import math

import pytest

from jina_rag.evaluation.measures import compare, estimates, measure


def test_measures_of_rankings() -> None:
    relevant = {"one": {"a": 2, "b": 1, "x": 0}, "two": {"c": 1}, "three": {"d": 1}}
    found = {"one": ["x", "a", "b"], "two": ["c"]}
    values = measure(relevant, found, k=10)
    gain = 2 / math.log2(3) + 1 / math.log2(4)
    assert values["nDCG@10"] == pytest.approx({"one": gain / (2 + 1 / math.log2(3)), "two": 1, "three": 0})
    assert values["recall@1"] == {"one": 0, "two": 1, "three": 0}
    assert values["recall@5"] == {"one": 1, "two": 1, "three": 0}
    assert values["MRR@10"] == {"one": 0.5, "two": 1, "three": 0}
    assert values["MAP@10"] == pytest.approx({"one": (1 / 2 + 2 / 3) / 2, "two": 1, "three": 0})
    assert list(measure(relevant, found, k=100)) == [
        "nDCG@10", "recall@1", "recall@5", "recall@10", "recall@100", "MRR@10", "MAP@100",
    ]  # fmt: skip


def test_intervals_are_those_of_the_binomial_where_values_are_0_or_1() -> None:
    estimate = estimates({"recall@1": {str(number): float(number < 80) for number in range(100)}})["recall@1"]
    assert estimate.mean == 0.8
    half = 1.96 * math.sqrt(0.8 * 0.2 / 100)
    assert (estimate.low, estimate.high) == pytest.approx((0.8 - half, 0.8 + half), abs=0.015)


def test_a_difference_is_tested_question_by_question() -> None:
    earlier = {str(number): number / 20 for number in range(20)}
    same = compare(earlier, earlier)
    assert (same.mean, same.p, same.better, same.worse, same.n) == (0, 1, 0, 0, 20)
    later = {name: value + 0.1 for name, value in earlier.items()} | {"new": 1.0}
    better = compare(earlier, later)
    assert (better.better, better.worse, better.n) == (20, 0, 20)
    assert better.low == pytest.approx(better.mean) == pytest.approx(0.1)
    assert better.p < 0.001  # two of 2**20 patterns of signs
    # Five of five questions better: 2 of the 32 patterns of signs are as extreme.
    five = compare(dict.fromkeys("abcde", 0.0), dict.fromkeys("abcde", 1.0))
    assert five.p == pytest.approx(2 / 32, abs=0.01)
