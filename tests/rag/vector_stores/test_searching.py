"""`Retriever` over a vector store finds what it finds in an index folder."""

import logging
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from jina_rag import DocumentError, Embedder, FingerprintMismatchError, StoreError
from jina_rag.rag import DocumentIndex, Filters, Retriever, SearchOptions
from jina_rag.rag.vector_stores import StoreAddress, open_store
from jina_rag.rag.vector_stores.store_index import StoreIndex
from jina_rag.testing import fake_embedder
from tests.index_files import fill_store

DENSE = SearchOptions(mode="dense", context_window=1)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, minilm: Embedder) -> Iterator[DocumentIndex]:
    folder = tmp_path_factory.mktemp("planets")
    (folder / "mars.md").write_text("# Mars\n\nMars looks red.\n\n" + "It has two small moons. " * 70)
    (folder / "saturn.txt").write_text("Saturn has rings made of ice.")
    with DocumentIndex.create_or_open(folder / "index", minilm) as opened:
        opened.add([folder / "mars.md", folder / "saturn.txt"])
        yield opened


@pytest.fixture
def filled(address: str, index: DocumentIndex) -> str:
    """A store with the same rows as the index folder."""
    fill_store(address, index)
    return address


def test_a_retriever_opens_every_store(filled: str, index: DocumentIndex) -> None:
    expected = Retriever(index).retrieve("What are the rings made of?", DENSE)
    with Retriever.open(filled) as retriever, pickle.loads(pickle.dumps(retriever)) as copy:
        for found in (retriever.retrieve("What are the rings made of?", DENSE), copy.retrieve(" ", DENSE)):
            assert found == [] or [each.chunk for each in found] == [each.chunk for each in expected]
        found = retriever.retrieve("What are the rings made of?", DENSE)
        assert [each.similarity for each in found] == pytest.approx([each.similarity for each in expected], abs=1e-5)
        assert [(each.before, each.after) for each in found] == [(each.before, each.after) for each in expected]
        retriever.index.check_names(Filters(collections=["default"], file_types=["md"]))
        with pytest.raises(DocumentError, match="no collection work"):
            retriever.index.check_names(Filters(collections=["work"]))
        assert retriever.index.count_chunks() == index.count_chunks()


def test_words_count_where_the_store_has_a_search_for_them(filled: str, caplog: pytest.LogCaptureFixture) -> None:
    with Retriever.open(filled) as retriever, caplog.at_level(logging.WARNING, "jina_rag"):
        for _ in range(2):
            found = retriever.retrieve("rings")
        said = [record.message for record in caplog.records if "BM25" in record.message]
        if filled.startswith("lance"):
            assert (found[0].chunk.title, found[0].lexical is not None, said) == ("saturn", True, [])
            (alone,) = retriever.retrieve("rings", SearchOptions(mode="lexical"))
            assert alone.chunk.title == "saturn"
        else:
            assert (found[0].lexical, len(said)) == (None, 1)
            with pytest.raises(StoreError, match="Take the mode dense"):
                retriever.retrieve("rings", SearchOptions(mode="lexical"))


def test_another_model_is_refused(filled: str) -> None:
    with open_store(filled) as store:
        with pytest.raises(FingerprintMismatchError, match="all-MiniLM-L6-v2"):
            StoreIndex(store, fake_embedder())
        with StoreIndex(store, fake_embedder) as index, pytest.raises(FingerprintMismatchError):
            _ = index.embedder


def test_an_address_where_nothing_is(address: str, tmp_path: Path) -> None:
    with Retriever.open(address) as retriever, pytest.raises(StoreError, match="jina-rag index"):
        retriever.retrieve("anything")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        "chroma://localhost",
        "chroma://localhost:0/notes",
        "chroma://localhost:99999/notes",
        "chroma://:8000/notes",
        "chroma://localhost/a/b",
        "chroma://user:secret@localhost/notes",
        "chroma://localhost/notes?token=secret",
        "chroma://localhost/notes?timeout=0",
        "chroma://localhost/notes?timeout=nan",
        "chroma://localhost/notes?timeout=1e300",
        "chroma://localhost/notes?key_env=OPENAI_API_KEY",
        "chroma://localhost/notes?key_env=",
        "chroma://localhost/notes#x",
        "chroma://[::1/notes",
        "lance://",
        "lance://folder#../x",
        "chroma+file://#notes",
        "postgres://localhost/notes",
        "notes",
    ],
)
def test_what_names_no_store(text: str) -> None:
    with pytest.raises(StoreError) as raised:
        open_store(text)
    assert "secret" not in str(raised.value)


def test_addresses() -> None:
    for text, written in (
        ("CHROMAS://Chroma.example/notes?tenant=acme&key_env=CHROMA_API_KEY_2", "chromas://chroma.example:443/notes"),
        ("chroma://[::1]/notes", "chroma://[::1]:8000/notes"),
        ("lance://a/b", "lance://a/b#documents"),
        ("lance:///a/b#c-d", "lance:///a/b#c-d"),
        ("lance://~/b", f"lance://{Path.home()}/b#documents"),
    ):
        assert str(StoreAddress.parse(text)) == written
        assert StoreAddress.parse(written).url == StoreAddress.parse(text).url
