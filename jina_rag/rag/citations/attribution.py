"""Marks put where they belong while an answer is written.

Small language models copy a sentence and write the wrong number behind it, or none. A mark is moved only to a passage
that has the sentence before it word for word; any other stays as it is.
"""

from collections.abc import Sequence
from itertools import pairwise

from jina_rag.rag.citations.claims import ClaimChecker, split_claims
from jina_rag.rag.citations.marks import AnswerPart, CitationMark, CitationStream, Text, split_marks

_ENDS_OF_SENTENCES = (".", "!", "?", "。", "！", "？", "\n")


class AttributionStream:
    """`CitationStream` with marks moved to the passages that are quoted; text passes unchanged."""

    def __init__(self, checker: ClaimChecker) -> None:
        """Begin the answer whose claims `checker` checks."""
        self._checker = checker
        self._stream = CitationStream(len(checker.passages))
        self._text = ""

    def feed(self, piece: str) -> list[AnswerPart]:
        """The parts that are certain now."""
        return self._attributed(self._stream.feed(piece))

    def close(self, *, whole: bool = True) -> list[AnswerPart]:
        """The parts that were held back, at the end of the answer.

        Args:
            whole: Whether the answer is at its end. Then a last sentence without a mark gets one, if a passage has it
                word for word; in one that was broken off, the sentence may be half.
        """
        parts = self._attributed(self._stream.close(), at_end=whole)
        return [*parts, *self._mark_for_the_rest()] if whole else parts

    def _attributed(self, parts: Sequence[AnswerPart], *, at_end: bool = False) -> list[AnswerPart]:
        attributed = []
        for part, next_part in pairwise([*parts, Text("\n" if at_end else "")]):
            new = self._moved(part, next_part) if isinstance(part, CitationMark) else part
            self._text += new.text
            attributed.append(new)
        return attributed

    def _moved(self, mark: CitationMark, next_part: AnswerPart) -> CitationMark:
        """The mark, moved if the sentence before it is over and another passage is quoted."""
        *_, (claim, cited) = split_claims(self._line() + mark.text)
        is_over = claim.endswith(_ENDS_OF_SENTENCES) or next_part.text.startswith(_ENDS_OF_SENTENCES)
        if not is_over or self._checker.quoting(claim, cited):
            return mark
        return self._mark(claim) or mark

    def _mark_for_the_rest(self) -> list[AnswerPart]:
        claims = split_claims(self._line())
        is_text = isinstance(split_marks(self._text + " [1]")[-1], CitationMark) and "`" not in self._line()
        if is_text and claims and not claims[-1][1] and (mark := self._mark(claims[-1][0])):
            return [Text(" "), mark]
        return []

    def _mark(self, claim: str) -> CitationMark | None:
        quoting = self._checker.quoting(claim)
        return CitationMark(f"[{quoting[0]}]", quoting[:1]) if quoting else None

    def _line(self) -> str:
        return self._text.rpartition("\n")[2]
