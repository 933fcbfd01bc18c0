"""The folder of an index: made, found, brought up to date, put in order after a kill, and rebuilt.

`index.sqlite3` is the manifest: documents, chunks with their words and vectors, and the fingerprint. `chroma/` holds
the vectors once more, to be searched.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from jina_rag.embedder import Embedder
from jina_rag.errors import IndexFolderError
from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.indexing import rebuild as repair
from jina_rag.rag.indexing.index_model import IndexModel, load_by_name
from jina_rag.rag.store.catalog import MANIFEST, Manifest
from jina_rag.rag.store.lock import HOLDER, LOCK, sole_writer

DEFAULT_INDEX_FOLDER = Path(".jina-rag/index")
"""Where the command line keeps an index, below the current folder."""

OWN_NAMES = frozenset({LOCK, HOLDER, MANIFEST, f"{MANIFEST}-wal", f"{MANIFEST}-shm"})
"""All that stands in the folder beside Chroma's own, and all that a creation which was killed may leave."""


def read_index_settings(folder: Path | str) -> Fingerprint:
    """What an index was made with: model, quantisation, dimensions. Loads no model.

    Raises:
        IndexFolderError: there is no index in `folder`, or it is damaged.
    """
    manifest = find_manifest(Path(folder))
    try:
        return manifest.fingerprint()
    finally:
        manifest.close()


def load_index_embedder(folder: Path | str, *, backend: str | None = None) -> Embedder:
    """The model that an index was made with, which is the only one that can search it.

    Args:
        folder: The index.
        backend: Where the model runs, as for `Embedder.from_pretrained`; None loads it into this process.

    Raises:
        IndexFolderError: there is no index in `folder`, or it is damaged.
        Otherwise as `Embedder.from_pretrained` does.
    """
    return load_by_name(read_index_settings(folder), backend)


def rebuild(
    folder: Path | str,
    embedder: Embedder,
    on_progress: repair.RebuildCallback | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Make the vectors and words of an index anew from its stored texts, for its own model or another.

    The index stays as it was until all is done, whatever happens meanwhile; a rebuild that was interrupted goes on
    where it stopped. For the index's own model nothing is embedded that has a vector already. Another model takes over
    the chunks as they were cut for the first.

    Args:
        folder: Where the index is.
        embedder: The model; its vectors may be of another width.
        on_progress: Called with how many chunks are done, and how many there are.
        should_stop: Asked now and then.

    Returns:
        How many texts were embedded.

    Raises:
        IndexFolderError: there is no index, its manifest is damaged, another process is writing, or it was stopped.
    """
    folder = Path(folder)
    manifest = find_manifest(folder)
    try:
        with sole_writer(folder):
            manifest.tidy()
            model = IndexModel(folder, embedder.fingerprint, embedder)
            return repair.renew_chroma(folder, manifest, model, on_progress, should_stop)
    finally:
        manifest.close()


def make_manifest(folder: Path, fingerprint: Callable[[], Fingerprint]) -> None:
    """Begin an index in a folder that has none; where there is one, nothing is done.

    Args:
        folder: Made as well.
        fingerprint: Asked for what its vectors will be made with, if there is no index yet.

    Raises:
        IndexFolderError: the folder holds something else, is damaged, or can't be written.
        MissingDependencyError: filelock is not installed.
    """
    manifest = Manifest(folder / MANIFEST)
    try:
        if not manifest.exists():
            made_with = fingerprint()
            _make_folder(folder)
            with sole_writer(folder):
                manifest.create(made_with)
    finally:
        manifest.close()


def find_manifest(folder: Path) -> Manifest:
    """The manifest in a folder.

    Raises:
        IndexFolderError: there is none, or it is damaged or of another version.
    """
    manifest = Manifest(folder / MANIFEST)
    if not manifest.exists():
        raise IndexFolderError(f"No index at {folder}: make one with `jina-rag add PATH`.")
    return manifest


def recover_if_possible(folder: Path, manifest: Manifest, model: IndexModel) -> None:
    """Put in order what a killed process has left, unless one is writing or the folder can't be written: it then waits.

    Searches pass over what is unfinished either way.
    """
    if not (manifest.unfinished() or manifest.chroma_folder()):
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(sole_writer(folder))
        except IndexFolderError:
            return
        repair.recover(folder, manifest, model)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strangers = [entry.name for entry in folder.iterdir() if entry.name not in OWN_NAMES]
    except OSError as error:
        raise IndexFolderError(f"{folder} can't be used ({error.strerror}). Name another folder.") from error
    if strangers:
        raise IndexFolderError(
            f"{folder} is no index and holds other things ({strangers[0]}). Name a new or an empty folder."
        )
