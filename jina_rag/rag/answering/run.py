"""`AnswerRun`: an answer while it is written, as stages, passages, text and marks."""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Generator as PythonGenerator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Literal, TypeAlias

from jina_rag.closeable import Closeable
from jina_rag.errors import GenerationError, InputTooLongError
from jina_rag.formatting import counted
from jina_rag.rag.answering.numbering import CitationNumbers
from jina_rag.rag.answering.types import NO_ANSWER, Answer, Generator, Timings, Turn
from jina_rag.rag.citations.attribution import AttributionStream
from jina_rag.rag.citations.claims import ClaimChecker
from jina_rag.rag.citations.judges import Judge
from jina_rag.rag.citations.marks import AnswerPart, CitationMark, Text
from jina_rag.rag.retrieval.highlights import Highlight, best_sentences
from jina_rag.rag.retrieval.retriever import Retriever
from jina_rag.rag.retrieval.search import SearchOptions, SearchResult

KEPT_PASSAGES = 3
"""How many passages of the turn before a follow-up may rest on, beside those that are found for it."""

StageName: TypeAlias = Literal["understanding", "searching", "reading", "waiting", "answering", "checking"]


@dataclass(frozen=True)
class Stage:
    """A stage begins.

    Attributes:
        name: Which.
        n_ahead: For "waiting", how many other answers come first.
    """

    name: StageName
    n_ahead: int = 0


@dataclass(frozen=True)
class Found:
    """The search is over.

    Attributes:
        passages: What the answer will be written from, best first.
        rewritten: How a follow-up was understood; None for a question of its own.
        kept: Ids of the passages kept from the turn before.
    """

    passages: tuple[SearchResult, ...]
    rewritten: str | None = None
    kept: tuple[str, ...] = ()


Event: TypeAlias = Stage | Found | Text | CitationMark


class AnswerRun(Closeable):
    """An answer on its way. Iterate over it for its events; `answer` is what there is of it, at any time.

    Closing it, also by leaving a `with` block, stops all work; what is written stays. One thread at a time may iterate.
    """

    def __init__(
        self,
        question: str,
        retriever: Retriever,
        generator: Generator | None,
        options: SearchOptions,
        history: Sequence[Turn] = (),
        on_end: Callable[[Answer], None] | None = None,
        judge: Judge | None = None,
    ) -> None:
        """Begin; `RagPipeline.start` does.

        Raises:
            GenerationError: the question is blank.
        """
        if not question.strip():
            raise GenerationError("The question is empty. Ask one, such as: What is this about?")
        self._question = question
        self._retriever = retriever
        self._generator = generator
        self._options = options
        self._history = tuple(history)
        self._on_end = on_end
        self._judge = judge
        self._found = Found(())
        self._checker = ClaimChecker(())
        self._numbers = CitationNumbers(0)
        self._highlights: tuple[Highlight, ...] = ()
        self._pieces: list[str] = []
        self._clock = _Clock()
        self._n_ahead: int | None = None  # news from the queue
        self._whole = False
        self._answer: Answer | None = None  # once it is over
        self._events = self._run()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        """The next event. Raises as `Retriever.retrieve`, `Generator.stream` and `Judge.judge` do."""
        try:
            return next(self._events)
        except BaseException:  # also StopIteration, or Ctrl-C: whatever it was, there will be no more events
            self._end()
            raise

    def close(self) -> None:
        """Stop, if it is not over."""
        self._events.close()
        self._end()

    def finish(self) -> Answer:
        """Write the answer to its end. Raises as iterating does."""
        for _ in self:
            pass
        return self.answer

    @property
    def answer(self) -> Answer:
        """What there is so far. Each claim is compared and judged once, however often this is read."""
        return self._answer or self._make_answer()

    def _make_answer(self, *, stopped: bool = False) -> Answer:
        text = "".join(self._pieces)
        answer = Answer(
            question=self._question,
            text=text,
            passages=self._found.passages,
            claims=() if text.strip() == NO_ANSWER else tuple(self._checker.claims(text)),
            rewritten=self._found.rewritten,
            kept=self._found.kept,
            stopped=stopped,
            generator=self._generator.name if self._generator else "",
            judge=self._judge.name if self._judge and self._generator else "",
            highlights=self._highlights,
            timings=self._clock.timings(),
        )
        return self._numbers.answer(answer)

    def _end(self) -> None:
        if self._answer is not None:
            return
        self._clock.begin(None)
        self._answer = self._make_answer(stopped=not self._whole)
        if self._on_end and (self._whole or self._pieces):
            self._on_end(self._answer)

    def _run(self) -> PythonGenerator[Event, None, None]:
        understood = None
        if self._history and self._generator:
            yield self._begin("understanding")
            understood = self._generator.rewrite(self._question, self._history)
        yield self._begin("searching")
        try:
            self._found = self._search(understood)
        except InputTooLongError as error:
            raise GenerationError(_too_long(understood or self._question, error)) from error
        self._checker = ClaimChecker(self._found.passages, understood or self._question)
        self._numbers = CitationNumbers(len(self._found.passages))
        yield self._found
        yield self._begin("reading")
        if self._generator:
            history = () if understood == self._question else self._history  # a change of subject leaves the old one
            yield from self._write(self._generator, history)
            self._whole = True
            yield from self._check()
        elif self._found.passages:
            embedder = self._retriever.index.embedder
            self._highlights = tuple(best_sentences(self._question, self._found.passages, embedder))
        self._whole = True

    def _search(self, understood: str | None) -> Found:
        """The passages for a question in words of its own or, without them, for it alone and behind the one before."""
        if understood is None:
            previous = self._history[-1].question if self._history else None
            options = replace(self._options, previous_query=previous)
            return Found(tuple(self._retriever.retrieve(self._question, options)))
        passages = self._retriever.retrieve(understood, self._options)
        if understood == self._question:
            return Found(tuple(passages))
        ids = {result.chunk.id for result in passages}
        kept = [result for result in self._history[-1].evidence[:KEPT_PASSAGES] if result.chunk.id not in ids]
        return Found((*passages, *kept), understood, tuple(result.chunk.id for result in kept))

    def _write(self, generator: Generator, history: Sequence[Turn]) -> Iterator[Event]:
        marks = AttributionStream(self._checker)
        question = self._found.rewritten or self._question
        pieces = generator.stream(question, self._found.passages, history, self._on_wait)
        whole = False
        try:
            with _closing(pieces):
                for piece in pieces:
                    yield from self._stages_before(piece)
                    if not piece:
                        yield Text("")  # a sign of life, at which the reader may close the run
                        continue
                    yield from self._kept(marks.feed(piece))
            whole = True
        finally:
            rest = self._kept(marks.close(whole=whole))  # what was held back counts too if the reader left
        yield from rest

    def _check(self) -> Iterator[Event]:
        """Let the judge read what is not quoted."""
        if self._judge and self.answer.claims:
            for place, _ in enumerate(self._checker.judge("".join(self._pieces), self._judge)):
                yield Text("") if place else self._begin("checking")

    def _kept(self, parts: Sequence[AnswerPart]) -> Sequence[AnswerPart]:
        self._pieces += [part.text for part in parts]
        return [self._numbers.part(part) for part in parts]

    def _stages_before(self, piece: str) -> Iterator[Event]:
        """The stages that begin with this piece: a change in the queue, the end of the wait, the first word."""
        if self._n_ahead is not None:
            n_ahead, self._n_ahead = self._n_ahead, None
            yield self._begin("waiting", n_ahead) if n_ahead else self._begin("reading")
        if piece and self._clock.stage != "answering":
            yield self._begin("answering")

    def _on_wait(self, n_ahead: int) -> None:
        self._n_ahead = n_ahead

    def _begin(self, stage: StageName, n_ahead: int = 0) -> Stage:
        self._clock.begin(stage)
        return Stage(stage, n_ahead)


class _Clock:
    """Which stage we are in, and how long each took."""

    def __init__(self) -> None:
        self.stage: StageName | None = None
        self._since = perf_counter()
        self._seconds: dict[str, float] = {}

    def begin(self, stage: StageName | None) -> None:
        now = perf_counter()
        if self.stage:
            self._seconds[self.stage] = self._seconds.get(self.stage, 0.0) + now - self._since
        self.stage, self._since = stage, now

    def timings(self) -> Timings:
        stage = self.stage
        self.begin(stage)
        return Timings(**self._seconds)


def _too_long(question: str, error: InputTooLongError) -> str:
    """That the embedding model can't read a question, in the units of those who write one."""
    n_words = len(question.split())
    fitting = int(0.9 * n_words * error.max_tokens / error.token_count)  # some words have more tokens than others
    about = "" if error.at_least else f" About {counted(fitting, 'word')} can be read at once."
    return f"The question is too long: {counted(n_words, 'word')}, {len(question):,} characters.{about} Shorten it."


@contextmanager
def _closing(pieces: Iterator[str]) -> Iterator[None]:
    """Close what can be closed; an iterator over a list can't, and need not be."""
    try:
        yield
    finally:
        if close := getattr(pieces, "close", None):
            close()
