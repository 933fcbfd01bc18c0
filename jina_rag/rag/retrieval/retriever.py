"""`Retriever`: the one door to search. CLI, app, MCP server, adapters and `RagPipeline` all go through it."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Self, TypeAlias

from jina_rag.closeable import Closeable
from jina_rag.rag.indexing.index import DocumentIndex, load_index_embedder
from jina_rag.rag.retrieval.rerank import Reranker, make_reranker
from jina_rag.rag.retrieval.search import SearchOptions, SearchResult, search

_Parts: TypeAlias = tuple[DocumentIndex, Reranker | None]


class Retriever(Closeable):
    """Finds the passages of an index that answer a query. Safe to use from many threads.

    One that `open` made pickles and copies as its arguments.

    Examples:
        >>> with Retriever.open(".jina-rag/index") as retriever:
        ...     results = retriever.retrieve("When is the museum open?", SearchOptions(k=3))
    """

    def __init__(self, index: DocumentIndex, reranker: Reranker | None = None) -> None:
        """Take ready parts, which stay open; `open` fetches them.

        Args:
            index: The documents.
            reranker: What puts the passages in order; None leaves them as they were found.
        """
        self._begin(lambda _: (index, reranker))

    @classmethod
    def open(cls, folder: Path | str, *, backend: str | None = None, reranker: str | None = None) -> Self:
        """A retriever over an index folder, with the model that the index was made with.

        Nothing is opened, loaded or checked before the first use.

        Args:
            folder: Where the index is.
            backend: Where the model runs, as for `Embedder.from_pretrained`; None is this process.
            reranker: What puts the passages in order, as for `make_reranker`; None leaves them as they were found.
        """

        def fetch(opened: ExitStack) -> _Parts:
            load = (lambda: load_index_embedder(folder, backend=backend)) if backend else None
            index = opened.enter_context(DocumentIndex.open(folder, load))
            return index, opened.enter_context(closing(make_reranker(reranker))) if reranker else None

        retriever = cls.__new__(cls)
        retriever._begin(fetch)
        retriever._arguments = folder, backend, reranker
        return retriever

    def _begin(self, fetch: Callable[[ExitStack], _Parts]) -> None:
        self._fetch = fetch
        self._arguments: tuple[Path | str, str | None, str | None] | None = None
        self._parts: _Parts | None = None
        self._opened = ExitStack()
        self._lock = Lock()

    @property
    def index(self) -> DocumentIndex:
        """The documents, opened at the first use. Raises as `retrieve` does, but for what a query can do wrong."""
        return self._ready()[0]

    def retrieve(self, query: str, options: SearchOptions | None = None) -> list[SearchResult]:
        """The passages that answer a query, best first; fewer than `options.k` if fewer are found.

        Args:
            query: A question or some words; "words in quotes" are looked for as they stand. A blank one finds nothing.
            options: How many to find and how; None for the defaults of `SearchOptions`.

        Raises:
            IndexFolderError: there is no index in the folder, or it is damaged.
            InputTooLongError: `query` is longer than the model reads. Lexical search takes it nevertheless.
            InvalidTextError: `query` is no text.
            BackendError: a model failed, or the reranker's setting names nothing.
            JinaRagError: otherwise as `Embedder.from_pretrained`.
        """
        index, reranker = self._ready()
        return search(index, query, options or SearchOptions(), reranker)

    def close(self) -> None:
        """Close what `open` opened, which the next use opens again; parts that were handed over stay open."""
        with self._lock:
            self._parts = None
            self._opened.close()

    def __reduce__(self) -> tuple[Callable[[Path | str], Self], tuple[Path | str]]:
        if self._arguments is None:
            raise TypeError("This retriever has ready parts, which stay here. Make it with Retriever.open(folder).")
        folder, backend, reranker = self._arguments
        return partial(type(self).open, backend=backend, reranker=reranker), (folder,)

    def _ready(self) -> _Parts:
        with self._lock:
            if self._parts is None:
                with ExitStack() as opened:
                    self._parts = self._fetch(opened)
                    self._opened = opened.pop_all()
            return self._parts
