"""Questions answered from your own documents, with citations that are checked.

>>> from jina_rag.rag import RagPipeline
>>> with RagPipeline.open(".jina-rag/index") as pipeline:  # made with `jina-rag add`
...     answer = pipeline.ask("When is the museum open?")
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jina_rag.rag.answering.conversation import Conversation
    from jina_rag.rag.answering.factory import make_generator
    from jina_rag.rag.answering.pipeline import RagPipeline
    from jina_rag.rag.answering.types import Answer
    from jina_rag.rag.indexing.index import DocumentIndex
    from jina_rag.rag.indexing.watch import watch
    from jina_rag.rag.retrieval.rerank import make_reranker
    from jina_rag.rag.retrieval.retriever import Retriever
    from jina_rag.rag.retrieval.search import SearchOptions, SearchResult
    from jina_rag.rag.store.filters import Filters

__all__ = [
    "Answer",
    "Conversation",
    "DocumentIndex",
    "Filters",
    "RagPipeline",
    "Retriever",
    "SearchOptions",
    "SearchResult",
    "make_generator",
    "make_reranker",
    "watch",
]

# Each loads at first use, so that one costs the import of no other.
_MODULES = {
    "Answer": "answering.types",
    "Conversation": "answering.conversation",
    "DocumentIndex": "indexing.index",
    "Filters": "store.filters",
    "RagPipeline": "answering.pipeline",
    "Retriever": "retrieval.retriever",
    "SearchOptions": "retrieval.search",
    "SearchResult": "retrieval.search",
    "make_generator": "answering.factory",
    "make_reranker": "retrieval.rerank",
    "watch": "indexing.watch",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]
