"""Turns, answers, and the protocol of generators."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Protocol

from jina_rag.backends.base import WaitCallback
from jina_rag.rag.citations.claims import Citation, Claim, find_citations, find_unknown_numbers
from jina_rag.rag.retrieval.highlights import Highlight
from jina_rag.rag.retrieval.search import SearchResult

NO_ANSWER = "The documents don't say."
"""What a language model is told to say when the passages don't answer the question."""

NO_LANGUAGE_MODEL = "No language model is connected: these passages fit your question best."
"""What is said above the passages where nothing writes answers."""


@dataclass(frozen=True)
class Turn:
    """A question that was answered.

    Attributes:
        question: As it was understood.
        answer: The text, with its marks.
        evidence: The passages that it cites.
    """

    question: str
    answer: str
    evidence: tuple[SearchResult, ...] = ()


@dataclass(frozen=True)
class Timings:
    """Seconds that the stages of an answer took.

    Attributes:
        understanding: Putting a follow-up into words of its own.
        searching: Embedding the question and finding passages.
        waiting: For other answers of the same language model.
        reading: Until the first word of the answer.
        answering: From then to the end.
        checking: The judge, reading claims and passages.
    """

    understanding: float = 0.0
    searching: float = 0.0
    waiting: float = 0.0
    reading: float = 0.0
    answering: float = 0.0
    checking: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        seconds: float = sum(asdict(self).values())
        return seconds


@dataclass(frozen=True)
class Answer:
    """An answer and what it rests on.

    Attributes:
        question: As it was asked.
        text: The answer, citing passages as [1]; empty if there is no language model.
        passages: All passages that it was written from; [1] is the first. Those that it cites come in the order in
            which it does, then the others, best first.
        claims: What it says, claim by claim, each with a verdict; claims that cite nothing among them.
        rewritten: How a follow-up was understood; None for a question of its own.
        kept: Ids of the passages that were not found for this question but kept from the turn before.
        stopped: Whether the reader stopped it before its end.
        generator: The language model that wrote it; empty if there is none.
        judge: What reads the claims that are not quoted; empty if nothing does.
        highlights: Without a language model, the sentence of each passage that fits the question best, best first.
        timings: How long each stage took; None if nobody measured.
    """

    question: str
    text: str
    passages: tuple[SearchResult, ...] = ()
    claims: tuple[Claim, ...] = ()
    rewritten: str | None = None
    kept: tuple[str, ...] = ()
    stopped: bool = False
    generator: str = ""
    judge: str = ""
    highlights: tuple[Highlight, ...] = ()
    timings: Timings | None = field(default=None, compare=False)

    @cached_property
    def citations(self) -> tuple[Citation, ...]:
        """The passages that it cites, in the order in which it does."""
        return tuple(find_citations(self.claims, self.passages))

    @cached_property
    def unknown_numbers(self) -> tuple[int, ...]:
        """Numbers that it cites and that no passage has."""
        return tuple(find_unknown_numbers(self.claims, len(self.passages)))

    @property
    def answered(self) -> bool:
        """Whether a language model found an answer in the documents."""
        return bool(self.text.strip()) and NO_ANSWER not in self.text

    @property
    def checked(self) -> bool:
        """Whether every claim is quoted from a passage that it cites, or supported by one."""
        verdicts = {claim.verdict for claim in self.claims}
        return self.answered and bool(verdicts) and verdicts <= {"quoted", "supported"}

    def as_dict(self) -> dict[str, object]:
        """All of it in plain types, for JSON."""
        return {
            "question": self.question,
            "rewritten": self.rewritten,
            "answer": self.text,
            "answered": self.answered,
            "checked": self.checked,
            "stopped": self.stopped,
            "claims": [asdict(claim) for claim in self.claims],
            "citations": [
                {"number": citation.number, "verdict": citation.verdict, "id": citation.result.chunk.id}
                for citation in self.citations
            ],
            "unknown_numbers": list(self.unknown_numbers),
            "passages": [
                {"number": number, "kept": result.chunk.id in self.kept, **asdict(result)}
                for number, result in enumerate(self.passages, start=1)
            ],
            "highlights": [asdict(highlight) for highlight in self.highlights],
            "generator": self.generator,
            "judge": self.judge,
            "timings": asdict(self.timings) if self.timings else None,
        }


class Generator(Protocol):
    """Writes an answer from passages. Safe to call from many threads."""

    @property
    def name(self) -> str:
        """What to call it in front of people."""

    def stream(
        self,
        question: str,
        passages: Sequence[SearchResult],
        history: Sequence[Turn] = (),
        on_wait: WaitCallback | None = None,
    ) -> Iterator[str]:
        """Pieces of an answer that cites passages by their place in the list, counted from 1, as [1].

        Some pieces may be empty: signs of life, at which the reader may close the iterator. That stops the work.

        Raises:
            GenerationError: the language model can't be reached, or can't answer.
        """

    def rewrite(self, question: str, history: Sequence[Turn]) -> str | None:
        """The question in words that need no conversation, as it is if it needs none; None if no sound ones come.

        Raises:
            GenerationError: the language model can't be reached, or can't answer.
        """

    def close(self) -> None:
        """Give back memory and connections; the next call takes them again."""
