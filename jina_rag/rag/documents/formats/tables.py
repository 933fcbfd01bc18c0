"""Rows of cells as Markdown tables whose passages know their columns."""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

from jina_rag.rag.documents.types import SourceFile, T

_BLOCK_CHARACTERS = 400
"""About 200 tokens of names and numbers, which is what a passage holds."""
_MAX_REPEATED_HEADER = 1000
"""Characters. Before every few rows, a longer header would be most of the text."""
_MAX_PADDED = 32
"""Columns. Short rows of wider tables stay short, or a few bytes could become megabytes of empty cells."""
_MAX_NAME = 100
"""Characters of a column's name that stand before each of its values where the header can't be repeated."""
_MAX_HEADING = 200
_MAX_MERGED = 200_000
"""Cells that take the text of the one that they are merged with."""
_N_COMPARED = 20
"""Rows that a first row is compared with, to see whether it is one of them."""


def markdown_table(file: SourceFile, rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with the first row as its header, as several tables where it is long.

    A passage from the middle of a long table would not say what its columns are, so after every few hundred
    characters a new table begins, under the same header; where the header is too long for that, each row becomes
    lines of names and values. Rows and columns at the end that hold nothing are left out.

    Args:
        file: The file that it is from, whose limit is kept.
        rows: The texts of the cells, row by row.
    """
    cleaned = filter(None, map(_cleaned, rows))
    kept = list(_bounded(cleaned, file.max_characters, lambda row: sum(map(len, row)) + 3 * len(row)))
    if not kept:
        return ""
    width = max(map(len, kept))
    least = min(width, _MAX_PADDED)
    header, *lines = ["| " + " | ".join([*cells, *[""] * (least - len(cells))]) + " |" for cells in kept]
    if len(header) > _MAX_REPEATED_HEADER and sum(map(len, lines)) > _BLOCK_CHARACTERS:
        return "\n\n".join(file.up_to_limit(chain([header.strip("| ")], _records(kept)), len))
    header += "\n|" + " --- |" * max(least, len(kept[0]))
    file.n_characters += len(header)
    blocks = [[header]]
    size = 0
    for line in file.up_to_limit(lines, len):
        if size and size + len(line) > _BLOCK_CHARACTERS:
            blocks.append([header])
            size = 0
        blocks[-1].append(line)
        size += len(line)
    return "\n\n".join("\n".join(block) for block in blocks)


@dataclass(frozen=True)
class SheetRow:
    """A row of a sheet that may have several tables, titles and remarks.

    Attributes:
        cells: The texts by the numbers of their columns; no empty ones.
        repeated: Those columns that have the text of a merged cell to the left.
    """

    cells: Mapping[int, str]
    repeated: Collection[int] = ()

    @property
    def n_values(self) -> int:
        """How many texts are in it."""
        return len(self.cells.keys() - self.repeated)


_Rows = Sequence[SheetRow]


def merged_rows(
    file: SourceFile, rows: Sequence[dict[int, str]], ranges: Iterable[tuple[int, int, int, int]]
) -> list[SheetRow]:
    """The rows of a sheet, the text of merged cells repeated in each of them, as far as the sheet has rows and columns.

    Args:
        file: The file that it is from, whose notes are kept.
        rows: The texts by the numbers of their columns; the ranges are filled in here.
        ranges: The first column and row of merged cells, and the last ones, counted from 1.
    """
    last_column = max((column for row in rows for column in row), default=0)
    repeated: dict[int, set[int]] = defaultdict(set)
    n_cells = 0
    for left, top, right, bottom in ranges:
        text = rows[top - 1].get(left) if 0 < top <= len(rows) else None
        below, beside = range(top, min(bottom, len(rows)) + 1), range(left, min(right, last_column) + 1)
        n_cells += len(below) * len(beside) if text else 0
        if not text or n_cells > _MAX_MERGED:
            continue
        for number in below:
            rows[number - 1].update(dict.fromkeys(beside, text))
            repeated[number].update(beside[1:])
    if n_cells > _MAX_MERGED:
        file.notes.append(f"Of merged cells only {_MAX_MERGED:,} repeat the text of the first.")
    return [SheetRow(row, repeated.get(number, ())) for number, row in enumerate(rows, start=1)]


@dataclass
class _Table:
    columns: Sequence[int]
    header: Sequence[str]
    rows: list[SheetRow]


def sheet_to_markdown(file: SourceFile, rows: Iterable[SheetRow]) -> str:
    """The tables of a sheet, and the lines between them.

    Empty rows end a table, unless what follows has neither a header nor other columns. Single cells above a table are
    its title, a Markdown heading. The rows of a header are joined if some have merged cells above several columns.
    """
    within_limit = _bounded(rows, file.max_characters, lambda row: sum(map(len, row.cells.values())))
    parts: list[str | _Table] = []
    for has_cells, group in groupby(within_limit, key=lambda row: bool(row.cells)):
        for block in _side_by_side(list(group)) if has_cells else ():
            titles, body = _split_titles(block)
            parts.extend(titles)
            _add_table(file, parts, body)
    texts: list[str] = []
    for place, part in enumerate(parts):
        if isinstance(part, _Table):
            cells = ([row.cells.get(column, "") for column in part.columns] for row in part.rows)
            texts.append(markdown_table(file, chain([part.header], cells)))
            continue
        is_first = place == 0 or isinstance(parts[place - 1], _Table)
        is_title = is_first and len(part) <= _MAX_HEADING and any(isinstance(later, _Table) for later in parts[place:])
        texts.extend(file.up_to_limit([f"## {part}" if is_title else part], len))
    return "\n\n".join(filter(None, texts))


def _side_by_side(rows: _Rows) -> Iterator[_Rows]:
    """The blocks that a column without cells parts, if each has several columns and the right one begins with words."""
    columns = _columns(rows)
    start = 0
    for place in range(2, len(columns) - 1):
        is_gap = columns[place] > columns[place - 1] + 1
        if is_gap and place - start > 1 and all(_is_words(row.cells.get(columns[place], "a")) for row in rows):
            yield _within(rows, columns[start:place])
            start = place
    yield _within(rows, columns[start:]) if start else rows


def _within(rows: _Rows, columns: Sequence[int]) -> _Rows:
    kept = frozenset(columns)
    cells = ({column: text for column, text in row.cells.items() if column in kept} for row in rows)
    return [SheetRow(part, kept & set(row.repeated)) for part, row in zip(cells, rows, strict=True) if part]


def _columns(rows: _Rows) -> list[int]:
    return sorted({column for row in rows for column in row.cells})


def _split_titles(rows: _Rows) -> tuple[list[str], _Rows]:
    """The single cells above a table, or all lines of a block that is none."""
    first_wide = next((place for place, row in enumerate(rows) if row.n_values > 1), None)
    if first_wide is None and len(rows) > 1 and len(_columns(rows)) == 1:
        return [], rows
    titles = rows[:first_wide]
    return [" ".join(next(iter(row.cells.values())).split()) for row in titles], rows[len(titles) :]


def _add_table(file: SourceFile, parts: list[str | _Table], rows: _Rows) -> None:
    """Add a table, or the rows to the one before whose header they come under."""
    if not rows:
        return
    columns = _columns(rows)
    last = next((part for part in reversed(parts) if isinstance(part, _Table)), None)
    if last and set(columns) <= set(last.columns) and not _begins_with_header(rows):
        if parts[-1] is last:
            last.rows.extend(rows)
        else:
            parts.append(_Table(last.columns, last.header, list(rows)))
        return
    if _is_like_the_others(rows[0], rows[1 : 1 + _N_COMPARED]):
        parts.append(_Table(columns, [f"Column {place}" for place in range(1, len(columns) + 1)], list(rows)))
        note = "A table has no header: its columns are numbered."
        file.notes.extend([note] if note not in file.notes else [])
        return
    n_header = next((place for place, row in enumerate(rows[:-1]) if not row.repeated), 0) + 1
    texts = ([row.cells.get(column, "") for row in rows[:n_header]] for column in columns)
    header = [" ".join(dict.fromkeys(filter(None, column))) for column in texts]
    parts.append(_Table(columns, header, list(rows[n_header:])))


def _begins_with_header(rows: _Rows) -> bool:
    """Whether the first row has words in every column, above numbers in one of them."""
    first, others = rows[0], rows[1:]
    if not all(map(_is_words, first.cells.values())):
        return False
    return any(not _is_words(row.cells.get(column, "a")) for row in others for column in first.cells)


def _is_like_the_others(first: SheetRow, others: _Rows) -> bool:
    """Whether numbers and dates of a first row have the shape of all below them. Years can be a header's."""
    shapes = {column: _shape(text) for column, text in first.cells.items() if not _is_words(text)}
    return (
        len(others) > 1
        and any(shape != "9999" for shape in shapes.values())
        and all(_shape(row.cells.get(column, "")) == shape for row in others for column, shape in shapes.items())
    )


def _shape(text: str) -> str:
    return "9" * len(text) if text.isdecimal() else re.sub(r"\d+", "9", text)


def _is_words(text: str) -> bool:
    return any(map(str.isalpha, text))


def _bounded(items: Iterable[T], most: int, count: Callable[[T], int]) -> Iterator[T]:
    """Items up to the one with which there is more than `most`. What is made of them counts for the file's limit."""
    total = 0
    for item in items:
        yield item
        total += count(item)
        if total > most:
            return


def _records(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Each row as lines of a column's name and its value."""
    names = [name[:_MAX_NAME] for name in rows[0]]
    for row in rows[1:]:
        yield "\n".join(
            f"{(names[place] if place < len(names) else '') or f'Column {place + 1}'}: {cell}"
            for place, cell in enumerate(row)
            if cell
        )


def _cleaned(row: Sequence[str]) -> list[str]:
    """The cells, each on one line, up to the last that has something."""
    cells = [" ".join(cell.split()).replace("|", "\\|") for cell in row]
    return cells[: max((place for place, cell in enumerate(cells, start=1) if cell), default=0)]
