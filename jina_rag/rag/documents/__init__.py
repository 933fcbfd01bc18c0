"""Files in, text out: which files are documents, and how one is read without harm.

`discovery` finds them, `reading` reads one, `sandbox` keeps parsers in processes of their own, `worker` is what runs
there, `lockdown` what it may not do, and `formats` has a reader for each kind.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jina_rag.rag.documents.discovery import find_documents
    from jina_rag.rag.documents.formats import READERS
    from jina_rag.rag.documents.reading import read_document
    from jina_rag.rag.documents.sandbox import ReadLimits, close_workers
    from jina_rag.rag.documents.types import Document, Page

__all__ = ["READERS", "Document", "Page", "ReadLimits", "close_workers", "find_documents", "read_document"]

# Each loads at first use: the processes that parse need few of them, and one starts for nearly every `jina-rag add`.
_LAZY = {
    "READERS": "formats",
    "Document": "types",
    "Page": "types",
    "ReadLimits": "sandbox",
    "close_workers": "sandbox",
    "find_documents": "discovery",
    "read_document": "reading",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    return value
