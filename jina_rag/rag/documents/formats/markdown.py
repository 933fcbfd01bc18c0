"""Markdown: as it stands, but for embedded files, and tables that repeat their header."""

import re
from collections.abc import Iterable, Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from jina_rag.errors import MissingDependencyError
from jina_rag.rag.documents.formats.decoding import decode
from jina_rag.rag.documents.formats.tables import markdown_table
from jina_rag.rag.documents.headings import FRONT_MATTER, first_heading
from jina_rag.rag.documents.types import Document, Page, SourceFile

MARKDOWN_KINDS = (".markdown", ".md", ".mdx", ".qmd", ".rmd")

_TABLES = MarkdownIt("commonmark").enable("table").disable("inline")
_DELIMITER_ROW = re.compile(r"^[ ]{0,3}\|?[ \t]*:?-+:?[ \t]*\|", re.MULTILINE)
_LONG_TABLE = 800
"""Characters. A shorter table is in one passage or two."""

_DATA_URI = re.compile(r"data:[\w.+-]{1,100}/[\w.+-]{1,100}[^,\s]{0,200},[^\s)\"'<>]{64,}", re.IGNORECASE)
_MAX_FRONT_MATTER = 20_000  # characters


def read_markdown(file: SourceFile) -> Document:
    """Markdown, named after its front matter or first heading. Files that are embedded in it are left out.

    The scalars of a front matter in YAML, and its lists of scalars, are the document's metadata.
    """
    text = _without_embedded_files(file, decode(file))
    metadata = _front_matter(text)
    text = _with_repeated_headers(file, text)
    title = metadata.pop("title", "") or first_heading(text) or file.path.stem
    return Document(str(file.path), title, (Page(None, text),), is_markdown=True, metadata=metadata)


def _without_embedded_files(file: SourceFile, text: str) -> str:
    shorter, n_files = _DATA_URI.subn("", text)
    if n_files:
        n_characters = len(text) - len(shorter)
        file.notes.append(f"Embedded files (data URIs) were left out: {n_files:,}, with {n_characters:,} characters.")
    return shorter


def _front_matter(text: str) -> dict[str, str]:
    """The scalars at the top of a YAML front matter, as they are written; it stays in the text as well."""
    try:
        from yaml import BaseLoader, YAMLError
    except ImportError as error:
        raise MissingDependencyError.for_extra("pyyaml", "rag") from error

    found = FRONT_MATTER.match(text)
    if not found or len(found[0]) > _MAX_FRONT_MATTER:
        return {}
    try:
        values = BaseLoader(found[0].strip("-\n \t")).get_single_data()
    except (YAMLError, RecursionError):  # a rule and a text below it
        return {}
    if not isinstance(values, dict):
        return {}
    lists = {key: value if isinstance(value, list) else [value] for key, value in values.items()}
    return {
        key: ", ".join(value)
        for key, value in lists.items()
        if isinstance(key, str) and all(isinstance(each, str) for each in value)
    }


def _with_repeated_headers(file: SourceFile, text: str) -> str:
    """The text with its long tables written by `markdown_table`; those in lists and quotes stay as they are."""
    if not _DELIMITER_ROW.search(text):
        return text
    lines = text.split("\n")
    for start, end, rows in reversed(list(_tables(_TABLES.parse(text)))):
        if sum(map(len, lines[start:end])) > _LONG_TABLE:
            lines[start:end] = [markdown_table(file, rows)]
    return "\n".join(lines)


def _tables(tokens: Iterable[Token]) -> Iterator[tuple[int, int, list[list[str]]]]:
    """The tables that are neither in lists nor in quotes: first line, line behind the last, rows."""
    lines, rows = [0, 0], [[""]]
    for token in tokens:
        if token.type == "table_open" and token.level == 0:
            lines, rows = token.map or [0, 0], []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(token.content)
        elif token.type == "table_close" and token.level == 0:
            yield lines[0], lines[1], rows
