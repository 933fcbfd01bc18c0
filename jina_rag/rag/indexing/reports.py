"""What `DocumentIndex` reports: what it did, and what it holds."""

from dataclasses import dataclass, field
from pathlib import Path

from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.documents.discovery import Skipped
from jina_rag.rag.store.types import FailedDocument, TrackedPath


@dataclass(frozen=True)
class SyncReport:
    """What `DocumentIndex.add` or `sync` did, each document in one of the lists.

    Attributes:
        added: Sources that are new.
        updated: Sources whose content has changed.
        regrouped: Sources whose collections alone have changed: source, collections before, and now.
        unchanged: Sources that were left as they are.
        removed: Sources whose files are gone; `add` removes nothing.
        moved: Sources whose files were moved: before and now.
        gone_folders: Folders that are gone as a whole with several documents, which are among the removed.
        failed: Sources that could not be read or embedded; what the index knew of them is kept. With them are the
            folders that could not be listed, and those from which too much is gone.
        withheld: Sources whose files are gone and that were kept, because too much is gone at once.
        skipped: What is in the folders and is not read.
        left_out: Sources of files that were removed from the index before and stay out.
        n_chunks: Chunks of the new and updated documents.
        n_embedded: Texts that were embedded for them; all others had a vector already.
        stopped: Whether it ended early because it was asked to.
    """

    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    regrouped: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = ()
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    moved: tuple[tuple[str, str], ...] = ()
    gone_folders: tuple[str, ...] = ()
    failed: tuple[FailedDocument, ...] = ()
    withheld: tuple[str, ...] = ()
    skipped: Skipped = field(default_factory=Skipped)
    left_out: tuple[str, ...] = ()
    n_chunks: int = 0
    n_embedded: int = 0
    stopped: bool = False


@dataclass(frozen=True)
class IndexStatus:
    """What an index holds.

    Attributes:
        folder: Where it is.
        fingerprint: The model, quantisation and width that it was made with.
        n_documents: How many documents it has.
        n_chunks: How many chunks can be found.
        n_bytes: What it takes up on disk.
        collections: How many documents there are in each collection.
        tracked_paths: The files and folders that `sync` searches.
        failed: Files that could not be added, and why.
        n_with_notes: How many documents have notes on how they were read.
        n_outdated: How many documents another version of jina-rag has read; `sync` reads them again.
        skipped: What is in these folders and is not read, as of the last `add` or `sync`.
        removed: Files and folders in them that were removed from the index and stay out.
        is_being_written: Whether a process is writing at this moment.
    """

    folder: Path
    fingerprint: Fingerprint
    n_documents: int
    n_chunks: int
    n_bytes: int
    collections: dict[str, int]
    tracked_paths: tuple[TrackedPath, ...]
    failed: tuple[FailedDocument, ...]
    n_with_notes: int
    n_outdated: int
    skipped: Skipped
    removed: tuple[str, ...]
    is_being_written: bool
