"""Models: `models`, `download` and `embed`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from jina_rag.cli.app import MODELS, app, examples
from jina_rag.cli.opening import load_embedder
from jina_rag.cli.options import BackendOption, DimensionsOption, JsonOption, ModelOption, QuantizationOption
from jina_rag.cli.output import print_json, print_notice, print_table, shortened, shown
from jina_rag.cli.progress import counting_bar
from jina_rag.models import list_models, parse_model_name

if TYPE_CHECKING:
    from jina_rag.embedder import Embedder
    from jina_rag.vectors import FloatArray


@app.command(rich_help_panel=MODELS)
def models(as_json: JsonOption = False) -> None:
    """List the models."""
    from jina_rag.model_files import is_on_this_machine

    rows = [
        {
            "name": spec.name,
            "quantization": spec.default_quantization,
            "dimensions": spec.dimensions,
            "tokens": spec.max_input_tokens,
            "license": spec.license,
            "on_this_machine": is_on_this_machine(spec),
        }
        for spec in list_models()
    ]
    if as_json:
        print_json(rows)
        return
    names = ("MODEL", "QUANTISATION", "DIMENSIONS", "TOKENS", "LICENCE", "ON THIS MACHINE")
    print_table([names, *([shown(value) for value in row.values()] for row in rows)], right=(2, 3))


@app.command(
    rich_help_panel=MODELS,
    epilog=examples("jina-rag download jina-v5-small", "jina-rag download jina-v5-small:Q8_0"),
)
def download(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A model that `jina-rag models` lists, or NAME:QUANTISATION.")
    ],
    quantization: QuantizationOption = None,
    force: Annotated[bool, typer.Option("--force", help="Download the file again although it is here.")] = False,
    allow_unverified: Annotated[
        bool, typer.Option("--allow-unverified", help="Take a file that nobody publishes a checksum of.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Download a model's file, and print where it is."""
    from jina_rag.gguf_file import read_gguf_header
    from jina_rag.model_files import ensure_model_file

    spec, quantization = parse_model_name(name, quantization)
    path = ensure_model_file(spec, quantization, force=force, allow_unverified=allow_unverified, on_notice=print_notice)
    read_gguf_header(path)  # one that was here already may be damaged
    if as_json:
        print_json({"name": spec.name, "path": str(path), "bytes": path.stat().st_size, "license": spec.license})
    else:
        typer.echo(path)


@app.command(
    rich_help_panel=MODELS,
    epilog=examples('jina-rag embed "Mars is red"', "jina-rag embed --json < lines.txt > vectors.jsonl"),
)
def embed(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="What to embed; left out, each line of stdin.")
    ] = None,
    model: ModelOption = None,
    quantization: QuantizationOption = None,
    dimensions: DimensionsOption = None,
    backend: BackendOption = None,
    as_query: Annotated[
        bool, typer.Option("--query/--document", help="Whether the texts are questions or passages.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print each vector as a JSON array on its line.")] = False,
) -> None:
    """Turn texts into vectors."""
    texts = texts or _lines_of_stdin()
    with load_embedder(model, quantization, dimensions, backend) as embedder:
        vectors = _embed_with_bar(embedder, texts, as_query=as_query)
    if as_json:
        for vector in vectors.tolist():
            print_json(vector)
        return
    typer.echo(f"{len(texts)} x {embedder.dimensions} numbers, from {embedder.spec.name} {embedder.quantization}")
    for text, vector in zip(texts, vectors, strict=True):
        typer.echo(f"{' '.join(f'{number:7.4f}' for number in vector[:4])} ...  {shortened(text, 60)}")


def _embed_with_bar(embedder: "Embedder", texts: list[str], *, as_query: bool) -> "FloatArray":
    done = 0
    with counting_bar("Embedding", len(texts), "texts") as show:

        def advance(n_more: int) -> None:
            nonlocal done
            done += n_more
            show(done)

        return embedder.embed(texts, "query" if as_query else "document", on_progress=advance).vectors


def _lines_of_stdin() -> list[str]:
    if sys.stdin.isatty():
        raise typer.BadParameter(
            "Give some texts, or pipe lines in: cat lines.txt | jina-rag embed", param_hint="TEXTS"
        )
    return sys.stdin.read().splitlines()
