"""How the readers of office documents write Markdown: scripts such as 10^6 and H_2O, links, lists, tables."""

import re
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import Literal, NamedTuple

from jina_rag.rag.documents.formats.tables import markdown_table
from jina_rag.rag.documents.types import SourceFile

BULLET = "-"
"""The label of an item in a list, whatever sign the document has before it."""

_BLOCK_MARK = re.compile(r"^(?=#{1,6}(?:\s|$)|>|```|~~~|=+\s*$|-+\s*$)", re.MULTILINE)
_NOT_IN_LINK = re.compile(r"[\s()<>]")

Script = Literal["", "^", "_", "~~"]


class Piece(NamedTuple):
    """A stretch of text, and whether it is raised ("^"), lowered ("_") or struck ("~~")."""

    text: str
    script: Script = ""


def join_pieces(pieces: Iterable[Piece]) -> str:
    """The text of a line, with "^" before what is raised, "_" before what is lowered, "~~" around what is struck."""
    joined = ((script, "".join(piece.text for piece in group)) for script, group in groupby(pieces, lambda p: p.script))
    return "".join(write_script(text, script) for script, text in joined)


def write_script(text: str, script: Script) -> str:
    """`text` with its mark, in parentheses where it is more than one run of letters and digits."""
    inner = text.strip()
    if not script or not inner:
        return text
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    if script == "~~":
        return f"{before}~~{inner}~~{after}"
    return f"{before}{script}{inner if inner.isalnum() else f'({inner})'}{after}"


def linked(text: str, address: str) -> str:
    """Text that is a link to an address, if there is one."""
    if not address or text.strip() in ("", address):
        return text
    return f"[{text}]({_NOT_IN_LINK.sub('', address)})"


def escape_blocks(text: str) -> str:
    """Text whose lines begin no heading, quotation, rule or code in Markdown."""
    return _BLOCK_MARK.sub(r"\\", text)


def trim_lines(text: str) -> str:
    """Text without the white space around its lines, which Markdown could take for code."""
    return "\n".join(line.strip() for line in text.split("\n")).strip("\n")


def list_item(text: str, depth: int) -> str:
    """An item of a list, below as many others as its depth."""
    indent = "  " * depth
    return f"{indent}{BULLET} " + text.replace("\n", f"\n{indent}  ")


def join_blocks(blocks: Iterable[str]) -> str:
    """Paragraphs with an empty line between them, items of a list without one."""
    parts = [""]
    for before, block in pairwise(("", *blocks)):
        is_list = before.lstrip().startswith(f"{BULLET} ") and block.lstrip().startswith(f"{BULLET} ")
        parts += ["\n" if is_list else "\n\n", block]
    return "".join(parts[2:])


def table_block(file: SourceFile, rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose text is yet to be counted, with that of the other blocks."""
    before = file.n_characters
    text = markdown_table(file, rows)
    file.n_characters = before
    return text
