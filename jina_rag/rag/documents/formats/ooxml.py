"""What Word documents and presentations have in common: parts that refer to each other, drawings and charts."""

import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from xml.etree.ElementTree import Element

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.rag.documents.formats.archives import open_archive, parse_xml
from jina_rag.rag.documents.formats.equations import equation_text
from jina_rag.rag.documents.formats.number_formats import format_value, plain_number
from jina_rag.rag.documents.formats.writing import Piece, Script, join_pieces, linked, table_block
from jina_rag.rag.documents.types import SourceFile

_METADATA = {
    "creator": "author",
    **{name: name for name in ("created", "modified", "title", "subject", "keywords", "description", "category")},
}
"""Names of the core properties (ECMA-376 part 2, section 11), and of the document's metadata."""
_NUMBER = re.compile(r"-?\d{1,17}(?:\.\d{1,17})?(?:[eE][+-]?\d{1,2})?")
_LAST_DATE = 2958465  # 9999-12-31, in days as Excel counts them
MAX_COLUMNS = 63
"""Of a Word table; what claims to span more is not believed."""


class Relation(NamedTuple):
    """What a part refers to.

    Attributes:
        kind: The last word of its type, such as "footnotes".
        target: The name of a part, or an address.
        is_external: Whether it is an address.
    """

    kind: str
    target: str
    is_external: bool

    @property
    def address(self) -> str:
        """The address; empty for a part."""
        return self.target if self.is_external else ""


class OfficePackage:
    """The parts of an Office Open XML file (ECMA-376 part 2), by their names.

    Attributes:
        file: The file that it was opened from.
        main: The name of the part that the document begins with.
        left_out: How many of each kind of thing were left out, by what it is called in a note.
    """

    def __init__(self, file: SourceFile) -> None:
        """Open the file.

        Raises:
            DocumentError: it is damaged, encrypted, a zip bomb or no such file.
        """
        self.file = file
        self.left_out: Counter[str] = Counter()
        self._n_missing = 0
        self._archive = open_archive(file)
        self._names = {name.lower(): name for name in self._archive.namelist()}
        self.main = next((part.target for part in self.relations("").values() if part.kind == "officeDocument"), "")
        if self.main.lower() not in self._names:
            raise DocumentError(f"{file.path} is damaged (it has no main part). Save it again from where it came.")
        self.left_out["macros"] += any("/vbaproject" in name for name in self._names)

    def xml(self, part: str) -> Element:
        """The root of a part; an empty element, counted as lost, if the part isn't there."""
        if name := self._names.get(part.lower()):
            return parse_xml(self.file.path, self._archive.read(name))
        self._n_missing += 1
        return Element("missing")

    def relations(self, part: str) -> Mapping[str, Relation]:
        """What a part refers to, by the ids that it uses; for the name "", what the package begins with."""
        folder, base = posixpath.split(part)
        name = self._names.get(posixpath.join(folder, "_rels", f"{base}.rels").lower())
        if name is None:
            return {}
        found = {}
        for element in parse_xml(self.file.path, self._archive.read(name)):
            target, is_external = element.get("Target", ""), element.get("TargetMode") == "External"
            if not is_external:
                target = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
            kind = element.get("Type", "").rpartition("/")[2]
            found[element.get("Id", "")] = Relation(kind, target, is_external)
        return found

    def related(self, part: str, kind: str) -> Iterator[tuple[str, Element]]:
        """The name and root of each part of a kind that a part refers to."""
        for relation in self.relations(part).values():
            if relation.kind == kind and not relation.is_external:
                yield relation.target, self.xml(relation.target)

    def title(self) -> str:
        """The title in the properties of the document, empty if there is none."""
        return self.metadata().get("title", "")

    def metadata(self) -> dict[str, str]:
        """What the properties of the document say: author, dates, title, subject and the like."""
        properties = [one for _, root in self.related("", "core-properties") for one in root if one.tag in _METADATA]
        texts = {_METADATA[one.tag]: " ".join((one.text or "").split()) for one in properties}
        return {name: text for name, text in texts.items() if text}

    def write_notes(self) -> None:
        """Add to the notes of the file what was left out, and what it lacks."""
        self.file.note_left_out(self.left_out)
        if self._n_missing:
            self.file.notes.append(f"Parts that the file refers to are missing in it: {self._n_missing:,}.")

    def drawn_object(self, element: Element, relations: Mapping[str, Relation]) -> str:
        """The text of a chart or a diagram (SmartArt) that a drawing shows, empty if it shows none."""
        for reference in element.iter():
            if reference.tag == "chart" and (relation := relations.get(reference.get("r:id", ""))):
                root = self.xml(relation.target)
                return _newer_chart(self, root) if relation.kind == "chartEx" else _chart(self, root)
            if reference.tag == "relIds" and (relation := relations.get(reference.get("r:dm", ""))):
                paragraphs = map(paragraph_text, self.xml(relation.target).iter("p"))
                return "\n".join(text for text in paragraphs if text.strip())
        return ""


def chosen(element: Element) -> Element:
    """Which content of an `AlternateContent` a current program shows; any other element as it is."""
    if element.tag != "AlternateContent":
        return element
    found = element.find("Choice")
    return element if found is None else found


def description(element: Element) -> str:
    """The alternative text of a drawing, with its title."""
    texts = (" ".join(element.get(name, "").split()) for name in ("title", "descr"))
    return ": ".join(dict.fromkeys(text for text in texts if text))


def paragraph_text(paragraph: Element, relations: Mapping[str, Relation] | None = None) -> str:
    """The text of a paragraph of DrawingML, which shapes, charts and diagrams hold."""
    return join_pieces(_pieces(paragraph, relations or {}))


def _pieces(paragraph: Element, relations: Mapping[str, Relation]) -> Iterator[Piece]:
    for child in paragraph:
        if child.tag in ("r", "fld"):
            text, properties, link = child.findtext("t") or "", child.find("rPr"), child.find("rPr/hlinkClick")
            raised = "0" if properties is None else properties.get("baseline", "0")
            script: Script = "" if raised.strip("0%") == "" else "_" if raised.startswith("-") else "^"
            is_struck = properties is not None and properties.get("strike", "noStrike") != "noStrike"
            target = relations.get(link.get("r:id", "")) if link is not None else None
            yield Piece(linked(text, target.address if target else ""), "~~" if is_struck else script)
        elif child.tag == "br":
            yield Piece("\n")
        elif child.tag in ("m", "oMath", "oMathPara"):
            yield Piece(equation_text(child))
        elif child.tag == "AlternateContent":
            yield from _pieces(chosen(child), relations)


def _chart(package: OfficePackage, root: Element) -> str:
    """A chart: its titles and labels, and a table of the values of each group of series with the same categories."""
    texts = [text for paragraph in root.iter("p") if (text := paragraph_text(paragraph).strip())]
    texts += [value for title in root.iter("title") for value in _points(title).values()]
    groups: dict[tuple[tuple[str, str], ...], list[tuple[str, dict[str, str]]]] = {}
    for series in root.iter("ser"):
        name = ", ".join(_points(series.find("tx")).values()) or series.findtext("tx/v") or ""
        categories = _points(series.find("cat")) or _points(series.find("xVal"))
        for kind in ("val", "yVal", "bubbleSize"):
            if values := _points(series.find(kind)):
                groups.setdefault(tuple(categories.items()), []).append((name, values))
    for categories_of_group, columns in groups.items():
        labels = dict(categories_of_group)
        places = dict.fromkeys([*labels, *(place for _, values in columns for place in values)])
        rows = ([labels.get(place, ""), *(values.get(place, "") for _, values in columns)] for place in places)
        texts.append(table_block(package.file, _with_header(["", *(name for name, _ in columns)], rows)))
    return "\n\n".join(text for text in texts if text)


def _with_header(header: list[str], rows: Iterator[list[str]]) -> Iterator[list[str]]:
    yield header
    yield from rows


def _points(element: Element | None) -> dict[str, str]:
    """The values that a chart keeps of its cells, by their places; levels of categories are joined."""
    values: dict[str, str] = {}
    for kept in () if element is None else element.iter():
        for point in kept.findall("pt"):
            place, value = point.get("idx", ""), point.findtext("v") or ""
            if kept.tag in ("numCache", "numLit") and _NUMBER.fullmatch(value):
                value = _shown(float(value), point.get("formatCode") or kept.findtext("formatCode") or "General")
            values[place] = f"{value}, {values[place]}" if place in values else value
    return values


def _shown(number: float, code: str) -> str:
    """A number as its format in the chart shows it: a percentage, a date, or as it is."""
    if code == "General":
        return plain_number(number)
    try:
        from openpyxl.styles.numbers import is_date_format
        from openpyxl.utils.datetime import from_excel
    except ImportError as error:
        raise MissingDependencyError.for_extra("openpyxl", "office") from error

    is_date = is_date_format(code) and 0 <= number <= _LAST_DATE
    return format_value(from_excel(number) if is_date else number, code) or plain_number(number)


def _newer_chart(package: OfficePackage, root: Element) -> str:
    """A chart of the kinds that came with Office 2016, such as waterfalls: its titles, a column for each dimension."""
    texts = [text for paragraph in root.iter("p") if (text := paragraph_text(paragraph).strip())]
    for data in root.iter("data"):
        columns = [
            {point.get("idx", ""): point.text or "" for point in dimension.iter("pt")}
            for dimension in data
            if dimension.tag in ("strDim", "numDim")
        ]
        places = dict.fromkeys(place for column in columns for place in column)
        texts.append(table_block(package.file, ([column.get(place, "") for column in columns] for place in places)))
    return "\n\n".join(text for text in texts if text)
