"""Models: `models`, `download`, `embed` and `quantize`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jina_rag.cli.app import MODELS, app, examples
from jina_rag.cli.opening import load_embedder
from jina_rag.cli.options import BackendOption, DimensionsOption, JsonOption, ModelOption, QuantizationOption
from jina_rag.cli.output import print_json, print_notice, print_table, shortened, shown
from jina_rag.cli.progress import counting_bar
from jina_rag.formatting import duration, file_size
from jina_rag.models import QUANTIZABLE, ModelKind, ModelSpec, parse_model_name
from jina_rag.rag_models import list_all_models, parse_any_model_name

if TYPE_CHECKING:
    from jina_rag.embedder import Embedder
    from jina_rag.vectors import FloatArray


@app.command(rich_help_panel=MODELS)
def models(as_json: JsonOption = False) -> None:
    """List the models to embed, to answer and to rerank."""
    from jina_rag.model_files import is_on_this_machine

    rows = [
        {
            "name": spec.name,
            "kind": spec.kind,
            "quantization": spec.default_quantization,
            "bytes": spec.file().size_bytes if spec.files else None,
            "dimensions": spec.dimensions if isinstance(spec, ModelSpec) else None,
            "tokens": spec.max_input_tokens,
            "license": spec.license,
            "on_this_machine": is_on_this_machine(spec),
        }
        for spec in list_all_models()
    ]
    if as_json:
        print_json(rows)
        return
    for kind, heading in _HEADINGS.items():
        typer.secho(heading, bold=True)
        _print_models([row for row in rows if row["kind"] == kind], with_dimensions=kind == "embedding")


_HEADINGS: dict[ModelKind, str] = {
    "embedding": "Embedding models (--model NAME)",
    "chat": "\nChat models, to answer (--llm NAME)",
    "reranker": "\nRerankers (--reranker NAME)",
}


def _print_models(rows: list[dict[str, Any]], *, with_dimensions: bool) -> None:
    columns = {"quantization": "QUANTISATION", "bytes": "SIZE", "dimensions": "DIMENSIONS", "tokens": "TOKENS"}
    columns = {"name": "MODEL", **columns, "license": "LICENCE", "on_this_machine": "ON THIS MACHINE"}
    if not with_dimensions:
        del columns["dimensions"]
    cells = [[_cell(name, row[name]) for name in columns] for row in rows]
    numbers = [place for place, name in enumerate(columns) if name in ("bytes", "dimensions", "tokens")]
    print_table([[*columns.values()], *cells], right=numbers)


def _cell(column: str, value: Any) -> str:  # noqa: ANN401 - of any column
    if column == "bytes":
        return file_size(value) if value else ""
    return shown(value)


@app.command(
    rich_help_panel=MODELS,
    epilog=examples("jina-rag download jina-v5-small:Q8_0", "jina-rag download Qwen3.5-2B"),
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

    spec, quantization = parse_any_model_name(name, quantization)
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


@app.command(
    rich_help_panel=MODELS,
    epilog=examples(
        "jina-rag quantize jina-v5-small BF16",
        "jina-rag add notes --model jina-v5-small --quantization BF16",
        "jina-rag quantize model-F16.gguf Q4_0",
    ),
)
def quantize(
    source: Annotated[str, typer.Argument(metavar="NAME|PATH.gguf", help="A model by its name, or its exact file.")],
    quantization: Annotated[
        str, typer.Argument(metavar="TYPE", help=f"How to store the weights: {', '.join(QUANTIZABLE)}.")
    ],
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="[TARGET]",
            help="The new file. Left out: for a name, a place in the cache where it is "
            "found by --quantization TYPE; for a file, beside it.",
        ),
    ] = None,
    allow_requantize: Annotated[
        bool, typer.Option("--allow-requantize", help="Take a file that is quantised already, losing exactness twice.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
) -> None:
    """Store a model's weights in a type that its authors don't offer.

    Whether that pays on this machine, `jina-rag eval DATASET --sweep` says.
    """
    from jina_rag.locations import quantized_model_path
    from jina_rag.model_files import ensure_quantization_source
    from jina_rag.quantize import quantize_file

    spec = None if source.endswith(".gguf") else parse_model_name(source)[0]
    path = Path(source) if spec is None else ensure_quantization_source(spec, quantization, on_notice=print_notice)
    usual = _beside(path, quantization) if spec is None else quantized_model_path(spec, quantization)
    with counting_bar(f"Making {quantization.upper()}", None, "tensors") as on_progress:
        made = quantize_file(
            path,
            target or usual,
            quantization,
            allow_requantize=allow_requantize,
            force=force,
            on_progress=on_progress,
        )
    typer.echo(made.path)
    usage = f"Embedder.from_file({str(made.path)!r}, MODEL) in Python"
    if spec is not None and target is None:
        usage = f"--model {source} --quantization {made.quantization}"
    sizes = f"{file_size(made.size_bytes)}, made of {file_size(made.source_bytes)}"
    print_notice(f"{sizes} in {duration(made.seconds)}. Use it with: {usage}")


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


def _beside(path: Path, quantization: str) -> Path:
    from jina_rag.bench.files import split_name

    return path.with_name(f"{split_name(path)[0]}-{quantization.upper()}.gguf")
