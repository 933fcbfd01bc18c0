"""A conversation in a terminal: `chat`."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from jina_rag.cli.answers import print_sources, tell_answer
from jina_rag.cli.app import QUESTIONS, app, examples
from jina_rag.cli.opening import open_pipeline
from jina_rag.cli.options import (
    DEFAULT_INDEX,
    NO_FILTERS,
    BackendOption,
    ContextWindowOption,
    FilterOptions,
    FusionOption,
    IndexOption,
    KOption,
    LlmOption,
    MmrLambdaOption,
    ModeOption,
    RerankerOption,
    make_options,
    with_filters,
)
from jina_rag.cli.output import PASSAGE_LENGTH, print_notice, print_result, printable
from jina_rag.errors import JinaRagError

if TYPE_CHECKING:
    from jina_rag.rag.answering.conversation import Conversation

_HELP = """\
/sources    show in full the passages that the last answer was made from
/save FILE  write the conversation down as Markdown
/clear      begin anew
/quit       leave; so does Ctrl-D
Ctrl-C stops an answer."""


@app.command(
    rich_help_panel=QUESTIONS,
    epilog=examples("jina-rag chat", "jina-rag chat --collection work --llm smollm2"),
)
@with_filters
def chat(
    index: IndexOption = DEFAULT_INDEX,
    llm: LlmOption = "extractive",
    k: KOption = 5,
    mode: ModeOption = "hybrid",
    fusion: FusionOption = "ranks",
    context_window: ContextWindowOption = 0,
    mmr_lambda: MmrLambdaOption = 1.0,
    reranker: RerankerOption = None,
    filters: FilterOptions = NO_FILTERS,
    backend: BackendOption = None,
) -> None:
    """Ask one question after another; a follow-up may lean on what was said before."""
    from jina_rag.rag.answering.conversation import Conversation

    options = make_options(k, mode, fusion, mmr_lambda, context_window, filters)
    with open_pipeline(index, llm, options, backend, reranker) as pipeline:
        print_notice(f"Answers by {pipeline.generator.name}. Ask, or type /help. Ctrl-D leaves.")
        conversation = Conversation(pipeline)
        for line in _lines():
            if line in ("/quit", "/exit"):
                return
            try:
                _obey(conversation, line) if line.startswith("/") else _answer(conversation, line)
            except JinaRagError as error:  # one question fails, the conversation goes on
                typer.secho(printable(str(error)), fg=typer.colors.RED, err=True)


def _lines() -> Iterator[str]:
    """What the user types, until Ctrl-D; Ctrl-C only drops the line at hand."""
    prompt = ""
    if sys.stdin.isatty():
        prompt = "\n> "
        with suppress(ImportError):  # Windows has none
            import readline  # noqa: F401 - gives input() the arrow keys and a history
    while True:
        try:
            line = input(prompt).strip()
        except EOFError:
            typer.echo(err=True)
            return
        except KeyboardInterrupt:
            typer.echo("\nTo leave, press Ctrl-D or type /quit.", err=True)
            continue
        if line:
            yield line


def _answer(conversation: "Conversation", question: str) -> None:
    with conversation.start(question) as run:
        answer = tell_answer(run)
    if answer.stopped:
        print_notice("Stopped.")
    else:
        print_sources(answer, PASSAGE_LENGTH)


def _obey(conversation: "Conversation", line: str) -> None:
    command, _, argument = line.partition(" ")
    if command == "/clear":
        conversation.clear()
        typer.echo("The conversation begins anew.", err=True)
    elif command == "/sources":
        _print_passages(conversation)
    elif command == "/save" and argument:
        _save(conversation, Path(argument.strip()).expanduser())
    else:
        typer.echo(_HELP, err=True)


def _print_passages(conversation: "Conversation") -> None:
    if not conversation.turns:
        typer.echo("There is no answer yet.", err=True)
        return
    for number, result in enumerate(conversation.turns[-1].passages, start=1):
        print_result(number, result, f"similarity {result.similarity:.2f}")


def _save(conversation: "Conversation", path: Path) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:  # never over another file
            file.write(conversation.as_markdown())
    except OSError as error:
        typer.echo(f"{path} can't be written ({error.strerror}). Name another file.", err=True)
    else:
        typer.echo(f"Written to {path}.", err=True)
