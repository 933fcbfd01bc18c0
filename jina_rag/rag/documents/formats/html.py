"""Web pages, and what else comes as HTML on its way to Markdown."""

import re

from jina_rag.errors import MissingDependencyError
from jina_rag.rag.documents.formats.decoding import decode
from jina_rag.rag.documents.headings import first_heading
from jina_rag.rag.documents.types import Document, Page, SourceFile, line_feeds

_NOT_CONTENT = ("iframe", "nav", "noscript", "object", "script", "style", "svg", "template")
"""Elements whose text is not the page's: menus, and what no reader sees."""

_HIDING_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)


def read_html(file: SourceFile) -> Document:
    """A web page as Markdown, its scripts, menus and hidden parts left out."""
    title, text = html_to_markdown(decode(file))
    title = title or first_heading(text) or file.path.stem
    return Document(str(file.path), title, (Page(None, text),), is_markdown=True)


def html_to_markdown(data: bytes | str) -> tuple[str, str]:
    """The title of a page, empty if it has none, and its text as Markdown. Nothing is fetched and no script runs."""
    try:
        from bs4 import BeautifulSoup
        from markdownify import ATX, MarkdownConverter
    except ImportError as error:
        raise MissingDependencyError.for_extra("markdownify", "rag") from error

    # UTF-8 is only the first guess: if the bytes are not, the page's own word for its encoding is believed.
    soup = BeautifulSoup(data, "html.parser", from_encoding="utf-8" if isinstance(data, bytes) else None)
    title = " ".join(soup.title.get_text().split()) if soup.title else ""
    hidden = [*soup.find_all(hidden=True), *soup.find_all(style=_HIDING_STYLE)]
    for element in [*soup((*_NOT_CONTENT, "title")), *hidden]:
        element.extract()
    for image in soup("img"):
        image.replace_with(str(image.get("alt", "")))  # its address may be the image itself, in letters
    return title, line_feeds(MarkdownConverter(heading_style=ATX).convert_soup(soup)).strip("\n")
