"""Data files: tables in CSV and TSV, records in JSON and JSON Lines."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from jina_rag.rag.documents.formats.decoding import decode
from jina_rag.rag.documents.formats.tables import SheetRow, sheet_to_markdown
from jina_rag.rag.documents.types import Document, Page, SourceFile

_SEPARATORS = ";\t|,"
"""The comma comes last: it is within numbers and sentences as well."""
_SAMPLE_ROWS = 100
_SEPARATOR_LINE = re.compile(r"\s*sep=(.)[ \t]*\n", re.IGNORECASE)
"""What Excel reads as the separator of the lines below."""

_STRING_OR_COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*+"?|//[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/)?', re.DOTALL)
_STRING_OR_LAST_COMMA = re.compile(r'"(?:[^"\\\n]|\\.)*+"?|,(?=\s*+[}\]])')


def read_csv(file: SourceFile) -> Document:
    """The tables in a file of separated values, and the lines above and between them."""
    text = decode(file)
    separator = _SEPARATOR_LINE.match(text)
    if separator:
        text = text[separator.end() :]
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # as long as the file: memory is limited anyway
    delimiter = separator[1] if separator else "\t" if file.path.suffix.lower() == ".tsv" else _delimiter(text)
    is_quoted = _closes_quotes(text, delimiter)
    if not is_quoted:
        file.notes.append("A quotation mark is never closed: quotation marks were read as part of the text.")
    rows = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if is_quoted else csv.QUOTE_NONE,
    )
    cells = (((column, cell.strip()) for column, cell in enumerate(row)) for row in rows)
    table = sheet_to_markdown(file, (SheetRow({column: cell for column, cell in row if cell}) for row in cells))
    return Document(str(file.path), file.path.stem, (Page(None, table),), is_markdown=True)


def _delimiter(text: str) -> str:
    """The separator with the highest consistency: pattern score (van den Burg et al., 2019) by share of clean cells."""

    def consistency(delimiter: str) -> float:
        rows = [
            row for row in islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), _SAMPLE_ROWS) if row
        ]
        widths = Counter(map(len, rows))
        pattern_score = sum(n * (width - 1) / width for width, n in widths.items()) / max(len(widths), 1)
        others = (
            r"(?<!\d),|,(?!\d)" if other == "," else re.escape(other) for other in _SEPARATORS if other != delimiter
        )
        unclean = re.compile("|".join(others))
        cells = [cell for row in rows for cell in row]
        return pattern_score * sum(not unclean.search(cell) for cell in cells) / max(len(cells), 1)

    return max(_SEPARATORS, key=consistency)


def _closes_quotes(text: str, delimiter: str) -> bool:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for _ in reader:
            pass
    except csv.Error as error:
        return "unexpected end" not in str(error)
    return True


def read_json(file: SourceFile) -> Document:
    """One line for each value, named by its path, as in "museum.hours.summer: 10 to 18".

    The items of a list at the top are set apart by blank lines. Comments, as settings files have them, come last. What
    is no JSON is read as JSON Lines, or as text.
    """
    text = decode(file)
    try:
        value, comments = _parse_with_comments(text)
    except ValueError as error:
        if str(error).startswith("Extra data"):
            return _json_lines_document(file, text)
        file.notes.append(f"It is no valid JSON ({error}) and was read as text.")
        return Document(str(file.path), file.path.stem, (Page(None, text),))
    if comments:
        file.notes.append("Comments are no part of JSON: they come last in the text.")
    records = value if isinstance(value, list) and not isinstance(value, _Object) else [value]
    return _records_document(file, [*records, *comments])


def read_json_lines(file: SourceFile) -> Document:
    """A record for each line, written as `read_json` does; a line that is no JSON stays as it is."""
    return _json_lines_document(file, decode(file))


def _json_lines_document(file: SourceFile, text: str) -> Document:
    records: list[object] = []
    broken: list[int] = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            records.extend([_parse(line)] if line.strip() else [])
        except ValueError:
            broken.append(number)
            records.append(line)
    if broken:
        file.notes.append(
            f"{len(broken):,} {'line is' if len(broken) == 1 else 'lines are'} no valid JSON and stayed as text, "
            f"the first is line {broken[0]:,}."
        )
    return _records_document(file, records)


def _records_document(file: SourceFile, records: list[object]) -> Document:
    lines = (line for record in records for line in (*_lines_of(record), ""))
    text = "\n".join(file.up_to_limit(lines, len)).removesuffix("\n")
    return Document(str(file.path), file.path.stem, (Page(None, text),))


class _Object(list[tuple[str, object]]):
    """The names and values of a JSON object; a name may come twice."""


def _parse(text: str) -> object:
    # Numbers stay as they are written: nothing is computed, and no length of digits is too much.
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_Object)


def _parse_with_comments(text: str) -> tuple[object, list[str]]:
    """The value of a JSON text that may have comments and commas after last items, and its comments.

    Raises:
        ValueError: it is no JSON even without them.
    """
    comments: list[str] = []

    def blank(found: re.Match[str]) -> str:
        if found[0].startswith('"'):
            return found[0]
        comments.append(found[0].strip("/* \n\t"))
        return "\n" * found[0].count("\n")

    try:
        return _parse(text), []
    except ValueError:
        bare = _STRING_OR_COMMENT.sub(blank, text)
        bare = _STRING_OR_LAST_COMMA.sub(lambda found: found[0] if found[0].startswith('"') else "", bare)
        if bare == text:
            raise
    return _parse(bare), [comment for comment in comments if comment]


def _lines_of(value: object, name: str = "") -> Iterator[str]:
    if isinstance(value, _Object):
        for key, inner in value:
            yield from _lines_of(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        if any(isinstance(inner, list) for inner in value):
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
