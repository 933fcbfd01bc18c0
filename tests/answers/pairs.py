"""How well the check of claims tells what a passage states from what it does not, on labelled pairs of both.

`python -m tests.answers.pairs` prints precision and recall of string comparison alone, the share of each kind of claim
that is quoted, and the share that has a number or quotation which is missing in its passage.

With `--judge` it prints how well a judge reads the claims that are not quoted.

`pairs.jsonl` has 537 claims about 46 passages written for this purpose, half of them stated by their passage. A false
one swaps roles, negates, drops a condition or an "almost", "only" or "except", changes a number or a name, or adds what
may be true and isn't stated. The half "unseen" is for measuring; only "development" may be read while a check is made.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from jina_rag.rag.citations.missing import find_missing
from jina_rag.rag.citations.quotes import QuotableText

PAIRS = Path(__file__).with_name("pairs.jsonl")


class Pair(NamedTuple):
    """A claim, what it is about, and whether the passage states it."""

    source: str
    language: str
    half: str
    kind: str
    supported: bool
    claim: str
    passage: str


def read_pairs(half: str | None = None) -> list[Pair]:
    """All pairs, or those of one half."""
    pairs = [Pair(**json.loads(line)) for line in PAIRS.read_text(encoding="utf-8").splitlines()]
    return [pair for pair in pairs if half in (None, pair.half)]


def report(pairs: Iterable[Pair], passes: Callable[[Pair], bool]) -> str:
    """Precision and recall of a check, and for how many of each kind it is true."""
    counts: dict[tuple[bool, str], list[int]] = defaultdict(lambda: [0, 0])
    for pair in pairs:
        passed = passes(pair)
        for key in ((pair.supported, pair.kind), (pair.supported, "all")):
            counts[key][0] += passed
            counts[key][1] += 1
    true_positives, positives = counts[True, "all"]
    n_passed = true_positives + counts[False, "all"][0]
    lines = [f"precision {true_positives / max(1, n_passed):.2f}, recall {true_positives / positives:.2f}", ""]
    for (supported, kind), (n, total) in sorted(counts.items(), reverse=True):
        lines.append(f"{'stated' if supported else 'not stated':<11} {kind:<11} {n:>3} of {total:>3}")
    return "\n".join(lines)


def is_quoted(pair: Pair) -> bool:
    """Whether the passage has the claim word for word."""
    return QuotableText(pair.passage).find(pair.claim) is not None


def has_missing(pair: Pair) -> bool:
    """Whether the claim has a number or quotation that the passage has not."""
    return bool(find_missing(pair.claim, [pair.passage]))


def main() -> str:
    """Measure string comparison, which answers go through first, or a judge, which reads the rest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=("development", "unseen"), default=None)
    parser.add_argument("--judge", metavar="PATH.gguf|URL", help="as for `jina-rag ask`")
    options = parser.parse_args()
    pairs = read_pairs(options.half)
    if options.judge:
        return _report_of_judge(options.judge, pairs)
    shares_missing = report(pairs, has_missing).partition("\n\n")[2]
    return f"quoted: {report(pairs, is_quoted)}\n\nsomething is missing in the passage:\n{shares_missing}"


def _report_of_judge(setting: str, pairs: Sequence[Pair]) -> str:
    from jina_rag.rag.answering.judging import make_judge
    from tests.answers.judging import judge_report

    judge = make_judge(setting, None)
    if judge is None:
        raise SystemExit("--judge names no judge. Name a .gguf file or a server's address.")
    with closing(judge):
        unquoted = [pair for pair in pairs if not is_quoted(pair)]
        return judge_report(judge, unquoted, [has_missing(pair) for pair in unquoted])


if __name__ == "__main__":
    print(main())  # noqa: T201
