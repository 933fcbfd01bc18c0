import pickle
import shutil
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import chromadb
import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings, FakeEmbeddings
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_jina_rag import JinaRagEmbeddings, JinaRagRetriever, open_vector_store
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests
from pydantic import ValidationError

from jina_rag import Embedder, FingerprintMismatchError, IndexFolderError, LlamaCppOptions, get_model_spec
from jina_rag.errors import JinaRagError
from jina_rag.model_files import ensure_model_file
from jina_rag.rag import DocumentIndex, make_reranker
from tests.backends import processes, tiny_reranker
from tests.integrations.conftest import PLANETS

MINILM: dict[str, Any] = {"model": "all-MiniLM-L6-v2"}


class TestUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return JinaRagEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return MINILM


class TestIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return JinaRagEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return MINILM


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> VectorStore:
        return open_vector_store(chromadb.PersistentClient(tmp_path), str(uuid4()), JinaRagEmbeddings(**MINILM))


class TestRetriever(RetrieversIntegrationTests):
    folder: ClassVar[Path]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _index(cls, index_folder: Path) -> None:
        cls.folder = index_folder

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return JinaRagRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"index": self.folder}

    @property
    def retriever_query_example(self) -> str:
        return "Which planet is red?"


def test_a_retriever_tells_where_a_passage_stands(index_folder: Path) -> None:
    (found,) = JinaRagRetriever(index=index_folder, k=1).invoke("Which planet is red?")
    assert found.page_content.endswith(PLANETS["Mars"])
    assert Path(found.metadata["source"]).name == "Mars.md"
    assert (found.metadata["title"], found.metadata["heading"]) == ("Mars", "Mars")
    assert 0.3 < found.metadata["similarity"] <= 1
    assert found.id
    assert "page" not in found.metadata


def test_a_retriever_opens_its_index_once_and_can_be_sent_elsewhere(
    index_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    real = DocumentIndex.open

    def count(folder: Path, embedder: Embedder | None) -> DocumentIndex:
        opened.append(folder)
        time.sleep(0.1)  # so that others would begin meanwhile
        return real(folder, embedder)

    monkeypatch.setattr(DocumentIndex, "open", count)
    retriever = JinaRagRetriever(index=index_folder, k=1)
    found = retriever.batch(["Which planet is red?"] * 8)
    assert len({documents[0].page_content for documents in found}) == 1
    assert opened == [index_folder]
    copy = pickle.loads(pickle.dumps(retriever))
    assert copy.invoke("Which planet is red?") == found[0]


def titles(documents: list[Document]) -> set[str]:
    return {document.metadata["title"] for document in documents}


def test_settings_that_change_count_from_the_next_search_on(index_folder: Path, tmp_path: Path) -> None:
    retriever = JinaRagRetriever(index=index_folder, k=9)
    assert len(titles(retriever.invoke("rust"))) == 3
    retriever.k = 1
    assert titles(retriever.invoke("rust")) == {"Mars"}
    retriever.sources = ("*/Venus.md",)
    assert titles(retriever.invoke("rust")) == {"Venus"}
    for update in ({"collections": ("other",)}, {"file_types": (".txt",)}):
        assert retriever.model_copy(update=update).invoke("rust") == []
    with pytest.raises(IndexFolderError, match="jina-rag add"):
        retriever.model_copy(update={"index": tmp_path}).invoke("rust")
    assert titles(retriever.invoke("rust")) == {"Venus"}
    for copied in (retriever.model_copy(deep=True), pickle.loads(pickle.dumps(retriever))):
        assert titles(copied.invoke("rust")) == {"Venus"}
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        retriever.k = 0
    with pytest.raises(ValidationError, match="sources"):
        JinaRagRetriever(index=index_folder, sources="*/Mars.md")  # its letters would be taken for patterns
    with pytest.raises(ValidationError, match="Did you mean 'file_types'"):
        JinaRagRetriever(index=index_folder, kinds=[".md"])  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("settings", "titles"),
    [
        ({"k": 9}, {"Mars", "Venus", "Saturn"}),
        ({"k": 9, "sources": ["*/Mars.md"]}, {"Mars"}),
        ({"k": 9, "file_types": [".txt"]}, set()),
        ({"k": 9, "collections": ["other"]}, set()),
        ({"k": 9, "modified_after": "2000-01-01T00:00:00"}, {"Mars", "Venus", "Saturn"}),
        ({"k": 9, "modified_before": datetime(2000, 1, 1)}, set()),
        ({"k": 9, "where": ["author=ann"]}, set()),
        ({"k": 9, "mode": "lexical"}, {"Mars"}),
    ],
)
def test_a_retriever_looks_where_it_is_told(index_folder: Path, settings: dict[str, Any], titles: set[str]) -> None:
    found = JinaRagRetriever(index=index_folder, **settings).invoke("rust")
    assert {document.metadata["title"] for document in found} == titles


def test_a_retriever_searches_as_it_is_told(index_folder: Path) -> None:
    question = "Which planet is red?"
    by_meaning = JinaRagRetriever(index=index_folder, mode="dense").invoke(question)
    assert [found.metadata["score"] for found in by_meaning] == [found.metadata["similarity"] for found in by_meaning]
    by_words = JinaRagRetriever(index=index_folder, mode="lexical").invoke(question)
    assert by_words[0].metadata["score"] != by_words[0].metadata["similarity"]
    with pytest.raises(ValidationError, match="source"):
        JinaRagRetriever.model_validate({"index": index_folder, "source": ["*/Mars.md"]})
    with pytest.raises(ValidationError):
        JinaRagRetriever(index=index_folder, mmr_lambda=2)


def test_a_retriever_may_have_a_reranker_and_an_engine_elsewhere(index_folder: Path, tmp_path: Path) -> None:
    spec = get_model_spec("minilm")
    model = tiny_reranker.write(tmp_path / "reranker.gguf")
    with processes.ours(ensure_model_file(spec), spec.name) as url:
        retriever = JinaRagRetriever(index=index_folder, reranker=str(model), backend=url)
        found = retriever.invoke("Which planet is red?")
    scores = [document.metadata["score"] for document in found]
    assert scores == sorted(scores, reverse=True)
    own = make_reranker(str(model)).score("Which planet is red?", [document.page_content for document in found])
    assert scores == pytest.approx(own, abs=1e-3)
    with pytest.raises(JinaRagError, match=r"nowhere\.gguf"):
        JinaRagRetriever(index=index_folder, reranker="nowhere.gguf").invoke("anything")


def test_a_retriever_of_a_missing_index_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(IndexFolderError, match="jina-rag add"):
        JinaRagRetriever(index=tmp_path).invoke("anything")


def test_making_one_loads_nothing() -> None:
    code = (
        "import sys\n"
        "from langchain_jina_rag import JinaRagEmbeddings\n"
        "JinaRagEmbeddings(model='jina-v5-small:Q8_0', dimensions=256)\n"
        "print([name for name in ('llama_cpp', 'chromadb', 'huggingface_hub') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dimension": 256}, "Did you mean 'dimensions'"),
        ({"model_name": "minilm"}, "Did you mean 'model'"),
        ({"model_path": "x.gguf"}, "Did you mean 'path'"),
        ({"model": "minilm:F16", "quantization": "F32"}, "names F16 and"),
        ({"backend": "jina", "options": {"n_threads": 1}}, "options are for llama.cpp in this process"),
        ({"backend": "jina", "path": "x.gguf"}, "path is for a file run in this process"),
        ({"model": "auto", "path": "x.gguf"}, "needs the name of its model"),
        ({"model": "jina-v9"}, "jina-embeddings-v5-text-small-retrieval"),
        ({"model": "jina-v5-nano", "dimensions": 1024}, "32, 64, 128, 256, 512, 768"),
        ({"model": "jina-v5-nano", "quantization": "IQ3_M"}, "Q4_K_M"),
        ({"options": {"flash_attention": "perhaps"}}, "flash_attention"),
    ],
)
def test_settings_are_checked_at_once(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        JinaRagEmbeddings(**settings)


def test_options_may_be_plain_values() -> None:
    embeddings = JinaRagEmbeddings(**MINILM, options={"n_threads": 1})  # type: ignore[arg-type]
    assert embeddings.options == LlamaCppOptions(n_threads=1)
    assert len(embeddings.embed_query("x")) == 384


def test_a_file_may_be_named(tmp_path: Path, minilm: Embedder) -> None:
    path = shutil.copy(ensure_model_file(minilm.spec, "F16"), tmp_path / "copy.gguf")
    embeddings = JinaRagEmbeddings(**MINILM, path=path)
    assert embeddings.embedder.quantization == "F16"
    assert embeddings.cache_namespace == JinaRagEmbeddings(**MINILM, quantization="F16").cache_namespace


def test_vectors_are_the_embedders(minilm: Embedder) -> None:
    embeddings = JinaRagEmbeddings(model="minilm")
    assert embeddings.embed_query("red planet") == minilm.embed_query("red planet").tolist()
    assert embeddings.embed_documents(["a", "b"]) == minilm.embed_documents(["a", "b"]).tolist()
    assert embeddings.embed_documents([]) == []


def test_progress_is_drawn_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    JinaRagEmbeddings(**MINILM).embed_documents(["a", "b", "c"])
    assert capsys.readouterr().err == ""
    JinaRagEmbeddings(**MINILM, show_progress=True).embed_documents(["a", "b", "c"])
    assert "3/3" in capsys.readouterr().err


def test_equal_settings_share_a_model_and_others_have_another_namespace() -> None:
    first, second = JinaRagEmbeddings(**MINILM), JinaRagEmbeddings(**MINILM)
    other = JinaRagEmbeddings(**MINILM, quantization="F16")
    assert first.embedder is second.embedder
    assert first.cache_namespace == second.cache_namespace != other.cache_namespace


def test_the_indexing_api_sees_a_change_of_model(tmp_path: Path) -> None:
    documents = [Document(page_content=text, metadata={"source": name}) for name, text in PLANETS.items()]
    client = chromadb.PersistentClient(tmp_path)
    counts = []
    for name, quantization in (("f32", "F32"), ("f32", "F32"), ("f16", "F16")):
        embeddings = JinaRagEmbeddings(**MINILM, quantization=quantization)
        store = open_vector_store(client, name, embeddings)
        records = InMemoryRecordManager(embeddings.record_manager_namespace("chroma"))
        records.records = RECORDS.setdefault(records.namespace, {})
        result = index(documents, records, store, cleanup="scoped_full", source_id_key="source", key_encoder="blake2b")
        counts.append((result["num_added"], result["num_skipped"]))
    assert counts == [(3, 0), (0, 3), (3, 0)]


RECORDS: dict[str, Any] = {}
"""What the record managers of the test above remember between them, by namespace, as a database would."""


def test_more_texts_than_chroma_takes_at_once(tmp_path: Path) -> None:
    client = chromadb.PersistentClient(tmp_path)
    n = client.get_max_batch_size() + 10
    embeddings = JinaRagEmbeddings(**MINILM)
    store = open_vector_store(client, "many", embeddings)
    # Equal texts are embedded once: thousands in the time of a few.
    texts, ids = [list(PLANETS.values())[place % 3] for place in range(n)], [f"{place}" for place in range(n)]
    metadatas = [{"place": place} for place in range(n)]
    assert store.add_texts(texts, metadatas, ids) == ids
    stored = client.get_collection("many").get(ids=["0", f"{n - 1}"], include=["documents", "metadatas"])
    assert stored["documents"] == [texts[0], texts[-1]]
    assert stored["metadatas"] == [{"place": 0}, {"place": n - 1}]
    assert len(store.add_texts(text for text in texts[:2])) == 2
    assert client.get_collection("many").count() == n + 2

    # The reason for the class; when this no longer fails, it can go.
    with pytest.raises(Exception, match="greater than max batch size"):
        Chroma(client=client, collection_name="plain", embedding_function=embeddings).add_texts(texts)


def test_another_models_collection_is_refused(tmp_path: Path) -> None:
    client = chromadb.PersistentClient(tmp_path)
    open_vector_store(client, "planets", JinaRagEmbeddings(**MINILM))
    with pytest.raises(FingerprintMismatchError, match="quantization"):
        open_vector_store(client, "planets", JinaRagEmbeddings(**MINILM, quantization="F16"))


def test_a_collection_made_anew_is_guarded_as_the_first(tmp_path: Path) -> None:
    client = chromadb.PersistentClient(tmp_path)
    embeddings, others = JinaRagEmbeddings(**MINILM), JinaRagEmbeddings(**MINILM, quantization="F16")
    reset = open_vector_store(client, "reset", embeddings)
    reset.add_texts(["Mars"])
    reset.reset_collection()
    reset.from_texts(["Mars"], embeddings, client=client, collection_name="texts", ids=["a"])
    reset.from_documents([Document(page_content="Mars")], embeddings, client=client, collection_name="documents")
    for name, count in (("reset", 0), ("texts", 1), ("documents", 1)):
        collection = client.get_collection(name)
        assert (collection.count(), collection.configuration["hnsw"]["space"]) == (count, "cosine")  # type: ignore[index]
        assert open_vector_store(client, name, embeddings).get()["ids"] == collection.get()["ids"]
        with pytest.raises(FingerprintMismatchError, match="quantization"):
            open_vector_store(client, name, others)
    with pytest.raises(FingerprintMismatchError, match="quantization"):
        reset.from_texts(["Mars"], others, client=client, collection_name="texts")
    with pytest.raises(TypeError, match=r"not FakeEmbeddings\. For others there is langchain_chroma"):
        reset.from_texts(["Mars"], FakeEmbeddings(size=4), client=client)
    with pytest.raises(ValueError, match="2 texts and 1 ids"):
        reset.add_texts(["a", "b"], ids=["a"])


def test_in_langchains_own_chroma(tmp_path: Path) -> None:
    store = Chroma.from_texts(
        list(PLANETS.values()),
        JinaRagEmbeddings(**MINILM),
        persist_directory=str(tmp_path),
        collection_configuration={"hnsw": {"space": "cosine"}},
    )
    assert store.similarity_search("Which planet is red?", k=1)[0].page_content == PLANETS["Mars"]
