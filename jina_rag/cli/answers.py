"""An answer in a terminal: printed while it is written, then the passages that it cites."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

import typer

from jina_rag.cli.output import NOTHING_FOUND, PASSAGE_LENGTH, print_result, print_results, printable
from jina_rag.cli.progress import working

if TYPE_CHECKING:
    from jina_rag.rag.answering.run import AnswerRun, Event
    from jina_rag.rag.answering.types import Answer

_STAGES = {
    "understanding": "Understanding the question",
    "searching": "Searching",
    "reading": "Reading the passages",
    "waiting": "Waiting for {n_ahead} other answers",
    "answering": "Answering",
    "checking": "Checking the answer",
}


def print_answer(run: "AnswerRun", *, quietly: bool = False) -> "Answer":
    """Print an answer as it is written. Ctrl-C stops it; what was written until then stays.

    Args:
        run: The answer that is being written.
        quietly: Print nothing.
    """
    with _Stages() as stages:
        try:
            for event in run:
                if not quietly:
                    _print_event(event, stages)
        except KeyboardInterrupt:
            run.close()
    if not quietly and run.answer.text:
        typer.echo()
    return run.answer


def print_sources(answer: "Answer", length: int | None = None) -> None:
    """The passages that an answer cites, each with its verdict; without an answer, those that were found.

    Args:
        answer: The answer.
        length: How many characters of a cited passage to show, those that it is cited for; None shows all.
    """
    if answer.answered:
        _print_cited(answer, length)
    elif answer.stopped:
        return
    elif not answer.passages:
        typer.echo(NOTHING_FOUND, err=True)
    elif answer.text:
        typer.echo("\nThe passages that come closest:")
        print_results(answer.passages, answer.rewritten or answer.question)
    else:
        _print_highlights(answer)


def _print_cited(answer: "Answer", length: int | None) -> None:
    typer.echo()
    for citation in answer.citations:
        claims = [claim for claim in answer.claims if citation.number in claim.numbers]
        missing = dict.fromkeys(part for claim in claims for part in claim.missing)
        note = f"not found: {', '.join(missing)}" if missing else citation.verdict
        print_result(citation.number, citation.result, note, length, " ".join(claim.text for claim in claims))
    for number in answer.unknown_numbers:
        typer.secho(f"[{number}] is no passage that was found.", fg=typer.colors.YELLOW)
    if not answer.citations and answer.passages:
        typer.echo("The answer cites no passage: check it yourself. These were found:")
        print_results(answer.passages, answer.rewritten or answer.question)


def _print_highlights(answer: "Answer") -> None:
    """The passages with the sentence of each that fits the question best, best first."""
    from jina_rag.rag.answering.types import NO_LANGUAGE_MODEL

    typer.echo(NO_LANGUAGE_MODEL)
    for highlight in answer.highlights:
        result = answer.passages[highlight.number - 1]
        sentence = result.chunk.text[highlight.start : highlight.end]
        print_result(highlight.number, result, f"similarity {highlight.similarity:.2f}", PASSAGE_LENGTH, sentence)


class _Stages:
    """The stage that an answer is at, on stderr if that is a terminal, until the answer begins."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> "_Stages":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def show(self, text: str) -> None:
        self._stack.close()
        self._stack.enter_context(working(text))

    def end(self) -> None:
        self._stack.close()


def _print_event(event: "Event", stages: _Stages) -> None:
    from jina_rag.rag.answering.run import Found, Stage

    if isinstance(event, Stage):
        stages.show(_STAGES[event.name].format(n_ahead=event.n_ahead))
    elif isinstance(event, Found):
        if event.rewritten:
            stages.end()
            typer.secho(f"Understood as: {printable(event.rewritten)}", dim=True, err=True)
    else:
        stages.end()
        typer.echo(printable(event.text), nl=False)
