"""`CitationNumbers`: passages numbered from 1 in the order in which an answer cites them."""

from collections.abc import Sequence
from dataclasses import replace

from jina_rag.rag.answering.types import Answer
from jina_rag.rag.citations.marks import AnswerPart, CitationMark, split_marks


class CitationNumbers:
    """The numbers that readers see, given out while an answer is written; those that no passage has stay."""

    def __init__(self, n_passages: int) -> None:
        """Begin an answer that is written from so many passages."""
        self._n_passages = n_passages
        self._new: dict[int, int] = {}

    def part(self, part: AnswerPart) -> AnswerPart:
        """The next part of the answer with the new numbers."""
        if not isinstance(part, CitationMark):
            return part
        numbers = tuple(map(self._number, part.numbers))
        return (
            part
            if numbers == part.numbers
            else replace(part, text=f"[{', '.join(map(str, numbers))}]", numbers=numbers)
        )

    def answer(self, answer: Answer) -> Answer:
        """The answer with the new numbers, the passages that it cites before all others.

        Args:
            answer: As it was written; its parts have been seen.
        """
        order = [*self._new, *(old for old in range(1, self._n_passages + 1) if old not in self._new)]
        return replace(
            answer,
            text="".join(self.part(part).text for part in split_marks(answer.text)),
            passages=tuple(answer.passages[old - 1] for old in order),
            claims=tuple(
                replace(claim, numbers=self._numbers(claim.numbers), sources=self._numbers(claim.sources))
                for claim in answer.claims
            ),
        )

    def _numbers(self, old: Sequence[int]) -> tuple[int, ...]:
        return tuple(map(self._number, old))

    def _number(self, old: int) -> int:
        return self._new.setdefault(old, len(self._new) + 1) if 1 <= old <= self._n_passages else old
