"""Electronic books."""

import posixpath
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote
from zipfile import ZipFile

from jina_rag.errors import DocumentError, MissingDependencyError
from jina_rag.rag.documents.formats.archives import open_archive
from jina_rag.rag.documents.formats.html import html_to_markdown
from jina_rag.rag.documents.types import Document, Page, SourceFile

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"


def read_epub(file: SourceFile) -> Document:
    """The chapters of a book in reading order, as one Markdown text."""
    archive = open_archive(file)
    package_name = _first(_parse(archive, _CONTAINER), "rootfile").attrib["full-path"]
    package = _parse(archive, package_name)
    folder = posixpath.dirname(package_name)
    chapters = list(dict.fromkeys(posixpath.normpath(posixpath.join(folder, name)) for name in _spine(package)))
    if _encrypted(archive) & set(chapters):
        raise DocumentError(f"{file.path} is protected by its seller. Add a copy without protection.")
    names = set(archive.namelist())
    texts = (html_to_markdown(archive.read(name))[1] for name in chapters if name in names)
    title = next((element.text for element in package.iter() if _name(element) == "title"), None)
    text = "\n\n".join(text for text in file.up_to_limit(texts, len) if text.strip())
    return Document(str(file.path), (title or "").strip() or file.path.stem, (Page(None, text),), is_markdown=True)


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
