"""The index or vector store that all sessions share, and the embedding model that it was made with."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from threading import RLock

from jina_rag import Embedder
from jina_rag.bundled import bundled_package_installed
from jina_rag.errors import IndexFolderError
from jina_rag.fingerprint import Fingerprint
from jina_rag.model_files import is_on_this_machine
from jina_rag.models import BUNDLED_MODEL, DEFAULT_MODEL, get_model_spec
from jina_rag.rag import DocumentIndex, Retriever
from jina_rag.rag.indexing.candidates import SearchIndex
from jina_rag.rag.indexing.index import DEFAULT_INDEX_FOLDER, load_index_embedder, read_index_settings
from jina_rag.rag.store.disk import cannot_write
from jina_rag.rag.vector_stores import StoreAddress
from jina_rag.rag.vector_stores.store_index import StoreIndex


class SharedIndex:
    """An index, or a vector store to be searched, opened when it is first needed. Safe to use from many threads.

    Attributes:
        folder: Of the index; with a vector store, where the app keeps conversations.
        store: The address of the vector store; None where there is an index.
    """

    def __init__(self, place: Path | str, model: str | None = None, backend: str | None = None) -> None:
        """Open nothing yet.

        Args:
            place: The folder of the index, there or not; or the address of a vector store.
            model: The embedding model of one that is yet to be made; None takes the best that is on this machine.
            backend: The engine elsewhere that the embedding model runs on; None runs it in the app.
        """
        self.store = place if isinstance(place, str) else None
        self.folder = _folder_for(place)
        self.backend = backend
        self._model = model
        self._lock = RLock()
        self._index: DocumentIndex | None = None
        self._searched = Retriever.open(place, backend=backend) if isinstance(place, str) else None

    def has_index(self) -> bool:
        """Whether there is an index or a vector store; the first documents make an index.

        Raises:
            IndexFolderError: there is one, and it is damaged.
        """
        if self._searched is not None or self._index is not None:
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

    @property
    def searched(self) -> SearchIndex:
        """What questions are answered from: the index or the vector store.

        Raises:
            StoreError: the vector store can't be used.
            Otherwise as `index` does.
        """
        return self._searched.index if self._searched is not None else self.index

    @property
    def fingerprint(self) -> Fingerprint:
        """What the vectors that are searched were made with. Raises as `searched` does."""
        searched = self.searched
        return searched.store.fingerprint if isinstance(searched, StoreIndex) else read_index_settings(self.folder)

    @property
    def limits(self) -> Sequence[str]:
        """Sentences on what the vector store can't do; none of an index. Raises as `searched` does."""
        searched = self.searched
        return searched.store.limits if isinstance(searched, StoreIndex) else ()

    def create_index(self) -> DocumentIndex:
        """The index, made if there is none. Raises as `DocumentIndex.create_or_open` does."""
        with self._lock:
            if not self.has_index():
                self._index = DocumentIndex.create_or_open(self.folder, self._first_embedder)
            return self.index

    @property
    def embedder(self) -> Embedder:
        """The model of what is searched. Raises as `searched` does."""
        return self.searched.embedder

    def close(self) -> None:
        """Close what is open; it is opened again at the next need."""
        with self._lock:
            index, self._index = self._index, None
            if index is not None:
                index.close()
            if self._searched is not None:
                self._searched.close()

    def _first_embedder(self) -> Embedder:
        if self.backend:
            return Embedder.from_pretrained(self._model or "auto", backend=self.backend)
        return Embedder.from_pretrained(self._model or model_at_hand())

    def _own_embedder(self) -> Embedder:
        return load_index_embedder(self.folder, backend=self.backend)


def _folder_for(place: Path | str) -> Path:
    """The folder of an index, or one for each vector store, which is made."""
    if isinstance(place, Path):
        return place
    digest = hashlib.sha256(str(StoreAddress.parse(place)).encode()).hexdigest()
    folder = DEFAULT_INDEX_FOLDER.with_name("stores") / digest[:16]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise IndexFolderError(cannot_write(folder, error)) from error
    return folder


def model_at_hand() -> str:
    """The best embedding model that needs no download; the default one if there is none."""
    if not is_on_this_machine(get_model_spec(DEFAULT_MODEL)) and bundled_package_installed():
        return BUNDLED_MODEL
    return DEFAULT_MODEL
