"""The application that every command registers itself on, and the one place where an error becomes what people see."""

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from jina_rag import __version__
from jina_rag.cli.output import log_on_stderr, printable, wrapped
from jina_rag.errors import JinaRagError

NOTHING = 3
"""Exit code: nothing was found, the documents don't say, or a question was answered with no."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of SIGINT, as shells have it."""

QUESTIONS, DOCUMENTS, MODELS, SERVERS = "Questions", "Documents", "Models", "Servers"
"""The panels of `--help`, for `rich_help_panel`."""

_EPILOG = """\
Begin with: jina-rag add FOLDER, then: jina-rag ask "...?"

Exit codes: 0 done; 1 an error, some files failed, or doctor found something; 2 wrong usage; 3 nothing found, the \
documents don't say, or you answered no; 130 stopped with Ctrl-C.
"""


def examples(*lines: str) -> str:
    """The end of a command's help: lines to type."""
    return "\n\n".join(["Examples:", *(f"$ {line}" for line in lines)])


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer keeps the type to itself
        try:
            return super().invoke(ctx)
        except JinaRagError as error:
            typer.secho("Error: ", fg=typer.colors.RED, bold=True, err=True, nl=False)
            typer.echo(wrapped(printable(str(error))), err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            typer.echo("Stopped.", err=True)
            raise typer.Exit(INTERRUPTED) from error


app = typer.Typer(cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False, epilog=_EPILOG)


def main() -> None:
    """Run the command."""
    app(prog_name="jina-rag")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"jina-rag {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback does it all
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Ask questions of your own documents, on your own machine."""
    if os.environ.get("NO_COLOR"):  # https://no-color.org; typer's help honours it, its echo does not
        ctx.color = False
    ctx.with_resource(log_on_stderr())
