"""Maintenance of an index: `doctor`, `rebuild` and `export`."""

import errno
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jina_rag.cli.app import DOCUMENTS, app, examples
from jina_rag.cli.confirm import confirm
from jina_rag.cli.opening import load_embedder
from jina_rag.cli.options import (
    DEFAULT_INDEX,
    NO_FILTERS,
    BackendOption,
    DimensionsOption,
    FilterFlags,
    IndexOption,
    JsonOption,
    OtherModelOption,
    QuantizationOption,
    YesOption,
    with_flags,
)
from jina_rag.cli.output import one_line, print_json, print_notice, printable, wrapped
from jina_rag.cli.progress import counting_bar, working
from jina_rag.errors import JinaRagError
from jina_rag.formatting import counted, duration

if TYPE_CHECKING:
    from jina_rag.embedder import Embedder
    from jina_rag.rag.indexing.export import ExportCallback
    from jina_rag.rag.store.catalog import Catalog

_SAMPLE = 16  # chunks by which a rebuild's time is estimated
_CHUNKS_BETWEEN_SIGNS = 100
_REMEDIES = {
    errno.ENOSPC: "Free some space, or name another place.",
    errno.ENOENT: "Make its folder, or name another place.",
}


@app.command("doctor", rich_help_panel=DOCUMENTS, epilog="Exit code 0 if all is well, 1 if something is wrong.")
def examine(index: IndexOption = DEFAULT_INDEX, as_json: JsonOption = False) -> None:
    """Check an index for damage. Nothing is changed."""
    from jina_rag.rag.indexing.check import doctor

    with working("Checking"):
        problems = doctor(index)
    if as_json:
        print_json([asdict(problem) for problem in problems])
    elif not problems:
        typer.echo(f"Nothing is wrong with {printable(str(index))}.")
    else:
        for problem in problems:
            typer.secho(one_line(problem.what), fg=typer.colors.RED)
            typer.echo(f"  Why:  {one_line(problem.why)}")
            typer.echo(f"  Fix: {one_line(problem.remedy)}")
    if problems:
        raise typer.Exit(1)


@app.command(
    "rebuild",
    rich_help_panel=DOCUMENTS,
    epilog=examples("jina-rag rebuild", "jina-rag rebuild --model jina-v5-small"),
)
def make_again(
    index: IndexOption = DEFAULT_INDEX,
    model: OtherModelOption = None,
    quantization: QuantizationOption = None,
    dimensions: DimensionsOption = None,
    backend: BackendOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Recreate an index's vectors from its stored text. The old ones are used until the new ones are complete."""
    from jina_rag.backends.remote.address import engine_of
    from jina_rag.rag.indexing.index import rebuild
    from jina_rag.rag.indexing.opening import find_catalog

    with closing(find_catalog(index)) as catalog:
        made_with, n_chunks = catalog.fingerprint(), catalog.count_chunks()
        if model is None:
            model, quantization = made_with.model, quantization or made_with.quantization or None
            dimensions = dimensions or made_with.dimensions
            backend = engine_of(made_with.weights, backend)
        with load_embedder(model, quantization, dimensions, backend) as embedder:
            to_embed, seconds = _estimate(catalog, embedder)
            cost = (
                f"about {to_embed:,} must be embedded, which takes about {duration(seconds)}"
                if to_embed
                else "none must be embedded"
            )
            name = " ".join(filter(None, (embedder.spec.name, embedder.quantization)))
            notice = (
                f"This recreates the vectors of {counted(n_chunks, 'chunk')} in {index} with {name}, "
                f"{embedder.dimensions} dimensions: {cost}. Documents are not read again."
            )
            typer.echo(wrapped(printable(notice)), err=True)
            confirm("Continue?", yes=yes)
            with counting_bar("Rebuilding", n_chunks, "chunks") as show:
                n_embedded = rebuild(index, embedder, lambda done, _: show(done))
    if as_json:
        print_json({"folder": str(index), "chunks": n_chunks, "embedded": n_embedded, "model": embedder.spec.name})
    else:
        typer.echo(
            f"{counted(n_chunks, 'chunk')} recreated in {printable(str(index))}, {n_embedded:,} of them embedded."
        )


def _estimate(catalog: "Catalog", embedder: "Embedder") -> tuple[int, float]:
    """How many chunks have no vector of this model yet, and the seconds they take, both estimated by a sample."""
    from jina_rag.rag.store.types import text_digest

    texts = {text_digest(chunk.text): chunk.text for chunk in catalog.sample(_SAMPLE)}
    same_model = embedder.fingerprint == catalog.fingerprint()
    kept = catalog.vectors(texts) if same_model else catalog.staged_vectors(embedder.fingerprint, texts)
    missing = [text for digest, text in texts.items() if digest not in kept]
    if not missing:
        return 0, 0.0
    with working("Measuring this machine"):
        start = time.perf_counter()
        embedder.embed_documents(missing)
        seconds_each = (time.perf_counter() - start) / len(missing)
    to_embed = round(len(missing) / len(texts) * catalog.count_chunks())
    return to_embed, to_embed * seconds_each


@app.command(
    "export",
    rich_help_panel=DOCUMENTS,
    epilog=examples(
        "jina-rag export chunks.jsonl",
        "jina-rag export chunks.jsonl --vectors vectors.npy",
        "jina-rag export --type pdf | gzip > chunks.jsonl.gz",
    ),
)
@with_flags
def write_out(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="By default stdout.")] = None,
    index: IndexOption = DEFAULT_INDEX,
    vectors: Annotated[
        Path | None,
        typer.Option(
            "--vectors", metavar="FILE.npy", help="Write the vectors to this numpy file, one row for each line."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    filters: FilterFlags = NO_FILTERS,
) -> None:
    """Export an index's chunks as JSON Lines, with text, source and position."""
    from jina_rag.rag.indexing.contents import IndexContents

    for path, hint in ((file, "FILE"), (vectors, "--vectors")):
        if path and path.is_file() and not force:
            raise typer.BadParameter(f"{path} exists. Name another file, or say --force.", param_hint=hint)
    if file and vectors and file.resolve() == vectors.resolve():
        raise typer.BadParameter(f"{file} can't hold both. Name another file.", param_hint="--vectors")
    names = " and ".join(str(path) for path in (file, vectors) if path)
    with IndexContents.open(index) as contents, _write_errors(names or "The output"), _export_bar(file) as show:
        contents.check_names(filters.as_filters())
        count = contents.export(file or sys.stdout, vectors=vectors, filters=filters.as_filters(), on_progress=show)
    if names:
        print_notice(f"{counted(count, 'chunk')} written to {names}.")


@contextmanager
def _export_bar(file: Path | None) -> "Iterator[ExportCallback | None]":
    """A bar, unless the lines themselves go to the terminal."""
    if file is None:
        yield None
        return
    with counting_bar("Exporting", None, "chunks") as show:

        def show_some(done: int, total: int) -> None:
            if done % _CHUNKS_BETWEEN_SIGNS == 0:
                show(done, total)

        yield show_some


@contextmanager
def _write_errors(what: str) -> Iterator[None]:
    """Explain why an output can't be written."""
    try:
        yield
    except BrokenPipeError:  # who reads has seen enough
        raise
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "Name another place.")
        raise JinaRagError(f"{what} can't be written ({error.strerror}). {remedy}") from error
