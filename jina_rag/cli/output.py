"""What a terminal shows: passages, tables and notices. No text of a document reaches it uncleaned."""

import json
import logging
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from jina_rag.formatting import escaped

if TYPE_CHECKING:
    from jina_rag.rag.chunking import Chunk
    from jina_rag.rag.indexing.index import FailedDocument
    from jina_rag.rag.retrieval.search import SearchResult

PASSAGE_LENGTH = 320
"""Characters of a passage that a list shows; --json has them all."""

NOTHING_FOUND = "Nothing was found. Try other words, or fewer filters."

_WIDEST_TEXT = 100  # columns: longer lines are hard to read
_MARGIN, _MARKED = "    ", "  > "
_UNBOUNDED = 10_000  # columns of a table that goes into a file or a pipe: nothing is broken


@contextmanager
def log_on_stderr() -> Iterator[None]:
    """Show the library's log, such as which model "auto" took; not llama.cpp's."""
    logger, handler = logging.getLogger("jina_rag"), _EchoHandler()
    handler.addFilter(lambda record: record.name == logger.name)
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a server that a command runs may have set up logging of its own
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


class _EchoHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print_notice(self.format(record))


def print_results(results: "Sequence[SearchResult]", query: str = "", length: int | None = PASSAGE_LENGTH) -> None:
    """Passages that were found, numbered, each with its similarity; `query` and `length` as for `print_result`."""
    for number, result in enumerate(results, start=1):
        print_result(number, result, f"similarity {result.similarity:.2f}", length, query)


def print_result(
    number: int | None,
    result: "SearchResult",
    note: str = "",
    length: int | None = None,
    query: str = "",
    highlight: tuple[int, int] | None = None,
) -> None:
    """A passage that was found, with the passages around it if they were asked for.

    Args:
        number: The number that answers cite it by; None shows none.
        result: The passage.
        note: A remark, shown in parentheses.
        length: How many characters to show if nothing around it is shown; None shows all.
        query: What those characters should be about.
        highlight: Where the sentence of the passage is that is marked, (start, end); whole sentences around it follow.
    """
    if number is not None:
        typer.secho(f"[{number}] ", bold=True, nl=False)
    typer.secho(place(result.chunk), bold=number is None, nl=False)
    typer.echo(f"  ({note})" if note else "")
    for chunk in result.before:
        _print_text(chunk.text, _MARGIN, dim=True)
    _print_passage(result, length, query, highlight)
    for chunk in result.after:
        _print_text(chunk.text, _MARGIN, dim=True)


def _print_passage(result: "SearchResult", length: int | None, query: str, highlight: tuple[int, int] | None) -> None:
    from jina_rag.rag.retrieval.snippets import make_snippet

    text = result.chunk.text
    if highlight:
        snippet = make_snippet(text, query, length or len(text), highlight=highlight)
        _print_text(snippet.before.rstrip(" ·"), _MARGIN)
        _print_text(snippet.sentence, _MARKED, bold=True)
        _print_text(snippet.after.lstrip(" ·"), _MARGIN)
    elif result.before or result.after:
        _print_text(text, _MARKED)
    else:
        _print_text(make_snippet(text, query, length).text if length else text, _MARGIN)


def _print_text(text: str, margin: str, *, dim: bool = False, bold: bool = False) -> None:
    """A text with its own lines, those that are too long broken and empty ones left out."""
    width = _text_width(margin)
    lines = [part for line in printable(text).splitlines() for part in textwrap.wrap(line, width)]
    if lines:
        typer.secho(textwrap.indent("\n".join(lines), margin), dim=dim, bold=bold)


def print_labelled(label: str, text: str, color: str) -> None:
    """A coloured label and a text on one line, which goes on below itself if it is too long."""
    lines = textwrap.wrap(one_line(text), _text_width(label))
    typer.secho(label, fg=color, nl=False)
    typer.echo(f"\n{' ' * len(label)}".join(lines))


def _text_width(margin: str) -> int:
    return max(20, min(_WIDEST_TEXT, terminal_width()) - len(margin))


def place(chunk: "Chunk") -> str:
    """Where a passage stands: file, page and heading."""
    page = f"page {chunk.page}" if chunk.page else None
    return ", ".join(one_line(part) for part in (relative(chunk.source), page, chunk.heading) if part)


def print_notice(text: str) -> None:
    """A remark beside the result, dimmed, on stderr."""
    typer.secho(wrapped(printable(text)), dim=True, err=True)


def print_failures(failures: "Iterable[FailedDocument]") -> None:
    """Which documents failed and why, on stderr."""
    for failed in failures:
        typer.secho("Failed: ", fg=typer.colors.RED, err=True, nl=False)
        typer.echo(wrapped(printable(failed.reason)), err=True)


def print_notes(notes: Iterable[tuple[str, str]]) -> None:
    """Remarks on how documents were read, each with its source, on stderr."""
    for source, note in notes:
        typer.secho("Note: ", fg=typer.colors.YELLOW, err=True, nl=False)
        typer.echo(wrapped(f"{one_line(relative(source))}: {printable(note)}"), err=True)


def wrapped(text: str) -> str:
    """A text for stderr with its lines broken between words, if that is a terminal."""
    if not sys.stderr.isatty():
        return text
    width = min(_WIDEST_TEXT, terminal_width())
    lines = (textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) for line in text.split("\n"))
    return "\n".join("\n".join(parts) for parts in lines)


def print_table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Aligned columns, the first row their names; in a terminal that is too narrow, the cells below each other.

    Args:
        rows: Cells.
        right: The columns that are numbers.
    """
    lines = _aligned(rows, right, _UNBOUNDED)
    if not sys.stdout.isatty() or max(map(_cells, lines)) <= terminal_width():
        typer.echo("\n".join(lines))
        return
    names, *records = rows
    for record in records:
        typer.echo(one_line(record[0]))
        lines = _aligned(list(zip(names[1:], record[1:], strict=True)), (), terminal_width() - 2)
        typer.echo(textwrap.indent("\n".join(lines), "  "))


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """Names and values, aligned; in a narrow terminal values run over several lines."""
    typer.echo("\n".join(_aligned(fields, (), terminal_width() if sys.stdout.isatty() else _UNBOUNDED)))


def _aligned(rows: Sequence[Sequence[str]], right: Sequence[int], width: int) -> list[str]:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for column in range(len(rows[0])):
        table.add_column(justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    printed = StringIO()
    Console(file=printed, width=width, color_system=None).print(table)
    return [line.rstrip() for line in printed.getvalue().splitlines()]


def _cells(line: str) -> int:
    from rich.cells import cell_len

    return cell_len(line)


def print_json(value: object) -> None:
    """One line of JSON on stdout."""
    typer.echo(escaped(json.dumps(value, ensure_ascii=False)))


def terminal_width() -> int:
    """Columns of the terminal, or of COLUMNS; 80 where there is neither."""
    return shutil.get_terminal_size().columns


def shown(value: object) -> str:
    """A value as people write it."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def relative(source: str) -> str:
    """A path as people would write it from here."""
    from jina_rag.rag.documents.sources import source_of

    path, here = Path(source), Path(source_of(Path.cwd()))
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def shortened(text: str, length: int) -> str:
    """A text on one line, cut to `length` characters."""
    line = one_line(text)
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"


def one_line(text: str) -> str:
    """A text without line feeds and codes that a terminal obeys."""
    return " ".join(printable(text).split())


def printable(text: str) -> str:
    r"""A text without codes that a terminal obeys, with bytes of file names that are no UTF-8 as `\xe9`."""
    from jina_rag.rag.text.cleaning import remove_invisible

    return remove_invisible(escaped(text))
