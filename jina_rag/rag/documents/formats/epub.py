"""Electronic books."""

import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote
from zipfile import ZipFile

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.rag.documents.formats.archives import open_archive
from jina_rag.rag.documents.formats.html import html_to_markdown
from jina_rag.rag.documents.types import Document, Page

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"


def read_epub(path: Path, data: bytes) -> Document:
    """The chapters of a book in reading order, as one Markdown text."""
    archive = open_archive(path, data)
    package_name = _first(_parse(archive, _CONTAINER), "rootfile").attrib["full-path"]
    package = _parse(archive, package_name)
    chapters = [posixpath.normpath(posixpath.join(posixpath.dirname(package_name), name)) for name in _spine(package)]
    if _encrypted(archive) & set(chapters):
        raise DocumentError(f"{path} is protected by its seller. Add a copy without protection.")
    names = set(archive.namelist())
    texts = [html_to_markdown(archive.read(name))[1] for name in chapters if name in names]
    title = next((element.text for element in package.iter() if _name(element) == "title"), None)
    text = "\n\n".join(text for text in texts if text.strip())
    return Document(str(path), " ".join((title or "").split()) or path.stem, (Page(None, text),), is_markdown=True)


def _spine(package: "Element") -> Iterator[str]:
    """The files of the chapters in reading order, as the book's table writes them."""
    files = {item.get("id"): item.get("href", "") for item in package.iter() if _name(item) == "item"}
    for reference in package.iter():
        if _name(reference) == "itemref" and reference.get("idref") in files:
            yield unquote(files[reference.get("idref")])


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
