"""`Retriever`: the one door to search. CLI, app, MCP server, adapters and `RagPipeline` all go through it."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Self, TypeAlias

from jina_rag.closeable import Closeable
from jina_rag.embedder import Embedder
from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.indexing.candidates import SearchIndex
from jina_rag.rag.indexing.index import DocumentIndex, read_index_settings
from jina_rag.rag.indexing.index_model import load_by_name
from jina_rag.rag.retrieval.rerank import Reranker, make_reranker
from jina_rag.rag.retrieval.search import SearchOptions, SearchResult, search
from jina_rag.rag.vector_stores import is_store_address, open_store
from jina_rag.rag.vector_stores.store_index import StoreIndex

ModelLoader: TypeAlias = Callable[[Fingerprint, str | None], Embedder]
"""Loads the model that a fingerprint names in the engine of a setting, as `load_by_name` does."""

_Parts: TypeAlias = tuple[SearchIndex, Reranker | None]


class Retriever(Closeable):
    """Finds the passages of an index that answer a query. Safe to use from many threads.

    One that `open` made pickles and copies as its arguments.

    Examples:
        >>> with Retriever.open(".jina-rag/index") as retriever:
        ...     results = retriever.retrieve("When is the museum open?", SearchOptions(k=3))
    """

    def __init__(self, index: SearchIndex, reranker: Reranker | None = None) -> None:
        """Take ready parts, which stay open; `open` fetches them.

        Args:
            index: The documents.
            reranker: What puts the passages in order; None leaves them as they were found.
        """
        self._begin(lambda _: (index, reranker))

    @classmethod
    def open(
        cls,
        index: Path | str,
        *,
        backend: str | None = None,
        reranker: str | None = None,
        load: ModelLoader = load_by_name,
    ) -> Self:
        """A retriever over an index folder or a vector store, with the model that it was made with.

        Nothing is opened, loaded or checked before the first use.

        Args:
            index: The folder, or the address of a vector store as for `jina_rag.rag.vector_stores.open_store`.
            backend: Where the model runs, as for `Embedder.from_pretrained`; None is this process.
            reranker: What puts the passages in order, as for `make_reranker`; None leaves them as they were found.
            load: What loads the model, at the first need.
        """

        def fetch(opened: ExitStack) -> _Parts:
            place: StoreIndex | DocumentIndex
            if is_store_address(index):
                store = opened.enter_context(open_store(str(index)))
                place = StoreIndex(store, lambda: load(store.fingerprint, backend))
            else:
                place = DocumentIndex.open(index, lambda: load(read_index_settings(index), backend))
            opened.enter_context(closing(place))
            return place, opened.enter_context(closing(make_reranker(reranker))) if reranker else None

        retriever = cls.__new__(cls)
        retriever._begin(fetch)
        retriever._reopen = partial(cls.open, index, backend=backend, reranker=reranker, load=load)
        return retriever

    def _begin(self, fetch: Callable[[ExitStack], _Parts]) -> None:
        self._fetch = fetch
        self._reopen: Callable[[], Self] | None = None
        self._parts: _Parts | None = None
        self._opened = ExitStack()
        self._lock = Lock()

    @property
    def index(self) -> SearchIndex:
        """The documents, opened at the first use. Raises as `retrieve` does, but for what a query can do wrong."""
        return self._ready()[0]

    def retrieve(self, query: str, options: SearchOptions | None = None) -> list[SearchResult]:
        """The passages that answer a query, best first; fewer than `options.k` if fewer are found.

        Args:
            query: A question or some words; "words in quotes" are looked for as they stand. A blank one finds nothing.
            options: How many to find and how; None for the defaults of `SearchOptions`.

        Raises:
            IndexFolderError: there is no index in the folder, or it is damaged.
            StoreError: the vector store can't be used, or can't search like this.
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

    def __reduce__(self) -> tuple[Callable[[], Self], tuple[()]]:
        if self._reopen is None:
            raise TypeError("This retriever has ready parts, which stay here. Make it with Retriever.open(index).")
        return self._reopen, ()

    def _ready(self) -> _Parts:
        with self._lock:
            if self._parts is None:
                with ExitStack() as opened:
                    self._parts = self._fetch(opened)
                    self._opened = opened.pop_all()
            return self._parts
