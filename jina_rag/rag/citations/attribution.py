"""Marks put where they belong while an answer is written.

Small language models find the right words and then write the wrong number behind them, or none. Which passage says what
a sentence says can be looked up, so a mark that names none of them is moved to the first that does, or to one that says
most of it where those that are cited say next to nothing. Where no passage does, the mark stays as it is. What no
passage says whole is unverified wherever its mark stands.
"""

from collections.abc import Sequence

from jina_rag.rag.citations.claims import ClaimChecker, behind_sentence, split_claims
from jina_rag.rag.citations.marks import AnswerPart, CitationMark, CitationStream, Text, is_between_marks
from jina_rag.rag.text.tokens import content_stems

_ENOUGH = 4  # words; of fewer, most is little
_MOST = 0.75  # of a claim's words
_FAR = 0.4  # so much more of them than in the passages that it cites


class AttributionStream:
    """`CitationStream` with its marks checked: text passes unchanged, and so do marks that name what supports them."""

    def __init__(self, checker: ClaimChecker) -> None:
        """Begin the answer whose claims `checker` checks."""
        self._checker = checker
        self._stream = CitationStream(len(checker.passages))
        self._since_mark = ""
        self._marked = ""  # the claim before the last mark

    def feed(self, piece: str) -> list[AnswerPart]:
        """The parts that are certain now."""
        return [self._attributed(part) for part in self._stream.feed(piece)]

    def close(self, *, whole: bool = True) -> list[AnswerPart]:
        """The parts that were held back, at the end of the answer.

        Args:
            whole: Whether the answer is at its end. Then a last sentence without a mark gets one, if a passage says
                what it says; in one that was broken off, the sentence may be half.
        """
        parts = [self._attributed(part) for part in self._stream.close()]
        unmarked = behind_sentence(self._marked, self._since_mark) if self._marked else self._since_mark
        if whole and (number := self._best_passage(split_claims(unmarked)[-1])):
            parts += [Text(" "), CitationMark(f"[{number}]", (number,))]
        self._since_mark = self._marked = ""
        return parts

    def _attributed(self, part: AnswerPart) -> AnswerPart:
        if isinstance(part, Text):
            self._since_mark += part.text
            return part
        text, self._since_mark = self._since_mark, ""
        if is_between_marks(text):
            return part  # one more for the claim before it
        self._marked = claim = split_claims(text)[-1]
        number = self._best_passage(claim, part.numbers)
        return CitationMark(f"[{number}]", (number,)) if number else part

    def _best_passage(self, claim: str, cited: Sequence[int] = ()) -> int | None:
        """The first passage that says what the claim says; None if it cites one, or if there is none.

        Where none says a bare name or number of what was asked, it is looked for by itself: it stays unverified, but
        can be read where it stands.
        """
        n_words = 0 if "`" in claim else len(content_stems(claim))  # code says nothing
        for question in dict.fromkeys((self._checker.question, "")):
            if self._checker.supporting(claim, cited, question):
                return None
            supporting = self._checker.supporting(claim, question=question) if n_words else ()
            if supporting and (n_words > 1 or len(supporting) == 1):  # a single word may stand in many
                return supporting[0]
        return self._far_closer_passage(claim, cited) if cited and n_words >= _ENOUGH else None

    def _far_closer_passage(self, claim: str, cited: Sequence[int]) -> int | None:
        """The passage that says most of the claim where those that it cites say next to nothing of it."""
        numbers = range(1, len(self._checker.passages) + 1)
        shares = {number: self._checker.support(claim, number).share for number in numbers}
        best = max(shares, key=lambda number: shares[number], default=0)
        own = max((shares[number] for number in cited if number in shares), default=0.0)
        is_far_closer = best and shares[best] >= _MOST and shares[best] - own >= _FAR
        return best if is_far_closer else None
