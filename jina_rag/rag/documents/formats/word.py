"""Word documents: all that a reader of the printed document sees, and the comments."""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeVar
from xml.etree.ElementTree import Element

from jina_rag.rag.documents.formats.equations import equation_text
from jina_rag.rag.documents.formats.numbering import Numbering, format_number, integer, value_of, word_lists
from jina_rag.rag.documents.formats.ooxml import MAX_COLUMNS, OfficePackage, Relation, chosen, description
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

T = TypeVar("T")

_WRAPPERS = ("AlternateContent", "customXml", "ins", "moveTo", "sdt", "sdtContent", "smartTag")
_DELETED = ("del", "moveFrom")
_HEADING = re.compile(r"heading ([1-9])|title")
_LINK_FIELD = re.compile(r'\s*HYPERLINK\s+"([^"]{1,2000})"')
_NOTE_FORMATS = {"footnote": "decimal", "endnote": "lowerRoman"}
_CHECK_MARKS = {0x6F: "☐", 0xA8: "☐", 0xFB: "✗", 0xFC: "✓", 0xFD: "☒", 0xFE: "☑"}
"""The characters of the font Wingdings that forms are filled in with."""
_SCRIPTS: dict[str, Script] = {"superscript": "^", "subscript": "_"}
_MAX_CHAIN = 30  # styles that are derived from each other
_OFF = ("0", "false", "off")


def read_docx(file: SourceFile) -> Document:
    """A Word document as Markdown.

    Footnotes, comments, text boxes and charts follow the paragraph that they belong to, headers and footers come
    first. Automatic numbers are counted as Word does. Insertions that are not accepted yet are text, deletions and
    hidden text are not.
    """
    package = OfficePackage(file)
    body = _Body(package)
    text = join_blocks(file.up_to_limit(body.blocks(), len))
    body.note_guesses()
    package.write_notes()
    title = first_heading(text) or package.title() or file.path.stem
    return Document(str(file.path), title, (Page(None, text),), is_markdown=True, metadata=package.metadata())


class _Format(NamedTuple):
    """What of a run's formatting changes its text."""

    is_hidden: bool = False
    script: Script = ""

    def updated(self, properties: Element | None) -> "_Format":
        if properties is None:
            return self
        hidden, raised = properties.find("vanish"), properties.find("vertAlign")
        script = self.script
        if raised is not None:
            script = _SCRIPTS.get(raised.get("val", ""), "")
        elif any(_is_on(properties.find(name)) for name in ("strike", "dstrike")):
            script = "~~"
        return _Format(self.is_hidden if hidden is None else _is_on(hidden), script)


class _Style(NamedTuple):
    """What a style gives to its paragraphs: the level as a heading, a list and a level in it, a format."""

    heading: int = 0
    list_id: str = ""
    list_level: int | None = None
    format: _Format = _Format()


class _Styles:
    def __init__(self, root: Element) -> None:
        self._elements = {element.get("styleId", ""): element for element in root.findall("style")}
        self._known: dict[str, _Style] = {}
        self.lists = {name: value_of(one, "pPr/numPr/numId") for name, one in self._elements.items()}

    def get(self, name: str) -> _Style:
        if name not in self._known:
            chain = [name]
            while (base := value_of(self._element(chain[-1]), "basedOn")) and len(chain) < _MAX_CHAIN:
                chain.append(base)
            style = _Style()
            for one in reversed(chain):
                style = self._derived(style, one)
            self._known[name] = style
        return self._known[name]

    def _element(self, name: str) -> Element:
        return self._elements.get(name, Element("style"))

    def _derived(self, base: _Style, name: str) -> _Style:
        element = self._element(name)
        heading = base.heading
        if match := _HEADING.fullmatch(value_of(element, "name").lower()):
            heading = min(6, int(match[1] or 1))
        elif outline := value_of(element, "pPr/outlineLvl"):
            heading = _heading_level(outline)
        level = value_of(element, "pPr/numPr/ilvl")
        return _Style(
            heading,
            value_of(element, "pPr/numPr/numId") or base.list_id,
            integer(level, 0) if level else base.list_level,
            base.format.updated(element.find("rPr")),
        )


class _Body:
    """The text of a document, block by block."""

    def __init__(self, package: OfficePackage) -> None:
        self._package = package
        self._file = package.file
        self._left_out = package.left_out
        self._root = package.xml(package.main)
        self._relations = package.relations(package.main)
        self._styles = _Styles(self._only("styles"))
        self._numbering = Numbering(word_lists(self._only("numbering"), self._styles.lists))
        self._notes: dict[tuple[str, str], tuple[Mapping[str, Relation], Element]] = {}
        for kind in ("footnote", "endnote", "comment"):
            for part, root in package.related(package.main, f"{kind}s"):
                relations = package.relations(part)
                self._notes |= {(kind, note.get("id", "")): (relations, note) for note in root.findall(kind)}
        settings = self._only("settings")
        self._note_formats = {
            kind: value_of(settings, f"{kind}Pr/numFmt") or value_of(self._root, f".//sectPr/{kind}Pr/numFmt") or usual
            for kind, usual in _NOTE_FORMATS.items()
        }
        self._n_symbols = 0
        self._n_notes: Counter[str] = Counter()
        self._following: deque[Iterator[str]] = deque()  # what comes after the paragraph or table that is being read
        self._link = ""
        self._carried = ""
        self._list_depth = -1

    def blocks(self) -> Iterator[str]:
        for kind in ("header", "footer"):
            names = (one.get("r:id", "") for one in self._root.iter(f"{kind}Reference"))
            parts = dict.fromkeys(self._relations[name].target for name in names if name in self._relations)
            texts = (self._line_of(part) for part in parts)
            yield from (f"{kind.capitalize()}: {text}" for text in dict.fromkeys(texts) if text)
            yield from self._followers()
        body = self._root.find("body")
        if body is not None:
            yield from self._blocks(body)

    def note_guesses(self) -> None:
        """Add to the notes of the file what is written otherwise than Word shows it."""
        self._numbering.note_guesses(self._file)
        if self._n_symbols:
            self._file.notes.append(f"Characters of symbol fonts, written as \ufffd: {self._n_symbols:,}.")

    def _only(self, kind: str) -> Element:
        return next((root for _, root in self._package.related(self._package.main, kind)), Element("none"))

    def _followers(self) -> Iterator[str]:
        while self._following:
            yield from self._following.popleft()

    def _blocks(self, parent: Element) -> Iterator[str]:
        for item in self._items(parent, "p", "tbl"):
            if item.tag == "p":
                if text := self._paragraph(item):
                    yield text
            else:
                yield from self._table(item)
            yield from self._followers()

    def _items(self, parent: Element, *names: str) -> Iterator[Element]:
        """The next elements of these names below, deleted ones left out."""
        for child in parent:
            if child.tag in names:
                yield child
            elif child.tag in _DELETED:
                self._left_out["tracked deletions"] += 1
            elif child.tag in ("altChunk", "subDoc"):
                self._left_out["embedded objects"] += 1
            elif child.tag in _WRAPPERS:
                yield from self._items(chosen(child), *names)

    # Paragraphs.

    def _paragraph(self, element: Element) -> str:
        """A paragraph as Markdown."""
        label, text = self._labelled(element)
        level = self._style(element).heading
        if outline := value_of(element, "pPr/outlineLvl"):
            level = _heading_level(outline)
        if not text:
            return ""
        if level:
            self._list_depth = -1
            return f"{'#' * level} {label}{' '.join(text.split())}"
        if label != BULLET:
            self._list_depth = -1
            return label + text if label else escape_blocks(text)
        depth = integer(value_of(element, "pPr/numPr/ilvl"), 0)
        self._list_depth = min(depth, self._list_depth + 1)
        return list_item(text, self._list_depth)

    def _labelled(self, element: Element) -> tuple[str, str]:
        """The number of a paragraph, with the space after it, and its text."""
        style = self._style(element)
        text = self._carried + join_pieces(self._inline(element, style.format))
        mark = element.find("pPr/rPr")
        if mark is not None and any(mark.find(name) is not None for name in _DELETED):
            self._carried = text  # with its mark deleted, it goes on in the next
            return "", ""
        self._carried = ""
        text = trim_lines(text)
        if not text and mark is not None and _is_on(mark.find("vanish")):
            return "", ""
        return self._label(element, style), text

    def _style(self, element: Element) -> _Style:
        return self._styles.get(value_of(element, "pPr/pStyle"))

    def _label(self, element: Element, style: _Style) -> str:
        list_id = value_of(element, "pPr/numPr/numId") or style.list_id
        if not list_id:
            return ""
        level = value_of(element, "pPr/numPr/ilvl")
        if level:
            return self._numbering.label(list_id, integer(level, 0))
        if style.list_level is not None and element.find("pPr/numPr/numId") is None:
            return self._numbering.label(list_id, style.list_level)
        return self._numbering.label(list_id, self._numbering.level_of(list_id, value_of(element, "pPr/pStyle")))

    def _line(self, parent: Element) -> str:
        """All text below, in one line: that of a cell, a note or a header."""
        texts = []
        for item in self._items(parent, "p", "tbl"):
            if item.tag == "p":
                label, text = self._labelled(item)
                texts.append(f"{label} {text}" if label == BULLET else label + text)
            else:
                texts += [self._line(cell) for row in self._rows(item) for cell in self._items(row, "tc")]
        return " ".join(" ".join(texts).split())

    def _line_of(self, part: str) -> str:
        return self._within(self._package.relations(part), lambda: self._line(self._package.xml(part)))

    def _within(self, relations: Mapping[str, Relation], read: Callable[[], T]) -> T:
        """What is read of another part, which has relations of its own."""
        outside, self._relations = self._relations, relations
        try:
            return read()
        finally:
            self._relations = outside

    # Tables.

    def _table(self, element: Element) -> Iterator[str]:
        rows = list(self._rows(element))
        cells = [cell for row in rows for cell in self._items(row, "tc")]
        if len(cells) == 1:  # a frame around text
            yield from self._blocks(cells[0])
        elif table := table_block(self._file, self._texts(rows)):
            yield table

    def _rows(self, table: Element) -> Iterator[Element]:
        for row in self._items(table, "tr"):
            if row.find("trPr/del") is None:
                yield row
            else:
                self._left_out["tracked deletions"] += 1

    def _texts(self, rows: list[Element]) -> Iterator[list[str]]:
        """The texts of the cells of each row, what is merged repeated."""
        above: list[str] = []
        for row in rows:
            cells = [""] * min(integer(value_of(row, "trPr/gridBefore"), 0), MAX_COLUMNS)
            for cell in self._items(row, "tc"):
                text = self._line(cell)
                merged = cell.find("tcPr/vMerge")
                if merged is not None and merged.get("val") != "restart" and not text and len(cells) < len(above):
                    text = above[len(cells)]
                cells += [text] * min(integer(value_of(cell, "tcPr/gridSpan"), 1), MAX_COLUMNS)
            above = cells
            yield cells

    # What is within a line.

    def _inline(self, parent: Element, style: _Format) -> Iterator[Piece]:
        for child in parent:
            if child.tag == "t":
                if not style.is_hidden:
                    yield Piece(child.text or "", style.script)
                elif child.text:
                    self._left_out["stretches of hidden text"] += 1
            elif child.tag in _DELETED:
                self._left_out["tracked deletions"] += 1
            elif child.tag in _CHARACTERS:
                yield Piece(_CHARACTERS[child.tag])
            elif child.tag in _INLINE:
                yield from _INLINE[child.tag](self, child, style)
            elif not child.tag.endswith("Pr"):
                yield from self._inline(child, style)

    def _run(self, element: Element, style: _Format) -> Iterator[Piece]:
        properties = element.find("rPr")
        if name := value_of(element, "rPr/rStyle"):
            of_style = self._styles.get(name).format
            style = _Format(style.is_hidden or of_style.is_hidden, of_style.script or style.script)
        yield from self._inline(element, style.updated(properties))

    def _choice(self, element: Element, style: _Format) -> Iterator[Piece]:
        yield from self._inline(chosen(element), style)

    def _equation(self, element: Element, _: _Format) -> Iterator[Piece]:
        yield Piece(equation_text(element))

    def _hyperlink(self, element: Element, style: _Format) -> Iterator[Piece]:
        text = join_pieces(self._inline(element, style))
        relation = self._relations.get(element.get("r:id", ""))
        yield Piece(linked(text, relation.address if relation else ""))

    def _field(self, element: Element, _: _Format) -> Iterator[Piece]:
        """The address of a link that is written as a field, and what legacy form fields are set to."""
        if element.tag == "instrText":
            if match := _LINK_FIELD.match(element.text or ""):
                self._link = match[1]
        elif element.get("fldCharType") == "end" and self._link:
            yield Piece(f" ({self._link})")
            self._link = ""
        if (box := element.find("ffData/checkBox")) is not None:
            is_on = box.find("checked")
            yield Piece("☒" if _is_on(box.find("default") if is_on is None else is_on) else "☐")
        if (choice := element.find("ffData/ddList")) is not None:
            entries = choice.findall("listEntry")
            number = integer(value_of(choice, "result") or value_of(choice, "default"), 0)
            yield Piece(entries[number].get("val", "") if number < len(entries) else "")

    def _symbol(self, element: Element, style: _Format) -> Iterator[Piece]:
        code = int(element.get("char", "")[:4] or "fffd", 16)
        text = chr(code)
        if 0xF000 <= code <= 0xF0FF:  # its place in the font
            text = _CHECK_MARKS.get(code - 0xF000, "") if element.get("font", "").lower() == "wingdings" else ""
            self._n_symbols += not text
        yield Piece(text or "\ufffd", style.script)

    def _ruby(self, element: Element, style: _Format) -> Iterator[Piece]:
        """A word with the help to pronounce it that stands above."""
        for name, pattern in (("rubyBase", "{}"), ("rt", "({})")):
            if (part := element.find(name)) is not None:
                yield Piece(pattern.format(join_pieces(self._inline(part, style))))

    def _note_reference(self, element: Element, _: _Format) -> Iterator[Piece]:
        kind = element.tag.removesuffix("Reference")
        label = "Note:"
        if element.get("customMarkFollows", "0") in _OFF:
            self._n_notes[kind] += 1
            number = self._n_notes[kind]
            label = f"[{format_number(number, self._note_formats[kind]) or number}]"
            yield Piece(label)
        self._follow_with_note(kind, element.get("id", ""), label)

    def _comment_reference(self, element: Element, _: _Format) -> Iterator[Piece]:
        number = element.get("id", "")
        comment = self._notes.get(("comment", number), ({}, Element("none")))[1]
        author = " ".join(comment.get("author", "").split())
        self._follow_with_note("comment", number, f"Comment by {author}:" if author else "Comment:")
        return iter(())

    def _follow_with_note(self, kind: str, number: str, label: str) -> None:
        if (kind, number) in self._notes:
            relations, note = self._notes.pop((kind, number))
            self._following.append(self._note(label, relations, note))

    def _note(self, label: str, relations: Mapping[str, Relation], note: Element) -> Iterator[str]:
        if text := self._within(relations, lambda: self._line(note)):
            yield f"{label} {text}"

    def _drawing(self, element: Element, style: _Format) -> Iterator[Piece]:
        """Its description, within the line; its text boxes, charts and diagrams follow the paragraph."""
        parts = list(_drawn(element))
        if style.is_hidden or any(part.get("hidden", "0") not in _OFF for part in parts if part.tag == "docPr"):
            self._left_out["stretches of hidden text"] += 1
            return
        texts = [description(part) for part in parts if part.tag in ("docPr", "cNvPr")]
        texts += [part.get("alt", "") or part.get("string", "") for part in parts if part.tag in _VML_SHAPES]
        texts = list(dict.fromkeys(text for text in texts if text))
        boxes = [part for part in parts if part.tag == "txbxContent"]
        self._following.extend(self._box(box, self._relations) for box in boxes)
        if any(part.tag in ("chart", "relIds") for part in parts):
            self._following.append(self._object_text(element, self._relations))
        is_picture = element.tag != "object" and any(part.tag in ("pic", "imagedata") for part in parts)
        self._left_out["pictures without a description"] += is_picture and not texts
        self._left_out["embedded objects"] += any(part.tag == "OLEObject" for part in parts)
        self._left_out["form fields"] += any(part.tag == "control" for part in parts)
        self._left_out["handwritten drawings"] += any(part.tag == "contentPart" for part in parts)
        if texts:
            yield Piece(f" {'; '.join(texts)} ")

    def _box(self, element: Element, relations: Mapping[str, Relation]) -> Iterator[str]:
        yield from self._within(relations, lambda: list(self._blocks(element)))

    def _object_text(self, element: Element, relations: Mapping[str, Relation]) -> Iterator[str]:
        if text := self._package.drawn_object(element, relations):
            yield text


_Handler = Callable[[_Body, Element, _Format], Iterator[Piece]]
_INLINE: dict[str, _Handler] = {
    "r": _Body._run,
    "AlternateContent": _Body._choice,
    "hyperlink": _Body._hyperlink,
    "instrText": _Body._field,
    "fldChar": _Body._field,
    "sym": _Body._symbol,
    "ruby": _Body._ruby,
    **dict.fromkeys(("oMath", "oMathPara"), _Body._equation),
    **dict.fromkeys(("footnoteReference", "endnoteReference"), _Body._note_reference),
    "commentReference": _Body._comment_reference,
    **dict.fromkeys(("drawing", "pict", "object"), _Body._drawing),
}
_CHARACTERS = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_VML_SHAPES = ("shape", "rect", "roundrect", "oval", "line", "textpath", "imagedata")


def _drawn(element: Element) -> Iterator[Element]:
    """All elements of a drawing, a text box as one without what is in it."""
    for child in chosen(element):
        yield child
        if child.tag != "txbxContent":
            yield from _drawn(child)


def _heading_level(outline: str) -> int:
    """The level of a heading from an outline level, where 9 is ordinary text."""
    level = integer(outline, 9)
    return min(6, level + 1) if level < 9 else 0


def _is_on(element: Element | None) -> bool:
    return element is not None and element.get("val", "1") not in _OFF
