"""What an index holds, written out for other programs: texts as JSON Lines, vectors as a numpy file, row by row.

Whatever the size of the index, one chunk at a time is in memory.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, TextIO

from numpy.lib import format as npy

from jina_rag.errors import IndexFolderError
from jina_rag.rag.store.catalog import Catalog
from jina_rag.rag.store.filters import Filters
from jina_rag.rag.store.types import StoredChunk

ExportCallback = Callable[[int, int], None]
"""Called with how many chunks are written, and how many there are."""


def export_chunks(
    catalog: Catalog,
    target: Path | TextIO,
    *,
    vectors: Path | None = None,
    filters: Filters | None = None,
    on_progress: ExportCallback | None = None,
) -> int:
    """Write chunks and their vectors, all as of one moment, as `IndexContents.export` says."""
    with ExitStack() as files, catalog.contents(filters) as (n_chunks, rows):
        texts = files.enter_context(_new_file(target, "w", encoding="utf-8")) if isinstance(target, Path) else target
        numbers = files.enter_context(_new_file(vectors, "wb")) if vectors else None
        if numbers:
            _write_header(numbers, n_chunks, catalog.fingerprint().dimensions)
        for n_done, row in enumerate(rows, start=1):
            texts.write(_as_json(row) + "\n")
            if numbers:
                numbers.write(_vector_bytes(row))
            if on_progress:
                on_progress(n_done, n_chunks)
    return n_chunks


def _as_json(row: StoredChunk) -> str:
    more = {"collections": row.collections, "sha256": row.sha256, "metadata": row.metadata}
    return json.dumps({**asdict(row.chunk), **more}, ensure_ascii=False)


def _write_header(file: IO[bytes], n_rows: int, n_columns: int) -> None:
    npy.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (n_rows, n_columns)})


def _vector_bytes(row: StoredChunk) -> bytes:
    if row.vector is None:
        raise IndexFolderError(
            f"The index has no vector of the chunk {row.chunk.id}. Look into it with `jina-rag doctor`."
        )
    return row.vector.astype("<f4").tobytes()


@contextmanager
def _new_file(path: Path, mode: str, **options: Any) -> Iterator[IO[Any]]:  # noqa: ANN401 - what open() takes and gives
    """A file that has its name only once it is whole; until then what bore the name before stays."""
    path = path.resolve()
    if path.exists() and not path.is_file():  # a pipe, or a device such as /dev/null
        with path.open(mode, **options) as file:
            yield file
        return
    part = path.with_name(f".jina-rag-{secrets.token_hex(8)}.part")
    try:
        with part.open(mode, **options) as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
