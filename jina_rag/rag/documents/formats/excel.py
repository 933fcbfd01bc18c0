"""Excel workbooks."""

import io
from datetime import datetime, time

from jina_rag.errors import MissingDependencyError
from jina_rag.rag.documents.formats.archives import check_office_file
from jina_rag.rag.documents.formats.tables import markdown_table
from jina_rag.rag.documents.types import Document, Page, SourceFile


def read_xlsx(file: SourceFile) -> Document:
    """A workbook, a page for each visible sheet: a table of the values that were saved, with its name above it."""
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise MissingDependencyError.for_extra("openpyxl", "office") from error

    check_office_file(file)
    book = load_workbook(io.BytesIO(file.data), read_only=True, data_only=True, keep_links=False)
    pages: list[Page] = []
    for sheet in book.worksheets:
        if sheet.sheet_state != "visible":
            file.notes.append(f"The sheet {sheet.title!r} is hidden and was left out.")
            continue
        sheet.reset_dimensions()  # what the file says of its size may be wrong
        rows = ([_cell_text(value) for value in row] for row in sheet.iter_rows(values_only=True))
        table = markdown_table(file, rows)
        pages.append(Page(len(pages) + 1, f"# {sheet.title}\n\n{table}" if table else ""))
    return Document(str(file.path), book.properties.title or file.path.stem, tuple(pages), is_markdown=True)


def _cell_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ", "minutes")
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"
    return str(value)
