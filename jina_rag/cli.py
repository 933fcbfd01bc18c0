"""The command `jina-rag`: models, embeddings and questions about documents, in a terminal.

What was asked for goes to stdout and all else to stderr, so that a pipe gets the one without the other. What a document
says is cleaned of control codes before it reaches a terminal. Heavy imports stand in the commands: `--help` is quick.
"""

import json
import logging
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from jina_rag import __version__
from jina_rag.errors import DocumentError, FingerprintMismatchError, JinaRagError
from jina_rag.models import list_models, parse_model_name

if TYPE_CHECKING:
    from jina_rag.embedder import Embedder
    from jina_rag.rag.index import AddProgress, AddProgressCallback, AddReport
    from jina_rag.rag.pipeline import Answer, RagPipeline
    from jina_rag.rag.retrieval import SearchResult

_PASSAGE_LENGTH = 320  # characters of a passage that are shown; --json has them all
_INTERRUPTED = 130  # 128 and the number of SIGINT, as shells do


class _Commands(TyperGroup):
    """The one place where an error becomes what the user sees."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer keeps the type to itself
        try:
            return super().invoke(ctx)
        except JinaRagError as error:
            typer.secho("Error: ", fg=typer.colors.RED, bold=True, err=True, nl=False)
            typer.echo(_printable(str(error)), err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            typer.echo("Stopped.", err=True)
            raise typer.Exit(_INTERRUPTED) from error


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

IndexOption = Annotated[
    Path, typer.Option("--index", envvar="JINA_RAG_INDEX", metavar="FOLDER", help="Where the index is.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="One that `jina-rag models` lists. Left out, the Jina model if it can be had, else the bundled one.",
        show_default="auto",
    ),
]
QuantizationOption = Annotated[
    str | None,
    typer.Option("--quantization", metavar="NAME", help="How the weights are stored, such as Q8_0."),
]
DimensionsOption = Annotated[
    int | None, typer.Option("--dimensions", metavar="N", help="Cut vectors to this width; smaller is quicker.")
]
KOption = Annotated[int, typer.Option("-k", min=1, help="How many passages to look for.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

_DEFAULT_INDEX = Path(".jina-rag/index")


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
    """Ask questions of your own documents, on your own machine.

    Begin with: jina-rag add FOLDER, then: jina-rag ask "..."
    """
    ctx.with_resource(_log_on_stderr())


@app.command()
def models(as_json: JsonOption = False) -> None:
    """List the models."""
    from jina_rag.download import is_on_this_machine

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
        _print_json(rows)
        return
    names = ("MODEL", "QUANTISATION", "DIMENSIONS", "TOKENS", "LICENCE", "ON THIS MACHINE")
    _print_table([names, *([_shown(value) for value in row.values()] for row in rows)])


@app.command()
def download(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A model that `jina-rag models` lists, or NAME:QUANTISATION.")
    ],
    quantization: QuantizationOption = None,
    force: Annotated[bool, typer.Option("--force", help="Fetch the file again although it is here.")] = False,
) -> None:
    """Fetch a model's file, and print where it is."""
    from jina_rag.download import find_model_file

    spec, named = parse_model_name(name)
    typer.echo(find_model_file(spec, quantization or named, force=force, on_notice=_print_notice))


@app.command()
def embed(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="What to embed; left out, each line of stdin.")
    ] = None,
    model: ModelOption = None,
    quantization: QuantizationOption = None,
    dimensions: DimensionsOption = None,
    as_query: Annotated[
        bool, typer.Option("--query/--document", help="Whether the texts are questions or passages.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print each vector as a JSON array on its line.")] = False,
) -> None:
    """Turn texts into vectors."""
    texts = texts or _lines_of_stdin()
    with _load_embedder(model, quantization, dimensions) as embedder:
        vectors = embedder.embed(texts, "query" if as_query else "document").vectors
    if as_json:
        for vector in vectors.tolist():
            _print_json(vector)
        return
    typer.echo(f"{len(texts)} x {embedder.dimensions} numbers, from {embedder.spec.name} {embedder.quantization}")
    for text, vector in zip(texts, vectors, strict=True):
        typer.echo(f"{' '.join(f'{number:7.4f}' for number in vector[:4])} ...  {_shortened(text, 60)}")


@app.command()
def add(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files, and folders with all that is below them.")
    ],
    index: IndexOption = _DEFAULT_INDEX,
    model: ModelOption = None,
    quantization: QuantizationOption = None,
    dimensions: DimensionsOption = None,
) -> None:
    """Add documents to an index, which is made if there is none.

    Files that have not changed are passed over, so the same command also brings an index up to date, and goes on where
    an interrupted one stopped. An index keeps the model that it was made with.
    """
    from jina_rag.rag.documents import READERS, find_documents
    from jina_rag.rag.index import DocumentIndex

    if not find_documents(paths):
        places, kinds = ", ".join(map(str, paths)), ", ".join(sorted(READERS))
        raise DocumentError(f"There are no documents in {places} (these kinds are read: {kinds}). Name another place.")
    with (
        DocumentIndex.create_or_open(index, _embedder_for(index, model, quantization, dimensions)) as documents,
        _progress_bar() as show,
    ):
        report = documents.add(paths, show)
        total = documents.count_chunks()
    _print_report(report, index, total)
    if report.failed:
        raise typer.Exit(1)


@app.command()
def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A question, or some words.")],
    index: IndexOption = _DEFAULT_INDEX,
    k: KOption = 5,
    as_json: JsonOption = False,
) -> None:
    """Find the passages that are about something."""
    with _open_pipeline(index, None, k) as pipeline:
        results = pipeline.search(query)
    if as_json:
        _print_json([_as_dict(result) for result in results])
        return
    if not results:
        typer.echo("The index is empty. Add documents with: jina-rag add PATH", err=True)
    for number, result in enumerate(results, start=1):
        _print_passage(number, result, f"{result.score:.2f}", _PASSAGE_LENGTH)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What you want to know.")],
    index: IndexOption = _DEFAULT_INDEX,
    k: KOption = 5,
    llm: Annotated[
        str,
        typer.Option(
            "--llm",
            metavar="extractive|smollm2|PATH.gguf|URL",
            help="Who words the answer: the documents' own sentences, a small language model from an installed "
            "package, one in a file, or one behind an OpenAI-compatible address such as "
            "http://localhost:11434/v1#name (its key in OPENAI_API_KEY).",
        ),
    ] = "extractive",
    as_json: JsonOption = False,
) -> None:
    """Answer a question from the documents, and say where it stands."""
    with _open_pipeline(index, llm, k) as pipeline:
        passages = pipeline.search(question)
        pieces = []
        for piece in pipeline.stream(question, passages):
            pieces.append(piece)
            if not as_json:
                typer.echo(_printable(piece), nl=False)
        answer = pipeline.finish(question, "".join(pieces), passages)
    if as_json:
        _print_json(_answer_as_dict(answer))
    else:
        typer.echo()
        _print_sources(answer)


@contextmanager
def _open_pipeline(folder: Path, llm: str | None, k: int) -> "Iterator[RagPipeline]":
    from jina_rag.rag.pipeline import RagPipeline

    pipeline = RagPipeline.open(folder, llm=llm, k=k)
    with pipeline.index, pipeline.index.embedder:
        yield pipeline


def _load_embedder(model: str | None, quantization: str | None, dimensions: int | None) -> "Embedder":
    from jina_rag.embedder import Embedder

    return Embedder.from_pretrained(model or "auto", quantization=quantization, dimensions=dimensions)


def _embedder_for(folder: Path, model: str | None, quantization: str | None, dimensions: int | None) -> "Embedder":
    """The model of the index in a folder, or the one that is asked for if there is no index yet.

    Raises:
        FingerprintMismatchError: there is an index, and the model that is asked for is another.
    """
    from jina_rag.rag.index import MANIFEST, load_index_embedder, read_index_settings

    if not (folder / MANIFEST).is_file():
        return _load_embedder(model, quantization, dimensions)
    made_with = read_index_settings(folder)
    asked_for: list[tuple[str, str | int | None, str | int]] = [
        ("--quantization", quantization and quantization.upper(), made_with.quantization),
        ("--dimensions", dimensions, made_with.dimensions),
    ]
    if model and model != "auto":
        spec, named = parse_model_name(model)
        asked_for += [("--model", spec.name, made_with.model), ("--model", named, made_with.quantization)]
    for option, wanted, stored in asked_for:
        if wanted is not None and wanted != stored:
            raise FingerprintMismatchError(
                f"{option} names {wanted}, and the index {folder} was made with {stored}. An index keeps the model it "
                f"was made with: leave {option} out, or name another folder with --index."
            )
    return load_index_embedder(folder)


def _lines_of_stdin() -> list[str]:
    if sys.stdin.isatty():
        raise typer.BadParameter(
            "Give some texts, or pipe lines in: cat lines.txt | jina-rag embed", param_hint="TEXTS"
        )
    return sys.stdin.read().splitlines()


@contextmanager
def _log_on_stderr() -> Iterator[None]:
    """Show what the library wants people to know, such as which model "auto" took; not what llama.cpp says."""
    logger, handler = logging.getLogger("jina_rag"), _EchoHandler()
    handler.addFilter(lambda record: record.name == logger.name)
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _EchoHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _print_notice(self.format(record))


@contextmanager
def _progress_bar() -> "Iterator[AddProgressCallback]":
    """A bar on stderr, if that is a terminal: the document at hand, chunks a second, the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[rate]:.1f} chunks/s"),
        TimeRemainingColumn(),
    )
    started, stored, seen = time.monotonic(), 0, 0
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Reading", total=None, rate=0.0)

        def show(state: "AddProgress") -> None:
            nonlocal stored, seen
            stored += max(0, state.chunks_done - seen)
            seen = state.chunks_done
            progress.update(
                task,
                description=_shortened(Path(state.source).name, 30),
                total=state.documents_total,
                completed=state.documents_done + state.chunks_done / max(1, state.chunks_total),
                rate=stored / max(1e-3, time.monotonic() - started),
            )

        yield show


def _print_report(report: "AddReport", index: Path, n_chunks: int) -> None:
    counts = {
        "added": len(report.added),
        "updated": len(report.updated),
        "unchanged": len(report.unchanged),
        "failed": len(report.failed),
    }
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    typer.echo(f"{told}. The index {index} has {n_chunks:,} chunks.")
    for failed in report.failed:
        typer.secho("Failed: ", fg=typer.colors.RED, err=True, nl=False)
        typer.echo(_printable(failed.reason), err=True)


def _print_sources(answer: "Answer") -> None:
    if not answer.answered:
        typer.echo("Try other words, or see what came closest with: jina-rag search", err=True)
        return
    typer.echo()
    for citation in answer.citations:
        note = "" if citation.verified else "not all of it stands there"
        _print_passage(citation.number, citation.result, note)
    for number in answer.unknown_numbers:
        typer.secho(f"[{number}] is no passage that was found.", fg=typer.colors.YELLOW)
    if not answer.citations:
        typer.echo("The answer cites no passage, so check it yourself. These were found:")
        for number, result in enumerate(answer.passages, start=1):
            _print_passage(number, result, f"{result.score:.2f}", _PASSAGE_LENGTH)


def _print_passage(number: int, result: "SearchResult", note: str, length: int | None = None) -> None:
    chunk = result.chunk
    page = f"page {chunk.page}" if chunk.page else ""
    where = ", ".join(_printable(part) for part in (_relative(chunk.source), page, chunk.heading) if part)
    typer.echo(f"[{number}] {where}" + (f"  ({note})" if note else ""))
    passage = textwrap.wrap(_shortened(chunk.text, length or len(chunk.text)), width=100)
    typer.secho(textwrap.indent("\n".join(passage), "    "), dim=True)


def _print_notice(text: str) -> None:
    typer.secho(_printable(text), dim=True, err=True)


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _shown(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))


def _answer_as_dict(answer: "Answer") -> dict[str, object]:
    return {
        "question": answer.question,
        "answer": answer.text,
        "answered": answer.answered,
        "citations": [
            {"number": citation.number, "verified": citation.verified, **_as_dict(citation.result)}
            for citation in answer.citations
        ],
        "unknown_numbers": list(answer.unknown_numbers),
        "passages": [_as_dict(result) for result in answer.passages],
    }


def _as_dict(result: "SearchResult") -> dict[str, object]:
    return {"score": round(result.score, 4), **asdict(result.chunk)}


def _relative(source: str) -> str:
    path, here = Path(source), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _shortened(text: str, length: int) -> str:
    line = " ".join(_printable(text).split())
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"


def _printable(text: str) -> str:
    from jina_rag.rag.text import remove_invisible

    return remove_invisible(text)


if __name__ == "__main__":
    main()
