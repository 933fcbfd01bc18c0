"""Judges: models that read a claim and a passage and say how likely the passage states the claim."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import NamedTuple, Protocol

MAX_CACHED = 2048
"""So many judgements are kept; the one that was not asked for longest goes first."""


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


class JudgementCache:
    """Least recently used cache of judgements. Safe to call from many threads."""

    def __init__(self) -> None:
        """An empty one."""
        self._known: OrderedDict[JudgedPair, float] = OrderedDict()
        self._lock = Lock()

    def judge(
        self, pairs: Sequence[JudgedPair], read: Callable[[Sequence[JudgedPair]], Sequence[float]]
    ) -> list[float]:
        """The probabilities of pairs, of which those that are not known are read, each once.

        Args:
            pairs: In any order.
            read: Gives the probabilities of pairs, which it gets with those of one passage together.
        """
        with self._lock:
            found = {pair: self._known[pair] for pair in pairs if pair in self._known}
        passages = {pair.passage: place for place, pair in reversed([*enumerate(pairs)])}
        unknown = sorted(dict.fromkeys(p for p in pairs if p not in found), key=lambda pair: passages[pair.passage])
        found |= zip(unknown, read(unknown) if unknown else (), strict=True)
        with self._lock:
            for pair in pairs:
                self._known[pair] = found[pair]
                self._known.move_to_end(pair)
            while len(self._known) > MAX_CACHED:
                self._known.popitem(last=False)
        return [found[pair] for pair in pairs]
