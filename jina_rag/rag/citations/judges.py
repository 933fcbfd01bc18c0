"""What a judge is: a model that reads a claim and a passage and says how likely the passage states the claim."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class JudgedPair(NamedTuple):
    """What a judge reads.

    Attributes:
        claim: As it stands in the answer, without marks.
        passage: What may state it.
        question: What the claim answers; a bare "£18,400" is read together with it.
    """

    claim: str
    passage: str
    question: str = ""


class Judge(Protocol):
    """Reads claims and passages. Safe to call from many threads; nothing is loaded or asked before the first call."""

    @property
    def name(self) -> str:
        """What to call it in front of people."""

    @property
    def threshold(self) -> float:
        """The probability from which a claim counts as supported, measured on labelled pairs."""

    def judge(self, pairs: Sequence[JudgedPair]) -> list[float]:
        """The probability, for each pair, that its passage states its claim.

        Raises:
            GenerationError: the model can't be reached, can't answer, or can't read so much at once.
        """

    def close(self) -> None:
        """Give back memory and connections; the next call takes them again."""
