"""A document as it was read: `get`."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from jina_rag.cli.app import DOCUMENTS, app, examples
from jina_rag.cli.options import DEFAULT_INDEX, IndexOption, JsonOption
from jina_rag.cli.output import print_json, print_notice, printable
from jina_rag.errors import DocumentError

if TYPE_CHECKING:
    from jina_rag.rag.indexing.contents import IndexContents
    from jina_rag.rag.store.types import IndexedDocument

_WITH_RANGE = re.compile(r"(.+):(\d{1,9})(-(\d{1,9})?)?", re.DOTALL)


@app.command(
    rich_help_panel=DOCUMENTS,
    epilog=examples("jina-rag get notes/mars.md", "jina-rag get mars.md:10-20", "jina-rag get report.pdf:3"),
)
def get(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE[:LINES]",
            help="A document of the index, by the end of its path, and which lines of it; of a document with pages, "
            "which pages.",
        ),
    ],
    index: IndexOption = DEFAULT_INDEX,
    as_json: JsonOption = False,
) -> None:
    """Print the text of a document of the index, or some lines or pages of it."""
    from jina_rag.rag.indexing.contents import IndexContents

    with IndexContents.open(index) as contents:
        document, first, last = _find(contents, file)
        parts, unit = _parts(contents, document)
    if first > len(parts) or first < 1 or (last is not None and last < first):
        raise DocumentError(f"{document.source} has the {unit}s 1 to {len(parts):,}. Name some of these.")
    last = min(last or len(parts), len(parts))
    text = ("\n" if unit == "line" else "\n\n").join(parts[first - 1 : last])
    if as_json:
        print_json({"source": document.source, "title": document.title, unit + "s": [first, last], "text": text})
    else:
        typer.echo(printable(text))


def _find(contents: "IndexContents", file: str) -> "tuple[IndexedDocument, int, int | None]":
    """A document, and from which to which line or page; a name may end like a range."""
    found = _WITH_RANGE.fullmatch(file)
    if not found:
        return contents.find_document(file), 1, None
    try:
        return contents.find_document(file), 1, None
    except DocumentError:
        name, first, to, last = found.groups()
        return contents.find_document(name), int(first), int(last) if last else (None if to else int(first))


def _parts(contents: "IndexContents", document: "IndexedDocument") -> tuple[list[str], str]:
    """The lines of a document as its file is now; its pages, if it has any, as they are in the index."""
    from jina_rag.rag.documents.reading import parse_document, read_file

    chunks = contents.chunks_of(document.source)
    if chunks and chunks[0].page is not None:
        last = max(chunk.page or 1 for chunk in chunks)
        pages: list[list[str]] = [[] for _ in range(last)]
        for chunk in chunks:
            pages[(chunk.page or 1) - 1].append(chunk.text)
        return ["\n\n".join(texts) for texts in pages], "page"
    try:
        content = read_file(document.source)
        text = parse_document(content).pages[0].text
        if content.sha256 != document.sha256:
            print_notice(f"{document.source} has changed since it was indexed. This is what it says now.")
    except DocumentError as error:
        print_notice(f"{error} These are its passages in the index.")
        text = "\n\n".join(chunk.text for chunk in chunks)
    return text.split("\n"), "line"
