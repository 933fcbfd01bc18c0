"""The folder of Parquet files that a run leaves: its record of what is done, and what any store is filled from.

    sources.parquet            the documents that the sources had at the last run
    chunks/BUNDLE.parquet      the chunks of some documents, before they are embedded; its metadata lists the documents
    shards/BUNDLE-00000.parquet    the rows of a store with their vectors, for each row group of the bundle
    failures/BUNDLE-00000.json     the chunks of that group that could not be embedded, if there are any

Each file appears as a whole or not at all: a file that is there is done, and nothing else says what is done.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from jina_rag.distributed.sources import Listing, SourceFile, open_filesystem
from jina_rag.errors import IndexFolderError, MissingDependencyError
from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.documents.sources import source_of
from jina_rag.rag.store.disk import cannot_write
from jina_rag.rag.vector_stores.rows import read_fingerprint, row_schema

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from fsspec import AbstractFileSystem

DOCUMENTS_KEY = b"jina_rag_documents"
"""Where the metadata of a bundle lists its documents, as JSON."""

_LISTING = "sources.parquet"
_BUNDLE = re.compile(r"[0-9a-f]{32}")
_SHARD = re.compile(r"([0-9a-f]{32})-([0-9]{5,9})")
_FILES_AT_ONCE = 16  # an object store takes tens of milliseconds for each


@dataclass(frozen=True)
class DocumentRecord:
    """A document that was read.

    Attributes:
        source: What it is called in a store.
        version: That of its `SourceFile`.
        sha256: Of its bytes, in hexadecimal digits; "" if it could not be read.
        size: In bytes.
        mtime_ns: When it was changed last.
        n_chunks: Into how many chunks it was cut.
        failure: Why it could not be read; "" if it could.
    """

    source: str
    version: str
    sha256: str
    size: int
    mtime_ns: int
    n_chunks: int
    failure: str = ""


class Bundle(NamedTuple):
    """Some documents whose chunks are in one file.

    Attributes:
        name: That of its files.
        documents: What was read.
        group_rows: How many chunks each row group has, each of which becomes a shard.
    """

    name: str
    documents: tuple[DocumentRecord, ...]
    group_rows: tuple[int, ...]

    @property
    def shards(self) -> list[str]:
        """The names of its shards, in the order of its row groups."""
        return [shard_name(self.name, group) for group in range(len(self.group_rows))]


_FOLDERS = ("chunks", "shards", "failures", "unfinished")


class FailedChunk(NamedTuple):
    """A chunk that could not be embedded: its document, its position in it, and why."""

    source: str
    position: int
    reason: str


class ShardFolder:
    """The folder of a run, on this machine or in an object store. Pickles as its address."""

    def __init__(self, address: str) -> None:
        """Name it; nothing is opened yet.

        Args:
            address: A path, or an address that fsspec opens, such as `s3://bucket/shards`. All workers must reach it.
        """
        self.address = address if "://" in address else str(Path(address).absolute())
        self._read: dict[str, Bundle] = {}  # they never change

    def __reduce__(self) -> tuple[type["ShardFolder"], tuple[str]]:
        return type(self), (self.address,)

    @property
    def sources(self) -> list[str]:
        """What the folders in it would be called as sources."""
        system, root = self._place
        own = source_of(Path(self.address).resolve()) if _is_local(system) else str(system.unstrip_protocol(root))
        return [f"{own}/{folder}" for folder in _FOLDERS]

    @cached_property
    def _place(self) -> "tuple[AbstractFileSystem, str]":
        return open_filesystem(self.address)

    def make(self) -> None:
        """Make the folder where there is none; an object store has no folders.

        Raises:
            IndexFolderError: it can't be written.
        """
        system, root = self._place
        with self._write_errors():
            for folder in _FOLDERS if _is_local(system) else ():
                system.makedirs(f"{root}/{folder}", exist_ok=True)

    def bundles(self, fingerprint: Fingerprint) -> list[Bundle]:
        """All bundles, in the order of their names.

        Raises:
            FingerprintMismatchError: one was made with another model.
            IndexFolderError: one can't be read.
        """
        with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
            return list(threads.map(lambda name: self._bundle(name, fingerprint), self._names("chunks", _BUNDLE)))

    def shards(self) -> set[str]:
        """The names of all shards."""
        return set(self._names("shards", _SHARD))

    def fingerprint(self) -> Fingerprint | None:
        """What the vectors are made with; None where nothing has been read yet.

        Raises:
            FingerprintMismatchError, IndexFolderError: the record can't be read.
        """
        if not self._exists(_LISTING):
            return None
        with self._opened(_LISTING) as file:
            return read_fingerprint(file.schema_arrow, f"The folder {self.address}")

    def read_listing(self) -> Listing | None:
        """The documents that the sources had at the last run; None if there was none.

        Raises:
            IndexFolderError: the record can't be read.
        """
        if not self._exists(_LISTING):
            return None
        with self._opened(_LISTING) as file:
            _check_columns(file, _listing_schema())
            roots = json.loads(file.schema_arrow.metadata[b"jina_rag_roots"])
            rows = file.read().to_pylist()
            return Listing({row["source"]: SourceFile(**row) for row in rows}, [str(root) for root in roots])

    def write_listing(self, listing: Listing, fingerprint: Fingerprint) -> None:
        """Remember what the sources have now."""
        pa, _ = _pyarrow()
        files = listing.files.values()
        table = pa.Table.from_pylist([file._asdict() for file in files], _listing_schema())
        metadata = {**row_schema(fingerprint).metadata, b"jina_rag_roots": json.dumps(listing.roots).encode()}
        self._write_table(_LISTING, table.replace_schema_metadata(metadata))

    def write_bundle(self, name: str, table: "pa.Table", documents: Sequence[DocumentRecord], group_rows: int) -> None:
        """Keep the chunks of some documents; `table` has rows without vectors, in row groups of `group_rows`."""
        listed = json.dumps([astuple(document) for document in documents], ensure_ascii=False)
        metadata = {**(table.schema.metadata or {}), DOCUMENTS_KEY: listed.encode()}
        self._write_table(f"chunks/{name}.parquet", table.replace_schema_metadata(metadata), group_rows)

    def read_group(self, bundle: str, group: int) -> "pa.Table":
        """The chunks of one row group.

        Raises:
            IndexFolderError: the file can't be read.
        """
        with self._opened(f"chunks/{bundle}.parquet") as file:
            _check_columns(file, self._schema_of(file, without=("vector",)))
            table = file.read_row_group(group)
            return table.replace_schema_metadata(
                {key: value for key, value in table.schema.metadata.items() if key != DOCUMENTS_KEY}
            )

    def has_shard(self, name: str) -> bool:
        """Whether a shard is there."""
        return self._exists(f"shards/{name}.parquet")

    def write_shard(self, name: str, rows: "pa.Table", failures: Sequence[FailedChunk]) -> None:
        """Keep the rows of a shard, after what could not be embedded of it."""
        if failures:
            self._write(f"failures/{name}.json", json.dumps(failures).encode())
        else:
            self._remove([f"failures/{name}.json"])  # of an earlier try
        self._write_table(f"shards/{name}.parquet", rows)

    def read_shard(self, name: str, columns: Sequence[str] | None = None) -> "pa.Table":
        """The rows of a shard.

        Raises:
            IndexFolderError: the file can't be read.
        """
        with self._opened(f"shards/{name}.parquet") as file:
            _check_columns(file, self._schema_of(file))
            return file.read(columns=list(columns) if columns else None)

    def failures(self) -> dict[str, list[FailedChunk]]:
        """What could not be embedded, by shard.

        Raises:
            IndexFolderError: a file can't be read.
        """
        found = {}
        system, root = self._place
        for name in self._names("failures", _SHARD):
            with _read_errors(f"{self.address}/failures/{name}.json"):
                rows = json.loads(system.cat_file(f"{root}/failures/{name}.json"))
                found[name] = [FailedChunk(str(source), int(at), str(reason)) for source, at, reason in rows]
        return found

    def remove(self, bundle: Bundle) -> None:
        """Remove all files of a bundle, its record last."""
        self.remove_shards(bundle.shards)
        self._remove([f"chunks/{bundle.name}.parquet"])

    def remove_shards(self, names: Iterable[str]) -> None:
        """Remove shards with what is known of their failures, so that they are made again."""
        for name in names:
            self._remove([f"shards/{name}.parquet", f"failures/{name}.json"])

    def remove_unfinished(self) -> None:
        """Remove what a killed run had not finished writing."""
        system, root = self._place
        if _is_local(system):
            with self._write_errors():
                for path in system.ls(f"{root}/unfinished", detail=False):
                    system.rm_file(path)

    def _remove(self, names: Iterable[str]) -> None:
        system, root = self._place
        with self._write_errors():
            for name in names:
                if system.exists(path := f"{root}/{name}"):
                    system.rm_file(path)

    def _bundle(self, name: str, fingerprint: Fingerprint) -> Bundle:
        if name not in self._read:
            with self._opened(f"chunks/{name}.parquet") as file:
                self._check(file, fingerprint)
                listed = json.loads(file.schema_arrow.metadata[DOCUMENTS_KEY])
                groups = (file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups))
                self._read[name] = Bundle(name, tuple(map(_record, listed)), tuple(n for n in groups if n))
        return self._read[name]

    def _check(self, file: "pq.ParquetFile", fingerprint: Fingerprint) -> None:
        where = f"The folder {self.address}"
        remedy = "Name another folder with --shards, or the model that it was made with."
        fingerprint.check(read_fingerprint(file.schema_arrow, where), where=where, remedy=remedy)

    def _schema_of(self, file: "pq.ParquetFile", without: Sequence[str] = ()) -> "pa.Schema":
        """What a file with rows for the model that it names must have."""
        fingerprint = read_fingerprint(file.schema_arrow, f"The folder {self.address}")
        return _pyarrow()[0].schema([field for field in row_schema(fingerprint) if field.name not in without])

    def _names(self, folder: str, pattern: re.Pattern[str]) -> list[str]:
        system, root = self._place
        system.invalidate_cache()  # workers write, too
        paths = system.ls(f"{root}/{folder}", detail=False) if system.exists(f"{root}/{folder}") else []
        stems = (path.rpartition("/")[2].rpartition(".")[0] for path in paths)
        return sorted(stem for stem in stems if pattern.fullmatch(stem))

    def _exists(self, name: str) -> bool:
        system, root = self._place
        return bool(system.exists(f"{root}/{name}"))

    @contextmanager
    def _opened(self, name: str) -> "Iterator[pq.ParquetFile]":
        _, parquet = _pyarrow()
        system, root = self._place
        with _read_errors(f"{self.address}/{name}"), system.open(f"{root}/{name}", "rb") as file:
            yield parquet.ParquetFile(file)

    def _write_table(self, name: str, table: "pa.Table", group_rows: int | None = None) -> None:
        pa, parquet = _pyarrow()
        buffer = pa.BufferOutputStream()
        parquet.write_table(table, buffer, row_group_size=group_rows, compression="zstd")
        self._write(name, buffer.getvalue().to_pybytes())

    def _write(self, name: str, data: bytes) -> None:
        """Write a file that appears as a whole: an object store puts it so, a folder takes it by renaming."""
        system, root = self._place
        with self._write_errors():
            if not _is_local(system):
                system.pipe_file(f"{root}/{name}", data)
                return
            unfinished = f"{root}/unfinished/{uuid4().hex}"
            system.pipe_file(unfinished, data)
            os.replace(unfinished, f"{root}/{name}")  # noqa: PTH105 - paths of fsspec are strings

    @contextmanager
    def _write_errors(self) -> Iterator[None]:
        """Report in our words that the folder can't be written."""
        try:
            yield
        except OSError as error:
            if "://" not in self.address:
                raise IndexFolderError(cannot_write(Path(self.address), error)) from error
            raise IndexFolderError(
                f"{self.address} can't be written ({error}). Check the address and your rights."
            ) from error


def bundle_name(table: "pa.Table", documents: Sequence[DocumentRecord], group_rows: int) -> str:
    """What a bundle is called: by all that decides what is in it and how its shards divide it."""
    named = json.dumps([group_rows, [astuple(record) for record in documents], table["id"].to_pylist()])
    return hashlib.sha256(named.encode()).hexdigest()[:32]


def shard_name(bundle: str, group: int) -> str:
    """What a shard's files are called."""
    return f"{bundle}-{group:05d}"


def failed_documents(failures: Iterable[FailedChunk]) -> dict[str, str]:
    """Why documents are incomplete, by source."""
    reasons: dict[str, list[FailedChunk]] = {}
    for failure in failures:
        reasons.setdefault(failure.source, []).append(failure)
    return {
        source: f"{source}: {len(failed)} of its chunks could not be embedded, the first of them at position "
        f"{failed[0].position}: {failed[0].reason}"
        for source, failed in reasons.items()
    }


def _record(row: object) -> DocumentRecord:
    record = DocumentRecord(*row) if isinstance(row, list) else None
    if record is None or any(
        type(value) is not fields(record)[i].type for i, value in enumerate(asdict(record).values())
    ):
        raise ValueError("the list of its documents is damaged")
    return record


def _listing_schema() -> "pa.Schema":
    pa, _ = _pyarrow()
    return pa.schema(
        [("source", pa.string()), ("version", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64())]
    )


def _check_columns(file: "pq.ParquetFile", schema: "pa.Schema") -> None:
    """Raise ValueError unless a file has these columns and no others: Ray's own types unpickle what is in them."""
    if not file.schema_arrow.equals(schema):
        raise ValueError("it has other columns")


def _is_local(system: "AbstractFileSystem") -> bool:
    return "file" in (system.protocol if isinstance(system.protocol, tuple) else (system.protocol,))


@contextmanager
def _read_errors(path: str) -> Iterator[None]:
    """Report in our words that a file of the record can't be read."""
    pa, _ = _pyarrow()
    try:
        yield
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise IndexFolderError(
            f"{path} can't be read ({error}). Remove it and run the same command again: what was in it is made again."
        ) from error


def _pyarrow() -> "tuple[pa, pq]":
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError.for_extra("pyarrow", "ray") from error
    return pyarrow, parquet
