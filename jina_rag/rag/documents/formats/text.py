"""Text, Markdown and source code."""

from pathlib import Path

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.rag.documents.headings import first_heading
from jina_rag.rag.documents.types import Document, Page, line_feeds

_CODE = """
bash bat c cc cfg clj conf cpp cs css cu dart el env erl ex f90 go gradle groovy h hh hpp hs ini java jl js jsx kt less
lisp lua m mjs ml mm nim php pl proto ps1 py pyi r rb rs sass scala scss sh sql swift tcl tf toml ts tsx v vb vhd vue
xml yaml yml zig zsh
"""
CODE_KINDS = tuple(f".{ending}" for ending in _CODE.split())
"""Endings of source code and settings, which are read as they stand."""

TEXT_KINDS = (".adoc", ".log", ".org", ".rst", ".srt", ".tex", ".text", ".txt", ".vtt")
MARKDOWN_KINDS = (".markdown", ".md", ".mdx", ".qmd", ".rmd")


def read_text(path: Path, data: bytes) -> Document:
    """Text as it stands, named after the file."""
    return Document(str(path), path.stem, (Page(None, decode(path, data)),))


def read_code(path: Path, data: bytes) -> Document:
    """As `read_text`; the title keeps the ending, which says the language."""
    return Document(str(path), path.name, (Page(None, decode(path, data)),))


def read_markdown(path: Path, data: bytes) -> Document:
    """Markdown as it stands, named after its first heading."""
    text = decode(path, data)
    return Document(str(path), first_heading(text) or path.stem, (Page(None, text),), is_markdown=True)


def decode(path: Path, data: bytes) -> str:
    """The text of a file: UTF-8, what its byte order mark says, or what the bytes look like.

    Raises:
        DocumentError: it is no text.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = _guess_encoding(path, data)
    if "\0" in text:
        raise DocumentError(f"{path} is not a text file. Give it the ending of what it is, or leave it out.")
    return line_feeds(text)


def _guess_encoding(path: Path, data: bytes) -> str:
    try:
        from charset_normalizer import from_bytes
    except ImportError as error:
        raise MissingDependencyError.for_extra("charset-normalizer", "rag") from error

    best = from_bytes(data).best()
    if best is None:
        raise DocumentError(f"{path} is not a text file, or in no known encoding. Save it as UTF-8.")
    return str(best)
