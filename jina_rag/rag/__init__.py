"""Questions answered from your own documents, with citations that are checked.

>>> from jina_rag.rag import RagPipeline
>>> pipeline = RagPipeline.open(".jina-rag/index")  # made with `jina-rag add`
>>> answer = pipeline.ask("When is the museum open?")
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jina_rag.rag.chunking import Chunk, split_document
    from jina_rag.rag.citations import Citation, find_citations
    from jina_rag.rag.documents import READERS, Document, Page, find_documents, read_document
    from jina_rag.rag.generation import (
        NO_ANSWER,
        ChatGenerator,
        ChatModel,
        ExtractiveGenerator,
        Generator,
        Message,
        OpenAIChatModel,
        make_generator,
    )
    from jina_rag.rag.index import (
        DEFAULT_INDEX_FOLDER,
        AddProgress,
        AddReport,
        DocumentIndex,
        FailedDocument,
        load_index_embedder,
        read_index_settings,
    )
    from jina_rag.rag.manifest import IndexedDocument
    from jina_rag.rag.pipeline import Answer, RagPipeline
    from jina_rag.rag.retrieval import SearchResult, search

__all__ = [
    "DEFAULT_INDEX_FOLDER",
    "NO_ANSWER",
    "READERS",
    "AddProgress",
    "AddReport",
    "Answer",
    "ChatGenerator",
    "ChatModel",
    "Chunk",
    "Citation",
    "Document",
    "DocumentIndex",
    "ExtractiveGenerator",
    "FailedDocument",
    "Generator",
    "IndexedDocument",
    "Message",
    "OpenAIChatModel",
    "Page",
    "RagPipeline",
    "SearchResult",
    "find_citations",
    "find_documents",
    "load_index_embedder",
    "make_generator",
    "read_document",
    "read_index_settings",
    "search",
    "split_document",
]

# Each loads at first use, so that reading a document does not cost the import of all the rest.
_MODULES = {
    "chunking": ("Chunk", "split_document"),
    "citations": ("Citation", "find_citations"),
    "documents": ("READERS", "Document", "Page", "find_documents", "read_document"),
    "generation": (
        "NO_ANSWER",
        "ChatGenerator",
        "ChatModel",
        "ExtractiveGenerator",
        "Generator",
        "Message",
        "OpenAIChatModel",
        "make_generator",
    ),
    "index": (
        "DEFAULT_INDEX_FOLDER",
        "AddProgress",
        "AddReport",
        "DocumentIndex",
        "FailedDocument",
        "load_index_embedder",
        "read_index_settings",
    ),
    "manifest": ("IndexedDocument",),
    "pipeline": ("Answer", "RagPipeline"),
    "retrieval": ("SearchResult", "search"),
}
_LAZY = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LAZY[name]), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *_LAZY]
