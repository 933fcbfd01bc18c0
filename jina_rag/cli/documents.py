"""The documents of an index: `add`, `sync` and `rm`."""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from jina_rag.cli.app import DOCUMENTS, INTERRUPTED, NOTHING, app, examples
from jina_rag.cli.confirm import ask, confirm, somebody_is_there
from jina_rag.cli.opening import embedder_for, open_index
from jina_rag.cli.options import (
    DEFAULT_INDEX,
    BackendOption,
    CollectionsOption,
    DimensionsOption,
    ExcludeOption,
    IndexOption,
    IndexOrStoreOption,
    JsonOption,
    ModelOption,
    QuantizationOption,
    YesOption,
)
from jina_rag.cli.output import one_line, print_failures, print_json, print_notes, print_notice, printable, relative
from jina_rag.cli.progress import adding_bar
from jina_rag.errors import DocumentError
from jina_rag.formatting import counted

if TYPE_CHECKING:
    from jina_rag.rag.indexing.index import DocumentIndex, SyncReport
    from jina_rag.rag.store.types import IndexedDocument

_MOST_CHANGES = 10
_MOST_NOTES = 20
_MOST_FOLDERS = 5

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
    collection: CollectionsOption = None,
    exclude: ExcludeOption = None,
    retry_failed: _RETRY = False,
    restore: Annotated[bool, typer.Option("--restore", help="Bring back what `jina-rag rm` removed in PATH.")] = False,
    model: ModelOption = None,
    quantization: QuantizationOption = None,
    dimensions: DimensionsOption = None,
    backend: BackendOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add documents to an index; a missing index is created.

    Files that have not changed are skipped, so the same command also continues an interrupted one.

    A document is in the collections of every file and folder that was added and that it lies in. What `jina-rag rm`
    removed comes back if it is named itself.

    An index keeps the embedding model that it was created with.
    """
    from jina_rag.rag.documents import READERS, find_documents
    from jina_rag.rag.documents.discovery import Skipped
    from jina_rag.rag.indexing.index import DocumentIndex

    skipped = Skipped()
    if not find_documents(paths, exclude or (), on_error=lambda *_: None, skipped=skipped):  # `add` will report these
        places, kinds = ", ".join(paths), ", ".join(sorted(READERS))
        not_read = f"; not read: {skipped}" if skipped else ""
        raise DocumentError(
            f"There are no documents in {places} (these kinds are read: {kinds}{not_read}). Name another place."
        )
    embedder = embedder_for(index, model, quantization, dimensions, backend)
    with DocumentIndex.create_or_open(index, embedder) as documents:
        with _stopped_by_ctrl_c() as stop, adding_bar() as show:
            report = documents.add(
                paths,
                show,
                collections=collection or (),
                exclude=exclude or (),
                should_stop=stop.is_set,
                retry_failed=retry_failed,
                restore=restore,
            )
        _report(report, documents, as_json=as_json)


@app.command(
    rich_help_panel=DOCUMENTS,
    epilog=examples("jina-rag sync", "jina-rag sync notes", "jina-rag sync notes --index chroma://localhost:8000/work"),
)
def sync(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="By default everything that was ever added."),
    ] = None,
    index: IndexOrStoreOption = str(DEFAULT_INDEX),
    collection: CollectionsOption = None,
    exclude: ExcludeOption = None,
    retry_failed: _RETRY = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Remove documents also where more than half of a folder is gone.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until Ctrl-C, and update the index whenever files change.")
    ] = False,
    backend: BackendOption = None,
    as_json: JsonOption = False,
) -> None:
    """Update an index: add new files, read changed ones again, remove deleted ones.

    Where more than half of a folder's documents are gone, a disk may not be mounted: they are kept unless you agree.

    For a vector store this is `jina-rag index --source PATH --to STORE`.
    """
    from jina_rag.cli.index import index as index_documents
    from jina_rag.rag.vector_stores.address import is_store_address

    if collection and not paths:
        raise typer.BadParameter("Name the PATH whose documents it is for.", param_hint="--collection")
    if watch and (paths or collection or exclude or retry_failed or yes):
        raise typer.BadParameter("It takes all that was added as it was added.", param_hint="--watch")
    if is_store_address(index):
        if not paths or collection or watch:
            raise typer.BadParameter("A vector store needs PATH, and has no --collection and no --watch.")
        index_documents(
            paths, index, exclude=exclude, retry_failed=retry_failed, yes=yes, backend=backend, as_json=as_json
        )
        return
    with open_index(Path(index), backend) as documents:

        def run(*, allow_mass_removal: bool) -> "SyncReport":
            with _stopped_by_ctrl_c() as stop, adding_bar() as show:
                return documents.sync(
                    paths or None,
                    show,
                    collections=collection,
                    exclude=exclude,
                    should_stop=stop.is_set,
                    retry_failed=retry_failed,
                    allow_mass_removal=allow_mass_removal,
                )

        report = run(allow_mass_removal=yes)
        if watch:
            _watch(documents, report, as_json=as_json)
            return
        if report.withheld and somebody_is_there():
            print_failures(report.failed)
            if ask(f"Remove {counted(len(report.withheld), 'document')} whose files are gone?"):
                report = run(allow_mass_removal=True)
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
        str | None,
        typer.Option("--collection", metavar="NAME", help="Remove a collection, and documents that are in no other."),
    ] = None,
    index: IndexOption = DEFAULT_INDEX,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Remove documents from an index. The files themselves are kept.

    They stay out of the index, whatever `jina-rag sync` finds, until `jina-rag add` names them.
    """
    if bool(paths) == bool(collection):
        raise typer.BadParameter("Name either files and folders, or one --collection.", param_hint="PATH")
    from jina_rag.rag.indexing.index import DocumentIndex
    from jina_rag.rag.store.filters import Filters

    with DocumentIndex.open(index) as documents:
        if collection:
            documents.check_names(Filters(collections=[collection]))
        found = _matching(documents, paths or [], collection)
        if not found and not collection:
            typer.echo("The index has no such documents. See what it has with: jina-rag status --documents", err=True)
            raise typer.Exit(NOTHING)
        _list_sources(found)
        if collection and (n_others := len(documents.documents(collection)) - len(found)):
            typer.echo(f"{counted(n_others, 'document')} in other collections stay.", err=True)
        confirm(f"Remove {counted(len(found), 'document')} from {printable(str(index))}?", yes=yes)
        if collection:
            documents.remove_collection(collection)
        else:
            documents.remove(paths or [])
        total = documents.count_chunks()
    if as_json:
        print_json({"removed": [document.source for document in found], "chunks_in_index": total})
    else:
        place = one_line(relative(str(index)))
        typer.echo(f"{len(found)} removed. The index {place} has {counted(total, 'chunk')}.")


def _watch(documents: "DocumentIndex", report: "SyncReport", *, as_json: bool) -> None:
    """Keep an index up to date until Ctrl-C, and print what was done at first and each time."""
    from jina_rag.rag.indexing.watch import watch

    def show(report: "SyncReport") -> None:
        _print_all(report, documents, as_json=as_json)

    show(report)
    print_notice("Watching what was added. Press Ctrl-C to stop.")
    with _stopped_by_ctrl_c() as stop:
        watch(documents, stop, on_report=show, on_error=lambda error: print_notice(str(error)))


@contextmanager
def _stopped_by_ctrl_c() -> Iterator[Event]:
    """Set when the user presses Ctrl-C: once to stop after the current batch, twice to stop at once."""
    pressed = Event()

    def on_signal(*_: object) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()
        typer.echo("Stopping after this batch. Press Ctrl-C again to stop at once.", err=True)

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _report(report: "SyncReport", documents: "DocumentIndex", *, as_json: bool) -> None:
    _print_all(report, documents, as_json=as_json)
    if report.stopped:
        typer.echo("Stopped. What was stored is kept; the same command continues from there.", err=True)
        raise typer.Exit(INTERRUPTED)
    if report.failed:
        raise typer.Exit(1)


def _print_all(report: "SyncReport", documents: "DocumentIndex", *, as_json: bool) -> None:
    total, notes = documents.count_chunks(), _notes(report, documents)
    if as_json:
        print_json(_report_as_dict(report, total, notes))
    else:
        _print_report(report, documents.folder, total)
        print_notes(notes[:_MOST_NOTES])
        if len(notes) > _MOST_NOTES:
            print_notice(f"{len(notes) - _MOST_NOTES:,} more notes. See them with: jina-rag status --documents")


def _print_report(report: "SyncReport", folder: Path, n_chunks: int) -> None:
    from jina_rag.rag.store.keeping import DAYS_KEPT

    names = ("added", "updated", "moved", "removed", "unchanged", "failed")
    counts = [f"{len(getattr(report, name))} {name}" for name in names if getattr(report, name)]
    place = one_line(relative(str(folder)))
    typer.echo(f"{', '.join(counts) or 'Nothing to do'}. The index {place} has {counted(n_chunks, 'chunk')}.")
    _print_regrouped(report)
    print_failures(report.failed)
    if report.gone_folders:
        shown = ", ".join(map(relative, report.gone_folders[:_MOST_FOLDERS]))
        more = f" and {n_more:,} more" if (n_more := len(report.gone_folders) - _MOST_FOLDERS) > 0 else ""
        print_notice(
            f"Removed with all their documents, because they are gone from the disk: {shown}{more}. Should they come "
            f"back within {DAYS_KEPT} days, the next sync adds them again without embedding anything."
        )
    if report.withheld:
        print_notice("If they are gone for good, remove them with: jina-rag sync --yes")
    if report.skipped:
        print_notice(f"Not read: {report.skipped}.")
    if report.left_out:
        print_notice(
            f"Left out, because you removed them from the index: {counted(len(report.left_out), 'file')}. To bring one "
            "back, add it by its name; to bring back all: jina-rag add FOLDER --restore"
        )


def _print_regrouped(report: "SyncReport") -> None:
    """How many documents have changed their collections, and which: "3 documents: default → work"."""
    changes = Counter((before, now) for _, before, now in report.regrouped)
    for (before, now), n in changes.most_common(_MOST_CHANGES):
        typer.echo(one_line(f"Collections of {counted(n, 'document')}: {', '.join(before)} → {', '.join(now)}"))
    if len(changes) > _MOST_CHANGES:
        typer.echo(f"… and {len(changes) - _MOST_CHANGES:,} more such changes.")


def _notes(report: "SyncReport", documents: "DocumentIndex") -> list[tuple[str, str]]:
    """Remarks on how new and changed documents were read, such as pages that are scans."""
    read = {*report.added, *report.updated}
    return [(each.source, note) for each in documents.documents() if each.source in read for note in each.notes]


def _report_as_dict(report: "SyncReport", n_chunks: int, notes: list[tuple[str, str]]) -> dict[str, object]:
    return {
        "added": list(report.added),
        "updated": list(report.updated),
        "collections_changed": [
            {"source": source, "from": before, "to": now} for source, before, now in report.regrouped
        ],
        "moved": [{"from": old, "to": new} for old, new in report.moved],
        "removed": list(report.removed),
        "gone_folders": list(report.gone_folders),
        "unchanged": list(report.unchanged),
        "failed": [asdict(failed) for failed in report.failed],
        "withheld": list(report.withheld),
        "left_out": list(report.left_out),
        "skipped": report.skipped.as_dict(),
        "notes": [{"source": source, "note": note} for source, note in notes],
        "chunks_embedded": report.n_embedded,
        "chunks_in_index": n_chunks,
        "stopped": report.stopped,
    }


def _matching(documents: "DocumentIndex", paths: list[str], collection: str | None) -> "list[IndexedDocument]":
    if collection:
        return [each for each in documents.documents(collection) if len(each.collections) == 1]
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
