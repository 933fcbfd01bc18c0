"""`IndexSearcher`: an index folder to search in, which is opened when it is first needed."""

from contextlib import ExitStack
from pathlib import Path
from threading import Lock

from jina_rag.embedder import Embedder
from jina_rag.rag.indexing.index import DocumentIndex, load_index_embedder
from jina_rag.rag.retrieval.rerank import Reranker, make_reranker
from jina_rag.rag.retrieval.search import SearchOptions, SearchResult, search_with


class IndexSearcher:
    """Searches in an index folder with the model that the index was made with. Safe to use from many threads.

    Nothing is opened or loaded before the first search.
    """

    def __init__(
        self,
        folder: Path | str,
        options: SearchOptions | None = None,
        *,
        reranker: str | None = None,
        backend: str | None = None,
    ) -> None:
        """Take what to search in.

        Args:
            folder: Where the index is.
            options: How to look.
            reranker: What puts the passages in order, as for `make_reranker`; None leaves them as they were found.
            backend: Where the model runs, as for `Embedder.from_pretrained`; None is this process.
        """
        self._folder = Path(folder)
        self._options = options or SearchOptions()
        self._reranker = reranker
        self._backend = backend
        self._opened: tuple[DocumentIndex, Reranker | None] | None = None
        self._lock = Lock()

    def search(self, query: str, k: int | None = None) -> list[SearchResult]:
        """The passages that answer a query, best first.

        Args:
            query: A question or some words.
            k: How many; None takes the options' number.

        Raises:
            IndexFolderError: there is no index in the folder, or it is damaged.
            BackendError: a model failed, or the reranker's setting names nothing.
            Otherwise as `retrieval.search` and `Embedder.from_pretrained` do.
        """
        index, reranker = self._open()
        return search_with(index, query, self._options, k=k, reranker=reranker)

    def close(self) -> None:
        """Close what was opened; the next search opens it again."""
        with self._lock:
            opened, self._opened = self._opened, None
        for each in opened or ():
            if each is not None:
                each.close()

    def _open(self) -> tuple[DocumentIndex, Reranker | None]:
        with self._lock:
            if self._opened is None:
                with ExitStack() as opened:
                    index = opened.enter_context(
                        DocumentIndex.open(self._folder, self._load if self._backend else None)
                    )
                    reranker = make_reranker(self._reranker, index) if self._reranker else None
                    opened.pop_all()
                self._opened = index, reranker
            return self._opened

    def _load(self) -> Embedder:
        return load_index_embedder(self._folder, backend=self._backend)
