"""Text and names from outside, made fit to be shown and stored."""

import re
from pathlib import Path

from jina_rag.rag.text.cleaning import remove_invisible

_LIVE = re.compile(r"://|@|:[a-z]|www\.", re.IGNORECASE)
"""What makes Streamlit set a link, an icon or a colour, whatever is escaped, but not in code."""
_AROUND = "()[]{}<>\"'.,;!?“”‘’…"


def escape(text: str) -> str:
    """Markdown, also for labels, that shows `text` letter for letter; what would become a link is set as code."""
    return "".join(_escaped_word(word) for word in re.split(r"(\s+)", remove_invisible(text)))


def _escaped_word(word: str) -> str:
    core = word.strip(_AROUND)
    if not _LIVE.search(core):
        return re.sub(r"([!-/:-@[-`{-~])", r"\\\1", word)
    before, behind = word.split(core, 1)
    fence = "`" * (1 + max(map(len, re.findall("`+", core)), default=0))
    blank = " " * (core.startswith("`") or core.endswith("`"))
    return f"{_escaped_word(before)}{fence}{blank}{core}{blank}{fence}{_escaped_word(behind)}"


def safe_name(name: str) -> str:
    """A name for an uploaded file: what a browser sends is not trusted to be one, nor to stay in its folder."""
    path = Path(re.sub(r"[^\w .()-]", "_", re.split(r"[/\\]", name)[-1]))
    stem = path.stem.strip(" .")[:60]  # 60 characters of four bytes still fit a file system's 255
    return (stem or "document") + path.suffix.lower()[:10]
