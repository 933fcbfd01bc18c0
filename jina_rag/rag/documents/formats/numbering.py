"""Automatic numbers of a Word document's paragraphs: "2.2", "(a)", "IV."."""

import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element

_MAX_PATTERN = 200
_MAX_LETTERED, _MAX_ROMAN = 780, 3999
"""Larger numbers are written in digits."""
_ROMAN = (
    *((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL")),
    *((10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")),
)
_PLACE = re.compile("%([1-9])")
BULLET = "-"
"""The label of whatever sign a list has before its items."""


@dataclass(frozen=True)
class _Level:
    """How the paragraphs of one level are numbered (CT_Lvl)."""

    start: int
    format_name: str
    pattern: str
    restart: int | None
    is_legal: bool
    style: str

    @classmethod
    def from_xml(cls, element: Element) -> "_Level":
        number_format = element.find("numFmt")
        if number_format is None:  # a custom format, beside what an older program shows
            number_format = element.find(".//Fallback/numFmt")
        space = {"nothing": ""}.get(value_of(element, "suff"), " ")
        pattern = value_of(element, "lvlText")[:_MAX_PATTERN]
        return cls(
            start=integer(value_of(element, "start"), 1),
            format_name="decimal" if number_format is None else number_format.get("val", ""),
            pattern=pattern and pattern + space,
            restart=integer(value_of(element, "lvlRestart"), 0) if element.find("lvlRestart") is not None else None,
            is_legal=element.find("isLgl") is not None,
            style=value_of(element, "pStyle"),
        )


@dataclass(frozen=True)
class _List:
    """A list that paragraphs name (CT_Num): whose counters it shares, its levels, and where it starts anew."""

    abstract: str
    levels: dict[int, _Level]
    starts: dict[int, int]


class Numbering:
    """Counts the numbered paragraphs of a document, in their order (ECMA-376 part 1, section 17.9).

    Attributes:
        n_unknown: How many numbers were in a format that is not known here, and were written in digits.
    """

    def __init__(self, root: Element, styles: dict[str, str]) -> None:
        """Take the lists from a numbering part.

        Args:
            root: The root of the part.
            styles: The list that each numbering style names.
        """
        self.n_unknown = 0
        definitions = {element.get("abstractNumId", ""): element for element in root.findall("abstractNum")}
        used = {element.get("numId", ""): value_of(element, "abstractNumId") for element in root.findall("num")}
        self._lists: dict[str, _List] = {}
        for element in root.findall("num"):
            abstract = value_of(element, "abstractNumId")
            definition = definitions.get(abstract)
            if definition is not None and (style := value_of(definition, "numStyleLink")):
                abstract = used.get(styles.get(style, ""), abstract)
                definition = definitions.get(abstract)
            overrides = element.findall("lvlOverride")
            levels = _levels([*(() if definition is None else definition), *(lvl for one in overrides for lvl in one)])
            starts = {
                integer(one.get("ilvl", ""), 0): integer(value_of(one, "startOverride"), 1)
                for one in overrides
                if one.find("startOverride") is not None
            }
            self._lists[element.get("numId", "")] = _List(abstract, levels, starts)
        self._counters: dict[str, dict[int, int]] = {}
        self._started: set[tuple[str, int]] = set()

    def level_of(self, list_id: str, style: str) -> int:
        """The level of a list that belongs to a paragraph style; 0 if none does."""
        levels = self._lists[list_id].levels if list_id in self._lists else {}
        return next((number for number, level in levels.items() if level.style == style), 0)

    def label(self, list_id: str, level: int) -> str:
        """Count a paragraph of a list, and give what stands before its text; `BULLET` if that is a sign."""
        if list_id not in self._lists or level not in self._lists[list_id].levels:
            return ""
        numbered = self._lists[list_id]
        this = numbered.levels[level]
        counters = self._counters.setdefault(numbered.abstract, {})
        if level in numbered.starts and (list_id, level) not in self._started:
            counters[level] = numbered.starts[level]
        elif level in counters:
            counters[level] += 1
        else:
            counters[level] = this.start
        self._started.add((list_id, level))
        for number, one in numbered.levels.items():
            if number < level:
                counters.setdefault(number, one.start)
            elif number > level and (one.restart is None or level < one.restart):
                counters.pop(number, None)
        if this.format_name == "bullet":
            return BULLET
        return _PLACE.sub(lambda place: self._number(numbered, int(place[1]) - 1, is_legal=this.is_legal), this.pattern)

    def _number(self, numbered: _List, level: int, *, is_legal: bool) -> str:
        if level not in numbered.levels:
            return ""
        one = numbered.levels[level]
        number = self._counters[numbered.abstract].get(level, one.start)
        text = format_number(number, "decimal" if is_legal else one.format_name)
        if text is None:
            self.n_unknown += 1
            return str(number)
        return text


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


def _levels(elements: list[Element]) -> dict[int, _Level]:
    return {integer(one.get("ilvl", ""), 0): _Level.from_xml(one) for one in elements if one.tag == "lvl"}


def _roman(number: int) -> str:
    text = ""
    for value, letters in _ROMAN:
        text += letters * (number // value)
        number %= value
    return text
