"""Excel workbooks."""

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING
from xml.parsers.expat import ParserCreate
from zipfile import ZipFile

from jina_rag.errors import MissingDependencyError
from jina_rag.rag.documents.formats.archives import check_office_file
from jina_rag.rag.documents.formats.number_formats import format_value, plain_number
from jina_rag.rag.documents.formats.ooxml import OfficePackage, description, paragraph_text
from jina_rag.rag.documents.formats.tables import SheetRow, merged_rows, sheet_to_markdown
from jina_rag.rag.documents.formats.writing import Piece, Script, join_pieces
from jina_rag.rag.documents.types import Document, Page, SourceFile

if TYPE_CHECKING:
    from openpyxl import Workbook
    from openpyxl.cell.read_only import ReadOnlyCell
    from openpyxl.cell.rich_text import TextBlock

_LAYOUT_CODE = re.compile(r'&(?:"[^"]*"|K[0-9A-F]{6}|\d+|[^&])', re.IGNORECASE)
"""What is no text in the lines above and below a printed page: fonts, places, page numbers."""
_SCRIPTS: dict[str | None, Script] = {"superscript": "^", "subscript": "_"}


def read_xlsx(file: SourceFile) -> Document:
    """A workbook, a page for each visible sheet: its name, its tables as they are shown, comments and drawings.

    Formulas count with the values that were saved with them; nothing is computed and no macro runs. Rows and columns
    that are hidden are read, hidden sheets are not.
    """
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise MissingDependencyError.for_extra("openpyxl", "office") from error

    check_office_file(file)
    package = OfficePackage(file)
    book = load_workbook(io.BytesIO(file.data), read_only=True, data_only=True, keep_links=False, rich_text=True)
    reader = _WorkbookReader(package, book)
    pages = tuple(Page(number, text) for number, text in enumerate(reader.sheet_texts(), start=1))
    reader.write_notes()
    metadata = package.metadata()
    title = metadata.pop("title", "") or file.path.stem
    return Document(str(file.path), title, pages, is_markdown=True, metadata=metadata)


class _Layout:
    """What a sheet's XML says and openpyxl does not, when it reads cell by cell.

    Attributes:
        merged: Ranges such as "A1:C1".
        uncomputed: Cells with a formula and no value.
        hidden_columns: First and last column of each range that is hidden.
        n_hidden_rows: How many rows with cells are hidden.
        page_lines: What is printed above and below each page.
    """

    def __init__(self) -> None:
        self.merged: list[str] = []
        self.uncomputed: list[str] = []
        self.hidden_columns: list[tuple[int, int]] = []
        self.n_hidden_rows = 0
        self.page_lines: list[str] = []
        self._text: list[str] = []
        self._cell = ""
        self._has_formula = self._has_value = False
        self._is_row_hidden = False  # and has had no cell yet

    def read(self, stream: IO[bytes]) -> None:
        """Take what the XML of a sheet says, which is read element by element, for it may be large."""
        parser = ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.ParseFile(stream)

    def _start(self, tag: str, attributes: Mapping[str, str]) -> None:
        name = tag.rpartition(" ")[2]
        self._text.clear()
        if name == "c":
            self.n_hidden_rows += self._is_row_hidden
            self._is_row_hidden = self._has_formula = self._has_value = False
            self._cell = attributes.get("r", "")
        elif name == "f":
            self._has_formula = True
        elif name == "row":
            self._is_row_hidden = _is_on(attributes.get("hidden"))
        elif name == "col" and _is_on(attributes.get("hidden")):
            self.hidden_columns.append((int(attributes.get("min", "1")), int(attributes.get("max", "1"))))
        elif name == "mergeCell":
            self.merged.append(attributes.get("ref", ""))

    def _end(self, tag: str) -> None:
        name = tag.rpartition(" ")[2]
        if name == "v":
            self._has_value = bool(self._text)
        elif name == "c":
            if self._has_formula and not self._has_value:
                self.uncomputed.append(self._cell)
        elif name.endswith(("Header", "Footer")) and (words := _LAYOUT_CODE.sub(" ", "".join(self._text)).split()):
            self.page_lines.append(f"{name[-6:]}: {' '.join(words)}")
            self._text.clear()  # the element around it ends next


def _is_on(value: str | None) -> bool:
    return value in ("1", "true")


class _WorkbookReader:
    """A workbook on its way to text, and what of it is not shown as it is."""

    def __init__(self, package: OfficePackage, book: "Workbook") -> None:
        self._package = package
        self._file = package.file
        self._archive = ZipFile(io.BytesIO(package.file.data))
        self._sheets = {sheet.title: sheet for sheet in book.worksheets}
        people = (person for _, root in package.related(package.main, "person") for person in root)
        self._people = {person.get("id", ""): person.get("displayName", "") for person in people}
        self._hidden_sheets: list[str] = []
        self._hidden: Counter[str] = Counter()
        self._uncomputed: list[str] = []
        self._unknown_formats: Counter[str] = Counter()

    def sheet_texts(self) -> Iterator[str]:
        """The text of each visible sheet, as far as the limit goes."""
        parts = self._package.relations(self._package.main)
        for sheet in self._package.xml(self._package.main).iter("sheet"):
            name, part = sheet.get("name", ""), parts.get(sheet.get("r:id", ""))
            if sheet.get("state", "visible") != "visible":
                self._hidden_sheets.append(repr(name))
            elif part is not None and self._file.n_characters <= self._file.max_characters:
                yield self._sheet_text(name, part.target)

    def write_notes(self) -> None:
        """Add to the notes of the file what was not read, or not as it is shown."""
        notes = self._file.notes
        if self._hidden_sheets:
            notes.append(f"Hidden sheets were left out: {', '.join(self._hidden_sheets)[:500]}.")
        if self._hidden:
            counts = " and ".join(f"{kind} ({number:,})" for kind, number in self._hidden.items())
            notes.append(f"Hidden {counts} were read as well.")
        if self._uncomputed:
            notes.append(
                f"Formulas without a saved value ({len(self._uncomputed):,}, the first in {self._uncomputed[0]}) have "
                "no text. Open the file in Excel, save it and add it again."
            )
        if self._unknown_formats:
            notes.append(
                f"Cells in number formats that are not supported ({self._unknown_formats.total():,}) have plain "
                f"numbers: {', '.join(self._unknown_formats)[:100]}."
            )
        self._package.write_notes()

    def _sheet_text(self, name: str, part: str) -> str:
        sheet, table = self._sheets.get(name), ""
        page_lines: list[str] = []
        if sheet is not None:
            layout = self._layout(part)
            page_lines = layout.page_lines
            self._uncomputed += [f"{cell} of {name!r}" for cell in layout.uncomputed]
            sheet.reset_dimensions()  # what the file says of its size may be wrong
            table = sheet_to_markdown(self._file, self._rows(sheet.iter_rows(), layout))
        others = [*page_lines, *self._comments(part), *self._drawings(part)]
        self._file.n_characters += sum(map(len, others))
        return "\n\n".join([f"# {name}", *filter(None, [table, *others])]) if table or others else ""

    def _layout(self, part: str) -> _Layout:
        layout = _Layout()
        with self._archive.open(part) as stream:
            layout.read(stream)
        return layout

    def _rows(self, rows: Iterable[Sequence["ReadOnlyCell"]], layout: _Layout) -> list[SheetRow]:
        from openpyxl.utils import range_boundaries

        texts: list[dict[int, str]] = []
        n_characters = 0
        for row in rows:
            cells = ((column, self._cell_text(cell)) for column, cell in enumerate(row, start=1))
            texts.append({column: text for column, text in cells if text})
            n_characters += sum(map(len, texts[-1].values()))
            if n_characters > self._file.max_characters:
                break
        used = {column for row in texts for column in row}
        hidden = sum(any(first <= column <= last for first, last in layout.hidden_columns) for column in used)
        self._hidden += Counter(rows=layout.n_hidden_rows, columns=hidden)
        return merged_rows(self._file, texts, map(range_boundaries, layout.merged))

    def _cell_text(self, cell: "ReadOnlyCell") -> str:
        value = cell.value
        if value is None:
            return ""
        if isinstance(value, list):  # CellRichText
            return join_pieces(_piece(run) for run in value)
        text = format_value(value, cell.number_format)
        if text is None:
            self._unknown_formats[cell.number_format] += 1
            return plain_number(value)
        return text

    def _comments(self, part: str) -> Iterator[str]:
        """Threads of comments, and older comments, which repeat the threads in an unreadable way."""
        threads = [
            (comment.get("ref", ""), self._people.get(comment.get("personId", ""), ""), comment.findtext("text") or "")
            for _, root in self._package.related(part, "threadedComment")
            for comment in root.iter("threadedComment")
        ]
        in_threads = {cell for cell, _, _ in threads}
        for _, root in self._package.related(part, "comments"):
            authors = [author.text or "" for author in root.iter("author")]
            for comment in root.iter("comment"):
                cell, place = comment.get("ref", ""), int(comment.get("authorId", "0"))
                if cell not in in_threads:
                    text = "".join(run.text or "" for run in comment.iter("t"))
                    threads.append((cell, authors[place] if place < len(authors) else "", text))
        for cell, author, text in threads:
            yield f"Comment on {cell}{f' by {author}' * bool(author)}: {' '.join(text.split())}"

    def _drawings(self, part: str) -> Iterator[str]:
        """Text boxes, charts, and what pictures are described with."""
        for name, root in self._package.related(part, "drawing"):
            relations = self._package.relations(name)
            for older in list(root.iter("Fallback")):  # the same once more, for older programs
                older.clear()
            for element in root.iter():
                if element.tag == "sp":
                    yield "\n".join(map(paragraph_text, element.iter("p"))).strip()
                elif element.tag == "graphicFrame":
                    yield self._package.drawn_object(element, relations)
                elif element.tag == "pic":
                    text = description(next(element.iter("cNvPr"), element))
                    self._package.left_out["pictures without a description"] += not text
                    yield text


def _piece(run: "str | TextBlock") -> Piece:
    if isinstance(run, str):
        return Piece(run)
    return Piece(run.text or "", "~~" if run.font.strike else _SCRIPTS.get(run.font.vertAlign, ""))
