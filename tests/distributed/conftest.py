"""Documents, and what a store has."""

from pathlib import Path
from typing import Any

import chromadb
import lancedb
import numpy as np
import pytest

import jina_rag.chroma  # noqa: F401 - Chroma then knows the collections' embedding function
from jina_rag.rag.vector_stores import StoreAddress
from jina_rag.testing import random_texts
from jina_rag.vectors import FloatArray


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A folder of 30 documents of several chunks each."""
    folder = tmp_path / "documents"
    write_documents(folder, 30)
    return folder


def write_documents(folder: Path, n: int, *, paragraphs: int = 6) -> None:
    """Write documents of a chunk for about every three paragraphs."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n):
        texts = random_texts(paragraphs, words=120, seed=number)
        (folder / f"{number:04d}.md").write_text(f"# Document {number}\n\n" + "\n\n".join(texts))


def contents(address: str) -> dict[str, tuple[dict[str, Any], FloatArray]]:
    """What a collection of a server or a table of LanceDB has: by id its values, text included, and the vector."""
    place = StoreAddress.parse(address)
    if place.folder is not None:
        rows = lancedb.connect(place.folder).open_table(place.name).to_arrow().to_pylist()
        return {row.pop("id"): (row, np.asarray(row.pop("vector"), np.float32)) for row in rows}
    client = chromadb.HttpClient(place.host, place.port)
    found = client.get_collection(place.name, embedding_function=None).get(
        include=["embeddings", "metadatas", "documents"]
    )
    columns: tuple[Any, ...] = found["ids"], found["metadatas"], found["documents"], found["embeddings"]
    return {
        id_: ({**metadata, "text": text}, np.asarray(vector, np.float32))
        for id_, metadata, text, vector in zip(*columns, strict=True)
    }


def assert_same(one: str, other: str) -> None:
    """Two stores have the same ids, metadata and vectors."""
    first, second = contents(one), contents(other)
    assert first.keys() == second.keys()
    for id_, (metadata, vector) in first.items():
        assert metadata == second[id_][0]
        assert np.allclose(vector, second[id_][1], atol=1e-6)
