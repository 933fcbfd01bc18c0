"""The index that all sessions share, and the embedding model that it was made with."""

from pathlib import Path
from threading import RLock

from jina_rag import Embedder
from jina_rag.bundled import bundled_package_installed
from jina_rag.errors import IndexFolderError
from jina_rag.model_files import is_on_this_machine
from jina_rag.models import BUNDLED_MODEL, DEFAULT_MODEL, get_model_spec
from jina_rag.rag import DocumentIndex
from jina_rag.rag.indexing.index import load_index_embedder, read_index_settings


class SharedIndex:
    """An index, opened when it is first needed. Safe to use from many threads."""

    def __init__(self, folder: Path, model: str | None = None, backend: str | None = None) -> None:
        """Open nothing yet.

        Args:
            folder: Where it is, there or not.
            model: The embedding model of one that is yet to be made; None takes the best that is on this machine.
            backend: The engine elsewhere that the embedding model runs on; None runs it in the app.
        """
        self.folder = folder
        self.backend = backend
        self._model = model
        self._lock = RLock()
        self._index: DocumentIndex | None = None

    def has_index(self) -> bool:
        """Whether there is an index; the first documents make one.

        Raises:
            IndexFolderError: there is one, and it is damaged.
        """
        if self._index is not None:
            return True
        try:
            read_index_settings(self.folder)
        except IndexFolderError:
            if (self.folder / "index.sqlite3").exists():
                raise
            return False
        return True

    @property
    def index(self) -> DocumentIndex:
        """The index, opened with its own model.

        Raises:
            IndexFolderError: there is none yet, or it is damaged.
            Otherwise as `DocumentIndex.open` does.
        """
        with self._lock:
            if self._index is None:
                self._index = DocumentIndex.open(self.folder, self._own_embedder)
            return self._index

    def create_index(self) -> DocumentIndex:
        """The index, made if there is none. Raises as `DocumentIndex.create_or_open` does."""
        with self._lock:
            if not self.has_index():
                self._index = DocumentIndex.create_or_open(self.folder, self._first_embedder)
            return self.index

    @property
    def embedder(self) -> Embedder:
        """The model of the index. Raises as `index` does."""
        return self.index.embedder

    def close(self) -> None:
        """Close the index; it is opened again at the next need."""
        with self._lock:
            index, self._index = self._index, None
            if index is not None:
                index.close()

    def _first_embedder(self) -> Embedder:
        if self.backend:
            return Embedder.from_pretrained(self._model or "auto", backend=self.backend)
        return Embedder.from_pretrained(self._model or model_at_hand())

    def _own_embedder(self) -> Embedder:
        return load_index_embedder(self.folder, backend=self.backend)


def model_at_hand() -> str:
    """The best embedding model that needs no download; the default one if there is none."""
    if not is_on_this_machine(get_model_spec(DEFAULT_MODEL)) and bundled_package_installed():
        return BUNDLED_MODEL
    return DEFAULT_MODEL
