"""Superscripts, subscripts and struck text in plain text: 10^6, H_2O, e^(x+1), ~~100~~."""

from collections.abc import Iterable
from itertools import groupby
from typing import Literal, NamedTuple

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
