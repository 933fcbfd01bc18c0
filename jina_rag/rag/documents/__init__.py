"""Files in, text out: which files are documents, and how one is read without harm.

`discovery` finds them, `reading` reads one, `sandbox` keeps parsers in processes of their own, `worker` is what runs
there, `lockdown` what it may not do, and `formats` has a reader for each kind.
"""

from jina_rag.rag.documents.discovery import find_documents
from jina_rag.rag.documents.formats import READERS
from jina_rag.rag.documents.reading import read_document
from jina_rag.rag.documents.sandbox import ReadLimits, close_workers
from jina_rag.rag.documents.types import Document, Page

__all__ = ["READERS", "Document", "Page", "ReadLimits", "close_workers", "find_documents", "read_document"]
