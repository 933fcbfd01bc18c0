"""`Conversation`: questions that build on each other."""

import re
from collections.abc import Iterable, Iterator
from threading import Lock

from jina_rag.rag.answering.pipeline import RagPipeline
from jina_rag.rag.answering.run import AnswerRun
from jina_rag.rag.answering.types import NO_LANGUAGE_MODEL, Answer, Turn
from jina_rag.rag.answering.wording import describe_claim, describe_judge, describe_verdicts
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.citations.claims import Claim
from jina_rag.rag.retrieval.search import SearchOptions
from jina_rag.rag.retrieval.snippets import make_snippet
from jina_rag.rag.text.cleaning import inert_markdown, remove_invisible


class Conversation:
    """Questions that build on each other, over one pipeline. Safe to call from many threads; turns come one by one."""

    def __init__(self, pipeline: RagPipeline, turns: Iterable[Answer] = ()) -> None:
        """Begin a conversation, or go on with one.

        Args:
            pipeline: What answers.
            turns: Its answers so far.
        """
        self.pipeline = pipeline
        self._turns = list(turns)
        self._lock = Lock()

    @property
    def turns(self) -> list[Answer]:
        """The answers so far."""
        with self._lock:
            return list(self._turns)

    def start(self, question: str, *, options: SearchOptions | None = None) -> AnswerRun:
        """Begin to answer, as `RagPipeline.start` does. The answer joins the conversation when the run is over.

        Raises:
            GenerationError: the question is blank.
        """
        return self.pipeline.start(question, options=options, history=self.history(), on_end=self._keep)

    def ask(self, question: str, *, options: SearchOptions | None = None) -> Answer:
        """The whole answer to a question or follow-up. Raises as `RagPipeline.ask` does."""
        return self.start(question, options=options).finish()

    def history(self) -> list[Turn]:
        """The turns as generators need them. A follow-up that cites nothing hands on the evidence that it was given."""
        history: list[Turn] = []
        for answer in self.turns:
            evidence = tuple(citation.result for citation in answer.citations)
            if not evidence and answer.rewritten and history:
                evidence = history[-1].evidence
            history.append(Turn(answer.rewritten or answer.question, answer.text, evidence))
        return history

    def clear(self) -> None:
        """Forget all turns."""
        with self._lock:
            self._turns.clear()

    def as_markdown(self) -> str:
        """The conversation for a file: questions, answers, and the passages that they cite."""
        return "\n\n".join(map(answer_as_markdown, self.turns)) + "\n"

    def _keep(self, answer: Answer) -> None:
        with self._lock:
            self._turns.append(answer)


def answer_as_markdown(answer: Answer) -> str:
    """A question, its answer with the verdicts on its claims, and the passages that it cites; all of it inert."""
    return "\n\n".join(_markdown_blocks(answer))


def _markdown_blocks(answer: Answer) -> Iterator[str]:
    yield f"## {inert_markdown(answer.question)}"
    if answer.rewritten:
        yield f"*Understood as: {inert_markdown(answer.rewritten)}*"
    if answer.text:
        yield inert_markdown(answer.text) + (" *(stopped)*" if answer.stopped else "")
    if answer.answered:
        yield "\n".join([f"{describe_verdicts(answer)}", "", *map(_markdown_claim, answer.claims)])
        yield inert_markdown(describe_judge(answer))
    for citation in answer.citations:
        yield f"[{citation.number}] {_markdown_passage(citation.result.chunk, citation.verdict)}"
    if answer.highlights:
        yield NO_LANGUAGE_MODEL
    for highlight in answer.highlights:
        chunk = answer.passages[highlight.number - 1].chunk
        sentence = make_snippet(chunk.text, "", 0, highlight=(highlight.start, highlight.end)).sentence
        yield f"**{inert_markdown(sentence)}**"
        yield _markdown_passage(chunk, f"similarity {highlight.similarity:.2f}")


def _markdown_claim(claim: Claim) -> str:
    note = f" ({describe_claim(claim)})" if describe_claim(claim) else ""
    marks = "".join(f" [{number}]" for number in claim.numbers)
    return f"- *{claim.verdict}*: {inert_markdown(claim.text + marks + note)}"


def _markdown_passage(chunk: Chunk, note: str) -> str:
    shown = remove_invisible(chunk.text)
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", shown)), 3)
    return f"{inert_markdown(chunk.place)} ({note})\n\n{fence}text\n{shown}\n{fence}"
