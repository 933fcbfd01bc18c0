"""What a model costs on this machine: `bench`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from jina_rag.cli.app import MODELS, app, examples
from jina_rag.cli.options import DimensionsOption, FileBackendOption, JsonOption, QuantizationOption
from jina_rag.cli.output import print_fields, print_json, print_notice, relative
from jina_rag.cli.progress import stage_bar
from jina_rag.formatting import duration, file_size

if TYPE_CHECKING:
    from jina_rag.bench import BenchResult, CorpusCost, Spread

_TOKENS_PER_WORD = 4 / 3  # in English


@app.command(
    rich_help_panel=MODELS,
    epilog=examples("jina-rag bench", "jina-rag bench --model minilm --quantization Q8_0"),
)
def bench(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME|PATH.gguf",
            help="One that `jina-rag models` lists, or a file. Left out, the Jina model if it can be had, else the "
            "bundled one.",
            show_default="auto",
        ),
    ] = None,
    quantization: QuantizationOption = None,
    dimensions: DimensionsOption = None,
    backend: FileBackendOption = None,
    documents: Annotated[
        int, typer.Option("--documents", metavar="N", min=1, help="Say what so many documents would cost.")
    ] = 10_000,
    words: Annotated[int, typer.Option("--words", metavar="N", min=1, help="Words in each of those documents.")] = 750,
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", min=2, help="How often to measure; more is surer.")
    ] = 5,
    as_json: JsonOption = False,
) -> None:
    """Measure how fast a model is here, what memory it takes, and what a library would cost.

    Nothing is sent anywhere. For figures that can be trusted, close what else is running.
    """
    from jina_rag.bench import measure

    with stage_bar() as show:
        result = measure(
            model or "auto",
            quantization=quantization,
            dimensions=dimensions,
            backend=backend,
            rounds=rounds,
            on_progress=show,
        )
    cost = result.corpus(documents, tokens_per_document=round(words * _TOKENS_PER_WORD))
    if as_json:
        print_json({**asdict(result), "corpus": asdict(cost)})
        return
    _print_result(result)
    _print_cost(cost, words)
    _print_warnings(result.warnings)
    print_notice("Which quantisation finds as well for less, measure with: jina-rag eval DATASET --sweep")


def _print_result(result: "BenchResult") -> None:
    typer.secho(f"{result.model} {result.quantization}".rstrip(), bold=True)
    names = {"short": "Short texts", "passage": "Passages", "long": "Long texts"}
    usual, slowest = _milliseconds(result.query_median_s), _milliseconds(result.query_p95_s)
    memory = "this system does not say"
    if result.peak_bytes is not None:
        memory = f"{file_size(result.peak_bytes)} at the most, with the model's weights and Python"
    print_fields(
        [
            ("Speed", f"{_range(result.tokens_per_s)} tokens a second over texts of all lengths"),
            *(
                (names[length.name], f"{length.texts_per_s:,.1f} a second, of {length.tokens:.0f} tokens each")
                for length in result.by_length
            ),
            ("One question", f"{usual} usually; 95 of 100 take less than {slowest}"),
            ("Loading", f"{duration(result.load_s)} until the first vector"),
            ("Memory", memory),
            ("Cores", f"{result.cores}, as many as this process may use"),
            ("Vectors", f"{result.dimensions} numbers each"),
            ("Engine", result.engine),
            ("File", f"{relative(result.path)}, {file_size(result.file_bytes)}"),
        ]
    )


def _print_cost(cost: "CorpusCost", words: int) -> None:
    typer.echo()
    typer.secho(f"{cost.documents:,} documents of {words:,} words would take", bold=True)
    fields = [
        ("Time", f"about {duration(cost.seconds)} to embed {cost.chunks:,} passages"),
        ("Disk", f"about {file_size(cost.index_bytes)} for the index"),
    ]
    if cost.memory_bytes is not None:
        fields.append(("Memory", f"about {file_size(cost.memory_bytes)}, all vectors loaded"))
    print_fields(fields)


def _print_warnings(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        typer.secho(f"Note: {warning}", fg=typer.colors.YELLOW, err=True)


def _range(spread: "Spread") -> str:
    return f"{spread.median:,.0f} ({spread.low:,.0f} to {spread.high:,.0f})"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
