"""What an index contains: `status`."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from jina_rag.cli.app import DOCUMENTS, app, examples
from jina_rag.cli.options import DEFAULT_INDEX, IndexOption, JsonOption
from jina_rag.cli.output import print_failures, print_fields, print_json, print_notes, print_table, relative
from jina_rag.formatting import counted, file_size

if TYPE_CHECKING:
    from jina_rag.rag.indexing.index import IndexStatus
    from jina_rag.rag.store.types import IndexedDocument

_MOST_PATHS = 10


@app.command(rich_help_panel=DOCUMENTS, epilog=examples("jina-rag status", "jina-rag status --documents"))
def status(
    index: IndexOption = DEFAULT_INDEX,
    list_documents: Annotated[bool, typer.Option("--documents", help="List every document.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what an index contains, which model it was created with, and which files failed."""
    from jina_rag.rag.indexing.contents import IndexContents

    with IndexContents.open(index) as contents:
        state, listed = contents.status(), contents.documents() if list_documents else []
    if as_json:
        print_json(_status_as_dict(state, listed if list_documents else None))
        return
    _print_status(state)
    if listed:
        typer.echo()
        rows = [
            (relative(each.source), ", ".join(each.collections), str(each.n_chunks), file_size(each.size))
            for each in listed
        ]
        print_table([("DOCUMENT", "COLLECTIONS", "CHUNKS", "SIZE"), *rows], right=(2, 3))
        print_notes((each.source, note) for each in listed for note in each.notes)


def _print_status(state: "IndexStatus") -> None:
    made_with = state.fingerprint
    model = f"{made_with.model}, {made_with.quantization or 'as in its file'}, {made_with.dimensions} dimensions"
    lines = [
        ("Index", relative(str(state.folder))),
        ("Documents", f"{state.n_documents:,} in {counted(state.n_chunks, 'chunk')}"),
        ("Collections", ", ".join(f"{name} ({count:,})" for name, count in state.collections.items()) or "none"),
        ("Model", model),
        ("Size", file_size(state.n_bytes)),
        ("Added from", _some(path.path for path in state.tracked_paths) or "nowhere yet"),
    ]
    if state.skipped:
        lines.append(("Not read", str(state.skipped)))
    if state.n_with_notes:
        lines.append(("Notes", f"on {counted(state.n_with_notes, 'document')}; --documents shows them"))
    if state.n_outdated:
        lines.append(
            ("Outdated", f"{counted(state.n_outdated, 'document')}, read by another version; sync reads them again")
        )
    if state.removed:
        lines.append(("Removed", _some(state.removed)))
    if state.is_being_written:
        lines.append(("Now", "another process is writing to it"))
    print_fields(lines)
    print_failures(tuple(state.failed))


def _some(paths: Iterable[str]) -> str:
    """The first of some paths; --json has them all."""
    paths = list(paths)
    n_more = len(paths) - _MOST_PATHS
    return ", ".join([*map(relative, paths[:_MOST_PATHS]), *([f"and {n_more:,} more"] if n_more > 0 else [])])


def _status_as_dict(state: "IndexStatus", documents: "list[IndexedDocument] | None") -> dict[str, object]:
    shown: dict[str, object] = {
        "folder": str(state.folder),
        "documents": state.n_documents,
        "chunks": state.n_chunks,
        "bytes_on_disk": state.n_bytes,
        "collections": state.collections,
        "model": asdict(state.fingerprint),
        "tracked_paths": [asdict(path) for path in state.tracked_paths],
        "failed": [asdict(failed) for failed in state.failed],
        "documents_with_notes": state.n_with_notes,
        "documents_outdated": state.n_outdated,
        "skipped": state.skipped.as_dict(),
        "removed": list(state.removed),
        "is_being_written": state.is_being_written,
    }
    return shown if documents is None else {**shown, "listed": [asdict(document) for document in documents]}
