"""Web pages, and what else comes as HTML on its way to Markdown."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jina_rag.errors import MissingDependencyError
from jina_rag.rag.documents.formats.decoding import decode
from jina_rag.rag.documents.headings import first_heading
from jina_rag.rag.documents.types import Document, Page, SourceFile

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

_NO_TEXT = ("script", "style")
_LEFT_OUT = {
    "nav": "menus",
    "iframe": "frames with other pages",
    "noscript": "parts for browsers without scripts",
    "template": "templates",
}
"""Elements whose text is not the page's, and their names in notes."""

_METADATA = {
    "author": "author",
    "description": "description",
    "keywords": "keywords",
    "article:published_time": "created",
    "article:modified_time": "modified",
    "dcterms.created": "created",
    "dcterms.modified": "modified",
}
"""Names of `<meta>` (HTML standard, Open Graph, Dublin Core), and of the document's metadata."""

_HIDING_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_ADDRESSES = ("href", "src", "poster")
_DATA_URI = re.compile(r"\s*data:", re.IGNORECASE)


@dataclass(frozen=True)
class HtmlPage:
    """What a page says.

    Attributes:
        title: Of its head; empty if it has none.
        text: As Markdown.
        metadata: Author, dates, description and keywords, as far as its head has them.
        left_out: How many of each kind of thing were left out, by what it is called in a note.
    """

    title: str
    text: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)


def read_html(file: SourceFile) -> Document:
    """A web page as Markdown, its scripts, menus and hidden parts left out."""
    page = html_to_markdown(decode(file), file)
    file.note_left_out(page.left_out)
    title = page.title or first_heading(page.text) or file.path.stem
    return Document(str(file.path), title, (Page(None, page.text),), is_markdown=True, metadata=page.metadata)


def html_to_markdown(html: str, file: SourceFile) -> HtmlPage:
    """A page as Markdown. Nothing is fetched and no script runs.

    Tables repeat their header every few rows and the text of a cell in all cells that it spans. A superscript is
    written as 10^6, a subscript as H_2O and the mark of a footnote as [3].

    Args:
        html: The page.
        file: The file that it is from, whose limit and notes are kept.
    """
    try:
        from jina_rag.rag.documents.formats.html_converter import convert, parse
    except ImportError as error:
        raise MissingDependencyError.for_extra("markdownify", "rag") from error

    soup = parse(html)
    left_out = _take_out(soup) + _write_out(soup)
    titles = [title.extract() for title in soup("title") if title.find_parent("svg") is None]
    title = " ".join(titles[0].get_text().split()) if titles else ""
    return HtmlPage(title, convert(soup, file), _metadata(soup), left_out)


def _metadata(soup: "BeautifulSoup") -> dict[str, str]:
    named = [(str(meta.get("name") or meta.get("property")).lower(), meta.get("content")) for meta in soup("meta")]
    return {_METADATA[name]: str(content) for name, content in named if name in _METADATA and content}


def _take_out(soup: "BeautifulSoup") -> Counter[str]:
    """Remove what is no text of the page; says how many things with text were among that, by name."""
    from bs4 import CData, Comment, Tag
    from bs4.element import PreformattedString

    counts: Counter[str] = Counter()
    parts = [*soup.descendants]
    for special in parts:
        if isinstance(special, PreformattedString) and not isinstance(special, CData):
            counts["comments"] += isinstance(special, Comment) and bool(special.strip())
            special.extract()
    elements = [each for each in parts if isinstance(each, Tag)]
    for element in elements:
        if not element.decomposed and element.name in _NO_TEXT:
            element.decompose()
    for element in elements:
        if element.decomposed:
            continue
        if name := "hidden parts" if _is_hidden(element) else _LEFT_OUT.get(element.name):
            counts[name] += bool(element.get_text(strip=True) or element.get("value"))
            element.decompose()
    return counts


def _is_hidden(element: "Tag") -> bool:
    is_field = element.name == "input" and str(element.get("type")).lower() == "hidden"
    return is_field or element.has_attr("hidden") or bool(_HIDING_STYLE.search(str(element.get("style", ""))))


def _write_out(soup: "BeautifulSoup") -> Counter[str]:
    """Put the texts of pictures and form fields in their place; says how many have none, by name."""
    from bs4 import Tag

    counts: Counter[str] = Counter()
    by_name: defaultdict[str, list[Tag]] = defaultdict(list)
    for element in soup.descendants:
        if isinstance(element, Tag):
            by_name[element.name].append(element)
            counts["embedded files"] += _forget_embedded(element)
    for image in by_name["img"]:
        counts["pictures without a description"] += not image.has_attr("alt")
        image.replace_with(_apart(image.get("alt")))  # its address may be the image itself, in letters
    for area in by_name["area"]:
        area.append(_apart(area.get("alt")))
    for choice in by_name["select"]:
        texts = [("[x] " if each.has_attr("selected") else "") + each.get_text() for each in choice("option")]
        choice.replace_with(_apart(", ".join(texts)))
    for entry in by_name["input"]:
        kind = str(entry.get("type", "text")).lower()
        if kind in ("checkbox", "radio"):
            entry.replace_with("[x] " if entry.has_attr("checked") else "[ ] ")
        elif kind != "password":
            entry.replace_with(_apart(entry.get("value") or entry.get("placeholder") or entry.get("alt")))
    return counts


def _forget_embedded(element: "Tag") -> int:
    """Remove addresses that are files in letters, except those of pictures. Returns how many there were."""
    if element.name == "img":
        return 0
    embedded = [name for name in _ADDRESSES if _DATA_URI.match(str(element.get(name, "")))]
    for name in embedded:
        del element[name]
    return len(embedded)


def _apart(text: object) -> str:
    return f" {text} " if text else ""
