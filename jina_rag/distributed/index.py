"""From sources to shards to a store: the stages of `jina-rag index`, each of which continues an interrupted one."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from jina_rag.backends.remote.address import engine_of
from jina_rag.config import EmbedderConfig
from jina_rag.distributed.embed_batch import EmbedderSource, embedder_of
from jina_rag.distributed.engines import Engine, LocalEngine
from jina_rag.distributed.loading import Contents, load_shards, owners_of
from jina_rag.distributed.merging import merge_bundles
from jina_rag.distributed.shards import ShardFolder, shard_name
from jina_rag.distributed.sources import Listing, is_below, list_sources
from jina_rag.distributed.stages import EmbedGroup, ReadBundle, WorkerSettings, bundles_of
from jina_rag.errors import DocumentError, IndexFolderError
from jina_rag.fingerprint import Fingerprint
from jina_rag.formatting import counted
from jina_rag.rag.documents.discovery import Skipped
from jina_rag.rag.store.files import refuse_links
from jina_rag.rag.store.lock import sole_writer
from jina_rag.rag.store.types import FailedDocument
from jina_rag.rag.vector_stores import open_store

SHARD_ROWS = 1000
"""So many chunks are in a shard, and so much is lost where a worker is killed."""

StageName = Literal["Reading", "Embedding", "Loading"]
ProgressCallback = Callable[[StageName, int, int], None]
"""Called with a stage, how much of it is done, and of how much: documents, chunks, rows."""


@dataclass
class IndexReport:
    """What a run did, and what there is after it.

    Attributes:
        n_documents: Documents that the sources have.
        n_read: Those that were new or had changed.
        n_embedded: Chunks that were embedded.
        n_loaded: Rows that were written to the store.
        removed: Documents that have left the sources and were deleted from the store.
        failed: Documents that could not be read, or only in part be embedded, with the reason.
        skipped: What local folders have that is not read.
        n_chunks: Chunks that the documents of the sources have, those that failed left out.
        n_others: Rows that the store has beside these.
        seconds: What each stage took.
    """

    n_documents: int = 0
    n_read: int = 0
    n_embedded: int = 0
    n_loaded: int = 0
    removed: tuple[str, ...] = ()
    failed: list[FailedDocument] = field(default_factory=list)
    skipped: Skipped = field(default_factory=Skipped)
    n_chunks: int = 0
    n_others: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


def index_documents(
    sources: Sequence[str],
    to: str | None,
    *,
    shards: str,
    embedder: EmbedderSource,
    engine: Engine | None = None,
    exclude: Sequence[str] = (),
    retry_failed: bool = False,
    allow_mass_removal: bool = False,
    shard_rows: int = SHARD_ROWS,
    on_progress: ProgressCallback = lambda *_: None,
) -> IndexReport:
    """Read and embed documents into shards, and make a store equal to the sources.

    Run it again to continue an interrupted run, or after documents have changed: what is done is not done again. One
    run at a time may write to a folder of shards, and to a store.

    Args:
        sources: Files, folders, patterns and addresses; none leaves the shards as they are.
        to: The store's address, see `jina_rag.rag.vector_stores`; None makes shards alone.
        shards: The folder of shards, a path or an address that all workers reach.
        embedder: The model.
        engine: Where the work is done; None does it in this process.
        exclude: What to pass over in folders, in the syntax of .gitignore.
        retry_failed: Read and embed documents again that failed and have not changed.
        allow_mass_removal: Go on where a folder is no longer named, or more than half of the documents are gone.
        shard_rows: The largest number of chunks in a shard.
        on_progress: Follows the run.

    Raises:
        DocumentError: a source can't be listed or has no documents, or more than half of the documents are gone.
        FingerprintMismatchError: shards or store were made with another model.
        IndexFolderError: the shards can't be read or are in use.
        StoreError: the store can't be used.
        BackendError: the engine has failed.
        MissingDependencyError: a package is not installed.
    """
    folder = ShardFolder(shards)
    model = embedder_of(embedder)
    fingerprint = model.fingerprint
    if not isinstance(engine, LocalEngine | None):
        model.close()  # the work is done elsewhere
    settings = WorkerSettings(_settled(embedder, fingerprint), fingerprint, folder, shard_rows)
    report = IndexReport()
    with _one_run(folder):
        folder.bundles(fingerprint)  # another model is refused before anything is written
        listing = _listing(folder, sources, exclude, fingerprint, allow_mass_removal=allow_mass_removal)
        report.n_documents, report.skipped = len(listing.files), listing.skipped
        if to is not None:  # what is wrong with it is better known now than after a night of embedding
            open_store(to, fingerprint, create=True).close()
        if sources:
            _make_shards(listing, settings, engine or LocalEngine(), report, on_progress, retry_failed=retry_failed)
        contents = Contents(folder, listing, fingerprint)
        report.failed, report.n_chunks = contents.failed, contents.n_chunks
        if to is not None:
            contents.check_complete()

            def on_rows(n_rows: int) -> None:
                report.n_loaded += n_rows
                on_progress("Loading", report.n_loaded, max(report.n_loaded, report.n_chunks))

            with _timed(report, "Loading"), open_store(to, fingerprint, create=True) as store:
                report.removed, report.n_others = load_shards(
                    contents, store, on_rows, allow_mass_removal=allow_mass_removal
                )
            contents.remove_unused()
    return report


def _make_shards(
    listing: Listing,
    settings: WorkerSettings,
    engine: Engine,
    report: IndexReport,
    on_progress: ProgressCallback,
    *,
    retry_failed: bool,
) -> None:
    """Read the documents that have no chunks yet, and embed the chunks that have no shard yet."""
    folder = settings.folder
    with _timed(report, "Reading"):
        if retry_failed:
            folder.remove_shards(folder.failures())
        owners = owners_of(listing, folder.bundles(settings.fingerprint), without_failed=retry_failed)
        new = [file for source, file in listing.files.items() if source not in owners]
        for n_read in engine.run(ReadBundle, settings, bundles_of(new), uses_model=False):
            report.n_read += n_read
            on_progress("Reading", report.n_read, len(new))
    with _timed(report, "Embedding"):
        bundles = folder.bundles(settings.fingerprint)
        owning = {bundle.name for _, bundle in owners_of(listing, bundles).values()}
        done = folder.shards()
        groups = {
            (bundle.name, group): n_rows
            for bundle in bundles
            if bundle.name in owning
            for group, n_rows in enumerate(bundle.group_rows)
            if shard_name(bundle.name, group) not in done
        }
        for n_embedded in engine.run(EmbedGroup, settings, list(groups), uses_model=True):
            report.n_embedded += n_embedded
            on_progress("Embedding", report.n_embedded, sum(groups.values()))
        merge_bundles(owners_of(listing, bundles), settings)


def _listing(
    folder: ShardFolder,
    sources: Sequence[str],
    exclude: Sequence[str],
    fingerprint: Fingerprint,
    *,
    allow_mass_removal: bool,
) -> Listing:
    """What the sources have now; without sources, what they had at the last run."""
    before = folder.read_listing()
    if not sources:
        if before is None:
            raise IndexFolderError(f"There are no shards in {folder.address}. Make them with --source.")
        return before
    listing = list_sources(sources, exclude, without=folder.sources)
    roots = [root for root in before.roots if root not in before.files] if before else []
    left = [root for root in roots if not is_below(root, listing.roots)]
    if left and not allow_mass_removal:
        raise DocumentError(
            f"{left[0]} was a source of the last run and is not named now, so its documents would be deleted. Name it "
            "too, take another folder with --shards, or run it again with --yes."
        )
    n_gone = len(before.files.keys() - listing.files.keys()) if before else 0
    if before and n_gone > len(before.files) / 2 and not allow_mass_removal:
        raise DocumentError(
            f"{n_gone:,} of {counted(len(before.files), 'document')} are gone from the sources. Check that all disks "
            "are mounted and all sources are named; if they are gone for good, run it again with --yes."
        )
    folder.write_listing(listing, fingerprint)
    return listing


def _settled(embedder: EmbedderSource, fingerprint: Fingerprint) -> EmbedderSource:
    """The settings with what "auto" stands for here, model or engine: on another machine that may be another one."""
    if not isinstance(embedder, EmbedderConfig):
        return embedder
    if embedder.model == "auto":
        embedder = replace(embedder, model=fingerprint.model, quantization=fingerprint.quantization or None)
    return replace(embedder, backend=engine_of(fingerprint.weights, embedder.backend))


@contextmanager
def _timed(report: IndexReport, stage: StageName) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        report.seconds[stage] = time.monotonic() - started


@contextmanager
def _one_run(folder: ShardFolder) -> Iterator[None]:
    """Keep a second run out of a folder on this machine; an object store has no locks."""
    folder.make()
    if "://" in folder.address:
        yield
        return
    refuse_links(Path(folder.address))
    with sole_writer(Path(folder.address)):
        folder.remove_unfinished()
        yield
