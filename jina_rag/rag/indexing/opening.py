"""The folder of an index: made, found, checked before anything in it is used, and kept private.

`index.sqlite3` is the catalog: documents, chunks with their words and vectors, and the fingerprint. `chroma/` holds the
vectors once more, to be searched.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jina_rag.embedder import Embedder
from jina_rag.errors import IndexFolderError
from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.indexing.index_model import load_by_name
from jina_rag.rag.store.catalog import CATALOG, Catalog
from jina_rag.rag.store.disk import cannot_write
from jina_rag.rag.store.files import is_private, make_private, refuse_links
from jina_rag.rag.store.lock import HOLDER, LOCK, sole_writer

DEFAULT_INDEX_FOLDER = Path(".jina-rag/index")
"""Where the command line keeps an index, below the current folder."""

NO_INDEX = (
    "No index at {}: make one with `jina-rag add PATH`, or name the folder of another one, with --index or in the "
    "environment variable JINA_RAG_INDEX."
)

OWN_NAMES = frozenset({LOCK, HOLDER, CATALOG, f"{CATALOG}-wal", f"{CATALOG}-shm"})
"""All that stands in the folder beside Chroma's own, and all that a creation which was killed may leave."""


def read_index_settings(folder: Path | str) -> Fingerprint:
    """What an index was made with: model, quantisation, dimensions. Loads no model.

    Raises:
        IndexFolderError: there is no index in `folder`, or it is damaged.
    """
    catalog = find_catalog(Path(folder))
    try:
        return catalog.fingerprint()
    finally:
        catalog.close()


def load_index_embedder(folder: Path | str, *, backend: str | None = None) -> Embedder:
    """The model that an index was made with, which is the only one that can search it.

    Args:
        folder: The index.
        backend: Where the model runs, as for `Embedder.from_pretrained`; None loads it into this process.

    Raises:
        IndexFolderError: there is no index in `folder`, or it is damaged.
        JinaRagError: otherwise as `Embedder.from_pretrained`.
    """
    return load_by_name(read_index_settings(folder), backend)


def make_catalog(folder: Path, fingerprint: Callable[[], Fingerprint]) -> None:
    """Begin an index in a folder that has none; where there is one, nothing is done.

    Args:
        folder: Made as well, for its owner alone.
        fingerprint: Asked for what its vectors will be made with, if there is no index yet.

    Raises:
        IndexFolderError: the folder holds something else, is damaged, or can't be written.
        MissingDependencyError: filelock is not installed.
    """
    refuse_links(folder)
    catalog = Catalog(folder / CATALOG)
    try:
        if not catalog.exists():
            made_with = fingerprint()
            _make_folder(folder)
            with sole_writer(folder):
                catalog.create(made_with)
    finally:
        catalog.close()


def find_catalog(folder: Path) -> Catalog:
    """The catalog in a folder.

    Raises:
        IndexFolderError: there is none, it is damaged or of another version, or somebody else's and not harmless.
    """
    refuse_links(folder)
    catalog = Catalog(folder / CATALOG)
    if not catalog.exists():
        raise IndexFolderError(NO_INDEX.format(folder))
    return catalog


@contextmanager
def leave_private(folder: Path) -> Iterator[None]:
    """Take from others, at the end, all rights to what was written, unless the folder itself has been shared since."""
    try:
        yield
    finally:
        if is_private(folder):
            make_private(folder)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        strangers = [entry.name for entry in folder.iterdir() if entry.name not in OWN_NAMES]
        if not strangers:
            make_private(folder)
    except FileExistsError as error:
        raise IndexFolderError(f"{folder} can't be used ({error.strerror}). Name another folder.") from error
    except OSError as error:
        raise IndexFolderError(cannot_write(folder, error)) from error
    if strangers:
        raise IndexFolderError(
            f"{folder} is no index and holds other things ({strangers[0]}). Name a new or an empty folder."
        )
