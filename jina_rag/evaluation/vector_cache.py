"""Vectors that were computed once are kept, by fingerprint and text: a run that was interrupted goes on from there."""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import TypeAlias

import numpy as np

from jina_rag.backends.base import BackendResult, EmbeddingBackend, ProgressCallback
from jina_rag.embedder import Embedder
from jina_rag.errors import EvaluationError
from jina_rag.machine import cache_root
from jina_rag.vectors import FloatArray

_TEXTS_AT_A_TIME = 128
"""So many are embedded before their vectors are stored; so many are lost at most when a process is killed."""

_Row: TypeAlias = tuple[int, bool, FloatArray]
"""Tokens that were read, whether the text was cut, and the vector at full width."""

_TABLE = "CREATE TABLE IF NOT EXISTS vectors (digest BLOB PRIMARY KEY, tokens INT, cut INT, vector BLOB) WITHOUT ROWID"


class CachingBackend:
    """An engine that computes no vector twice. Safe to call from many threads.

    Attributes:
        seconds: How long the engine itself has embedded.
        n_embedded: How many texts it has embedded; the others were known.
    """

    def __init__(self, backend: EmbeddingBackend, file: Path) -> None:
        """Take an engine.

        Args:
            backend: Computes what is not known.
            file: A SQLite file for vectors of this engine's model, made if there is none.
        """
        self._backend = backend
        self._file = file
        self._lock = Lock()
        self._sqlite: sqlite3.Connection | None = None
        self.seconds = 0.0
        self.n_embedded = 0
        self._cut: set[bytes] = set()

    @property
    def dimensions(self) -> int:
        """Width of the full vector."""
        return self._backend.dimensions

    @property
    def identity(self) -> str:
        """That of the engine."""
        return self._backend.identity

    @property
    def n_cut(self) -> int:
        """How many of the texts that were asked for are longer than the model reads."""
        return len(self._cut)

    def embed(
        self,
        texts: Sequence[str],
        *,
        max_tokens: int,
        truncate: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> BackendResult:
        """The vectors of texts with their prompts, from the file as far as it has them.

        Raises:
            EvaluationError: the file can't be used.
            JinaRagError: otherwise as the engine; positions are those among the texts that were not known.
        """
        keys = [_digest(text, max_tokens, truncate) for text in texts]
        known = self._read(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if on_progress and len(missing) < len(texts):
            on_progress(len(texts) - len(missing))
        todo = list(missing.items())
        for start in range(0, len(todo), _TEXTS_AT_A_TIME):
            part = todo[start : start + _TEXTS_AT_A_TIME]
            began = perf_counter()
            result = self._backend.embed([text for _, text in part], max_tokens=max_tokens, truncate=truncate)
            self.seconds += perf_counter() - began
            self.n_embedded += len(part)
            cut = set(result.truncated)
            rows = {
                key: (result.token_counts[place], place in cut, result.vectors[place])
                for place, (key, _) in enumerate(part)
            }
            self._write(rows)
            known |= rows
            if on_progress:
                on_progress(len(part))
        found = [known[key] for key in keys]
        cut_texts = tuple(place for place, (_, is_cut, _) in enumerate(found) if is_cut)
        self._cut.update(keys[place] for place in cut_texts)
        return BackendResult(
            np.stack([vector for _, _, vector in found]), tuple(tokens for tokens, _, _ in found), cut_texts
        )

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """As the engine's own."""
        return self._backend.count_tokens(texts)

    def close(self) -> None:
        """Close the engine and the file; the next call opens them again."""
        self._backend.close()
        self.close_file()

    def close_file(self) -> None:
        """Close the file alone; the next call opens it again."""
        with self._lock:
            if self._sqlite:
                self._sqlite.close()
            self._sqlite = None

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, _Row]:
        found = {}
        with self._connection() as connection:
            for key in keys:
                row = connection.execute("SELECT tokens, cut, vector FROM vectors WHERE digest = ?", [key]).fetchone()
                if row and isinstance(row[2], bytes) and len(row[2]) == 4 * self.dimensions:
                    found[key] = int(row[0]), bool(row[1]), np.frombuffer(row[2], np.float32)
        return found

    def _write(self, rows: dict[bytes, _Row]) -> None:
        values = [
            (key, tokens, cut, vector.astype(np.float32).tobytes()) for key, (tokens, cut, vector) in rows.items()
        ]
        with self._connection() as connection:
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", values)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """The file within a transaction."""
        with self._lock:
            try:
                if self._sqlite is None:
                    self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                    self._sqlite = sqlite3.connect(self._file, timeout=30, check_same_thread=False)
                    self._sqlite.execute(_TABLE)
                with self._sqlite:
                    yield self._sqlite
            except (sqlite3.Error, OSError) as error:
                raise EvaluationError(
                    f"The vectors in {self._file} can't be used ({error}). Delete that file: they are made again."
                ) from error


def caching(embedder: Embedder, folder: Path | None = None) -> tuple[Embedder, CachingBackend]:
    """The same embedder with its vectors kept, and its engine. Texts that are too long are cut.

    Args:
        embedder: What computes them; its own to close.
        folder: Where to; None for this user's cache. The file is named by the fingerprint at full width.
    """
    fingerprint = replace(embedder.fingerprint, dimensions=embedder.spec.dimensions)
    file = (folder or cache_root() / "evaluation") / f"{fingerprint.digest}.sqlite3"
    backend = CachingBackend(embedder.backend, file)
    cached = Embedder(
        backend, embedder.spec, quantization=embedder.quantization, dimensions=embedder.dimensions, truncate=True
    )
    return cached, backend


def _digest(text: str, max_tokens: int, truncate: bool) -> bytes:
    return hashlib.sha256(f"{max_tokens} {truncate} {text}".encode("utf-8", "surrogatepass")).digest()
