"""What a model costs on this machine: `bench`."""

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from jina_rag.cli.app import MODELS, app, examples
from jina_rag.cli.options import DimensionsOption, JsonOption, QuantizationOption
from jina_rag.cli.output import print_fields, print_json, print_notice, print_table, relative
from jina_rag.cli.progress import stage_bar
from jina_rag.formatting import duration, file_size

if TYPE_CHECKING:
    from jina_rag.bench import BenchResult, CorpusCost, Spread, SweepResult, SweepRow

_FIDELITY_NOTE = (
    "FIDELITY is how near a file's vectors come to those of {reference}, the most exact file here (mean cosine), and "
    "how many of the ten nearest passages stay the same. It is not how well they find: measure that on questions of "
    "your own. Of random weights, as in test files, it says nothing about a trained model."
)


_TOKENS_PER_WORD = 4 / 3  # in English
_NAMES = {"quantization": "QUANTISATION", "batch": "BATCH TOKENS", "threads": "THREADS"}


class SweepParameter(StrEnum):
    """What `bench --sweep` changes."""

    quantization = "quantization"
    batch = "batch"
    threads = "threads"


@app.command(
    rich_help_panel=MODELS,
    epilog=examples("jina-rag bench", "jina-rag bench --model minilm --sweep quantization"),
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
    documents: Annotated[
        int, typer.Option("--documents", metavar="N", min=1, help="Say what so many documents would cost.")
    ] = 10_000,
    words: Annotated[int, typer.Option("--words", metavar="N", min=1, help="Words in each of those documents.")] = 750,
    sweep: Annotated[
        SweepParameter | None,
        typer.Option("--sweep", help="Compare: the model's files on this machine, batch sizes, or numbers of threads."),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option("--rounds", metavar="N", min=2, help="How often to measure; more is surer.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how fast a model is here, what memory it takes, and what a library would cost.

    Nothing is sent anywhere. For figures that can be trusted, close what else is running.
    """
    if sweep is not None:
        _sweep(sweep, model or "auto", quantization, rounds or 7, as_json=as_json)
        return
    from jina_rag.bench import measure

    with stage_bar() as show:
        result = measure(
            model or "auto", quantization=quantization, dimensions=dimensions, rounds=rounds or 5, on_progress=show
        )
    cost = result.corpus(documents, tokens_per_document=round(words * _TOKENS_PER_WORD))
    if as_json:
        print_json({**asdict(result), "corpus": asdict(cost)})
        return
    _print_result(result)
    _print_cost(cost, words)
    _print_warnings(result.warnings)
    print_notice("Compare with: jina-rag bench --sweep quantization (or threads, or batch)")


def _sweep(parameter: SweepParameter, model: str, quantization: str | None, rounds: int, *, as_json: bool) -> None:
    from jina_rag.bench import sweep

    with stage_bar() as show:
        result = sweep(parameter.value, model, quantization=quantization, rounds=rounds, on_progress=show)
    if as_json:
        print_json({**asdict(result), "level_with_best": list(result.level_with_best), "advised": result.advised})
        return
    _print_sweep(result)


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


def _print_sweep(result: "SweepResult") -> None:
    fidelity = result.rows[0].fidelity
    typer.secho(f"{result.model}, {result.rounds} rounds in turns", bold=True)
    heads = [_NAMES[result.parameter], "TOKENS/S", "(RANGE)", "QUESTION", "MEMORY", "FILE", "TIME TAKEN"]
    heads += ["FIDELITY", "SAME TOP 10"] if fidelity else []
    print_table([heads, *map(_cells, result.rows)], right=(1, 3, 4, 5, 7, 8)[: 4 + 2 * bool(fidelity)])
    typer.echo()
    typer.echo(_verdict(result))
    if fidelity:
        print_notice(_FIDELITY_NOTE.format(reference=fidelity.reference))
    _print_warnings(result.warnings)


def _cells(row: "SweepRow") -> list[str]:
    verdict = "least" if row.is_level else f"{row.against_best.median:.2f} times the least"
    cells = [
        row.name,
        f"{row.tokens_per_s.median:,.0f}",
        f"({row.tokens_per_s.low:,.0f} to {row.tokens_per_s.high:,.0f})",
        _milliseconds(row.query_s),
        "unknown" if row.peak_bytes is None else file_size(row.peak_bytes),
        file_size(row.file_bytes),
        verdict,
    ]
    if row.fidelity:
        cells += [f"{row.fidelity.cosine:.4f}", f"{row.fidelity.top_10:.0%}"]
    return cells


def _verdict(result: "SweepResult") -> str:
    level, advised = result.level_with_best, result.advised
    quickest = f"Quickest here: {result.best}, in every round."
    if level:
        quickest = f"Quickest here: {result.best}. Level with it, as far as these rounds can tell: {', '.join(level)}."
    if result.parameter == "quantization":
        smallest = min(result.rows, key=lambda row: row.file_bytes).name
        why = "the most exact of these" if level else "nothing else is as quick"
        return f"{quickest} Smallest: {smallest}.\nTake {advised}, {why}: --quantization {advised}"
    setting = {"batch": "batch_tokens", "threads": "n_threads"}[result.parameter]
    why = "the least of these" if level else "nothing else is as quick"
    return f"{quickest}\nTake {advised}, {why}: LlamaCppOptions({setting}={advised})"


def _print_warnings(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        typer.secho(f"Note: {warning}", fg=typer.colors.YELLOW, err=True)


def _range(spread: "Spread") -> str:
    return f"{spread.median:,.0f} ({spread.low:,.0f} to {spread.high:,.0f})"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
