"""Automatic numbers of paragraphs: "2.2", "(a)", "IV."."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from jina_rag.rag.documents.formats.writing import BULLET
from jina_rag.rag.documents.types import SourceFile

MAX_LEVELS = 10
"""Of a list; Word has 9."""
MAX_PATTERN = 200
"""Characters of the text before a paragraph that are kept."""
_MAX_LETTERED, _MAX_ROMAN = 780, 3999
"""Larger numbers are written in digits."""
_ROMAN = (
    *((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL")),
    *((10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")),
)
_PLACE = re.compile("%([1-9])")


@dataclass(frozen=True)
class Level:
    """How the paragraphs of one level of a list are numbered.

    Attributes:
        format_name: As `format_number` takes it.
        pattern: What stands before the text; %1 in it is the number of the first level, %2 that of the second.
        start: The first number.
        restart: The level (from 1) whose paragraphs restart it; 0 for none, None for all above.
        is_legal: Whether all numbers in the pattern are written in digits.
        style: The paragraph style that belongs to it.
    """

    format_name: str
    pattern: str
    start: int = 1
    restart: int | None = None
    is_legal: bool = False
    style: str = ""


@dataclass(frozen=True)
class NumberedList:
    """A list that paragraphs belong to.

    Attributes:
        counters: Names its counters, which it may share with others.
        levels: From 0.
        starts: Where its own first paragraphs set the counters anew, by level.
    """

    counters: str
    levels: Mapping[int, Level]
    starts: Mapping[int, int] = field(default_factory=dict)


class Numbering:
    """Counts the numbered paragraphs of a document, in their order (ECMA-376 part 1, section 17.9).

    Attributes:
        lists: By their names.
        n_unknown: How many numbers were in a format that is not known here, and were written in digits.
    """

    def __init__(self, lists: dict[str, NumberedList]) -> None:
        self.lists = lists
        self.n_unknown = 0
        self._counters: dict[str, dict[int, int]] = {}
        self._started: set[tuple[str, int]] = set()

    def level_of(self, name: str, style: str) -> int:
        """The level of a list that belongs to a paragraph style; 0 if none does."""
        levels = self.lists[name].levels if name in self.lists else {}
        return next((number for number, level in levels.items() if level.style == style), 0)

    def label(self, name: str, level: int, start: int | None = None) -> str:
        """Count a paragraph of a list, and give what is before its text; `BULLET` if that is a sign.

        Args:
            name: Of the list.
            level: Its level, from 0.
            start: The number that it has whatever was before.
        """
        if name not in self.lists or level not in self.lists[name].levels:
            return ""
        numbered = self.lists[name]
        this = numbered.levels[level]
        counters = self._counters.setdefault(numbered.counters, {})
        if start is None and (name, level) not in self._started:
            start = numbered.starts.get(level)
        counters[level] = counters.get(level, this.start - 1) + 1 if start is None else start
        self._started.add((name, level))
        for number, one in numbered.levels.items():
            if number < level:
                counters.setdefault(number, one.start)
            elif number > level and (one.restart is None or level < one.restart):
                counters.pop(number, None)
        if this.format_name == "bullet":
            return BULLET
        return _PLACE.sub(lambda place: self._number(numbered, int(place[1]) - 1, is_legal=this.is_legal), this.pattern)

    def note_guesses(self, file: SourceFile) -> None:
        """Add to the notes of the file how many numbers are written otherwise than in the document."""
        if self.n_unknown:
            file.notes.append(f"Automatic numbers of an uncommon format, written in digits: {self.n_unknown:,}.")

    def _number(self, numbered: NumberedList, level: int, *, is_legal: bool) -> str:
        if level not in numbered.levels:
            return ""
        one = numbered.levels[level]
        number = self._counters[numbered.counters].get(level, one.start)
        text = format_number(number, "decimal" if is_legal else one.format_name)
        if text is None:
            self.n_unknown += 1
            return str(number)
        return text


def word_lists(root: Element, styles: Mapping[str, str]) -> dict[str, NumberedList]:
    """The lists of a Word document by their numbers.

    Args:
        root: The root of its numbering part.
        styles: The list that each numbering style names.
    """
    definitions = {element.get("abstractNumId", ""): element for element in root.findall("abstractNum")}
    used = {element.get("numId", ""): value_of(element, "abstractNumId") for element in root.findall("num")}
    lists = {}
    for element in root.findall("num"):
        abstract = value_of(element, "abstractNumId")
        definition = definitions.get(abstract)
        if definition is not None and (style := value_of(definition, "numStyleLink")):
            abstract = used.get(styles.get(style, ""), abstract)
            definition = definitions.get(abstract)
        overrides = element.findall("lvlOverride")
        levels = [*(() if definition is None else definition), *(level for one in overrides for level in one)]
        starts = {
            integer(one.get("ilvl", ""), 0): integer(value_of(one, "startOverride"), 1)
            for one in overrides
            if one.find("startOverride") is not None
        }
        named = {integer(level.get("ilvl", ""), 0): level for level in levels if level.tag == "lvl"}
        known = {number: _word_level(level) for number, level in named.items() if number < MAX_LEVELS}
        lists[element.get("numId", "")] = NumberedList(abstract, known, starts)
    return lists


def format_number(number: int, format_name: str) -> str | None:
    """A number in one of Word's formats (ST_NumberFormat); None if this one is not known here."""
    match format_name:
        case "decimal":
            return str(number)
        case "decimalZero":
            return f"{number:02}"
        case "upperRoman" | "lowerRoman":
            text = _roman(number) if 0 < number <= _MAX_ROMAN else str(number)
            return text if format_name == "upperRoman" else text.lower()
        case "upperLetter" | "lowerLetter":  # …, y, z, aa, bb
            text = chr(65 + (number - 1) % 26) * ((number + 25) // 26) if 0 < number <= _MAX_LETTERED else str(number)
            return text if format_name == "upperLetter" else text.lower()
        case "none" | "bullet":
            return ""
    return None


def value_of(element: Element, path: str) -> str:
    """The `val` of the first element at a path, empty without one."""
    found = element.find(path)
    return "" if found is None else found.get("val", "")


def integer(text: str, default: int) -> int:
    """A number of at most nine digits, else the default."""
    return int(text) if text.isdecimal() and len(text) <= 9 else default


def _word_level(element: Element) -> Level:
    number_format = element.find("numFmt")
    if number_format is None:  # a custom format, beside what an older program shows
        number_format = element.find(".//Fallback/numFmt")
    pattern = value_of(element, "lvlText")[:MAX_PATTERN]
    space = "" if value_of(element, "suff") == "nothing" else " "
    return Level(
        format_name="decimal" if number_format is None else number_format.get("val", ""),
        pattern=pattern and pattern + space,
        start=integer(value_of(element, "start"), 1),
        restart=integer(value_of(element, "lvlRestart"), 0) if element.find("lvlRestart") is not None else None,
        is_legal=element.find("isLgl") is not None,
        style=value_of(element, "pStyle"),
    )


def _roman(number: int) -> str:
    text = ""
    for value, letters in _ROMAN:
        text += letters * (number // value)
        number %= value
    return text
