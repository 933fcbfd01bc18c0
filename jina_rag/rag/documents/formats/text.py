"""Text and source code."""

from jina_rag.rag.documents.formats.decoding import decode
from jina_rag.rag.documents.types import Document, Page, SourceFile

_CODE = """
bash bat c cc cfg clj conf cpp cs css cu dart el env erl ex f90 go gradle groovy h hh hpp hs ini java jl js jsx kt less
lisp lua m mjs ml mm nim php pl proto ps1 py pyi r rb rs sass scala scss sh sql swift tcl tf toml ts tsx v vb vhd vue
xml yaml yml zig zsh
"""
CODE_KINDS = tuple(f".{ending}" for ending in _CODE.split())
"""Endings of source code and settings, which are read as they stand."""

TEXT_KINDS = (".adoc", ".log", ".org", ".rst", ".srt", ".tex", ".text", ".txt", ".vtt")


def read_text(file: SourceFile) -> Document:
    """Text as it stands, named after the file."""
    return Document(str(file.path), file.path.stem, (Page(None, decode(file)),))


def read_code(file: SourceFile) -> Document:
    """As `read_text`; the title keeps the ending, which says the language."""
    return Document(str(file.path), file.path.name, (Page(None, decode(file)),))
