"""OpenDocument texts, as LibreOffice writes them."""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import NamedTuple
from xml.etree.ElementTree import Element

from jina_rag.errors import DocumentError
from jina_rag.rag.documents.formats.archives import open_archive, parse_xml
from jina_rag.rag.documents.formats.numbering import MAX_LEVELS, MAX_PATTERN, Level, NumberedList, Numbering, integer
from jina_rag.rag.documents.formats.writing import (
    BULLET,
    Piece,
    Script,
    escape_blocks,
    join_blocks,
    join_pieces,
    linked,
    list_item,
    table_block,
    trim_lines,
)
from jina_rag.rag.documents.headings import first_heading
from jina_rag.rag.documents.types import Document, Page, SourceFile

_METADATA = {
    "creator": "author",  # who changed it last; the first author comes after
    "initial-creator": "author",
    "creation-date": "created",
    "date": "modified",
    "keyword": "keywords",
    **{name: name for name in ("title", "subject", "description")},
}
_NUMBER_FORMATS = {"1": "decimal", "a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}
_LEVELS = {
    "list-level-style-bullet": "bullet",
    "list-level-style-image": "bullet",
    "list-level-style-number": "number",
    "outline-level-style": "number",
}
_MANIFEST = "META-INF/manifest.xml"
_OUTLINE = "outline"  # the name of the list that headings belong to
_GROUPS = ("table-header-rows", "table-rows", "table-row-group")
_SHAPES = ("caption", "circle", "connector", "custom-shape", "ellipse", "line", "path", "polygon", "rect")
DRAWINGS = ("frame", "g", *_SHAPES)
"""What is drawn on a page."""
_SPACE = re.compile(r"[ \t\r\n]+")
_MAX_CHAIN = 30  # styles that are derived from each other
_MAX_SPACES = 100
_MAX_SPANNED = 64
"""Columns; what claims to span or to repeat more is not believed."""


def read_odt(file: SourceFile) -> Document:
    """An OpenDocument text as Markdown, in the same way as a Word document (see `read_docx`)."""
    package = OpenDocumentPackage(file)
    text = OpenDocumentText(package)
    markdown = join_blocks(file.up_to_limit(text.body(), len))
    text.note_guesses()
    file.note_left_out(package.left_out)
    metadata = metadata_of(package.xml("meta.xml"))
    title = first_heading(markdown) or metadata.get("title") or file.path.stem
    return Document(str(file.path), title, (Page(None, markdown),), is_markdown=True, metadata=metadata)


def metadata_of(root: Element) -> dict[str, str]:
    """What `meta.xml` says of a document: title, authors, dates and the like."""
    found: dict[str, list[str]] = {}
    for tag, name in _METADATA.items():
        if texts := [text for one in root.iter(tag) if (text := " ".join((one.text or "").split()))]:
            found[name] = texts
    return {name: ", ".join(texts) for name, texts in found.items()}


class OpenDocumentPackage:
    """The parts of an OpenDocument file."""

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self.left_out: Counter[str] = Counter()
        self._archive = open_archive(file)
        self._names = frozenset(self._archive.namelist())
        if _MANIFEST in self._names and b"encryption-data" in self._archive.read(_MANIFEST):
            raise DocumentError(f"{file.path} is encrypted. Save a copy without a password and add that.")
        if "content.xml" not in self._names:
            raise DocumentError(f"{file.path} is damaged (it has no content). Save it again from where it came.")
        scripts = (name for name in self._names if name.startswith(("Basic/", "Scripts/")))
        self.left_out["macros"] += any(not name.endswith(("/", "-lc.xml", "-lb.xml")) for name in scripts)

    def xml(self, name: str) -> Element:
        """The root of a part; an empty element if it isn't there."""
        if name not in self._names:
            return Element("missing")
        return parse_xml(self.file.path, self._archive.read(name))


class _Format(NamedTuple):
    """What of a style changes the text."""

    is_hidden: bool = False
    script: Script = ""

    def updated(self, properties: Element) -> "_Format":
        hidden = properties.get("display")
        script = self.script
        if position := properties.get("text-position", "").split()[:1]:
            height = position[0].rstrip("%")
            is_low = height == "sub" or height.startswith("-")
            script = "" if height == "0" else "_" if is_low else "^"
        elif properties.get("text-line-through-style", "none") != "none":
            script = "~~"
        return _Format(self.is_hidden if hidden is None else hidden == "none", script)


class _Styles:
    def __init__(self, *roots: Element) -> None:
        self._elements = {style.get("name", ""): style for root in roots for style in root.iter("style")}
        self.lists = {style.get("name", ""): _levels(style) for root in roots for style in root.iter("list-style")}
        self.outline = next((_levels(style) for root in roots for style in root.iter("outline-style")), {})

    def format(self, name: str, base: _Format) -> _Format:
        """The format that a style gives to text with another."""
        chain: list[Element] = []
        while (style := self._elements.get(name)) is not None and len(chain) < _MAX_CHAIN:
            chain.append(style)
            name = style.get("parent-style-name", "")
        for style in reversed(chain):
            for properties in style.findall("text-properties"):
                base = base.updated(properties)
        return base


def _levels(style: Element) -> dict[int, Level]:
    levels = {integer(one.get("level", ""), 1) - 1: one for one in style if one.tag in _LEVELS}
    return {number: _level(one) for number, one in levels.items() if number < MAX_LEVELS}


def _level(element: Element) -> Level:
    if _LEVELS[element.tag] == "bullet":
        return Level("bullet", "")
    number_format = element.get("num-format", "")
    if not number_format:
        return Level("none", "")
    level = integer(element.get("level", ""), 1)
    shown = min(integer(element.get("display-levels", ""), 1), level)
    numbers = ".".join(f"%{number}" for number in range(level - shown + 1, level + 1))
    pattern = f"{element.get('num-prefix', '')}{numbers}{element.get('num-suffix', '')} "
    if written := element.get("num-list-format"):  # since ODF 1.4, as %1%.%2%
        pattern = re.sub("(%[0-9])%", r"\1", written[:MAX_PATTERN]) + " "
    start = integer(element.get("start-value", ""), 1)
    return Level(_NUMBER_FORMATS.get(number_format, number_format), pattern[:MAX_PATTERN], start)


class _ListPlace(NamedTuple):
    """Where in a list a paragraph is."""

    name: str
    level: int
    start: int | None = None


class OpenDocumentText:
    """The text of a document, block by block."""

    def __init__(self, package: OpenDocumentPackage) -> None:
        self._package = package
        self._left_out = package.left_out
        content, styles = package.xml("content.xml"), package.xml("styles.xml")
        self._roots = (styles, content)
        self._styles = _Styles(styles, content)
        self._numbering = Numbering({_OUTLINE: NumberedList(_OUTLINE, self._styles.outline)})
        self._list_styles: dict[str, str] = {}  # the style of each list, by its name
        self._last_lists: dict[str, str] = {}  # the last list of each style
        self._following: deque[Iterator[str]] = deque()  # what comes after the paragraph or table that is being read

    def body(self) -> Iterator[str]:
        """All of a text document, its headers and footers first."""
        styles, content = self._roots
        of_content, self._styles = self._styles, _Styles(styles)  # headers have others of the same names
        for kind in ("header", "footer"):
            parts = [part for page in styles.iter("master-page") for part in page if part.tag.split("-")[0] == kind]
            texts = [self.line(part) for part in parts if part.get("display", "true") == "true"]
            yield from (f"{kind.capitalize()}: {text}" for text in dict.fromkeys(texts) if text)
            yield from self._followers()
        self._styles = of_content
        for body in content.findall("body/text"):
            yield from self.blocks(body)

    def blocks(self, parent: Element) -> Iterator[str]:
        """The paragraphs, lists and tables below an element, each followed by its notes, comments and text boxes."""
        for item, place in self._items(parent):
            if item.tag == "table":
                cells = [cell for row in _table_rows(item) for cell in row if cell.tag == "table-cell"]
                if len(cells) == 1:  # a frame around text
                    yield from self.blocks(cells[0])
                elif table := table_block(self._package.file, self._rows(item)):
                    yield table
            elif text := self._paragraph(item, place):
                yield text
            yield from self._followers()

    def line(self, parent: Element) -> str:
        """All text below an element, in one line: that of a cell, a note or a header."""
        texts = []
        for item, place in self._items(parent):
            if item.tag == "table":
                texts += [self.line(cell) for row in _table_rows(item) for cell in row]
            else:
                label, text = self._labelled(item, place)
                texts.append(f"{label} {text}" if label == BULLET else label + text)
        return " ".join(" ".join(texts).split())

    def note_guesses(self) -> None:
        """Add to the notes of the file what is written otherwise than in the document."""
        self._numbering.note_guesses(self._package.file)

    def _followers(self) -> Iterator[str]:
        while self._following:
            yield from self._following.popleft()

    def _items(self, parent: Element, inside: _ListPlace | None = None) -> Iterator[tuple[Element, _ListPlace | None]]:
        """The paragraphs, headings and tables below; the first of an item in a list has its place."""
        place = inside
        for child in parent:
            if child.tag in ("p", "h", "table"):
                yield child, place
                place = None
            elif child.tag == "list":
                yield from self._list_items(child, inside)
            elif child.tag == "tracked-changes":
                self._left_out["tracked deletions"] += sum(1 for _ in child.iter("deletion"))
            elif child.tag == "section" and child.get("display", "true") != "true":
                self._left_out["hidden sections"] += 1
            elif child.tag in (*DRAWINGS, "annotation"):  # anchored to the page
                anchor = Element("p")
                anchor.append(child)
                yield anchor, None
            elif child.tag != "forms":
                yield from self._items(child)

    def _list_items(self, element: Element, outer: _ListPlace | None) -> Iterator[tuple[Element, _ListPlace | None]]:
        name, level = (outer.name, outer.level + 1) if outer else (self._list_name(element), 0)
        for item in element:
            start = integer(item.get("start-value", ""), -1)
            place = _ListPlace(name, level, start if start >= 0 else None)
            yield from self._items(item, place if item.tag == "list-item" else None)

    def _list_name(self, element: Element) -> str:
        """A name for a list, and its counters: those of the list that it goes on with, or new ones."""
        style = element.get("style-name", "")
        before = element.get("continue-list") or (
            self._last_lists.get(style, "") if element.get("continue-numbering") == "true" else ""
        )
        name = element.get("id") or f"#{len(self._numbering.lists)}"
        known = self._numbering.lists.get(before)
        counters = known.counters if known else name
        self._numbering.lists[name] = NumberedList(counters, self._styles.lists.get(style, {}))
        self._last_lists[style] = name
        return name

    # Paragraphs.

    def _paragraph(self, element: Element, place: _ListPlace | None) -> str:
        """A paragraph as Markdown."""
        label, text = self._labelled(element, place)
        if not text:
            return ""
        if element.tag == "h":
            level = min(max(integer(element.get("outline-level", ""), 1), 1), 6)
            return f"{'#' * level} {label}{' '.join(text.split())}"
        if label == BULLET and place:
            return list_item(text, place.level)
        return label + text if label else escape_blocks(text)

    def _labelled(self, element: Element, place: _ListPlace | None) -> tuple[str, str]:
        style = self._styles.format(element.get("style-name", ""), _Format())
        text = trim_lines(join_pieces(self._inline(element, style)))
        if place:
            label = self._numbering.label(*place)
        elif element.tag == "h" and element.get("is-list-header", "false") != "true":
            level = integer(element.get("outline-level", ""), 1) - 1
            label = self._numbering.label(_OUTLINE, level) if self._styles.outline else ""
        else:
            label = ""
        return label, text

    def _rows(self, table: Element) -> Iterator[list[str]]:
        """The cells of each row, what is merged repeated."""
        above: list[str] = []
        for row in _table_rows(table):
            cells: list[str] = []
            n_spanned = 0
            for cell in row:
                repeated = min(integer(cell.get("number-columns-repeated", ""), 1), _MAX_SPANNED)
                if cell.tag == "table-cell":
                    cells += [self.line(cell)] * repeated
                    n_spanned = integer(cell.get("number-columns-spanned", ""), 1) - 1
                elif cell.tag == "covered-table-cell":
                    for _ in range(repeated):
                        is_beside = n_spanned > 0 and cells
                        cells.append(cells[-1] if is_beside else above[len(cells)] if len(cells) < len(above) else "")
                        n_spanned -= 1
            above = cells
            for _ in range(min(integer(row.get("number-rows-repeated", ""), 1), _MAX_SPANNED)):
                yield cells

    # What is within a line.

    def _inline(self, parent: Element, style: _Format) -> Iterator[Piece]:
        yield from self._characters(parent.text, style)
        for child in parent:
            handler = _INLINE.get(child.tag)
            if handler:
                yield from handler(self, child, style)
            elif child.tag not in _NOT_TEXT:
                yield from self._inline(child, style)
            yield from self._characters(child.tail, style)

    def _characters(self, text: str | None, style: _Format) -> Iterator[Piece]:
        if not text:
            return
        if style.is_hidden:
            self._left_out["stretches of hidden text"] += bool(text.strip())
        else:
            yield Piece(_SPACE.sub(" ", text), style.script)

    def _span(self, element: Element, style: _Format) -> Iterator[Piece]:
        yield from self._inline(element, self._styles.format(element.get("style-name", ""), style))

    def _spaces(self, element: Element, style: _Format) -> Iterator[Piece]:
        yield Piece(" " * min(integer(element.get("c", ""), 1), _MAX_SPACES), style.script)

    def _link(self, element: Element, style: _Format) -> Iterator[Piece]:
        address = element.get("href", "")
        yield Piece(linked(join_pieces(self._inline(element, style)), "" if address.startswith("#") else address))

    def _hidden(self, element: Element, _: _Format) -> Iterator[Piece]:
        self._left_out["stretches of hidden text"] += element.get("is-hidden", "true") == "true"
        return iter(())

    def _ruby(self, element: Element, style: _Format) -> Iterator[Piece]:
        """A word with the help to pronounce it that is above it."""
        for name, pattern in (("ruby-base", "{}"), ("ruby-text", "({})")):
            if (part := element.find(name)) is not None:
                yield Piece(pattern.format(join_pieces(self._inline(part, style))))

    def _note(self, element: Element, _: _Format) -> Iterator[Piece]:
        label = "".join((element.findtext("note-citation") or "").split())
        yield Piece(f"[{label}]")
        if (body := element.find("note-body")) is not None:
            self._following.append(self._labelled_line(f"[{label}]", body))

    def _annotation(self, element: Element, _: _Format) -> Iterator[Piece]:
        author = " ".join((element.findtext("creator") or "").split())
        self._following.append(self._labelled_line(f"Comment by {author}:" if author else "Comment:", element))
        return iter(())

    def _labelled_line(self, label: str, element: Element) -> Iterator[str]:
        if text := self.line(element):
            yield f"{label} {text}"

    def _drawing(self, element: Element, style: _Format) -> Iterator[Piece]:
        """Its description and an equation within the line; its text boxes and charts follow the paragraph."""
        texts = (" ".join((element.findtext(name) or "").split()) for name in ("title", "desc"))
        described = ": ".join(dict.fromkeys(text for text in texts if text))
        if described:
            yield Piece(f" {described} ")
        for child in element:
            if child.tag == "text-box":
                self._following.append(self.blocks(child))
            elif child.tag == "table":  # of a presentation
                content = Element("content")
                content.append(child)
                self._following.append(self.blocks(content))
            elif child.tag == "object":
                yield from self._object(child)
            elif child.tag in DRAWINGS:
                yield from self._drawing(child, style)
            elif child.tag in _NO_DRAWING_TEXT:
                self._left_out[_NO_DRAWING_TEXT[child.tag]] += 1
        if element.tag in _SHAPES:
            self._following.append(self.blocks(element))
        elif element.find("object") is None and element.find("image") is not None:
            self._left_out["pictures without a description"] += not described

    def _object(self, element: Element) -> Iterator[Piece]:
        root = self._package.xml(f"{element.get('href', '').removeprefix('./').rstrip('/')}/content.xml")
        chart = root.find("body/chart/chart")
        if root.tag == "math":
            annotation = root.find(".//annotation")  # as it was typed
            yield Piece(" ".join((annotation if annotation is not None else root).itertext()))
        elif chart is not None:
            self._following.append(self._chart(chart))
        else:
            self._left_out["embedded objects"] += 1

    def _chart(self, chart: Element) -> Iterator[str]:
        for name in ("title", "subtitle", "plot-area"):
            for part in chart.findall(name):
                yield from (text for title in part.iter("p") if (text := " ".join("".join(title.itertext()).split())))
        for table in chart.findall("table"):
            yield table_block(self._package.file, self._rows(table))

    def _control(self, _: Element, __: _Format) -> Iterator[Piece]:
        self._left_out["form fields"] += 1
        return iter(())


_Handler = Callable[[OpenDocumentText, Element, _Format], Iterator[Piece]]
_INLINE: dict[str, _Handler] = {
    "span": OpenDocumentText._span,
    "s": OpenDocumentText._spaces,
    "tab": lambda *_: iter([Piece("\t")]),
    "line-break": lambda *_: iter([Piece("\n")]),
    "a": OpenDocumentText._link,
    "hidden-text": OpenDocumentText._hidden,
    "hidden-paragraph": OpenDocumentText._hidden,
    "ruby": OpenDocumentText._ruby,
    "note": OpenDocumentText._note,
    "annotation": OpenDocumentText._annotation,
    **dict.fromkeys(DRAWINGS, OpenDocumentText._drawing),
    "control": OpenDocumentText._control,
}
_NOT_TEXT = ("annotation-end", "script", "change", "change-start", "change-end")
_NO_DRAWING_TEXT = {
    "plugin": "sounds and films",
    "object-ole": "embedded objects",
    "applet": "embedded objects",
    "floating-frame": "embedded objects",
}


def _table_rows(table: Element) -> Iterator[Element]:
    for child in table:
        if child.tag == "table-row":
            yield child
        elif child.tag in _GROUPS:
            yield from _table_rows(child)
