"""The vectors of an index in Chroma: a folder that plain Chroma, LangChain and LlamaIndex open too."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from jina_rag.errors import FingerprintMismatchError, IndexFolderError, JinaRagError, MissingDependencyError
from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.store.disk import disk_is_full, is_nearly_full
from jina_rag.rag.store.sqlite import refuse_super_journal
from jina_rag.rag.store.types import StoredChunk, file_kind
from jina_rag.subprocesses import module_command, module_environment
from jina_rag.vectors import FloatArray

if TYPE_CHECKING:
    from chromadb.api.client import Client

    from jina_rag.chroma import Metadata

COLLECTION = "documents"
"""The collection's name in Chroma."""

CHROMA_FOLDER = "chroma"
"""The folder's name in that of the index."""

_IDS_AT_A_TIME = 1000
_UPSERTED_AT_A_TIME = 64  # Chroma lets no other thread of Python run meanwhile: searches wait no longer than this takes
_LEAST_CANDIDATES = 200  # HNSW looks no wider than it must: among as many, it misses hardly one of the best

_METADATA = ("author", "created", "modified")

_spellings = count()
_MAX_SPELLINGS = 64
_links: list[TemporaryDirectory[str]] = []

T = TypeVar("T")


class VectorStore:
    """One Chroma collection, opened."""

    def __init__(self, folder: Path, fingerprint: Fingerprint) -> None:
        """Open it; it is made if there is none. No model is loaded.

        Args:
            folder: Chroma's own.
            fingerprint: What the vectors are made with.

        Raises:
            IndexFolderError: the vectors can't be read, or were made with another model or embedding function.
            MissingDependencyError: chromadb is not installed.
        """
        self.folder = folder
        self._client = _open_client(folder)
        from jina_rag.chroma import open_collection

        try:
            with chroma_errors(folder):
                self._collection = open_collection(self._client, COLLECTION, fingerprint)
        except (FingerprintMismatchError, ValueError) as error:  # Chroma's own is of the second kind
            self._client.close()
            raise IndexFolderError(_explained(folder, str(error))) from error
        except BaseException:
            self._client.close()
            raise

    def count(self) -> int:
        """How many vectors there are."""
        return self._collection.count()

    def ids(self) -> set[str]:
        """The ids of all vectors."""
        return set(self._collection.get(include=[])["ids"])

    def upsert(self, chunks: Sequence[StoredChunk]) -> None:
        """Add or replace chunks, each with its vector."""
        from jina_rag.chroma import upsert_documents

        for part in slices(chunks, _UPSERTED_AT_A_TIME):
            upsert_documents(
                self._collection,
                ids=[stored.chunk.id for stored in part],
                documents=[stored.chunk.text for stored in part],
                metadatas=[chunk_metadata(stored) for stored in part],
                embeddings=np.stack([stored.vector for stored in part if stored.vector is not None]),
            )

    def delete(self, ids: Iterable[str]) -> None:
        """Delete vectors; unknown ids are passed over."""
        for part in slices(sorted(ids), _IDS_AT_A_TIME):
            self._collection.delete(ids=list(part))

    def nearest(self, vector: FloatArray, n: int, ids: Sequence[str] | None = None) -> list[tuple[str, float]]:
        """The ids of the nearest vectors with their cosine similarity, best first; only among `ids` if given.

        Args:
            vector: Of shape (d,), unit length.
            n: How many at least, if there are so many.
            ids: Those that count, all of which there must be; None for all.
        """
        found = self._collection.query(
            query_embeddings=vector[np.newaxis],
            n_results=max(n, _LEAST_CANDIDATES),
            ids=list(ids) if ids is not None else None,
            include=["distances"],
        )
        assert found["distances"] is not None
        nearest = zip(found["ids"][0], found["distances"][0], strict=True)
        return [(id_, 1.0 - float(distance)) for id_, distance in nearest]

    def close(self) -> None:
        """Give back memory and files."""
        self._client.close()


def chunk_metadata(stored: StoredChunk) -> "Metadata":
    """What Chroma keeps beside a chunk: where it stands and whose it is, for filters of all frameworks."""
    chunk, kind = stored.chunk, file_kind(stored.chunk.source)
    return {
        **{name: stored.metadata[name] for name in _METADATA if name in stored.metadata},
        **chunk.metadata,
        "document_id": chunk.source,  # LlamaIndex deletes a document's nodes by this name for it
        "collections": list(stored.collections),
        **({"kind": kind} if kind else {}),
    }


def slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`items` in parts of `size`, the last one shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


@contextmanager
def chroma_errors(folder: Path) -> Iterator[None]:
    """Say in our words that the vectors can't be read or written."""
    from chromadb.errors import ChromaError

    try:
        yield
    except ChromaError as error:
        raise IndexFolderError(_explained(folder, str(error))) from error
    # What Chroma's engine itself stumbles over (PyO3) is not even an Exception.
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise IndexFolderError(_explained(folder, str(error))) from error


def _explained(folder: Path, error: str) -> str:
    index = folder.parent
    # A failing compaction doesn't say that it was the disk. SQLite's journal may need as much room as the database.
    if "disk is full" in error or "No space left" in error or is_nearly_full(index, _size(folder / "chroma.sqlite3")):
        return disk_is_full(index)
    if "readonly" in error or "Permission denied" in error or "Read-only" in error:
        return f"{folder} can't be written ({error}). Give yourself the right to write to it and the files in it."
    return (
        f"The vectors in {folder} can't be used ({error}). Make them again with `jina-rag rebuild --index {index}`: "
        "no text is embedded again for that."
    )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _open_client(folder: Path) -> "Client":
    try:
        from chromadb import PersistentClient
        from chromadb.api.client import Client
        from chromadb.config import Settings
    except ImportError as error:
        raise MissingDependencyError.for_extra("chromadb", "rag") from error

    refuse_super_journal(folder / "chroma.sqlite3")
    # Within a process Chroma opens a path once and hands the same state to all. Spelled differently, with more slashes
    # at its end, it is another path: an index can renew its state whoever else has the folder open, who has no slash.
    path = f"{_as_utf8(folder.parent.resolve() / folder.name)}{os.sep * (1 + next(_spellings) % _MAX_SPELLINGS)}"
    with chroma_errors(folder):
        try:
            client = PersistentClient(path, Settings(anonymized_telemetry=False))
        except OSError as error:
            raise IndexFolderError(_explained(folder, str(error))) from error
    assert isinstance(client, Client)  # its declared type knows no close()
    return client


@cache
def _as_utf8(folder: Path) -> Path:
    """A path that Chroma takes: where a folder's own is no UTF-8, that of a link to it."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        _links.append(TemporaryDirectory(prefix="jina-rag-"))  # removed when the process ends
        link = Path(_links[-1].name, CHROMA_FOLDER)
        link.symlink_to(folder)
        return link
    return folder


@dataclass(frozen=True)
class Inspection:
    """What `inspect_folder` found in a Chroma folder.

    Attributes:
        ids: Of all vectors.
        fingerprint: What it was filled with, as JSON; None if it doesn't say.
        fault: What is wrong with the folder itself; empty if all can be read.
    """

    ids: frozenset[str] = frozenset()
    fingerprint: str | None = None
    fault: str = ""


def inspect_folder(folder: Path) -> Inspection:
    """Read everything in a Chroma folder once, in a process of its own: damaged files can end the one that reads."""
    if not (folder / "chroma.sqlite3").is_file():
        return Inspection(fault=f"{folder} is not there, or empty")
    command = module_command("jina_rag.rag.store.chroma_store", str(folder.absolute()))
    done = subprocess.run(  # noqa: S603 - our own module
        command, env=module_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"the reading process ended with {done.returncode}"])[-1]
        return Inspection(fault=last)
    found = json.loads(done.stdout)
    return Inspection(frozenset(found["ids"]), found["fingerprint"], found["fault"])


def _inspect(folder: Path) -> dict[str, object]:
    """What `inspect_folder` reports, as JSON takes it. Raises whatever Chroma does."""
    from jina_rag.chroma import stored_fingerprint

    client = _open_client(folder)
    collection = client.get_collection(COLLECTION, embedding_function=None)
    ids = collection.get(include=[])["ids"]
    n_bad = 0
    for part in slices(ids, _IDS_AT_A_TIME):
        stored = np.asarray(collection.get(ids=list(part), include=["embeddings"])["embeddings"], np.float32)
        n_bad += int((~(np.abs(np.linalg.norm(stored, axis=1) - 1) < 1e-2)).sum())
        # A search from here and there goes through the graph, which nothing else reads.
        collection.query(query_embeddings=stored[:1], n_results=min(10, len(ids)), include=["distances"])
    client.close()
    fault = f"{n_bad} vectors are damaged" if n_bad else ""
    fingerprint = stored_fingerprint(collection)
    return {"ids": ids, "fingerprint": fingerprint and fingerprint.to_json(), "fault": fault}


if __name__ == "__main__":
    try:
        json.dump(_inspect(Path(sys.argv[1])), sys.stdout)
    except JinaRagError as error:  # its traceback would end with a note
        json.dump({"ids": [], "fingerprint": None, "fault": str(error)}, sys.stdout)
