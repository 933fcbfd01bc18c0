"""Whether a model's file and this machine's build are right: `verify`."""

from dataclasses import asdict
from typing import Annotated

import typer

from jina_rag.cli.app import MODELS, app, examples
from jina_rag.cli.options import FileBackendOption, JsonOption, QuantizationOption
from jina_rag.cli.output import print_json, print_table
from jina_rag.cli.progress import working

_VERDICTS = {
    "right": "Right: the file is as it should be, and this machine computes the published similarities.",
    "wrong": "Wrong: see above. Don't use this file with this build.",
    "unknown": "Nothing is wrong, but no similarities of this model are published to compare with.",
}


@app.command(
    rich_help_panel=MODELS,
    epilog=examples("jina-rag verify jina-v5-small", "jina-rag verify v5-nano-retrieval-Q8_0.gguf"),
)
def verify(
    model: Annotated[
        str,
        typer.Argument(metavar="[NAME|PATH.gguf]", help="A model that `jina-rag models` lists, or a file."),
    ] = "auto",
    quantization: QuantizationOption = None,
    row: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="Which model a file is to be.", show_default="by the file's name"),
    ] = None,
    backend: FileBackendOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a model's file, and that this machine computes the vectors that its authors publish."""
    from jina_rag.bench.files import find_model
    from jina_rag.models import get_model_spec
    from jina_rag.verification import verify as verify_file

    with working("Checking"):
        found = find_model(model, quantization)
        verification = verify_file(found.path, get_model_spec(row) if row else found.spec, backend=backend)
    if as_json:
        print_json({**asdict(verification), "outcome": verification.outcome})
    else:
        typer.secho(f"{verification.path}, as {verification.model}", bold=True)
        print_table(
            [["CHECK", "RESULT", "FOUND"], *([one.name, one.outcome, one.detail] for one in verification.checks)]
        )
        colour = {"right": typer.colors.GREEN, "wrong": typer.colors.RED}.get(verification.outcome)
        typer.secho(f"\n{_VERDICTS[verification.outcome]}", fg=colour)
    if verification.outcome == "wrong":
        raise typer.Exit(1)
