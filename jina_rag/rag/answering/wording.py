"""What screens say of an answer, in one wording everywhere."""

from collections import Counter
from collections.abc import Mapping
from typing import get_args

from jina_rag.formatting import counted
from jina_rag.rag.answering.types import Answer
from jina_rag.rag.citations.claims import Claim, Verdict

CONNECT_A_MODEL = "For written answers, start Ollama or LM Studio, or download a chat model."
"""What to do next where nothing writes answers."""

VERDICT_MEANINGS: Mapping[Verdict, str] = {
    "quoted": "Quoted: the passage has word for word what it is cited for.",
    "supported": "Supported: the judge found in the passage what it is cited for.",
    "not found": "Not found: something that it is cited for was not found in the passage.",
    "unchecked": "Unchecked: not word for word in the passage, and no judge read it.",
}
"""What a verdict says of a cited passage."""


def describe_verdicts(answer: Answer) -> str:
    """How many claims an answer has, and how many of them have each verdict: "3 claims: 1 quoted, 2 unchecked"."""
    counts = Counter(claim.verdict for claim in answer.claims)
    verdicts: tuple[Verdict, ...] = get_args(Verdict)
    listed = ", ".join(f"{counts[verdict]} {verdict}" for verdict in verdicts if counts[verdict])
    return f"{counted(len(answer.claims), 'claim')}: {listed}" if listed else "No claims"


def describe_claim(claim: Claim) -> str:
    """What its verdict doesn't say: what is missing, or that it cites no passage; empty if neither is so."""
    if claim.missing:
        return f"no cited passage has: {', '.join(claim.missing)}"
    return "" if claim.numbers else "cites no passage"


def describe_judge(answer: Answer) -> str:
    """What read the claims that are not quoted, and how many of them, or that nothing did."""
    if not answer.judge:
        return "No judge: only quotations are checked, and whether numbers are in the passages."
    n_read = sum(claim.probability is not None for claim in answer.claims)
    return f"Judge: {answer.judge}, which read {counted(n_read, 'claim')} with the passages."
