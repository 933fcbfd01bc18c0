"""HTML to Markdown by Beautiful Soup and markdownify, with spanning cells, superscripts, and words that stay apart."""

# ruff: noqa: ARG002 - markdownify hands the same arguments to every method

import re
from collections.abc import Callable, Iterable, Iterator, Set
from itertools import chain, groupby, islice, zip_longest
from typing import Any

from bs4 import BeautifulSoup, Tag
from markdownify import ATX, MarkdownConverter  # noqa: TID253 - this module is loaded where it is used

from jina_rag.rag.documents.formats.tables import SheetRow, markdown_table, sheet_to_markdown
from jina_rag.rag.documents.formats.writing import write_script
from jina_rag.rag.documents.types import SourceFile, line_feeds

_INLINE_NAMES = """
a abbr acronym b bdi bdo big cite code data del dfn em font html i img ins kbd label mark nobr output q rp rt ruby s
samp small span strike strong sub sup time tt u var wbr
"""
_INLINE = frozenset([*_INLINE_NAMES.split(), "[document]"])
"""Elements whose text goes on in the line, by the HTML standard; all others end the word before them."""

_TABLE_PARTS = ("table", "caption", "colgroup", "thead", "tbody", "tfoot", "tr", "td", "th")
_ENDS = {
    "p": ("p",),
    "li": ("li",),
    "dt": ("dt", "dd"),
    "dd": ("dt", "dd"),
    "option": ("option",),
    "td": ("td", "th"),
    "th": ("td", "th"),
    "tr": ("tr",),
    "tbody": ("thead", "tbody"),
    "tfoot": ("thead", "tbody"),
}
"""What open element the beginning of another ends, by the HTML standard, unless one of these is between them:"""
_SCOPES = ("table", "ul", "ol", "menu", "dl", "select", "template")
_MAX_OPEN = 32
"""So many open elements are searched, or a page of nested ones would take time by the square of their number."""

_NO_CELL_HOLDS = ("table", "pre", "h1", "h2", "h3", "h4", "h5", "h6")
"""A cell of Markdown is one line, so that a table with one of these is read as layout, cell after cell."""

_MAX_COLSPAN = 32
_MAX_COLUMNS = 256
"""In wider tables nothing spans cells, or a few bytes could become megabytes."""
_MAX_ROWSPAN = 65534  # of the HTML standard
_MAX_REPEATED = 200
"""Characters; a longer text is not repeated in each cell that it spans."""

_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")


def parse(html: str) -> BeautifulSoup:
    """The elements of a page."""
    return _Soup(html, "html.parser")


def convert(soup: BeautifulSoup, file: SourceFile) -> str:
    """A parsed page as Markdown, lines ended by a line feed.

    Args:
        soup: The page; it is changed.
        file: The file that it is from, whose limit and notes are kept.
    """
    tables = soup("table")
    layout = {id(inner.find_parent("table")) for inner in (soup(_NO_CELL_HOLDS) if tables else ())} - {id(None)}
    layout |= {id(table) for table in tables if table.get("role") in ("presentation", "none")}
    if layout:
        parts = [(part, part if part.name == "table" else part.find_parent("table")) for part in soup(_TABLE_PARTS)]
        for part, table in parts:
            part.name = "div" if id(table) in layout else part.name
    return _BLANK_LINES.sub("\n\n", line_feeds(_Converter(file).convert_soup(soup))).strip("\n")


class _Soup(BeautifulSoup):
    """Ends elements whose end tags HTML lets authors omit, which html.parser would nest."""

    def handle_starttag(self, name: str, *arguments: Any, **options: Any) -> Tag | None:  # noqa: ANN401 - passed on
        for element in islice(reversed(self.tagStack), _MAX_OPEN if name in _ENDS else 0):
            if element.name in _ENDS[name]:
                self.handle_endtag(element.name)
                break
            if element.name not in _INLINE if name == "p" else element.name in _SCOPES:
                break
        return super().handle_starttag(name, *arguments, **options)


class _Converter(MarkdownConverter):
    def __init__(self, file: SourceFile) -> None:
        super().__init__(heading_style=ATX)
        self._file = file
        self._cells: dict[int, str] = {}

    def get_conv_fn(self, tag_name: str) -> Callable[..., str] | None:
        found: Callable[..., str] | None = super().get_conv_fn(tag_name)  # type: ignore[misc]
        return found or (None if tag_name in _INLINE else self.convert_div)  # type: ignore[attr-defined]

    def convert_a(self, el: Tag, text: str, parent_tags: Set[str]) -> str:
        """A link; one to another place of the same book or page is its text."""
        href = str(el.get("href", ""))
        is_within = "#" in href and "://" not in href
        converted: str = text if is_within else super().convert_a(el, text, parent_tags)  # type: ignore[misc]
        return converted

    def convert_sup(self, el: Tag, text: str, parent_tags: Set[str]) -> str:
        """A footnote's mark in square brackets, anything else as a power."""
        if el.find("a") is None and "a" not in parent_tags:
            return write_script(text, "^")
        mark = text.strip()
        return mark if not mark or mark.startswith("[") else f"[{mark}]"

    def convert_video(self, el: Tag, text: str, parent_tags: Set[str]) -> str:
        """What browsers that can't play it show."""
        return str(self.convert_div(el, text, parent_tags))  # type: ignore[attr-defined]

    def convert_sub(self, el: Tag, text: str, parent_tags: Set[str]) -> str:
        return write_script(text, "_")

    def convert_td(self, el: Tag, text: str, parent_tags: Set[str]) -> str:
        if "table" not in parent_tags:
            return str(self.convert_div(el, text, parent_tags))  # type: ignore[attr-defined]
        self._cells[id(el)] = text
        return ""

    convert_th = convert_td

    def convert_tr(self, el: Tag, text: str, parent_tags: Set[str]) -> str:
        return text

    convert_thead = convert_tbody = convert_tfoot = convert_tr

    def convert_table(self, el: Tag, text: str, parent_tags: Set[str]) -> str:
        """What is in the table and not in its cells, such as the caption, single cells above it, and the table."""
        cells = [cell for cell in el(["td", "th"]) if id(cell) in self._cells]
        rows = [list(row) for _, row in groupby(cells, key=lambda cell: id(cell.parent))]
        n_titles = next((n for n, row in enumerate(rows) if len(row) > 1), 0)
        titles = [self._cells[id(cell)].strip() for row in rows[:n_titles] for cell in row]
        parts = [text.strip(), *titles, self._table(rows[n_titles:])]
        return "".join(f"\n\n{part}\n\n" for part in parts if part)

    def _table(self, rows: list[list[Tag]]) -> str:
        n_header = next((n for n, row in enumerate(rows) if not all(map(_is_header, row))), len(rows))
        grid = _grid([[self._spanning(cell) for cell in row] for row in rows])
        if n_header:
            columns = zip_longest(*islice(grid, n_header), fillvalue="")
            header = [" ".join(dict.fromkeys(filter(None, column))) for column in columns]
            return markdown_table(self._file, chain([header], grid))
        if all(_is_header(row[0]) for row in rows):
            lines = (f"- {name}: {'; '.join(filter(None, values))}" for name, *values in grid)
            return "\n".join(self._file.up_to_limit(lines, len))
        return sheet_to_markdown(
            self._file, (SheetRow({place: cell for place, cell in enumerate(row) if cell}) for row in grid)
        )

    def _spanning(self, cell: Tag) -> tuple[str, int, int]:
        """The text of a cell, and how many columns and rows it spans."""
        columns, rows = min(_span(cell, "colspan"), _MAX_COLSPAN), _span(cell, "rowspan")
        return " ".join(self._cells[id(cell)].split()), max(1, columns), min(rows or _MAX_ROWSPAN, _MAX_ROWSPAN)


def _is_header(cell: Tag) -> bool:
    return cell.name == "th" or any(parent.name == "thead" for parent in islice(cell.parents, _MAX_OPEN))


def _span(cell: Tag, name: str) -> int:
    value = str(cell.get(name, "1")).strip()
    return int(value) if value.isascii() and value.isdigit() and len(value) < 8 else 1


def _grid(rows: Iterable[Iterable[tuple[str, int, int]]]) -> Iterator[list[str]]:
    """The rows of a table with the text of each cell in all columns and rows that it spans."""
    hanging: dict[int, tuple[str, int]] = {}  # by column: the text from above, and for how many rows more
    for cells in rows:
        row: list[str] = []
        width = max(hanging, default=-1) + 1
        for cell in _with_gaps(cells):
            while len(row) in hanging:
                text, n_rows = hanging.pop(len(row))
                if n_rows > 1:
                    hanging[len(row)] = text, n_rows - 1
                row.append(text)
            if cell is None and len(row) >= width:
                break
            text, n_columns, n_rows = cell or ("", 1, 1)
            if len(row) > _MAX_COLUMNS:
                n_columns = n_rows = 1
            repeated = text if len(text) <= _MAX_REPEATED else ""
            for place in range(n_columns):
                if n_rows > 1:
                    hanging[len(row)] = repeated, n_rows - 1
                row.append(repeated if place else text)
        yield row


def _with_gaps(cells: Iterable[Any]) -> Iterator[Any]:
    """The cells of a row, then None for ever."""
    yield from cells
    while True:
        yield None
