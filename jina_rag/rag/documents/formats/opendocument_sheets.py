"""OpenDocument spreadsheets, as LibreOffice writes them."""

from collections import Counter
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from jina_rag.rag.documents.formats.numbering import integer
from jina_rag.rag.documents.formats.opendocument import OpenDocumentPackage, metadata_of
from jina_rag.rag.documents.formats.tables import merged_rows, sheet_to_markdown
from jina_rag.rag.documents.types import Document, Page, SourceFile

_MAX_REPEATED = 64
"""Cells or rows; what claims to repeat more is not believed."""
_SPACES = {"line-break": "\n", "s": " ", "tab": " "}


def read_ods(file: SourceFile) -> Document:
    """A spreadsheet, a page for each visible sheet: its name, its tables as they are shown, comments, text boxes.

    Rows and columns that are hidden are read, hidden sheets are not.
    """
    package = OpenDocumentPackage(file)
    root = package.xml("content.xml")
    reader = _SheetReader(file)
    pages = tuple(Page(number, text) for number, text in enumerate(reader.texts(root), start=1))
    package.left_out["pictures"] += sum(1 for _ in root.iter("image"))
    file.note_left_out(package.left_out)
    metadata = metadata_of(package.xml("meta.xml"))
    title = metadata.pop("title", "") or file.path.stem
    return Document(str(file.path), title, pages, is_markdown=True, metadata=metadata)


class _SheetReader:
    """The sheets of a file on their way to text."""

    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self._hidden: Counter[str] = Counter()
        self._n_unrepeated = 0

    def texts(self, root: Element) -> Iterator[str]:
        """The text of each visible sheet, as far as the limit goes."""
        properties = ((style.get("name"), style.find("table-properties")) for style in root.iter("style"))
        hidden = {name for name, element in properties if element is not None and element.get("display") == "false"}
        left_out = []
        for sheet in root.findall("body/spreadsheet/table"):
            if sheet.get("style-name") in hidden:
                left_out.append(repr(sheet.get("name", "")))
            elif self._file.n_characters <= self._file.max_characters:
                yield self._sheet_text(sheet)
        if left_out:
            self._file.notes.append(f"Hidden sheets were left out: {', '.join(left_out)[:500]}.")
        if counts := " and ".join(f"{kind} ({number:,})" for kind, number in self._hidden.items() if number):
            self._file.notes.append(f"Hidden {counts} were read as well.")
        if self._n_unrepeated:
            self._file.notes.append(f"Cells and rows are repeated {_MAX_REPEATED} times at most.")

    def _sheet_text(self, sheet: Element) -> str:
        rows: list[dict[int, str]] = []
        ranges: list[tuple[int, int, int, int]] = []
        others: list[str] = []
        n_characters = 0
        for row in _rows(sheet):
            cells: dict[int, str] = {}
            for column, cell in _placed(row):
                others += _beside_text(cell)
                if text := _text(cell) if cell.tag == "table-cell" else "":
                    n_columns = self._repeated(cell, "number-columns-repeated")
                    cells.update(dict.fromkeys(range(column, column + n_columns), text))
                    right = column + integer(cell.get("number-columns-spanned", ""), 1) - 1
                    ranges.append(
                        (column, len(rows) + 1, right, len(rows) + integer(cell.get("number-rows-spanned", ""), 1))
                    )
            n_rows = self._repeated(row, "number-rows-repeated") if cells else 1
            rows += [dict(cells) for _ in range(n_rows)]
            self._hidden["rows"] += n_rows if cells and row.get("visibility", "visible") != "visible" else 0
            n_characters += n_rows * sum(map(len, cells.values()))
            if n_characters > self._file.max_characters:
                break
        used = {column for row in rows for column in row}
        self._hidden["columns"] += len(used & _hidden_columns(sheet, max(used, default=0)))
        merged = [each for each in ranges if each[:2] != each[2:]]
        table = sheet_to_markdown(self._file, merged_rows(self._file, rows, merged))
        others = [text for text in [*others, *(_text(shape, ".//p") for shape in sheet.findall("shapes/*"))] if text]
        self._file.n_characters += sum(map(len, others))
        return "\n\n".join([f"# {sheet.get('name', '')}", *filter(None, [table, *others])]) if table or others else ""

    def _repeated(self, element: Element, attribute: str) -> int:
        number = integer(element.get(attribute, ""), 1)
        self._n_unrepeated += number > _MAX_REPEATED
        return min(number, _MAX_REPEATED)


def _placed(row: Element) -> Iterator[tuple[int, Element]]:
    """The cells of a row, or the columns of a sheet, by their number."""
    place = 1
    for element in row:
        if element.tag in ("table-cell", "covered-table-cell", "table-column"):
            yield place, element
            place += max(integer(element.get("number-columns-repeated", ""), 1), 1)


def _hidden_columns(sheet: Element, last: int) -> set[int]:
    columns = Element("columns")
    columns.extend(sheet.iter("table-column"))
    hidden: set[int] = set()
    for first, column in _placed(columns):
        if column.get("visibility", "visible") != "visible":
            n_columns = integer(column.get("number-columns-repeated", ""), 1)
            hidden.update(range(first, min(first + n_columns, last + 1)))
    return hidden


def _rows(parent: Element) -> Iterator[Element]:
    for child in parent:
        if child.tag == "table-row":
            yield child
        elif child.tag in ("table-header-rows", "table-rows", "table-row-group"):
            yield from _rows(child)


def _beside_text(cell: Element) -> Iterator[str]:
    """Comments on a cell, and the text boxes that hang on it."""
    for comment in cell.findall("annotation"):
        author = comment.findtext("creator") or ""
        yield f"Comment{f' by {author}' * bool(author)}: {_text(comment)}"
    for shape in cell:
        if shape.tag not in ("annotation", "p"):
            yield _text(shape, ".//p")


def _text(parent: Element, paragraphs: str = "p") -> str:
    return " ".join(" ".join("".join(_characters(paragraph)) for paragraph in parent.findall(paragraphs)).split())


def _characters(element: Element) -> Iterator[str]:
    yield element.text or _SPACES.get(element.tag, "")
    for child in element:
        yield from _characters(child)
        yield child.tail or ""
