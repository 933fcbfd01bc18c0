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
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from jina_rag.distributed.sources import Listing, SourceFile, open_filesystem
from jina_rag.errors import IndexFolderError
from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.documents.sources import source_of
from jina_rag.rag.store.disk import cannot_write
from jina_rag.rag.vector_stores.rows import read_fingerprint, row_schema

DOCUMENTS_KEY = b"jina_rag_documents"
"""Where the metadata of a bundle lists its documents, as JSON."""

_FOLDERS = ("chunks", "shards", "failures", "unfinished")
_LISTING = "sources.parquet"
_LISTING_SCHEMA = pa.schema(
    [("source", pa.string()), ("version", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64())]
)
_BUNDLE = re.compile(r"[0-9a-f]{32}")
_SHARD = re.compile(r"([0-9a-f]{32})-([0-9]{5,9})")
_FILES_AT_ONCE = 16  # an object store takes tens of milliseconds for each


class DocumentRecord(NamedTuple):
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
    failure: str


_TYPES = list(DocumentRecord.__annotations__.values())


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
        system, root = self._files.fs, self._files.path
        own = source_of(Path(root).resolve()) if self._is_local else system.unstrip_protocol(root)
        return [f"{own}/{folder}" for folder in _FOLDERS]

    @cached_property
    def _files(self) -> DirFileSystem:
        system, path = open_filesystem(self.address)
        return DirFileSystem(path, system)

    @property
    def _is_local(self) -> bool:
        return isinstance(self._files.fs, LocalFileSystem)

    def make(self) -> None:
        """Make the folder where there is none; an object store has no folders.

        Raises:
            IndexFolderError: it can't be written.
        """
        with self._write_errors():
            for folder in _FOLDERS if self._is_local else ():
                self._files.makedirs(folder, exist_ok=True)

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
        if not self._files.exists(_LISTING):
            return None
        with self._opened(_LISTING) as file:
            return read_fingerprint(file.schema_arrow, f"The folder {self.address}")

    def read_listing(self) -> Listing | None:
        """The documents that the sources had at the last run; None if there was none.

        Raises:
            IndexFolderError: the record can't be read.
        """
        if not self._files.exists(_LISTING):
            return None
        with self._opened(_LISTING) as file:
            _check_columns(file, _LISTING_SCHEMA)
            roots = json.loads(file.schema_arrow.metadata[b"jina_rag_roots"])
            rows = file.read().to_pylist()
            return Listing({row["source"]: SourceFile(**row) for row in rows}, [str(root) for root in roots])

    def write_listing(self, listing: Listing, fingerprint: Fingerprint) -> None:
        """Remember what the sources have now."""
        table = pa.Table.from_pylist([file._asdict() for file in listing.files.values()], _LISTING_SCHEMA)
        metadata = {**row_schema(fingerprint).metadata, b"jina_rag_roots": json.dumps(listing.roots).encode()}
        self._write_table(_LISTING, table.replace_schema_metadata(metadata))

    def write_bundle(self, name: str, table: pa.Table, documents: Sequence[DocumentRecord], group_rows: int) -> None:
        """Keep the chunks of some documents; `table` has rows without vectors, in row groups of `group_rows`."""
        metadata = {**table.schema.metadata, DOCUMENTS_KEY: json.dumps(documents, ensure_ascii=False)}
        self._write_table(f"chunks/{name}.parquet", table.replace_schema_metadata(metadata), group_rows)

    def read_group(self, bundle: str, group: int) -> pa.Table:
        """The chunks of one row group.

        Raises:
            IndexFolderError: the file can't be read.
        """
        with self._opened(f"chunks/{bundle}.parquet") as file:
            _check_columns(file, self._schema_of(file, without=("vector",)))
            return file.read_row_group(group)

    def has_shard(self, name: str) -> bool:
        """Whether a shard is there."""
        return bool(self._files.exists(f"shards/{name}.parquet"))

    def write_shard(self, name: str, rows: pa.Table, failures: Sequence[FailedChunk]) -> None:
        """Keep the rows of a shard, after what could not be embedded of it."""
        if failures:
            self._write(f"failures/{name}.json", json.dumps(failures).encode())
        else:
            self._remove([f"failures/{name}.json"])  # of an earlier try
        self._write_table(f"shards/{name}.parquet", rows)

    def read_shard(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
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
        for name in self._names("failures", _SHARD):
            with _read_errors(f"{self.address}/failures/{name}.json"):
                rows = json.loads(self._files.cat_file(f"failures/{name}.json"))
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
        with self._write_errors():
            for name in self._files.ls("unfinished", detail=False) if self._is_local else ():
                self._files.rm_file(name)

    def _remove(self, names: Iterable[str]) -> None:
        with self._write_errors():
            for name in names:
                if self._files.exists(name):
                    self._files.rm_file(name)

    def _bundle(self, name: str, fingerprint: Fingerprint) -> Bundle:
        if name not in self._read:
            with self._opened(f"chunks/{name}.parquet") as file:
                self._check(file, fingerprint)
                listed = json.loads(file.schema_arrow.metadata[DOCUMENTS_KEY])
                groups = (file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups))
                self._read[name] = Bundle(name, tuple(map(_record, listed)), tuple(n for n in groups if n))
        return self._read[name]

    def _check(self, file: pq.ParquetFile, fingerprint: Fingerprint) -> None:
        where = f"The folder {self.address}"
        remedy = "Name another folder with --shards, or the model that it was made with."
        fingerprint.check(read_fingerprint(file.schema_arrow, where), where=where, remedy=remedy)

    def _schema_of(self, file: pq.ParquetFile, without: Sequence[str] = ()) -> pa.Schema:
        """What a file with rows for the model that it names must have."""
        fingerprint = read_fingerprint(file.schema_arrow, f"The folder {self.address}")
        return pa.schema([field for field in row_schema(fingerprint) if field.name not in without])

    def _names(self, folder: str, pattern: re.Pattern[str]) -> list[str]:
        self._files.fs.invalidate_cache()  # workers write, too
        paths = self._files.ls(folder, detail=False) if self._files.exists(folder) else []
        stems = (path.rpartition("/")[2].rpartition(".")[0] for path in paths)
        return sorted(stem for stem in stems if pattern.fullmatch(stem))

    @contextmanager
    def _opened(self, name: str) -> Iterator[pq.ParquetFile]:
        with _read_errors(f"{self.address}/{name}"), self._files.open(name, "rb") as file:
            yield pq.ParquetFile(file)

    def _write_table(self, name: str, table: pa.Table, group_rows: int | None = None) -> None:
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, row_group_size=group_rows, compression="zstd")
        self._write(name, buffer.getvalue().to_pybytes())

    def _write(self, name: str, data: bytes) -> None:
        """Write a file that appears as a whole: an object store puts it so, a folder takes it by renaming."""
        unfinished = f"unfinished/{uuid4().hex}" if self._is_local else name
        with self._write_errors():
            self._files.pipe_file(unfinished, data)
            if unfinished != name:
                os.replace(f"{self._files.path}/{unfinished}", f"{self._files.path}/{name}")  # noqa: PTH105 - strings

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


def bundle_name(table: pa.Table, documents: Sequence[DocumentRecord], group_rows: int) -> str:
    """What a bundle is called: by all that decides what is in it and how its shards divide it."""
    named = json.dumps([group_rows, documents, table["id"].to_pylist()])
    return hashlib.sha256(named.encode()).hexdigest()[:32]


def shard_name(bundle: str, group: int) -> str:
    """What a shard's files are called."""
    return f"{bundle}-{group:05d}"


def _record(row: object) -> DocumentRecord:
    if not isinstance(row, list) or [type(value) for value in row] != _TYPES:
        raise ValueError("the list of its documents is damaged")
    return DocumentRecord(*row)


def _check_columns(file: pq.ParquetFile, schema: pa.Schema) -> None:
    """Raise ValueError unless a file has these columns and no others: Ray's own types unpickle what is in them."""
    if not file.schema_arrow.equals(schema):
        raise ValueError("it has other columns")


@contextmanager
def _read_errors(path: str) -> Iterator[None]:
    """Report in our words that a file of the record can't be read."""
    try:
        yield
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise IndexFolderError(
            f"{path} can't be read ({error}). Remove it and run the same command again: what was in it is made again."
        ) from error
