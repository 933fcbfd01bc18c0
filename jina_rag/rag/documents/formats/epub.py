"""Electronic books."""

import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote
from zipfile import ZipFile

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.rag.documents.formats.archives import open_archive
from jina_rag.rag.documents.formats.decoding import decode
from jina_rag.rag.documents.formats.html import html_to_markdown
from jina_rag.rag.documents.types import Document, Page, SourceFile

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_PAGE_TYPES = ("application/xhtml+xml", "text/html", "image/svg+xml")
_DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"
_METADATA = {"creator": "author", "date": "created"}


def read_epub(file: SourceFile) -> Document:
    """The chapters of a book in reading order, and what they refer to, as one Markdown text."""
    archive = open_archive(file)
    package_name = _first(_parse(archive, _CONTAINER), "rootfile").attrib["full-path"]
    package = _parse(archive, package_name)
    found = {key: name for name in archive.namelist() for key in (_key(unquote(name)), _key(name))}
    folder = posixpath.dirname(package_name)
    chapters = {href: found.get(_key(posixpath.join(folder, unquote(href)))) for href in _chapters(package)}
    if {_key(name) for name in _encrypted(archive)} & {_key(name) for name in chapters.values() if name}:
        raise DocumentError(f"{file.path} is protected by its seller. Add a copy without protection.")
    left_out: Counter[str] = Counter()
    texts = _texts(file, archive, [name for name in chapters.values() if name], left_out)
    text = "\n\n".join(text for text in file.up_to_limit(texts, len) if text.strip())
    file.note_left_out(left_out)
    if missing := [href for href, name in chapters.items() if name is None]:
        file.notes.append(
            f"Chapters that the book lists and does not hold ({len(missing):,}): {', '.join(missing)[:200]}."
        )
    metadata = _metadata(package)
    title = metadata.pop("title", file.path.stem)
    return Document(str(file.path), title, (Page(None, text),), is_markdown=True, metadata=metadata)


def _metadata(package: "Element") -> dict[str, str]:
    """Dublin Core, as the book's list has it; of several titles the first, of other entries all."""
    found: dict[str, list[str]] = {}
    for element in package.iter():
        text = " ".join((element.text or "").split())
        if element.tag.startswith(_DUBLIN_CORE) and text:
            found.setdefault(_METADATA.get(_name(element), _name(element)), []).append(text)
        elif element.get("property") == "dcterms:modified" and text:
            found["modified"] = [text]
    return {name: texts[0] if name == "title" else ", ".join(texts) for name, texts in found.items()}


def _texts(file: SourceFile, archive: ZipFile, names: list[str], left_out: Counter[str]) -> Iterator[str]:
    for name in dict.fromkeys(names):
        page = html_to_markdown(decode(replace(file, data=archive.read(name))), file)
        left_out += page.left_out
        yield page.text


def _key(name: str) -> str:
    """What names of one file have in common, however they are written."""
    return posixpath.normpath(name).casefold()


def _chapters(package: "Element") -> Iterator[str]:
    """The files of the chapters in reading order, as the book's list names them, then other pages that they refer to.

    The table of contents for programs (nav) has the chapters' headings again.
    """
    items = {item.get("id", ""): item for item in package.iter() if _name(item) == "item" and item.get("href")}
    order = [each.get("idref", "") for each in package.iter() if _name(each) == "itemref"]
    others = [id_ for id_, item in items.items() if item.get("media-type") in _PAGE_TYPES]
    for id_ in [*order, *others]:
        if id_ not in items:
            yield id_
        elif items[id_].get("media-type") in (*_PAGE_TYPES, None) and "nav" not in items[id_].get("properties", ""):
            yield items[id_].get("href", "")


def _encrypted(archive: ZipFile) -> set[str]:
    """The files that can't be read without a key. Fonts are often among them, and no harm."""
    if _ENCRYPTION not in archive.namelist():
        return set()
    references = (element for element in _parse(archive, _ENCRYPTION).iter() if _name(element) == "CipherReference")
    return {unquote(element.get("URI", "")) for element in references}


def _parse(archive: ZipFile, name: str) -> "Element":
    try:
        from defusedxml.ElementTree import fromstring
    except ImportError as error:
        raise MissingDependencyError.for_extra("defusedxml", "office") from error

    root: Element = fromstring(archive.read(name))
    return root


def _first(root: "Element", name: str) -> "Element":
    return next(element for element in root.iter() if _name(element) == name)


def _name(element: "Element") -> str:
    return str(element.tag).rpartition("}")[2]
