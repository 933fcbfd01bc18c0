"""An answer in a terminal: printed while it is written, then its claims with their verdicts, and the passages."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

import typer

from jina_rag.cli.output import (
    NOTHING_FOUND,
    PASSAGE_LENGTH,
    print_labelled,
    print_notice,
    print_result,
    print_results,
    printable,
)
from jina_rag.cli.progress import working

if TYPE_CHECKING:
    from jina_rag.rag.answering.run import AnswerRun, Event
    from jina_rag.rag.answering.types import Answer
    from jina_rag.rag.citations.claims import Verdict

_STAGES = {
    "understanding": "Understanding the question",
    "searching": "Searching",
    "reading": "Reading the passages",
    "waiting": "Waiting for {n_ahead} other answers",
    "answering": "Answering",
    "checking": "Checking the claims… Ctrl-C ends the check and keeps the answer",
}
_COLORS: "dict[Verdict, str]" = {
    "quoted": typer.colors.GREEN,
    "supported": typer.colors.GREEN,
    "not found": typer.colors.RED,
    "unchecked": typer.colors.YELLOW,
}
_WIDEST_VERDICT = max(map(len, _COLORS))


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
        if not quietly:
            stages.end_line()
    return run.answer


def print_sources(answer: "Answer", length: int | None = None) -> None:
    """The claims of an answer with their verdicts and the passages that it cites; without one, those that were found.

    Args:
        answer: The answer.
        length: How many characters of a cited passage to show, those that it is cited for; None shows all.
    """
    if answer.answered:
        _print_claims(answer)
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


def _print_claims(answer: "Answer") -> None:
    from jina_rag.rag.answering.wording import describe_claim, describe_judge, describe_verdicts

    typer.echo(f"\n{describe_verdicts(answer)}")
    for claim in answer.claims:
        marks = "".join(f" [{number}]" for number in claim.numbers)
        note = describe_claim(claim)
        label = f"  {claim.verdict:{_WIDEST_VERDICT}}  "
        print_labelled(label, f"{claim.text}{marks}" + (f" ({note})" if note else ""), _COLORS[claim.verdict])
    typer.echo(describe_judge(answer))


def _print_cited(answer: "Answer", length: int | None) -> None:
    typer.echo()
    for citation in answer.citations:
        claims = " ".join(claim.text for claim in answer.claims if citation.number in claim.numbers)
        print_result(citation.number, citation.result, citation.verdict, length, claims)
    for number in answer.unknown_numbers:
        typer.secho(f"[{number}] is no passage that was found.", fg=typer.colors.YELLOW)
    if not answer.citations and answer.passages:
        typer.echo("The answer cites no passage: check it yourself. These were found:")
        print_results(answer.passages, answer.rewritten or answer.question)


def _print_highlights(answer: "Answer") -> None:
    """The passages with the sentence of each that fits the question best, best first."""
    from jina_rag.rag.answering.types import NO_LANGUAGE_MODEL
    from jina_rag.rag.answering.wording import CONNECT_A_MODEL

    typer.echo(NO_LANGUAGE_MODEL)
    for highlight in answer.highlights:
        result = answer.passages[highlight.number - 1]
        note = f"similarity {highlight.similarity:.2f}"
        print_result(None, result, note, PASSAGE_LENGTH, highlight=(highlight.start, highlight.end))
    print_notice(f"{CONNECT_A_MODEL} See: jina-rag models")


class _Stages:
    """An answer's text on stdout and, between its lines, the stage that it is at, on stderr if that is a terminal."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._is_in_line = False

    def __enter__(self) -> "_Stages":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def show(self, text: str) -> None:
        self.end()
        self.end_line()
        self._stack.enter_context(working(text))

    def end(self) -> None:
        self._stack.close()

    def write(self, text: str) -> None:
        self.end()
        typer.echo(text, nl=False)
        self._is_in_line = not text.endswith("\n")

    def end_line(self) -> None:
        if self._is_in_line:
            self.write("\n")


def _print_event(event: "Event", stages: _Stages) -> None:
    from jina_rag.rag.answering.run import Found, Stage

    if isinstance(event, Stage):
        stages.show(_STAGES[event.name].format(n_ahead=event.n_ahead))
    elif isinstance(event, Found):
        if event.rewritten:
            stages.end()
            typer.secho(f"Understood as: {printable(event.rewritten)}", dim=True, err=True)
    elif event.text:  # not a sign of life
        stages.write(printable(event.text))
