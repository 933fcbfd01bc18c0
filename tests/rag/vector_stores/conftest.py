from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest

from jina_rag.fingerprint import Fingerprint
from jina_rag.rag.chunking import Chunk, chunk_id
from jina_rag.rag.store.types import IndexedDocument
from jina_rag.rag.vector_stores import VectorStore, open_store
from jina_rag.rag.vector_stores.rows import make_rows
from jina_rag.testing import fake_embedder
from jina_rag.vectors import FloatArray

STORES = ("chroma", "chroma+file", "lance")

_numbers = count()

EMBEDDER = fake_embedder()
FINGERPRINT: Fingerprint = EMBEDDER.fingerprint


@pytest.fixture(params=STORES)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where no store is yet, of every kind in turn."""
    name = f"store-{next(_numbers)}"
    if request.param == "chroma":
        return f"{request.getfixturevalue('chroma')}/{name}"
    return f"{request.param}://{tmp_path / 'stored'}#{name}"


@pytest.fixture
def store(address: str) -> Iterator[VectorStore]:
    with open_store(address, FINGERPRINT, create=True) as opened:
        yield opened


def rows_of(
    source: str,
    *texts: str,
    collections: tuple[str, ...] = ("default",),
    metadata: dict[str, str] | None = None,
    mtime_ns: int = 0,
    vectors: FloatArray | None = None,
) -> pa.Table:
    """A document's rows, a chunk for each text."""
    chunks = [
        Chunk(chunk_id(source, at, text, FINGERPRINT.digest), source, "Title", at, None, "Part", 0, len(text), text)
        for at, text in enumerate(texts)
    ]
    kind = Path(source).suffix
    document = IndexedDocument(
        source, "Title", "0" * 64, 7, mtime_ns, len(chunks), "", collections, kind, (), metadata or {}
    )
    if vectors is None:
        vectors = EMBEDDER.embed_documents(texts)
    return make_rows(document, chunks, vectors, FINGERPRINT)
