"""Rows of cells as Markdown tables whose passages know their columns."""

from collections.abc import Iterable, Sequence

from jina_rag.rag.documents.types import SourceFile

_BLOCK_CHARACTERS = 400
"""About 200 tokens of names and numbers, which is what a passage holds."""
_MAX_REPEATED_HEADER = 1000
"""Characters. Before every few rows, a longer header would be most of the text."""
_MAX_PADDED = 32
"""Columns. Short rows of wider tables stay short, or a few bytes could become megabytes of empty cells."""


def markdown_table(file: SourceFile, rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with the first row as its header, as several tables where it is long.

    A passage from the middle of a long table would not say what its columns are, so after every few hundred
    characters a new table begins, under the same header. Rows and columns at the end that hold nothing are left out.

    Args:
        file: The file that it is from, whose limit and notes are kept.
        rows: The texts of the cells, row by row.
    """
    cleaned = ([_one_line(cell) for cell in row] for row in file.up_to_limit(rows, lambda row: sum(map(len, row)) + 1))
    kept = [cells[: _width(cells)] for cells in cleaned if any(cells)]
    if not kept:
        return ""
    width = max(map(len, kept))
    least = min(width, _MAX_PADDED)
    header, *lines = ["| " + " | ".join([*cells, *[""] * (least - len(cells))]) + " |" for cells in kept]
    header += "\n|" + " --- |" * max(least, len(kept[0]))
    is_repeated = len(header) <= _MAX_REPEATED_HEADER
    blocks = [[header]]
    size = 0
    for line in lines:
        if is_repeated and size and size + len(line) > _BLOCK_CHARACTERS:
            blocks.append([header])
            size = 0
        blocks[-1].append(line)
        size += len(line)
    if not is_repeated and sum(map(len, lines)) > _BLOCK_CHARACTERS:
        file.notes.append(
            f"The header of a table has {len(header):,} characters, more than can be repeated above its rows: passages "
            "from further down don't name their columns."
        )
    return "\n\n".join("\n".join(block) for block in blocks)


def _one_line(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")


def _width(cells: Sequence[str]) -> int:
    return max(place for place, cell in enumerate(cells, start=1) if cell)
