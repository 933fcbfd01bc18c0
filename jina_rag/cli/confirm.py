"""Confirmation before something that can't be undone."""

import sys

import typer

from jina_rag.cli.app import NOTHING


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if the user says so, here or with --yes.

    Raises:
        typer.Exit: the user says no.
        typer.BadParameter: nobody can be asked.
    """
    if yes:
        return
    if not somebody_is_there():
        raise typer.BadParameter("There is no terminal to ask. Say --yes if you are sure.", param_hint="--yes")
    if not ask(question):
        typer.echo("Nothing was changed.", err=True)
        raise typer.Exit(NOTHING)


def ask(question: str) -> bool:
    """Whether the user says yes."""
    # Not typer.confirm, which writes a blank to stdout.
    typer.echo(f"{question} [y/N] ", nl=False, err=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def somebody_is_there() -> bool:
    """Whether a person can answer a question."""
    return sys.stdin.isatty()
