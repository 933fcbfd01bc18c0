"""Questions answered from your own documents, with citations that are checked.

>>> from jina_rag.rag import RagPipeline
>>> with RagPipeline.open(".jina-rag/index") as pipeline:  # made with `jina-rag add`
...     answer = pipeline.ask("When is the museum open?")
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jina_rag.backends.base import ChatModel, Message
    from jina_rag.rag.answering.chat_generator import ChatGenerator
    from jina_rag.rag.answering.conversation import Conversation
    from jina_rag.rag.answering.extractive import ExtractiveGenerator
    from jina_rag.rag.answering.factory import make_generator
    from jina_rag.rag.answering.openai_chat import OpenAIChatModel
    from jina_rag.rag.answering.pipeline import RagPipeline
    from jina_rag.rag.answering.run import AnswerRun, Found, Stage
    from jina_rag.rag.answering.types import NO_ANSWER, Answer, Generator, Timings, Turn
    from jina_rag.rag.chunking import Chunk, split_document
    from jina_rag.rag.citations.claims import Citation, Claim, ClaimChecker, find_citations, find_cited_spans
    from jina_rag.rag.citations.marks import CitationMark, CitationStream, Text
    from jina_rag.rag.citations.source_context import Box, SourceContext, page_image, passage_boxes, read_source_context
    from jina_rag.rag.documents import READERS, Document, Page, ReadLimits, find_documents, read_document
    from jina_rag.rag.indexing.check import Problem
    from jina_rag.rag.indexing.contents import IndexContents
    from jina_rag.rag.indexing.index import (
        DEFAULT_INDEX_FOLDER,
        AddProgress,
        AddReport,
        DocumentIndex,
        FailedDocument,
        IndexStatus,
        SyncReport,
        load_index_embedder,
        read_index_settings,
        rebuild,
    )
    from jina_rag.rag.retrieval.rerank import Reranker, SentenceReranker, make_reranker
    from jina_rag.rag.retrieval.retriever import Retriever
    from jina_rag.rag.retrieval.search import Rank, SearchOptions, SearchResult
    from jina_rag.rag.retrieval.snippets import make_snippet
    from jina_rag.rag.store.catalog import IndexedDocument, TrackedPath
    from jina_rag.rag.store.filters import Filters

__all__ = [
    "DEFAULT_INDEX_FOLDER",
    "NO_ANSWER",
    "READERS",
    "AddProgress",
    "AddReport",
    "Answer",
    "AnswerRun",
    "Box",
    "ChatGenerator",
    "ChatModel",
    "Chunk",
    "Citation",
    "CitationMark",
    "CitationStream",
    "Claim",
    "ClaimChecker",
    "Conversation",
    "Document",
    "DocumentIndex",
    "ExtractiveGenerator",
    "FailedDocument",
    "Filters",
    "Found",
    "Generator",
    "IndexContents",
    "IndexStatus",
    "IndexedDocument",
    "Message",
    "OpenAIChatModel",
    "Page",
    "Problem",
    "RagPipeline",
    "Rank",
    "ReadLimits",
    "Reranker",
    "Retriever",
    "SearchOptions",
    "SearchResult",
    "SentenceReranker",
    "SourceContext",
    "Stage",
    "SyncReport",
    "Text",
    "Timings",
    "TrackedPath",
    "Turn",
    "find_citations",
    "find_cited_spans",
    "find_documents",
    "load_index_embedder",
    "make_generator",
    "make_reranker",
    "make_snippet",
    "page_image",
    "passage_boxes",
    "read_document",
    "read_index_settings",
    "read_source_context",
    "rebuild",
    "split_document",
]

# Each loads at first use, so that reading a document does not cost the import of all the rest.
_MODULES = {
    "chunking": ("Chunk", "split_document"),
    "citations.claims": ("Citation", "Claim", "ClaimChecker", "find_citations", "find_cited_spans"),
    "citations.marks": ("CitationMark", "CitationStream", "Text"),
    "indexing.contents": ("IndexContents",),
    "answering.conversation": ("Conversation",),
    "answering.chat_generator": ("ChatGenerator", "ChatModel"),
    "answering.prompts": ("Message",),
    "answering.factory": ("make_generator",),
    "answering.openai_chat": ("OpenAIChatModel",),
    "answering.run": ("AnswerRun", "Found", "Stage"),
    "answering.types": ("NO_ANSWER", "Answer", "Generator", "Timings", "Turn"),
    "indexing.check": ("Problem",),
    "documents": ("READERS", "Document", "Page", "ReadLimits", "find_documents", "read_document"),
    "retrieval.snippets": ("make_snippet",),
    "store.filters": ("Filters",),
    "answering.extractive": ("ExtractiveGenerator",),
    "indexing.index": (
        "DEFAULT_INDEX_FOLDER",
        "AddProgress",
        "AddReport",
        "DocumentIndex",
        "FailedDocument",
        "IndexStatus",
        "SyncReport",
        "load_index_embedder",
        "read_index_settings",
        "rebuild",
    ),
    "store.catalog": ("IndexedDocument", "TrackedPath"),
    "answering.pipeline": ("RagPipeline",),
    "citations.source_context": ("Box", "SourceContext", "page_image", "passage_boxes", "read_source_context"),
    "retrieval.rerank": ("Reranker", "SentenceReranker", "make_reranker"),
    "retrieval.search": ("Rank", "SearchOptions", "SearchResult"),
    "retrieval.retriever": ("Retriever",),
}
_LAZY = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LAZY[name]), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *_LAZY]
