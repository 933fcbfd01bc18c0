"""An answer in a terminal: told while it is written, then what it cites."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

import typer

from jina_rag.cli.output import PASSAGE_LENGTH, print_result, printable
from jina_rag.cli.progress import working

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jina_rag.rag.answering.run import AnswerRun, Event
    from jina_rag.rag.answering.types import Answer
    from jina_rag.rag.citations.claims import Claim

_STAGES = {
    "understanding": "Understanding the question",
    "searching": "Searching",
    "reading": "Reading the passages",
    "waiting": "Waiting for {n_ahead} other answers",
    "answering": "Answering",
}


def tell_answer(run: "AnswerRun", *, quietly: bool = False) -> "Answer":
    """Print an answer as it is written. Ctrl-C stops it: what had come stays, and the answer says that it was stopped.

    Args:
        run: The answer in the making.
        quietly: Print nothing.
    """
    with _Stages() as stages:
        try:
            for event in run:
                if not quietly:
                    _tell(event, stages)
        except KeyboardInterrupt:
            run.close()
    if not quietly:
        typer.echo()
    return run.answer


def print_sources(answer: "Answer", length: int | None = None) -> None:
    """What an answer cites and whether it stands there; for one without citations, or for none, what was found.

    Args:
        answer: The answer.
        length: How many characters of a passage to show, those that it is cited for; None shows all.
    """
    if not answer.answered:
        if not answer.stopped:
            _print_closest(answer)
        return
    typer.echo()
    for citation in answer.citations:
        claims = [claim for claim in answer.claims if citation.number in claim.numbers]
        note = "" if citation.verified else _doubt(claims)
        print_result(citation.number, citation.result, note, length, " ".join(claim.text for claim in claims))
    for number in answer.unknown_numbers:
        typer.secho(f"[{number}] is no passage that was found.", fg=typer.colors.YELLOW)
    if not answer.citations and answer.passages:
        typer.echo("The answer cites no passage, so check it yourself. These were found:")
        _print_found(answer)


def _doubt(claims: "Sequence[Claim]") -> str:
    """What these claims say and no passage that they cite does."""
    missing = [word for claim in claims for word in claim.missing]
    return f"not found there: {', '.join(dict.fromkeys(missing))}" if missing else "not all of it stands there"


def _print_closest(answer: "Answer") -> None:
    """What may hold the answer in other words than the question's."""
    if not answer.passages:
        typer.echo("Nothing was found. Try other words, or fewer filters.", err=True)
        return
    typer.echo("\nWhat came closest, perhaps in other words:")
    _print_found(answer)


def _print_found(answer: "Answer") -> None:
    query = answer.rewritten or answer.question
    for number, result in enumerate(answer.passages, start=1):
        print_result(number, result, f"similarity {result.similarity:.2f}", PASSAGE_LENGTH, query)


class _Stages:
    """What is being done, on stderr if that is a terminal, until the answer begins."""

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


def _tell(event: "Event", stages: _Stages) -> None:
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
