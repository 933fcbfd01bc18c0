"""Equations of office documents as one line of text.

From Office Math Markup Language (ECMA-376 part 1, section 22.1) to UnicodeMath, its linear form (Unicode Technical
Note 28), with matrices as rows between brackets.
"""

from collections.abc import Callable
from xml.etree.ElementTree import Element

from jina_rag.rag.documents.formats.writing import write_script


def equation_text(element: Element | None) -> str:
    """An equation, or any part of one, as text: (a+b)/2, x_i^2, √(x), ∑_(i=1)^n i."""
    if element is None or element.tag.endswith("Pr"):
        return ""
    if element.tag == "t":
        return element.text or ""
    write = _WRITERS.get(element.tag)
    return write(element) if write else "".join(map(equation_text, element))


def _part(element: Element, name: str) -> str:
    return equation_text(element.find(name)).strip()


def _property(element: Element, name: str, default: str) -> str:
    found = element.find(f"{element.tag}Pr/{name}")
    return default if found is None else found.get("val", "")


def _operand(element: Element, name: str) -> str:
    text = _part(element, name)
    return text if text.isalnum() else f"({text})"


def _scripts(element: Element) -> str:
    return write_script(_part(element, "sub"), "_") + write_script(_part(element, "sup"), "^")


def _radical(element: Element) -> str:
    degree = _part(element, "deg")
    return f"√({degree}&{_part(element, 'e')})" if degree else f"√({_part(element, 'e')})"


def _delimited(element: Element) -> str:
    inner = _property(element, "sepChr", "|").join(equation_text(part).strip() for part in element.findall("e"))
    return f"{_property(element, 'begChr', '(')}{inner}{_property(element, 'endChr', ')')}"


def _matrix(element: Element) -> str:
    rows = (", ".join(equation_text(cell).strip() for cell in row.findall("e")) for row in element.findall("mr"))
    return f"[{'; '.join(rows)}]"


_WRITERS: dict[str, Callable[[Element], str]] = {
    "f": lambda element: f"{_operand(element, 'num')}/{_operand(element, 'den')}",
    "sSup": lambda element: _part(element, "e") + _scripts(element),
    "sSub": lambda element: _part(element, "e") + _scripts(element),
    "sSubSup": lambda element: _part(element, "e") + _scripts(element),
    "sPre": lambda element: _scripts(element) + _part(element, "e"),
    "rad": _radical,
    "d": _delimited,
    "m": _matrix,
    "nary": lambda element: f"{_property(element, 'chr', '∫')}{_scripts(element)} {_part(element, 'e')}",
    "func": lambda element: f"{_part(element, 'fName')} {_part(element, 'e')}",
    "limLow": lambda element: _part(element, "e") + write_script(_part(element, "lim"), "_"),
    "limUpp": lambda element: _part(element, "e") + write_script(_part(element, "lim"), "^"),
    "acc": lambda element: _part(element, "e") + _property(element, "chr", "\u0302"),
    "bar": lambda element: _part(element, "e") + ("\u0305" if _property(element, "pos", "bot") == "top" else "\u0332"),
    "eqArr": lambda element: "; ".join(equation_text(part).strip() for part in element.findall("e")),
}
