"""Many documents into a store, in this process or on a Ray cluster: `index`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jina_rag.cli.app import DOCUMENTS, app, examples
from jina_rag.cli.opening import refuse_another_model
from jina_rag.cli.options import (
    BackendOption,
    DimensionsOption,
    ExcludeOption,
    JsonOption,
    ModelOption,
    QuantizationOption,
)
from jina_rag.cli.output import one_line, print_failures, print_json, print_notice
from jina_rag.cli.progress import index_bars
from jina_rag.errors import StoreNotFoundError
from jina_rag.formatting import counted, duration

if TYPE_CHECKING:
    from jina_rag.config import EmbedderConfig
    from jina_rag.distributed.engines import Engine
    from jina_rag.distributed.index import IndexReport
    from jina_rag.fingerprint import Fingerprint

_RAY = "Ray"


@app.command(
    rich_help_panel=DOCUMENTS,
    epilog=examples(
        "jina-rag index --source ~/work --to chroma://localhost:8000/work",
        "jina-rag index --engine ray --source s3://bucket/docs --shards s3://bucket/shards --to chroma://db:8000/docs",
        "jina-rag index --to lance:///data/docs",
    ),
)
def index(
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="PATH|PATTERN|URL",
            help="Files, folders, patterns, or addresses such as s3://bucket/folder; may be repeated. Without it, the "
            "shards that are there are loaded.",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="STORE",
            help="Store: chroma://HOST:PORT/COLLECTION, chromas:// for TLS (?key_env=CHROMA_API_KEY sends the token in "
            "that variable), chroma+file://FOLDER or lance://FOLDER. Without it, only shards are made.",
        ),
    ] = None,
    shards: Annotated[
        str,
        typer.Option(
            "--shards",
            metavar="FOLDER|URL",
            help="Where the vectors are kept as Parquet files, and what is done is remembered. All machines must reach "
            "it. One folder is for one set of sources.",
        ),
    ] = str(Path(".jina-rag/shards")),
    engine: Annotated[
        Literal["local", "ray"], typer.Option("--engine", help="Work in this process, or in actors of a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="ADDRESS",
            envvar="RAY_ADDRESS",
            help="Cluster to connect to; by default one is started here.",
            rich_help_panel=_RAY,
        ),
    ] = None,
    actors: Annotated[
        int | None,
        typer.Option(
            "--actors",
            min=1,
            metavar="N",
            help="Actors, each with a model; by default as many as there are CPUs for.",
            rich_help_panel=_RAY,
        ),
    ] = None,
    cpus: Annotated[
        int, typer.Option("--cpus", min=1, metavar="N", help="CPUs for each model.", rich_help_panel=_RAY)
    ] = 1,
    gpus: Annotated[
        float,
        typer.Option(
            "--gpus", min=0.0, metavar="N", help="GPUs for each model; 0.5 lets two share one.", rich_help_panel=_RAY
        ),
    ] = 0.0,
    shard_size: Annotated[
        int,
        typer.Option(
            "--shard-size",
            min=1,
            max=100_000,
            metavar="N",
            help="Chunks in a shard. After a crash each worker repeats at most one.",
        ),
    ] = 1000,
    exclude: ExcludeOption = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Retry unchanged documents that failed before.")
    ] = False,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", "-y", help="Go on where a folder is no longer named, or more than half of the documents are gone."
        ),
    ] = False,
    model: ModelOption = None,
    quantization: QuantizationOption = None,
    dimensions: DimensionsOption = None,
    backend: BackendOption = None,
    as_json: JsonOption = False,
) -> None:
    """Index many documents in a Chroma server or LanceDB, on one machine or a cluster.

    Documents are cut into chunks, the chunks are embedded into Parquet files (shards), and the shards are loaded into a
    store, until it equals the sources: what has left them is deleted. The same command continues an interrupted run,
    and brings a store up to date. Shards can be loaded into any number of stores.

    Shards and stores keep the embedding model that they were made with.
    """
    if not source and not to:
        raise typer.BadParameter("Name documents to read with --source, a store to fill with --to, or both.")
    from jina_rag.distributed import index_documents

    with index_bars() as show:
        report = index_documents(
            source or (),
            to,
            shards=shards,
            embedder=_embedder_of(shards, to if source else None, model, quantization, dimensions, backend),
            engine=_engine(engine, address, actors, cpus, gpus),
            exclude=exclude or (),
            retry_failed=retry_failed,
            allow_mass_removal=yes,
            shard_rows=shard_size,
            on_progress=show,
        )
    if as_json:
        print_json({**asdict(report), "skipped": report.skipped.as_dict()})
    else:
        _print_report(report, to or shards)
    if report.failed:
        raise typer.Exit(1)


def _embedder_of(
    shards: str,
    to: str | None,
    model: str | None,
    quantization: str | None,
    dimensions: int | None,
    backend: str | None,
) -> "EmbedderConfig":
    """The model of the shards, or else of the store; where there are none yet, the one that is asked for.

    Raises:
        FingerprintMismatchError: there are, and another one is asked for.
        StoreError: the store can't be opened.
    """
    from jina_rag.backends.remote.address import engine_of
    from jina_rag.config import EmbedderConfig
    from jina_rag.distributed.shards import ShardFolder

    where, remedy = f"the folder of shards {shards}", "name another one with --shards"
    made_with = ShardFolder(shards).fingerprint()
    if made_with is None and to is not None:
        where, remedy = f"the store {to}", "name another one with --to"
        made_with = _made_with(to)
    if made_with is None:
        return EmbedderConfig(model=model or "auto", quantization=quantization, dimensions=dimensions, backend=backend)
    refuse_another_model(made_with, where, remedy, model, quantization, dimensions)
    return EmbedderConfig(
        model=made_with.model,
        quantization=made_with.quantization or None,
        dimensions=made_with.dimensions,
        backend=engine_of(made_with.weights, backend),
    )


def _made_with(store: str) -> "Fingerprint | None":
    """What the vectors in a store were made with; None where there is no store yet."""
    from jina_rag.rag.vector_stores import open_store

    try:
        with open_store(store) as opened:
            return opened.fingerprint
    except StoreNotFoundError:
        return None


def _engine(engine: str, address: str | None, actors: int | None, cpus: int, gpus: float) -> "Engine":
    from jina_rag.distributed import LocalEngine, RayEngine

    if engine == "ray":
        return RayEngine(address=address, actors=actors, cpus=cpus, gpus=gpus)
    return LocalEngine()


def _print_report(report: "IndexReport", place: str) -> None:
    done = {"read": report.n_read, "removed": len(report.removed), "failed": len(report.failed)}
    counts = ", ".join(f"{n:,} {what}" for what, n in done.items() if n)
    typer.echo(
        f"{counted(report.n_documents, 'document')}{f' ({counts})' if counts else ''}. "
        f"{one_line(place)} has {counted(report.n_chunks, 'chunk')} of them."
    )
    if report.n_others:
        print_notice(f"The store has {counted(report.n_others, 'chunk')} beside these, which other runs have written.")
    if report.n_embedded:
        seconds = report.seconds["Embedding"]
        rate = f"{report.n_embedded / max(seconds, 1e-3):,.1f}/s"
        print_notice(f"{counted(report.n_embedded, 'chunk')} embedded in {duration(seconds)} ({rate}).")
    print_failures(report.failed)
    if report.skipped:
        print_notice(f"Not read: {report.skipped}.")
