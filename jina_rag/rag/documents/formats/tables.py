"""Rows of cells as Markdown tables whose passages know their columns."""

from collections.abc import Iterable, Sequence

_BLOCK_CHARACTERS = 400
"""About 200 tokens of names and numbers, which is what a passage holds."""


def markdown_table(rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with the first row as its header, as several tables where it is long.

    A passage from the middle of a long table would not say what its columns are, so after every few hundred
    characters a new table begins, under the same header. Rows and columns at the end that hold nothing are left out.
    """
    kept = [cells for row in rows if any(cells := [_one_line(cell) for cell in row])]
    if not kept:
        return ""
    width = max(_width(cells) for cells in kept)
    header, *lines = [_line(cells, width) for cells in kept]
    header += "\n|" + " --- |" * width
    blocks = [[header]]
    size = 0
    for line in lines:
        if size and size + len(line) > _BLOCK_CHARACTERS:
            blocks.append([header])
            size = 0
        blocks[-1].append(line)
        size += len(line)
    return "\n\n".join("\n".join(block) for block in blocks)


def _one_line(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")


def _width(cells: Sequence[str]) -> int:
    return max(place for place, cell in enumerate(cells, start=1) if cell)


def _line(cells: Sequence[str], width: int) -> str:
    padded = [*cells[:width], *[""] * (width - len(cells))]
    return "| " + " | ".join(padded) + " |"
