"""From shards into a store, and what has left the sources out of it.

A document's row at position 0 is written last, after the rows of its older version are gone. So a store itself says
which documents it has: one whose first row agrees with the document's record is complete, whatever was killed before.
Where that row could not be embedded, the document's ids are compared.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute

from jina_rag.distributed.shards import Bundle, DocumentRecord, ShardFolder
from jina_rag.distributed.sources import Listing, is_below
from jina_rag.errors import DocumentError, IndexFolderError, StoreError
from jina_rag.fingerprint import Fingerprint
from jina_rag.formatting import counted
from jina_rag.rag.store.types import FailedDocument
from jina_rag.rag.vector_stores import DocumentState, VectorStore

Owners = Mapping[str, tuple[DocumentRecord, Bundle]]
"""For each document of the sources that has been read: its record and the bundle that has its chunks."""


class Contents:
    """What a folder of shards has of the sources, and so what a store is to have.

    Attributes:
        folder: The shards.
        listing: The sources.
        bundles: All that there are.
        owners: The documents of the sources.
        failed: Those among them that could not be read, or only in part be embedded, with the reason.
        headless: Those without a row at position 0, because that chunk could not be embedded.
        n_chunks: How many rows they have.
    """

    def __init__(self, folder: ShardFolder, listing: Listing, fingerprint: Fingerprint) -> None:
        """Read the records.

        Raises:
            FingerprintMismatchError, IndexFolderError: as `ShardFolder.bundles`.
        """
        self.folder, self.listing, self.bundles = folder, listing, folder.bundles(fingerprint)
        self.owners = owners_of(listing, self.bundles)
        self._owning = {bundle.name: bundle for _, bundle in self.owners.values()}
        failures = [
            failure
            for shard, failed in folder.failures().items()
            for failure in failed
            if failure.source in self.owners and shard in self.owners[failure.source][1].shards
        ]
        reasons = {source: record.failure for source, (record, _) in self.owners.items() if record.failure}
        n_failed = Counter(failure.source for failure in failures)
        for source, position, reason in failures:
            first = f"{n_failed[source]} of its chunks could not be embedded, the first of them at position {position}"
            reasons.setdefault(source, f"{source}: {first}: {reason}")
        self.failed = [FailedDocument(*each) for each in reasons.items()]
        self.headless = {failure.source for failure in failures if failure.position == 0}
        self.n_chunks = sum(record.n_chunks for record, _ in self.owners.values()) - len(failures)

    @property
    def known(self) -> set[str]:
        """Documents that the folder knows of, also those that have left."""
        return {record.source for bundle in self.bundles for record in bundle.documents}

    def check_complete(self) -> None:
        """Raise IndexFolderError if a chunk must still be embedded."""
        wanted = {shard for bundle in self._owning.values() for shard in bundle.shards}
        if missing := wanted - self.folder.shards():
            raise IndexFolderError(
                f"{counted(len(missing), 'shard')} must still be embedded. Run it with --source first."
            )

    def remove_unused(self) -> None:
        """Remove the bundles whose documents have all left or changed."""
        for bundle in self.bundles:
            if bundle.name not in self._owning:
                self.folder.remove(bundle)


def owners_of(listing: Listing, bundles: Sequence[Bundle], *, without_failed: bool = False) -> Owners:
    """For each document of the sources the bundle that has it as it is now; of several the last that could read it."""
    owners: dict[str, tuple[DocumentRecord, Bundle]] = {}
    for bundle in bundles:
        for record in bundle.documents:
            file = listing.files.get(record.source)
            is_better = record.source not in owners or not record.failure
            if file and file.version == record.version and is_better and not (without_failed and record.failure):
                owners[record.source] = (record, bundle)
    return owners


def load_shards(
    contents: Contents, store: VectorStore, on_rows: Callable[[int], None], *, allow_mass_removal: bool
) -> tuple[tuple[str, ...], int]:
    """Make a store equal to the sources, as far as they have been embedded.

    Args:
        contents: What it is to have.
        store: Opened for writing.
        on_rows: Called with the number of rows that have been written.
        allow_mass_removal: Go on where more than half of the store's documents have left the sources.

    Returns:
        The documents that have left the sources and were deleted, and how many rows the store has beside those of the
        sources.

    Raises:
        StoreError: the store can't be read or written.
        IndexFolderError: a shard can't be read.
        DocumentError: more than half of the documents are gone.
    """
    owners, headless = contents.owners, contents.headless
    states = {state.source: state for state in store.documents()}
    gone = _gone(contents, states, store.address, allow_mass_removal=allow_mass_removal)
    for bundle, sources in _by_bundle(owners, lambda record: not _is_loaded(record, states)):
        if complete := sources - headless:
            _load_bundle(contents.folder, bundle, complete, complete & states.keys(), store, on_rows)
    for bundle, sources in _by_bundle(owners, lambda record: record.source in headless):
        _repair(contents.folder, bundle, sources, store, on_rows)
    for source in gone:
        store.delete(store.ids(source))
    store.optimize()
    ours = gone | {source for source, (record, _) in owners.items() if record.n_chunks}
    n_others = sum(state.n_chunks for source, state in states.items() if source not in ours)
    if store.count() != contents.n_chunks + n_others:
        for source in contents.known - contents.listing.files.keys():  # without a first row no state names them
            store.delete(store.ids(source))
        for bundle, sources in _by_bundle(owners, lambda _: True):
            _repair(contents.folder, bundle, sources, store, on_rows)
    if (n_others := store.count() - contents.n_chunks) < 0:
        raise StoreError(
            f"{store.address} has {-n_others:,} rows less than were written to it. Run the same command again while "
            "nothing else writes there, or fill another collection or table."
        )
    return tuple(sorted(gone)), n_others


def _gone(
    contents: Contents, states: Mapping[str, DocumentState], address: str, *, allow_mass_removal: bool
) -> set[str]:
    """The documents in a store that have left the sources."""
    files, known = contents.listing.files, contents.known
    left = (source for source in states if source not in files)
    gone = {source for source in left if source in known or is_below(source, contents.listing.roots)}
    n_before = len(gone) + len(states.keys() & files.keys())
    if len(gone) > n_before / 2 and not allow_mass_removal:
        raise DocumentError(
            f"{len(gone):,} of the {counted(n_before, 'document')} that {address} has of these sources are gone from "
            "them. Check that all are named and none is excluded by mistake; if the documents are to be deleted there, "
            "run it again with --yes."
        )
    return gone


def _by_bundle(owners: Owners, is_wanted: Callable[[DocumentRecord], bool]) -> Iterator[tuple[Bundle, set[str]]]:
    """The bundles of wanted documents, each with these."""
    bundles: dict[str, tuple[Bundle, set[str]]] = {}
    for source, (record, bundle) in owners.items():
        if record.n_chunks and is_wanted(record):
            bundles.setdefault(bundle.name, (bundle, set()))[1].add(source)
    yield from bundles.values()


def _is_loaded(record: DocumentRecord, states: Mapping[str, DocumentState]) -> bool:
    state = states.get(record.source)
    wanted = (record.sha256, record.size, record.mtime_ns, record.n_chunks)
    return state is not None and (state.sha256, state.size, state.mtime_ns, state.n_chunks) == wanted


def _load_bundle(
    folder: ShardFolder,
    bundle: Bundle,
    sources: set[str],
    replaced: set[str],
    store: VectorStore,
    on_rows: Callable[[int], None],
) -> None:
    """Write the rows of some documents of a bundle, and delete what older versions of `replaced` had."""
    first: list[pa.Table] = []
    ids: set[str] = set()
    for shard in bundle.shards:
        rows = rows_of(folder.read_shard(shard), sources)
        ids.update(rows["id"].to_pylist())
        is_first = pa.compute.equal(rows["position"], 0)
        first.append(rows.filter(is_first))
        others = rows.filter(pa.compute.invert(is_first))
        store.upsert(others)
        on_rows(len(others))
    store.delete({id_ for source in replaced for id_ in store.ids(source)} - ids)
    complete = pa.concat_tables(first)
    store.upsert(complete)
    on_rows(len(complete))


def _repair(
    folder: ShardFolder, bundle: Bundle, sources: set[str], store: VectorStore, on_rows: Callable[[int], None]
) -> None:
    """Compare the ids of some documents of a bundle, write the rows that are missing and delete those in excess."""
    shards = [rows_of(folder.read_shard(shard, ("id", "source")), sources) for shard in bundle.shards]
    ids = set(pa.concat_tables(shards)["id"].to_pylist())
    there = {id_ for source in sources for id_ in store.ids(source)}
    store.delete(there - ids)
    for shard in bundle.shards if ids - there else ():
        rows = folder.read_shard(shard)
        missing = rows.filter(pa.compute.is_in(rows["id"], pa.array(sorted(ids - there), pa.string())))
        store.upsert(missing)
        on_rows(len(missing))


def rows_of(table: pa.Table, sources: Collection[str]) -> pa.Table:
    """The rows of some documents."""
    return table.filter(pa.compute.is_in(table["source"], pa.array(sorted(sources), pa.string())))
