"""The documents of an index: `add`, `sync` and `rm`."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jina_rag.cli.app import DOCUMENTS, INTERRUPTED, NOTHING, app, examples
from jina_rag.cli.confirm import confirm
from jina_rag.cli.opening import embedder_for, open_index
from jina_rag.cli.options import (
    DEFAULT_INDEX,
    BackendOption,
    CollectionOption,
    DimensionsOption,
    ExcludeOption,
    IndexOption,
    JsonOption,
    ModelOption,
    QuantizationOption,
    YesOption,
)
from jina_rag.cli.output import one_line, print_failures, print_json, print_notes, printable, relative
from jina_rag.cli.progress import adding_bar
from jina_rag.errors import DocumentError
from jina_rag.formatting import counted

if TYPE_CHECKING:
    from jina_rag.rag.indexing.index import DocumentIndex, SyncReport
    from jina_rag.rag.store.types import IndexedDocument

_RETRY = Annotated[bool, typer.Option("--retry-failed", help="Retry unchanged files that failed before.")]


@app.command(
    rich_help_panel=DOCUMENTS,
    epilog=examples("jina-rag add notes report.pdf", 'jina-rag add ~/work --exclude "*.csv" --exclude build/'),
)
def add(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Files, folders, glob patterns and file:// URLs."),
    ],
    index: IndexOption = DEFAULT_INDEX,
    collection: CollectionOption = None,
    exclude: ExcludeOption = None,
    retry_failed: _RETRY = False,
    model: ModelOption = None,
    quantization: QuantizationOption = None,
    dimensions: DimensionsOption = None,
    backend: BackendOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add documents to an index; a missing index is created.

    Files that have not changed are skipped, so the same command also continues an interrupted one.

    An index keeps the embedding model that it was created with.
    """
    from jina_rag.rag.documents import READERS, find_documents
    from jina_rag.rag.indexing.index import DocumentIndex

    if not find_documents(paths, exclude or (), on_error=lambda *_: None):  # `add` will report these
        places, kinds = ", ".join(paths), ", ".join(sorted(READERS))
        raise DocumentError(f"There are no documents in {places} (these kinds are read: {kinds}). Name another place.")
    embedder = embedder_for(index, model, quantization, dimensions, backend)
    with DocumentIndex.create_or_open(index, embedder) as documents:
        with _stopped_by_ctrl_c() as should_stop, adding_bar() as show:
            report = documents.add(
                paths,
                show,
                collection=collection or "default",
                exclude=exclude or (),
                should_stop=should_stop,
                retry_failed=retry_failed,
            )
        _report(report, documents, as_json=as_json)


@app.command(
    rich_help_panel=DOCUMENTS,
    epilog=examples("jina-rag sync", "jina-rag sync notes"),
)
def sync(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="By default everything that was ever added."),
    ] = None,
    index: IndexOption = DEFAULT_INDEX,
    collection: CollectionOption = None,
    exclude: ExcludeOption = None,
    retry_failed: _RETRY = False,
    backend: BackendOption = None,
    as_json: JsonOption = False,
) -> None:
    """Update an index: add new files, read changed ones again, remove deleted ones."""
    with open_index(index, backend) as documents:
        with _stopped_by_ctrl_c() as should_stop, adding_bar() as show:
            report = documents.sync(
                paths or None,
                show,
                collection=collection,
                exclude=exclude,
                should_stop=should_stop,
                retry_failed=retry_failed,
            )
        _report(report, documents, as_json=as_json)


@app.command(
    "rm",
    rich_help_panel=DOCUMENTS,
    epilog=examples("jina-rag rm notes/old.md", "jina-rag rm --collection drafts --yes"),
)
def remove(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH", help="Files, and folders with all below them.")
    ] = None,
    collection: Annotated[
        str | None, typer.Option("--collection", metavar="NAME", help="Remove a whole collection.")
    ] = None,
    index: IndexOption = DEFAULT_INDEX,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove documents from an index. The files themselves are kept."""
    if bool(paths) == bool(collection):
        raise typer.BadParameter("Name either files and folders, or one --collection.", param_hint="PATH")
    from jina_rag.rag.indexing.index import DocumentIndex

    with DocumentIndex.open(index) as documents:
        found = _matching(documents, paths or [], collection)
        if not found:
            typer.echo("The index has no such documents. See what it has with: jina-rag status --documents", err=True)
            raise typer.Exit(NOTHING)
        _list_sources(found)
        confirm(f"Remove {counted(len(found), 'document')} from {index}?", yes=yes)
        if collection:
            documents.remove_collection(collection)
        else:
            documents.remove(paths or [])
        total = documents.count_chunks()
    if as_json:
        print_json({"removed": [document.source for document in found], "chunks_in_index": total})
    else:
        typer.echo(f"{len(found)} removed. The index {index} has {counted(total, 'chunk')}.")


@contextmanager
def _stopped_by_ctrl_c() -> Iterator[Callable[[], bool]]:
    """Whether the user has pressed Ctrl-C: once to stop after the current batch, twice to stop at once."""
    pressed = False

    def on_signal(*_: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        typer.echo("Stopping after this batch. Press Ctrl-C again to stop at once.", err=True)

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _report(report: "SyncReport", documents: "DocumentIndex", *, as_json: bool) -> None:
    total, notes = documents.count_chunks(), _notes(report, documents)
    if as_json:
        print_json(_report_as_dict(report, total, notes))
    else:
        _print_report(report, documents.folder, total)
        print_notes(notes)
    if report.stopped:
        typer.echo("Stopped. What was stored is kept; the same command continues from there.", err=True)
        raise typer.Exit(INTERRUPTED)
    if report.failed:
        raise typer.Exit(1)


def _print_report(report: "SyncReport", folder: Path, n_chunks: int) -> None:
    names = ("added", "updated", "moved", "removed", "unchanged", "failed")
    counts = [f"{len(getattr(report, name))} {name}" for name in names if getattr(report, name)]
    typer.echo(f"{', '.join(counts) or 'Nothing to do'}. The index {folder} has {counted(n_chunks, 'chunk')}.")
    print_failures(report.failed)


def _notes(report: "SyncReport", documents: "DocumentIndex") -> list[tuple[str, str]]:
    """Remarks on how new and changed documents were read, such as pages that are scans."""
    read = {*report.added, *report.updated}
    return [(each.source, note) for each in documents.documents() if each.source in read for note in each.notes]


def _report_as_dict(report: "SyncReport", n_chunks: int, notes: list[tuple[str, str]]) -> dict[str, object]:
    return {
        "added": list(report.added),
        "updated": list(report.updated),
        "moved": [{"from": old, "to": new} for old, new in report.moved],
        "removed": list(report.removed),
        "unchanged": list(report.unchanged),
        "failed": [asdict(failed) for failed in report.failed],
        "notes": [{"source": source, "note": note} for source, note in notes],
        "chunks_embedded": report.n_embedded,
        "chunks_in_index": n_chunks,
        "stopped": report.stopped,
    }


def _matching(documents: "DocumentIndex", paths: list[str], collection: str | None) -> "list[IndexedDocument]":
    if collection:
        return documents.documents(collection)
    found: dict[str, IndexedDocument] = {}
    for path in paths:
        below = documents.documents_below([path])
        if not below:
            typer.echo(f"Not in the index: {printable(path)}", err=True)
        found |= {document.source: document for document in below}
    return list(found.values())


def _list_sources(found: "list[IndexedDocument]", at_most: int = 10) -> None:
    for document in found[:at_most]:
        typer.echo(f"  {one_line(relative(document.source))}", err=True)
    if len(found) > at_most:
        typer.echo(f"  … and {len(found) - at_most:,} more", err=True)
