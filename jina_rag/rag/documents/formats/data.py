"""Data files: tables in CSV and TSV, records in JSON and JSON Lines."""

import csv
import io
import json
from collections.abc import Iterator

from jina_rag.errors import DocumentError
from jina_rag.rag.documents.formats.decoding import decode
from jina_rag.rag.documents.formats.tables import markdown_table
from jina_rag.rag.documents.types import Document, Page, SourceFile

_SEPARATORS = ",;\t|"


def read_csv(file: SourceFile) -> Document:
    """A table; the separator is the one that its first line holds most of."""
    path, text = file.path, decode(file)
    first_line = text.lstrip().partition("\n")[0]
    separator = "\t" if path.suffix.lower() == ".tsv" else max(_SEPARATORS, key=first_line.count)
    csv.field_size_limit(max(len(text), 1))  # as long as the file: the reader's memory is limited anyway
    try:
        table = markdown_table(file, csv.reader(io.StringIO(text), delimiter=separator))
    except csv.Error as error:
        raise DocumentError(
            f"{path} is no table ({error}). Give it the ending .txt to have it read as text."
        ) from error
    return Document(str(path), path.stem, (Page(None, table),), is_markdown=True)


def read_json(file: SourceFile) -> Document:
    """One line for each value, named by its path, as in "museum.hours.summer: 10 to 18".

    The items of a list at the top are set apart by blank lines.
    """
    value = _parse(file, decode(file))
    return _records_document(file, value if isinstance(value, list) else [value])


def read_json_lines(file: SourceFile) -> Document:
    """A record for each line, written as `read_json` does."""
    lines = decode(file).split("\n")
    return _records_document(file, [_parse(file, line) for line in lines if line.strip()])


def _records_document(file: SourceFile, records: list[object]) -> Document:
    lines = (line for record in records for line in (*_lines_of(record), ""))
    text = "\n".join(file.up_to_limit(lines, len)).removesuffix("\n")
    return Document(str(file.path), file.path.stem, (Page(None, text),))


def _parse(file: SourceFile, text: str) -> object:
    try:
        # Numbers stay as they are written: nothing is computed, and no length of digits is too much.
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except ValueError as error:
        raise DocumentError(
            f"{file.path} is no valid JSON ({error}). Mend it, or give it the ending .txt to have it read as text."
        ) from error


def _lines_of(value: object, name: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _lines_of(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        if any(isinstance(inner, dict | list) for inner in value):
            for place, inner in enumerate(value, start=1):
                yield from _lines_of(inner, f"{name}.{place}" if name else str(place))
        elif value:
            yield _named(", ".join(map(_plain, value)), name)
    elif value is not None and value != "":
        yield _named(_plain(value), name)


def _named(text: str, name: str) -> str:
    return f"{name}: {text}" if name else text


def _plain(value: object) -> str:
    return {True: "true", False: "false", None: "null"}[value] if value in (True, False, None) else str(value)
