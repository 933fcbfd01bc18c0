"""`ChromaSide`: the vectors of an index in Chroma, which are asked for neighbours and follow what SQLite holds.

Chroma is asked only where that is safe and of use: this machine has written its folder, nobody died while writing it,
and it can be read. Where it can't be asked the answer is None, the log says why, and SQLite's vectors serve.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

from jina_rag.errors import IndexFolderError
from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.store.catalog import Catalog
from jina_rag.rag.store.chroma_store import CHROMA_FOLDER, VectorStore, chroma_errors, inspect_folder
from jina_rag.rag.store.disk import cannot_write
from jina_rag.rag.store.lock import is_being_written
from jina_rag.rag.store.seal import is_sealed, seal
from jina_rag.rag.store.searching import Matches
from jina_rag.vectors import FloatArray

_CHUNKS_AT_A_TIME = 512

_logger = logging.getLogger(__name__)


class ChromaSide:
    """The Chroma folder of an index, opened at need. Safe to use from many threads."""

    def __init__(self, folder: Path, catalog: Catalog, fingerprint: Fingerprint) -> None:
        """Open nothing yet.

        Args:
            folder: That of the index.
            catalog: The truth.
            fingerprint: What the vectors are made with.
        """
        self.folder = folder / CHROMA_FOLDER
        self._index = folder
        self._catalog = catalog
        self._fingerprint = fingerprint
        self._lock = RLock()
        self._process = os.getpid()
        self._store: VectorStore | None = None
        self._generation = -1
        self._unreadable = -1  # the generation that could not be read

    def nearest(self, vector: FloatArray, n: int, matches: Matches) -> list[tuple[str, float]] | None:
        """The ids of the vectors nearest to one, with their cosine similarity, best first; None if none can be asked.

        Args:
            vector: Of shape (d,), unit length.
            n: How many of those that are not dirty are to be among them, if there are so many.
            matches: What SQLite holds.

        Raises:
            IndexFolderError: this process was forked from the one that opened Chroma.
        """
        self._check_process()
        n_clean = matches.n_chunks - (len(matches.dirty) if matches.ids is None else 0)
        if n_clean <= 0:
            return []
        with self._lock:
            if self._unreadable == matches.generation:
                return None
            try:
                with chroma_errors(self.folder):
                    found = self._readable(matches).nearest(vector, n + matches.n_dirty, matches.ids)
                if len(found) < min(n, n_clean):
                    raise IndexFolderError(
                        f"{self.folder} lacks vectors. Make them again with `jina-rag rebuild --index {self._index}`: "
                        "no text is embedded again for that."
                    )
            except IndexFolderError as error:
                _logger.warning("%s Until then searches compare with every vector, which takes longer.", error)
                self._unreadable = matches.generation
                return None
            return found

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Let Chroma follow what it has not yet, and keep it open. The caller holds the index's lock.

        Raises:
            IndexFolderError: it can't be written.
        """
        self._check_process()
        with chroma_errors(self.folder):
            with self._lock:
                is_dirty, generation = self._catalog.count_dirty() > 0, self._catalog.generation()
                if self._generation != generation or self._unreadable == generation or is_dirty:
                    self._close()
                if self._store is None:
                    self._open_for_writing(generation, is_dirty=is_dirty)
                self._reconcile()
            self.follow()
            yield

    def follow(
        self, on_progress: Callable[[int], None] = lambda _: None, should_stop: Callable[[], bool] = lambda: False
    ) -> None:
        """Write to Chroma what is dirty and drop from it what is gone. Only within `writing`, or after `remake`.

        Args:
            on_progress: Called with how many chunks are dirty still.
            should_stop: Asked between parts; another call goes on.
        """
        assert self._store is not None
        with chroma_errors(self.folder):
            while not should_stop() and (dirty := self._catalog.dirty(_CHUNKS_AT_A_TIME)):
                self._store.upsert([stored for stored in dirty.values() if stored and stored.vector is not None])
                self._store.delete(id_ for id_, stored in dirty.items() if stored is None)
                with self._lock:  # or else a search would take this for the change of another process
                    self._generation = self._catalog.clear_dirty(dirty)
                on_progress(self._catalog.count_dirty())

    def remake(self) -> None:
        """Begin Chroma's folder anew, for `follow` to fill. The caller holds the index's lock."""
        with self._lock, chroma_errors(self.folder):
            self._close()
            self._catalog.begin_chroma()
            try:
                if self.folder.exists():
                    shutil.rmtree(self.folder)
                self.folder.mkdir(mode=0o700)
            except OSError as error:
                raise IndexFolderError(cannot_write(self._index, error)) from error
            self._store = VectorStore(self.folder, self._fingerprint)
            self._catalog.begin_chroma(seal(self.folder))
            self._generation = self._catalog.generation()

    def close(self) -> None:
        """Give back memory and files; the next call opens it again."""
        if self._process == os.getpid():
            with self._lock:
                self._close()

    def _close(self) -> None:
        if self._store:
            self._store.close()
        self._store, self._generation, self._unreadable = None, -1, -1

    def _readable(self, matches: Matches) -> VectorStore:
        """Chroma as it is at least since `matches`. It looks for the changes of other processes only when it opens."""
        if matches.n_dirty and not is_being_written(self._index):
            raise IndexFolderError(
                f"A process ended while it wrote to {self.folder}. `jina-rag sync --index {self._index}` finishes that."
            )
        if self._store is None or self._generation != matches.generation:
            generation = self._catalog.generation()
            if self._store is None or self._generation != generation:
                self._close()
                self._check_seal(matches.seal)
                self._store = VectorStore(self.folder, self._fingerprint)
                self._generation = generation
        return self._store

    def _check_seal(self, stored: str) -> None:
        if not is_sealed(self.folder, stored):
            raise IndexFolderError(
                f"{self.folder} was not written on this machine, or is not there, and is not opened. Make it again: "
                f"`jina-rag rebuild --index {self._index}`. No text is embedded again for that."
            )

    def _open_for_writing(self, generation: int, *, is_dirty: bool) -> None:
        if not is_sealed(self.folder, self._catalog.seal()):
            self.remake()
            return
        # A process that was killed while Chroma saved its graph can leave a file that would end the one that reads it.
        if is_dirty and inspect_folder(self.folder).fault:
            self.remake()
            return
        self._store = VectorStore(self.folder, self._fingerprint)
        self._generation = generation

    def _reconcile(self) -> None:
        """Mark as dirty in what Chroma and SQLite differ, if their numbers do, as after another program's change."""
        assert self._store is not None
        if not self._catalog.count_dirty() and self._store.count() != self._catalog.count_chunks():
            self._catalog.mark_dirty(self._store.ids().symmetric_difference(self._catalog.chunk_ids()))

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise IndexFolderError(
                f"The index {self._index} was opened before this process was forked, and Chroma does not survive that. "
                "Open it after the fork: without preload_app in gunicorn, in worker_process_init with Celery, or start "
                'processes with multiprocessing\'s "spawn".'
            )
