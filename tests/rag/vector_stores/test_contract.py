"""What every vector store must do: one test body for all of them, against real ones."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from jina_rag import FingerprintMismatchError, StoreError
from jina_rag.rag.chunking import Chunk
from jina_rag.rag.store.filters import Filters
from jina_rag.rag.vector_stores import DocumentState, VectorStore, open_store
from jina_rag.rag.vector_stores.rows import vectors_of
from jina_rag.vectors import normalize
from tests.rag.vector_stores.conftest import EMBEDDER, FINGERPRINT, rows_of

MARS = rows_of("/notes/mars.md", "Mars is red.", "It has two moons.", "It is cold.", metadata={"author": "Ann"})
VENUS = rows_of("/notes/venus.txt", "Venus has clouds.", collections=("sky", "work"), mtime_ns=2**60 + 1)


def nearest(store: VectorStore, text: str, n: int = 10, filters: Filters | None = None) -> list[str]:
    found = store.nearest(EMBEDDER.embed_documents([text])[0], n, filters or Filters())
    return [each.chunk.text for each in found]


def test_rows_come_back_as_they_were(store: VectorStore) -> None:
    store.upsert(MARS)
    store.upsert(VENUS)
    store.upsert(MARS)  # twice changes nothing
    store.optimize()
    assert store.count() == 4
    assert sorted(store.ids()) == sorted([*MARS["id"].to_pylist(), *VENUS["id"].to_pylist()])
    assert sorted(store.documents(), key=lambda each: each.source) == [
        DocumentState("/notes/mars.md", "0" * 64, 7, 0, 3, ("default",)),
        DocumentState("/notes/venus.txt", "0" * 64, 7, 2**60 + 1, 1, ("sky", "work")),
    ]
    found = store.nearest(vectors_of(MARS)[1], 4, Filters())
    assert [each.chunk.text for each in found[:1]] == ["It has two moons."]
    assert found[0].chunk == Chunk(
        MARS["id"][1].as_py(), "/notes/mars.md", "Title", 1, None, "Part", 0, 17, "It has two moons."
    )
    assert found[0].score == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(found[0].vector, vectors_of(MARS)[1], atol=1e-6)


def test_rows_are_replaced_and_deleted(store: VectorStore) -> None:
    store.upsert(MARS)
    store.upsert(VENUS)
    store.delete(["unknown", *store.ids("/notes/mars.md")])
    assert list(store.ids()) == VENUS["id"].to_pylist()
    changed = VENUS.set_column(2, VENUS.schema.field("title"), pa.array(["Other title"]))
    store.upsert(changed)
    assert store.count() == 1
    assert store.nearest(vectors_of(VENUS)[0], 1, Filters())[0].chunk.title == "Other title"


def test_more_rows_than_a_batch_and_a_page(store: VectorStore) -> None:
    texts = [f"Passage number {number}" for number in range(600)]
    store.upsert(rows_of("/long.md", *texts))
    assert store.count() == len(set(store.ids())) == len(set(store.ids("/long.md"))) == 600
    assert nearest(store, "Passage number 599", 1) == ["Passage number 599"]
    store.delete(store.ids("/long.md"))
    assert store.count() == 0
    assert nearest(store, "Passage number 599") == []


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(sources=["/notes/mars.md"]), {"/notes/mars.md"}),
        (Filters(file_types=["TXT"]), {"/notes/venus.txt"}),
        (Filters(collections=["work", "other"]), {"/notes/venus.txt"}),
        (Filters(collections=["wor"]), set()),
        (Filters(modified_after=datetime.fromtimestamp(2**30, UTC)), {"/notes/venus.txt"}),
        (Filters(modified_before=datetime.fromtimestamp(2**30, UTC)), {"/notes/mars.md"}),
        (Filters(where=["author=Ann"]), {"/notes/mars.md"}),
        (Filters(where=["author!=Ann"]), {"/notes/venus.txt"}),
        (Filters(where=["author=Ann"], file_types=["txt"]), set()),
    ],
)
def test_filters(store: VectorStore, filters: Filters, expected: set[str]) -> None:
    store.upsert(MARS)
    store.upsert(VENUS)
    found = store.nearest(vectors_of(MARS)[0], 10, filters)
    assert {each.chunk.source for each in found} == expected
    assert store.has_document(filters) == bool(expected)


def test_what_a_document_says_of_itself_changes_no_column(store: VectorStore) -> None:
    """Front matter may have any keys."""
    names = (
        "id",
        "text",
        "vector",
        "page",
        "position",
        "collections",
        "metadata",
        "chroma:document",
        "#type",
        "$eq",
        "",
    )
    evil = rows_of("/evil.md", "Harmless text", metadata=dict.fromkeys(names, "evil") | {"status": "draft"})
    store.upsert(evil)
    (found,) = store.nearest(vectors_of(evil)[0], 2, Filters(where=["status=draft"]))
    assert (found.chunk.id, found.chunk.text) == (evil["id"][0].as_py(), "Harmless text")
    assert (found.chunk.position, found.chunk.page) == (0, None)
    assert [document.collections for document in store.documents()] == [("default",)]


def test_chunks_around_one(store: VectorStore) -> None:
    store.upsert(rows_of("/long.md", *(f"Passage {number}" for number in range(9))))
    store.upsert(MARS)
    chunk = store.nearest(EMBEDDER.embed_documents(["Passage 1"])[0], 1, Filters())[0].chunk
    assert [each.position for each in store.around(chunk, 2)] == [0, 2, 3]


def test_the_fingerprint_guards(address: str) -> None:
    other = replace(FINGERPRINT, weights="other")
    with pytest.raises(StoreError, match="jina-rag index"):
        open_store(address)
    open_store(address, FINGERPRINT, create=True).close()
    for create in (False, True):
        with pytest.raises(FingerprintMismatchError, match="can't be compared"):
            open_store(address, other, create=create)
    with open_store(address) as opened:
        assert opened.fingerprint == FINGERPRINT
        with pytest.raises(FingerprintMismatchError, match="Embed the documents"):
            opened.upsert(
                MARS.replace_schema_metadata({**MARS.schema.metadata, b"jina_rag_fingerprint": other.to_json()})
            )
        assert opened.count() == 0


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda rows: rows.drop_columns(["sha256"]), "no column 'sha256'"),
        (lambda rows: pa.concat_tables([rows, rows]), "an id twice"),
        (lambda rows: rows.replace_schema_metadata({}), "does not say which model"),
        (
            lambda rows: rows.replace_schema_metadata({**rows.schema.metadata, b"jina_rag_schema": "9"}),
            "another version",
        ),
        (lambda rows: rows.set_column(0, "id", pa.array([None] * 3, pa.string())), "without 'id'"),
        (lambda rows: with_vectors(rows, np.nan), "damaged"),
        (lambda rows: with_vectors(rows, 0.9), "damaged"),
    ],
)
def test_rows_that_are_none_are_refused(spoil: object, problem: str, store: VectorStore) -> None:
    assert callable(spoil)
    with pytest.raises((StoreError, FingerprintMismatchError), match=problem):
        store.upsert(spoil(MARS))
    assert store.count() == 0


def with_vectors(rows: pa.Table, factor: float) -> pa.Table:
    field = rows.schema.field("vector")
    flat = pa.array((vectors_of(rows) * np.float32(factor)).reshape(-1))
    return rows.set_column(rows.num_columns - 1, field, pa.FixedSizeListArray.from_arrays(flat, field.type.list_size))


LETTER = rows_of("/a'b/50%_[1].eml", "Dear Ann", metadata={"author": 'Ann "Q" Lee', "created": "2024-03-01"})
OTHERS = rows_of("s3://bucket/notes/x.md", "Dear Bob", metadata={"title": '"author": "Ann"', "created": "2025"})


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(sources=["notes"]), {"/notes/mars.md", "s3://bucket/notes/x.md"}),
        (Filters(sources=["/notes"]), {"/notes/mars.md"}),
        (Filters(sources=["*.md"]), {"/notes/mars.md", "s3://bucket/notes/x.md"}),
        (Filters(sources=["s3://bucket"]), {"s3://bucket/notes/x.md"}),
        (Filters(sources=["50%_[1].eml"]), {"/a'b/50%_[1].eml"}),
        (Filters(sources=["50%?[1].eml", "mars.m?"]), {"/a'b/50%_[1].eml", "/notes/mars.md"}),
        (Filters(sources=["50%Z[1].eml"]), set()),
        (Filters(where=["author=ann*lee"]), {"/a'b/50%_[1].eml"}),
        (Filters(where=['author=*"q"*']), {"/a'b/50%_[1].eml"}),
        (Filters(where=["author=ann"]), {"/notes/mars.md"}),
        (Filters(where=["created>=2024-03-01", "created<2025"]), {"/a'b/50%_[1].eml"}),
        (Filters(where=["created>2024-03-01"]), {"s3://bucket/notes/x.md"}),
        (Filters(where=["author!=*"]), {"s3://bucket/notes/x.md"}),
    ],
)
def test_lancedb_filters_as_an_index_folder_does(filters: Filters, expected: set[str], tmp_path: Path) -> None:
    with open_store(f"lance://{tmp_path}#notes", FINGERPRINT, create=True) as store:
        for rows in (MARS, LETTER, OTHERS):
            store.upsert(rows)
        found = store.nearest(vectors_of(MARS)[0], 10, filters)
        assert {each.chunk.source for each in found} == expected
        assert {each.chunk.source for each in store.matching("Mars dear", 10, filters)} == expected


def test_chroma_refuses_what_it_cannot_filter(chroma: str) -> None:
    with open_store(f"{chroma}/refused", FINGERPRINT, create=True) as store:
        for filters in (
            Filters(sources=["notes"]),
            Filters(sources=["/notes/*.md"]),
            Filters(where=["author=A*"]),
            Filters(where=["created>=2024"]),
        ):
            with pytest.raises(StoreError, match="leave it out"):
                store.nearest(vectors_of(MARS)[0], 10, filters)


@pytest.mark.parametrize("optimized", [False, True])
def test_lancedb_finds_words(optimized: bool, tmp_path: Path) -> None:
    with open_store(f"lance://{tmp_path}", FINGERPRINT, create=True) as store:
        assert store.matching("anything", 3, Filters()) == []
        store.upsert(MARS)
        store.upsert(rows_of("/c.txt", "ERR_CONN-42 happened", "東京タワーは赤い", "Café au lait"))
        if optimized:
            store.optimize()
        for query, text in (
            ("moons", "It has two moons."),
            ("conn 42", "ERR_CONN-42 happened"),
            ("タワー", "東京タワーは赤い"),
            ("CAFE", "Café au lait"),
        ):
            assert [found.chunk.text for found in store.matching(query, 3, Filters())] == [text]
        assert store.matching("moons", 3, Filters())[0].score > 0
        assert store.matching("", 3, Filters()) == []


def test_lancedb_finds_the_same_with_its_index(tmp_path: Path) -> None:
    """Enough rows for the vector index, and some that it doesn't have yet."""
    vectors = normalize(np.random.default_rng(0).normal(size=(20_000, FINGERPRINT.dimensions)).astype(np.float32))
    with open_store(f"lance://{tmp_path}", FINGERPRINT, create=True) as store:
        store.upsert(rows_of("/long.md", *map(str, range(len(vectors))), vectors=vectors))
        store.optimize()
        store.upsert(MARS)
        for query in vectors[:20]:
            best = np.argsort(-(vectors @ query))[:10].tolist()
            assert [each.chunk.position for each in store.nearest(query, 10, Filters())] == best
        assert nearest(store, "It has two moons.", 1) == ["It has two moons."]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("kind", ["chroma", "lance"])
def test_a_forked_process(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """It has its own connections to a server, and is told to open LanceDB itself instead of hanging."""
    address = f"{request.getfixturevalue('chroma')}/forked" if kind == "chroma" else f"lance://{tmp_path}"
    with open_store(address, FINGERPRINT, create=True) as store:
        store.upsert(MARS)
        child = os.fork()
        if child == 0:
            try:
                said = str(store.count())
            except StoreError as error:
                said = str(error)
            os._exit(0 if said == "3" or "Open it after the fork" in said else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert store.count() == 3


def test_lancedb_trains_its_vector_index_anew_when_it_is_outgrown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jina_rag.rag.vector_stores.lance.LEAST_INDEXED", 1000)
    vectors = normalize(np.random.default_rng(0).normal(size=(4000, FINGERPRINT.dimensions)).astype(np.float32))
    names = []
    with open_store(f"lance://{tmp_path}", FINGERPRINT, create=True) as store:
        for n in (999, 1000, 2000, 4000):
            store.upsert(rows_of("/long.md", *map(str, range(n)), vectors=vectors[:n]))
            store.optimize()
            indices = lancedb.connect(tmp_path).open_table("documents").list_indices()
            names.append([index.name for index in indices if index.columns == ["vector"]])
        assert [len(each) for each in names] == [0, 1, 1, 1]
        assert names[1] == names[2] != names[3]
        assert store.nearest(vectors[3999], 1, Filters())[0].chunk.position == 3999
