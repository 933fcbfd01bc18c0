"""Measures of rankings with ir-measures, bootstrap confidence intervals, and a paired randomisation test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jina_rag.errors import MissingDependencyError

RESAMPLES = 10_000
CONFIDENCE = 0.95
SIGNIFICANT = 0.05
"""A difference with such a p, or a smaller one, is hardly chance."""

_SEED = 0  # the same figures for the same run
_AT_A_TIME = 1_000  # resamples, so that memory stays small with many questions

FloatValues = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean over questions with its confidence interval.

    Attributes:
        mean: Over all questions.
        low: Lower end of the 95% interval, by the percentile bootstrap over questions (Efron, 1979).
        high: Its upper end.
    """

    mean: float
    low: float
    high: float


def names_of_measures(k: int) -> list[str]:
    """What is measured when `k` passages are found for each question.

    nDCG@10 (gain is the relevance, discount log2), recall at several depths, and the means of the reciprocal rank (MRR)
    and of the average precision (MAP).
    """
    depths = sorted({1, 5, 10, k})
    return ["nDCG@10", *(f"recall@{depth}" for depth in depths if depth <= max(10, k)), "MRR@10", f"MAP@{max(10, k)}"]


def measure(
    relevant: Mapping[str, Mapping[str, int]], found: Mapping[str, Sequence[str]], k: int
) -> dict[str, dict[str, float]]:
    """The value of each measure for each question, by ir-measures.

    Args:
        relevant: For each question how relevant each item is, 0 for not at all.
        found: For each question the items that were found, best first.
        k: How many are asked for.

    Returns:
        Values by measure and question; 0 for a question for which nothing was found.

    Raises:
        MissingDependencyError: ir-measures is not installed.
    """
    try:
        import ir_measures
    except ImportError as error:
        raise MissingDependencyError.for_extra("ir-measures", "evaluation") from error
    # Not by parse_measure, which needs what Python 3.14 has no more (ast.Num).
    families = {"nDCG": ir_measures.nDCG, "recall": ir_measures.R, "MRR": ir_measures.RR, "MAP": ir_measures.AP}
    names = {}
    for name in names_of_measures(k):
        family, depth = name.split("@")
        names[families[family] @ int(depth)] = name
    qrels = [ir_measures.Qrel(q, item, grade) for q, grades in relevant.items() for item, grade in grades.items()]
    run = [
        ir_measures.ScoredDoc(question, item, -float(rank))
        for question, items in found.items()
        for rank, item in enumerate(items)
    ]
    values = {name: dict.fromkeys(relevant, 0.0) for name in names.values()}
    for metric in ir_measures.iter_calc(list(names), qrels, run):
        values[names[metric.measure]][metric.query_id] = float(metric.value)
    return values


def estimates(values: Mapping[str, Mapping[str, float]]) -> dict[str, Estimate]:
    """Mean and confidence interval of each measure, from its value for each question."""
    table = np.array([list(of_questions.values()) for of_questions in values.values()])
    means = _resampled_means(table)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return {
        name: Estimate(float(table[place].mean()), float(low[place]), float(high[place]))
        for place, name in enumerate(values)
    }


@dataclass(frozen=True)
class Difference:
    """What changed between two runs over the same questions.

    Attributes:
        mean: Of the later value less the earlier one.
        low: Lower end of its 95% interval, by the percentile bootstrap.
        high: Its upper end.
        p: How probable so large a mean is, up or down, if each question's two values were exchangeable: two-sided, by
            the paired randomisation test (Smucker, Allan and Carterette, 2007).
        better: Questions that became better.
        worse: Questions that became worse.
        n: Questions in both runs.
    """

    mean: float
    low: float
    high: float
    p: float
    better: int
    worse: int
    n: int


def compare(earlier: Mapping[str, float], later: Mapping[str, float]) -> Difference:
    """The difference of one measure over the questions that two runs have in common, of which there must be one."""
    both = [question for question in later if question in earlier]
    differences = np.array([later[question] - earlier[question] for question in both])
    means = _resampled_means(differences[np.newaxis])[:, 0]
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Difference(
        float(differences.mean()),
        float(low),
        float(high),
        _randomisation_p(differences),
        int((differences > 0).sum()),
        int((differences < 0).sum()),
        len(both),
    )


def _resampled_means(table: FloatValues) -> FloatValues:
    """Means over bootstrap samples of the questions: (measures, questions) gives (resamples, measures)."""
    random, n = np.random.default_rng(_SEED), table.shape[1]
    sample = n * np.arange(_AT_A_TIME)[:, np.newaxis]
    means = []
    for _ in range(RESAMPLES // _AT_A_TIME):
        drawn = random.integers(n, size=(_AT_A_TIME, n)) + sample
        counts = np.bincount(drawn.ravel(), minlength=n * _AT_A_TIME).reshape(_AT_A_TIME, n)
        means.append(counts @ table.T / n)
    return np.concatenate(means)


def _randomisation_p(differences: FloatValues) -> float:
    random, observed = np.random.default_rng(_SEED), abs(differences.mean())
    as_large = 0
    for _ in range(RESAMPLES // _AT_A_TIME):
        signs = random.integers(0, 2, size=(_AT_A_TIME, len(differences))) * 2 - 1
        as_large += int((np.abs(signs @ differences / len(differences)) >= observed - 1e-12).sum())
    return (as_large + 1) / (RESAMPLES + 1)
