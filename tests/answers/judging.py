"""How well a judge tells what a passage states from what it does not."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from time import perf_counter
from typing import NamedTuple, Protocol

from jina_rag.rag.citations.judges import Judge, JudgedPair

PRECISION = 0.9
"""What "supported" has to reach."""

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


class LabelledPair(Protocol):
    """A claim and a passage, of which it is known whether it states the claim."""

    @property
    def kind(self) -> str: ...
    @property
    def supported(self) -> bool: ...
    @property
    def claim(self) -> str: ...
    @property
    def passage(self) -> str: ...


class _Judged(NamedTuple):
    pair: LabelledPair
    probability: float
    is_complete: bool


def judge_report(judge: Judge, pairs: Sequence[LabelledPair], missing: Sequence[bool]) -> str:
    """Area under the curve, precision and recall by threshold, and what is supported by kind.

    Args:
        judge: Reads all pairs, those of one passage together.
        pairs: Those of one passage beside each other.
        missing: Whether string comparison finds that a pair's passage lacks a part of its claim, so that no judge would
            be asked about it.
    """
    began = perf_counter()
    probabilities: list[float] = []
    for _, group in groupby(pairs, lambda pair: pair.passage):
        probabilities += judge.judge([JudgedPair(pair.claim, pair.passage) for pair in group])
    seconds = (perf_counter() - began) / len(pairs)
    judged = [_Judged(pair, p, not gap) for pair, p, gap in zip(pairs, probabilities, missing, strict=True)]
    return "\n".join(
        [
            f"{judge.name}: {len(pairs)} claims that are not quoted, {seconds:.2f} seconds a claim",
            f"all of them: {_curve(judged)}",
            f"without those that lack something: {_curve([one for one in judged if one.is_complete])}",
            *_by_kind(judged, judge.threshold),
        ]
    )


def _curve(judged: Sequence[_Judged]) -> str:
    true = [one.probability for one in judged if one.pair.supported]
    false = [one.probability for one in judged if not one.pair.supported]
    wins = sum((one > other) + (one == other) / 2 for one in true for other in false)
    lines = [f"{len(true)} stated and {len(false)} not; area under the curve {wins / len(true) / len(false):.3f}"]
    lines += [f"  from {threshold:.2f}: {_precision_and_recall(true, false, threshold)}" for threshold in THRESHOLDS]
    good = [threshold for threshold in sorted(true) if _precision(true, false, threshold) >= PRECISION]
    lowest = f"{good[0]:.3f}: {_precision_and_recall(true, false, good[0])}" if good else "none"
    return "\n".join([*lines, f"  lowest threshold with a precision of {PRECISION}: {lowest}"])


def _precision(true: Sequence[float], false: Sequence[float], threshold: float) -> float:
    n_true, n_false = (sum(probability >= threshold for probability in group) for group in (true, false))
    return n_true / max(1, n_true + n_false)


def _precision_and_recall(true: Sequence[float], false: Sequence[float], threshold: float) -> str:
    recall = sum(probability >= threshold for probability in true) / len(true)
    return f"precision {_precision(true, false, threshold):.2f}, recall {recall:.2f}"


def _by_kind(judged: Sequence[_Judged], threshold: float) -> list[str]:
    """How many of each kind are supported at the judge's threshold, and the quartiles of its probabilities."""
    kinds: dict[tuple[bool, str], list[_Judged]] = defaultdict(list)
    for one in judged:
        kinds[one.pair.supported, one.pair.kind].append(one)
    lines = [f"supported from {threshold:.2f}, and quartiles of the probabilities:"]
    for (supported, kind), found in sorted(kinds.items(), reverse=True):
        shares = sorted(one.probability for one in found)
        low, middle, high = (shares[round(share * (len(shares) - 1))] for share in (0.25, 0.5, 0.75))
        n = sum(one.is_complete and one.probability >= threshold for one in found)
        stated = "stated" if supported else "not stated"
        lines.append(f"  {stated:<11} {kind:<11} {n:>3} of {len(found):>3}   {low:.2f} {middle:.2f} {high:.2f}")
    return lines
