"""Text and names from outside, made fit to be shown and stored."""

import re
from pathlib import Path

from jina_rag.rag.text.cleaning import remove_invisible


def escape(text: str) -> str:
    """Markdown, also for labels, that shows `text` letter for letter and makes nothing of it, not even a link."""
    return _unlinked(re.sub(r"([!-/:-@[-`{-~])", r"\\\1", remove_invisible(text)))


def escape_answer(text: str) -> str:
    """Markdown that shows `text` with its bold words and lists, and no link, image, HTML, formula, icon or heading."""
    return _unlinked(re.sub(r"([\\`$[\]<>:!&#|~^])", r"\\\1", remove_invisible(text)))


def _unlinked(markdown: str) -> str:
    """`markdown` without the links and icons that Streamlit makes of bare words, whatever is escaped.

    They are broken up by an invisible sign, which a copy of the text has in it too.
    """
    word_joiner = "\u2060"
    return re.sub(r":(?=\\?[a-z/])|@|www(?=\\?\.)", rf"\g<0>{word_joiner}", markdown, flags=re.IGNORECASE)


def safe_name(name: str) -> str:
    """A name for an uploaded file: what a browser sends is not trusted to be one, nor to stay in its folder."""
    path = Path(re.sub(r"[^\w .()-]", "_", re.split(r"[/\\]", name)[-1]))
    stem = path.stem.strip(" .")[:60]  # 60 characters of four bytes still fit a file system's 255
    return (stem or "document") + path.suffix.lower()[:10]
