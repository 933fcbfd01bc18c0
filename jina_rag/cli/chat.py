"""A conversation in a terminal: `chat`."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from jina_rag.cli.answers import print_answer, print_sources
from jina_rag.cli.app import QUESTIONS, app, examples
from jina_rag.cli.opening import open_pipeline
from jina_rag.cli.options import DEFAULT_SEARCH, JudgeOption, LlmOption, SearchFlags, with_flags
from jina_rag.cli.output import PASSAGE_LENGTH, print_notice, print_results, printable
from jina_rag.errors import JinaRagError

if TYPE_CHECKING:
    from jina_rag.rag.answering.conversation import Conversation

_HELP = """\
/sources    show the passages of the last answer in full
/save FILE  save the conversation as Markdown
/clear      start a new conversation
/quit       quit; so does Ctrl-D
Ctrl-C stops an answer."""


@app.command(
    rich_help_panel=QUESTIONS,
    epilog=examples("jina-rag chat", "jina-rag chat --collection work --llm smollm2"),
)
@with_flags
def chat(llm: LlmOption = "auto", judge: JudgeOption = "none", flags: SearchFlags = DEFAULT_SEARCH) -> None:
    """Ask one question after another; follow-up questions may refer to earlier ones."""
    from jina_rag.rag.answering.conversation import Conversation

    with open_pipeline(flags, llm, judge) as pipeline:
        model = pipeline.generator.name if pipeline.generator else "none"
        reader = pipeline.judge.name if pipeline.judge else "none"
        print_notice(f"Answer model: {model}. Judge: {reader}. Ask a question, or type /help. Ctrl-D quits.")
        conversation = Conversation(pipeline)
        for line in _lines():
            if line in ("/quit", "/exit"):
                return
            try:
                _run_command(conversation, line) if line.startswith("/") else _answer(conversation, line)
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
            typer.echo("\nTo quit, press Ctrl-D or type /quit.", err=True)
            continue
        if line:
            yield line


def _answer(conversation: "Conversation", question: str) -> None:
    with conversation.start(question) as run:
        answer = print_answer(run)
    if answer.stopped:
        print_notice("Stopped.")
    else:
        print_sources(answer, PASSAGE_LENGTH)


def _run_command(conversation: "Conversation", line: str) -> None:
    command, _, argument = line.partition(" ")
    if command == "/clear":
        conversation.clear()
        typer.echo("This is a new conversation.", err=True)
    elif command == "/sources":
        if conversation.turns:
            print_results(conversation.turns[-1].passages, length=None)
        else:
            typer.echo("There is no answer yet.", err=True)
    elif command == "/save" and argument:
        _save(conversation, Path(argument.strip()).expanduser())
    else:
        typer.echo(_HELP, err=True)


def _save(conversation: "Conversation", path: Path) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:  # never over another file
            file.write(conversation.as_markdown())
    except OSError as error:
        typer.echo(f"{path} can't be written ({error.strerror}). Name another file.", err=True)
    else:
        typer.echo(f"Written to {path}.", err=True)
