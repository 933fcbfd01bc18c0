"""PowerPoint presentations: all that a slide shows, its notes and comments."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

from jina_rag.rag.documents.formats.numbering import format_number, integer
from jina_rag.rag.documents.formats.ooxml import (
    MAX_COLUMNS,
    OfficePackage,
    Relation,
    chosen,
    description,
    paragraph_text,
)
from jina_rag.rag.documents.formats.writing import escape_blocks, table_block
from jina_rag.rag.documents.headings import first_heading
from jina_rag.rag.documents.types import Document, Page, SourceFile

_SHAPES = ("sp", "pic", "graphicFrame", "grpSp", "cxnSp", "contentPart", "AlternateContent")
_TITLES = ("title", "ctrTitle")
_NUMBER_SCHEME = re.compile("(alphaLc|alphaUc|arabic|romanLc|romanUc)(ParenBoth|ParenR|Period|Plain)")
_NUMBER_FORMATS = {
    "alphaLc": "lowerLetter",
    "alphaUc": "upperLetter",
    "arabic": "decimal",
    "romanLc": "lowerRoman",
    "romanUc": "upperRoman",
}
_NUMBER_PATTERNS = {"ParenBoth": "({})", "ParenR": "{})", "Period": "{}.", "Plain": "{}"}
_MAX_NAMED = 20
"""Hidden slides that a note names."""


def read_pptx(file: SourceFile) -> Document:
    """A presentation, a page for each slide: its texts from top to bottom, tables, charts' numbers, notes and comments.

    What a layout shows on all its slides is read with the first of them.
    """
    package = OfficePackage(file)
    show = _Show(package)
    slides = file.up_to_limit(show.slides(), len)
    pages = tuple(Page(number, text) for number, text in enumerate(slides, start=1))
    note_hidden_slides(file, show.hidden)
    package.write_notes()
    title = package.title() or next((first_heading(page.text) for page in pages[:1]), None)
    return Document(str(file.path), title or file.path.stem, pages, is_markdown=True, metadata=package.metadata())


def note_hidden_slides(file: SourceFile, numbers: Sequence[int]) -> None:
    """Add a note on slides that are hidden and were read."""
    if numbers:
        named = ", ".join(map(str, numbers[:_MAX_NAMED])) + ", …" * (len(numbers) > _MAX_NAMED)
        file.notes.append(f"Slides that are hidden in the show were read: {named}.")


class _Place(NamedTuple):
    """Where a shape is, in English Metric Units from the top left corner."""

    top: int
    left: int


class _Show:
    """The slides of a presentation, and what they share.

    Attributes:
        hidden: The numbers of the hidden slides that were read.
    """

    def __init__(self, package: OfficePackage) -> None:
        self.hidden: list[int] = []
        self._package = package
        self._relations = package.relations(package.main)
        self._authors = {
            author.get("id", ""): " ".join(author.get("name", "").split())
            for kind in ("commentAuthors", "authors")
            for _, root in package.related(package.main, kind)
            for author in root
        }
        self._layouts: dict[str, tuple[dict[str, _Place], str]] = {}
        self._shown: set[str] = set()

    def slides(self) -> Iterator[str]:
        """The text of each slide."""
        root = self._package.xml(self._package.main)
        names = (entry.get("r:id", "") for entry in root.findall("sldIdLst/sldId"))
        parts = (self._relations[name].target for name in names if name in self._relations)
        for number, part in enumerate(parts, start=1):
            yield self._slide(part, number)

    def _slide(self, part: str, number: int) -> str:
        root = self._package.xml(part)
        relations = self._package.relations(part)
        if root.get("show", "1") in ("0", "false"):
            self.hidden.append(number)
        layout = next((one.target for one in relations.values() if one.kind == "slideLayout"), "")
        places, background = self._layout(layout) if layout else ({}, "")
        slide = _Drawing(self._package, relations, places)
        texts = list(slide.texts(root))
        if background and layout not in self._shown:
            self._shown.add(layout)
            texts.append(background)
        for _, notes in self._package.related(part, "notesSlide"):
            text = "\n\n".join(_Drawing(self._package, {}, {}, skipped=("sldNum", "sldImg")).texts(notes))
            texts += [f"Notes: {text}"] if text else []
        for _, comments in self._package.related(part, "comments"):
            texts += map(self._comment, (one for one in comments.iter() if one.tag in ("cm", "reply")))
        return "\n\n".join(texts)

    def _comment(self, comment: Element) -> str:
        author = self._authors.get(comment.get("authorId", ""))
        body = [paragraph_text(paragraph) for paragraph in comment.findall("txBody/p")]
        text = comment.findtext("text") or "\n".join(body)
        return f"Comment by {author}: {text}" if author else f"Comment: {text}"

    def _layout(self, part: str) -> tuple[dict[str, _Place], str]:
        """The places of a layout's placeholders, those of its master included, and what it shows on all slides."""
        if part not in self._layouts:
            root, relations = self._package.xml(part), self._package.relations(part)
            master = next((one.target for one in relations.values() if one.kind == "slideMaster"), "")
            places, text = self._layout(master) if master and master != part else ({}, "")
            drawing = _Drawing(self._package, relations, places, skipped=None)
            own = dict(_placeholders(root))
            texts = [text if root.get("showMasterSp", "1") != "0" else "", *drawing.texts(root)]
            self._layouts[part] = places | own, "\n\n".join(dict.fromkeys(text for text in texts if text))
        return self._layouts[part]


class _Drawing:
    """The shapes of a slide, of its notes or of a layout.

    Args:
        package: The presentation.
        relations: What the slide refers to.
        places: Where the placeholders of its layout are, which its own are filled in for.
        skipped: The kinds of placeholders whose text is not content; None for all.
    """

    def __init__(
        self,
        package: OfficePackage,
        relations: Mapping[str, Relation],
        places: Mapping[str, _Place],
        skipped: tuple[str, ...] | None = ("sldNum",),
    ) -> None:
        self._package = package
        self._relations = relations
        self._places = places
        self._skipped = skipped

    def texts(self, root: Element) -> Iterator[str]:
        """The texts of the shapes: the title, then from top to bottom."""
        tree = root.find("cSld/spTree")
        shapes = [] if tree is None else list(_shapes(tree))
        for shape in sorted(shapes, key=self._order):
            if _kind(shape) in _TITLES and self._skipped is not None and (text := _body_text(shape, self._relations)):
                yield f"# {' '.join(text.split())}"
                yield from self._description(shape, text)
            else:
                yield from self._shape_texts(shape)

    def _order(self, shape: Element) -> tuple[bool, _Place]:
        return _kind(shape) not in _TITLES, _place(shape) or self._inherited(shape)

    def _inherited(self, shape: Element) -> _Place:
        names = _placeholder_names(shape)
        return next((self._places[name] for name in names if name in self._places), _Place(0, 0))

    def _shape_texts(self, shape: Element) -> Iterator[str]:
        properties = shape.find("*/cNvPr")
        if properties is not None and properties.get("hidden", "0") in ("1", "true"):
            self._package.left_out["hidden shapes"] += 1
            return
        if (kind := _kind(shape)) and (self._skipped is None or kind in self._skipped):
            return
        texts = [text for text in self._contents(shape) if text.strip()]
        yield from texts
        yield from self._description(shape, *texts)

    def _contents(self, shape: Element) -> Iterator[str]:
        if shape.tag == "grpSp":
            for inner in _shapes(shape):
                yield from self._shape_texts(inner)
        elif shape.tag == "graphicFrame":
            table = shape.find(".//tbl")
            if table is not None:
                yield table_block(self._package.file, _rows(table, self._relations))
            yield self._package.drawn_object(shape, self._relations)
            self._package.left_out["embedded objects"] += shape.find(".//oleObj") is not None
        elif shape.tag == "contentPart":
            self._package.left_out["handwritten drawings"] += 1
        else:
            yield _body_text(shape, self._relations)

    def _description(self, shape: Element, *texts: str) -> Iterator[str]:
        """The alternative text of a shape, unless its text is the same."""
        properties = shape.find("*/cNvPr")
        text = "" if properties is None else description(properties)
        if text and text not in texts:
            yield text
        if shape.tag == "pic":
            is_media = any(one.tag in ("videoFile", "audioFile", "wavAudioFile") for one in shape.iter())
            self._package.left_out["sounds and films"] += is_media
            self._package.left_out["pictures without a description"] += not text and not is_media


def _shapes(parent: Element) -> Iterator[Element]:
    for child in parent:
        if child.tag == "AlternateContent":
            yield from _shapes(chosen(child))
        elif child.tag in _SHAPES:
            yield child


def _kind(shape: Element) -> str:
    """The kind of placeholder that a shape fills in, empty if it is none."""
    placeholder = shape.find("*/nvPr/ph")
    return "" if placeholder is None else placeholder.get("type", "obj")


def _placeholder_names(shape: Element) -> tuple[str, ...]:
    """How a placeholder is found in a layout: by its number or its kind, and by its kind in a master."""
    placeholder = shape.find("*/nvPr/ph")
    if placeholder is None:
        return ()
    kind = _kind(shape)
    return f"#{placeholder.get('idx', kind)}", kind, {"ctrTitle": "title"}.get(kind, "body")


def _place(shape: Element) -> _Place | None:
    for path in ("spPr/xfrm/off", "grpSpPr/xfrm/off", "xfrm/off"):
        if (offset := shape.find(path)) is not None:
            return _Place(int(offset.get("y", "0")), int(offset.get("x", "0")))
    return None


def _placeholders(root: Element) -> Iterator[tuple[str, _Place]]:
    """The places of all placeholders of a layout, by each of their names."""
    tree = root.find("cSld/spTree")
    for shape in () if tree is None else _shapes(tree):
        if place := _place(shape):
            yield from ((name, place) for name in _placeholder_names(shape)[:2])


def _rows(table: Element, relations: Mapping[str, Relation]) -> Iterator[list[str]]:
    """The cells of each row, what is merged repeated."""
    above: list[str] = []
    for row in table.findall("tr"):
        cells: list[str] = []
        for cell in row.findall("tc")[:MAX_COLUMNS]:
            text = _body_text(cell, relations)
            if not text and cell.get("hMerge", "0") in ("1", "true") and cells:
                text = cells[-1]
            elif not text and cell.get("vMerge", "0") in ("1", "true") and len(cells) < len(above):
                text = above[len(cells)]
            cells.append(text)
        above = cells
        yield cells


def _body_text(shape: Element, relations: Mapping[str, Relation]) -> str:
    """The paragraphs of a shape or cell, a line for each, with their automatic numbers."""
    lines = []
    counts: dict[int, int] = {}
    for paragraph in shape.findall("txBody/p"):
        text = paragraph_text(paragraph, relations).replace("\v", "\n")
        properties = paragraph.find("pPr")
        level = 0 if properties is None else min(integer(properties.get("lvl", ""), 0), 8)
        scheme = paragraph.find("pPr/buAutoNum")
        counts = {one: count for one, count in counts.items() if one < level or (one == level and scheme is not None)}
        if scheme is not None and text.strip():
            counts[level] = counts.get(level, integer(scheme.get("startAt", ""), 1) - 1) + 1
            text = f"{_number(counts[level], scheme.get('type', ''))} {text}"
        lines.append(text)
    return escape_blocks("\n".join(lines).strip("\n"))


def _number(number: int, scheme: str) -> str:
    """A number as its scheme (ST_TextAutonumberScheme) writes it; in digits and with a period if it is a rare one."""
    match = _NUMBER_SCHEME.fullmatch(scheme)
    text = format_number(number, _NUMBER_FORMATS[match[1]]) if match else None
    return _NUMBER_PATTERNS[match[2] if match else "Period"].format(text or number)
