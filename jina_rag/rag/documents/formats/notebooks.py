"""Jupyter notebooks."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from jina_rag.errors import DocumentError
from jina_rag.rag.documents.formats.decoding import decode
from jina_rag.rag.documents.formats.html import html_to_markdown
from jina_rag.rag.documents.headings import first_heading
from jina_rag.rag.documents.types import Document, Page, SourceFile

_ANSI = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")
"""Colours on a terminal."""
_FENCE = re.compile("`{3,}")
_RICHEST = ("text/markdown", "text/html", "text/latex", "text/plain", "application/json")
"""The forms of an output, of which the first that there is is read."""


def read_ipynb(file: SourceFile) -> Document:
    """A notebook as Markdown: texts, code in fences, and what the code has put out, as far as it is text."""
    try:
        notebook = json.loads(decode(file))
        # Before version 4 the cells were in worksheets.
        sheets = [notebook] if "cells" in notebook else notebook["worksheets"]
        cells = [cell for sheet in sheets for cell in sheet["cells"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DocumentError(
            f"{file.path} is no notebook ({error}). Save it again, or give it the ending .txt to have it read as text."
        ) from error
    metadata = notebook.get("metadata") or {}
    language = metadata.get("language_info", {}).get("name", "") or metadata.get("kernelspec", {}).get("language", "")
    left_out: Counter[str] = Counter()
    parts = (part for cell in cells for part in _cell_parts(file, cell, language, left_out))
    text = "\n\n".join(file.up_to_limit(filter(None, parts), len))
    file.note_left_out(left_out)
    title = str(metadata.get("title") or first_heading(text) or file.path.stem)
    authors = ", ".join(str(author.get("name", "")) for author in metadata.get("authors", ()))
    return Document(
        str(file.path), title, (Page(None, text),), is_markdown=True, metadata={"author": authors} if authors else {}
    )


def _cell_parts(file: SourceFile, cell: dict[str, Any], language: str, left_out: Counter[str]) -> Iterator[str]:
    source = _joined(cell.get("source", cell.get("input", ""))).strip("\n")
    left_out["pictures"] += len(cell.get("attachments") or {})
    if cell.get("cell_type") != "code":
        level = cell.get("level") if cell.get("cell_type") == "heading" else 0
        yield "#" * int(level or 0) + " " * bool(level) + source
        return
    yield _fenced(source, language)
    for output in cell.get("outputs", ()):
        yield _output(file, output, left_out)


def _output(file: SourceFile, output: dict[str, Any], left_out: Counter[str]) -> str:
    """The text of an output: of a stream, of an error, or the richest form of a result."""
    kind = output.get("output_type")
    if kind in ("stream", "error", "pyerr"):
        text = output.get("text") or f"{output.get('ename', '')}: {output.get('evalue', '')}"
        return _fenced(_ANSI.sub("", _joined(text)).strip("\n"), "")
    forms = output.get("data") or {}
    left_out["pictures"] += any(form.startswith("image/") for form in forms)
    form = next((form for form in _RICHEST if form in forms), "")
    if not form:
        left_out["outputs that are no text"] += not any(form.startswith("image/") for form in forms)
        return ""
    if form == "application/json":
        return _fenced(json.dumps(forms[form], ensure_ascii=False), "json")
    text = _joined(forms[form]).strip("\n")
    if form == "text/html":
        page = html_to_markdown(text, file)
        left_out.update(page.left_out)
        return page.text
    return _fenced(text, "") if form == "text/plain" else text


def _joined(lines: object) -> str:
    return "".join(map(str, lines)) if isinstance(lines, list) else str(lines)


def _fenced(code: str, language: str) -> str:
    if not code.strip():
        return ""
    fence = "`" * max([3, *(len(found) + 1 for found in _FENCE.findall(code))])
    return f"{fence}{language}\n{code}\n{fence}"
