"""`RagPipeline`: a question in, an answer with checked citations out."""

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Generator as PythonGenerator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Literal, Self, TypeAlias

from jina_rag.backends.base import WaitCallback
from jina_rag.errors import GenerationError
from jina_rag.rag.answering.conversation import Turn, keep_evidence
from jina_rag.rag.answering.generation import NO_ANSWER, Generator, make_generator
from jina_rag.rag.citations.attribution import AttributionStream
from jina_rag.rag.citations.claims import (
    AnswerPart,
    Citation,
    CitationMark,
    Claim,
    Text,
    find_citations,
    find_claims,
    find_unknown_numbers,
)
from jina_rag.rag.retrieval.retriever import Retriever
from jina_rag.rag.retrieval.search import SearchOptions, SearchResult

KEPT_PASSAGES = 3
"""How many passages of the turn before a follow-up may rest on, beside those that are found for it."""

StageName: TypeAlias = Literal["understanding", "searching", "reading", "waiting", "answering"]


@dataclass(frozen=True)
class Timings:
    """Seconds that the stages of an answer took.

    Attributes:
        understanding: Putting a follow-up into words of its own.
        searching: Embedding the question and finding passages.
        waiting: For other answers of the same language model.
        reading: Until the first word of the answer.
        answering: From then to the end.
    """

    understanding: float = 0.0
    searching: float = 0.0
    waiting: float = 0.0
    reading: float = 0.0
    answering: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.understanding + self.searching + self.waiting + self.reading + self.answering


@dataclass(frozen=True)
class Answer:
    """An answer and what it rests on.

    Attributes:
        question: As it was asked.
        text: The answer, citing passages as [1].
        citations: The passages that it cites, in the order in which it does.
        passages: All passages that it was written from, best first; [1] is the first.
        unknown_numbers: Numbers that it cites and that no passage has.
        claims: What it says, claim by claim, each checked; claims that cite nothing among them.
        rewritten: How a follow-up was understood; None for a question of its own.
        kept: Ids of the passages that were not found for this question but kept from the turn before.
        stopped: Whether the reader stopped it before its end.
        generator: What wrote it.
        timings: How long each stage took; None if nobody measured.
    """

    question: str
    text: str
    citations: tuple[Citation, ...]
    passages: tuple[SearchResult, ...]
    unknown_numbers: tuple[int, ...] = ()
    claims: tuple[Claim, ...] = ()
    rewritten: str | None = None
    kept: tuple[str, ...] = ()
    stopped: bool = False
    generator: str = ""
    timings: Timings | None = field(default=None, compare=False)

    @property
    def answered(self) -> bool:
        """Whether the documents had an answer."""
        return NO_ANSWER not in self.text

    @property
    def verified(self) -> bool:
        """Whether every claim stands in a passage that it cites."""
        return self.answered and bool(self.claims) and all(claim.verified for claim in self.claims)

    def as_dict(self) -> dict[str, object]:
        """All of it in plain types, for JSON."""
        return {
            "question": self.question,
            "rewritten": self.rewritten,
            "answer": self.text,
            "answered": self.answered,
            "verified": self.verified,
            "stopped": self.stopped,
            "claims": [{**asdict(claim), "verified": claim.verified} for claim in self.claims],
            "citations": [
                {"number": citation.number, "verified": citation.verified, "id": citation.result.chunk.id}
                for citation in self.citations
            ],
            "unknown_numbers": list(self.unknown_numbers),
            "passages": [
                {"number": number, "kept": result.chunk.id in self.kept, **asdict(result)}
                for number, result in enumerate(self.passages, start=1)
            ],
            "generator": self.generator,
            "timings": asdict(self.timings) if self.timings else None,
        }


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


class RagPipeline:
    """Questions answered from one index by one generator. Safe to call from many threads.

    `ask` does all at once. A page that shows the answer while it is written iterates over what `start` gives.
    """

    def __init__(self, retriever: Retriever, generator: Generator, *, options: SearchOptions | None = None) -> None:
        """Take ready parts; `open` fetches them.

        Args:
            retriever: Finds the passages.
            generator: Writes the answer.
            options: How many passages to find and how, where a question doesn't say; None for the defaults.
        """
        self.retriever = retriever
        self.generator = generator
        self.options = options or SearchOptions()
        self._opened = ExitStack()

    @classmethod
    def open(
        cls,
        folder: Path | str,
        *,
        llm: str | None = None,
        options: SearchOptions | None = None,
        backend: str | None = None,
        reranker: str | None = None,
    ) -> Self:
        """The pipeline over an index folder, with the model that the index was made with. Close it in the end.

        Args:
            folder: Where the index is.
            llm: The answer model, as for `make_generator`.
            options: How many passages to find and how, where a question doesn't say; None for the defaults.
            backend: Where the embedding model runs, as for `Embedder.from_pretrained`; None is this process.
            reranker: What puts the passages in order, as for `make_reranker`; None leaves them as they were found.

        Raises:
            IndexFolderError: there is no index, or it is damaged.
            GenerationError: `llm` names nothing.
            BackendError: `reranker` names nothing.
            Otherwise as `Embedder.from_pretrained` does.
        """
        with ExitStack() as opened:
            retriever = opened.enter_context(Retriever.open(folder, backend=backend, reranker=reranker))
            pipeline = cls(retriever, make_generator(llm, retriever.index.embedder, retriever.index), options=options)
            pipeline._opened = opened.pop_all()
        return pipeline

    def close(self) -> None:
        """Give back what `open` took; parts that were handed over stay open."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def stream(
        self,
        question: str,
        passages: Sequence[SearchResult],
        history: Sequence[Turn] = (),
        on_wait: WaitCallback | None = None,
    ) -> Iterator[str]:
        """Pieces of the answer as they are written, some of them empty. Closing the iterator stops the model.

        Marks stand as the model wrote them; `start` and `ask` move those that name the wrong passage.

        Raises:
            GenerationError: the language model can't be reached, or can't answer.
        """
        return self.generator.stream(question, passages, history, on_wait)

    def finish(
        self,
        question: str,
        text: str,
        passages: Sequence[SearchResult],
        *,
        rewritten: str | None = None,
        kept: tuple[str, ...] = (),
        stopped: bool = False,
        timings: Timings | None = None,
    ) -> Answer:
        """The whole answer, or as much of it as had come, with its citations checked against the passages."""
        asked = rewritten or question
        return Answer(
            question=question,
            text=text,
            citations=tuple(find_citations(text, passages, asked)),
            passages=tuple(passages),
            unknown_numbers=tuple(find_unknown_numbers(text, passages)),
            claims=() if text.strip() == NO_ANSWER else tuple(find_claims(text, passages, asked)),
            rewritten=rewritten,
            kept=kept,
            stopped=stopped,
            generator=self.generator.name,
            timings=timings,
        )

    def start(
        self,
        question: str,
        *,
        options: SearchOptions | None = None,
        history: Sequence[Turn] = (),
        on_end: Callable[[Answer], None] | None = None,
    ) -> "AnswerRun":
        """Begin to answer; what is returned tells stages, passages, text and marks as they come.

        Args:
            question: What to answer.
            options: How to look; None takes the pipeline's own.
            history: The turns before, for a follow-up; `Conversation` keeps them.
            on_end: Is given the answer when it is whole, or what there is of it when it is stopped or fails.

        Raises:
            GenerationError: the question is blank.
        """
        _check_question(question)
        return AnswerRun(self, question, options, history, on_end)

    def ask(self, question: str, options: SearchOptions | None = None) -> Answer:
        """Search, write and check. Raises as `Retriever.retrieve` and `stream` do."""
        with self.start(question, options=options) as run:
            for _ in run:
                pass
        return run.answer


class AnswerRun:
    """An answer on its way. Iterate over it for its events; `answer` is what there is of it, at any time.

    Closing it, also by leaving a `with` block, stops all work; what had come stays. One thread at a time may iterate.
    """

    def __init__(
        self,
        pipeline: RagPipeline,
        question: str,
        options: SearchOptions | None,
        history: Sequence[Turn],
        on_end: Callable[[Answer], None] | None,
    ) -> None:
        """Begin; `RagPipeline.start` does."""
        self._pipeline = pipeline
        self._question = question
        self._options = options or pipeline.options
        self._history = tuple(history)
        self._on_end = on_end
        self._found = Found(())
        self._pieces: list[str] = []
        self._clock = _Clock()
        self._n_ahead: int | None = None  # news from the queue
        self._whole = False
        self._over = False
        self._events = self._run()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        """The next event. Raises as `Retriever.retrieve` and `RagPipeline.stream` do."""
        try:
            return next(self._events)
        except BaseException:  # also StopIteration, or Ctrl-C: whatever it was, there will be no more events
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop, if it is not over."""
        self._events.close()
        self._end()

    @property
    def answer(self) -> Answer:
        """What has come so far, checked."""
        return self._pipeline.finish(
            self._question,
            "".join(self._pieces),
            self._found.passages,
            rewritten=self._found.rewritten,
            kept=self._found.kept,
            stopped=self._over and not self._whole,
            timings=self._clock.timings(),
        )

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._clock.stop()
        if self._on_end and self._pieces:
            self._on_end(self.answer)

    def _run(self) -> PythonGenerator[Event, None, None]:
        rewritten = None
        if self._history:
            yield self._begin("understanding")
            rewritten = self._pipeline.generator.rewrite(self._question, self._history)
        yield self._begin("searching")
        self._found = self._search(rewritten)
        yield self._found
        yield self._begin("reading")
        yield from self._write(rewritten or self._question)
        self._whole = True

    def _search(self, rewritten: str | None) -> Found:
        passages = self._pipeline.retriever.retrieve(rewritten or self._question, self._options)
        if not rewritten:
            return Found(tuple(passages))
        found = {result.chunk.id for result in passages}
        passages = keep_evidence(self._question, passages, self._history, KEPT_PASSAGES)
        return Found(tuple(passages), rewritten, tuple(r.chunk.id for r in passages if r.chunk.id not in found))

    def _write(self, question: str) -> Iterator[Event]:
        marks = AttributionStream(self._found.passages, question)
        history = self._history if self._found.rewritten else ()  # a change of subject doesn't drag the old one along
        pieces = self._pipeline.stream(question, self._found.passages, history, self._on_wait)
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

    def _kept(self, parts: Sequence[AnswerPart]) -> Sequence[AnswerPart]:
        self._pieces += [part.text for part in parts]
        return parts

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

    def stop(self) -> None:
        self.begin(None)

    def timings(self) -> Timings:
        stage = self.stage
        self.begin(stage)
        return Timings(**self._seconds)


@contextmanager
def _closing(pieces: Iterator[str]) -> Iterator[None]:
    """Close what can be closed; an iterator over a list can't, and need not be."""
    try:
        yield
    finally:
        if close := getattr(pieces, "close", None):
            close()


def _check_question(question: str) -> None:
    if not question.strip():
        raise GenerationError("The question is empty. Ask one, such as: What is this about?")
