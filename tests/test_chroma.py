import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pytest
from chromadb.api import ClientAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jina_rag import (
    Embedder,
    FingerprintMismatchError,
    IndexFolderError,
    InputTooLongError,
    InvalidDimensionsError,
    InvalidTextError,
    ModelSpec,
    UnknownModelError,
    register_model,
)
from jina_rag.chroma import FINGERPRINT_KEY, JinaRagEmbeddingFunction, open_collection, upsert_documents
from jina_rag.model_files import ensure_model_file
from jina_rag.testing import FAKE_SPEC, TINY_SPEC, FakeBackend, fake_embedder, write_tiny_gguf

MINILM = "all-MiniLM-L6-v2"
PASSAGES = {
    "mars": "Mars looks red because of the rust in its soil.",
    "venus": "Venus is covered in thick clouds of sulphuric acid.",
    "saturn": "Saturn is known for the rings of ice around it.",
}


@pytest.fixture
def client(tmp_path: Path) -> ClientAPI:
    return chromadb.PersistentClient(tmp_path)


def test_queries_are_embedded_as_queries_and_documents_as_documents(client: ClientAPI) -> None:
    embedder = fake_embedder()
    collection = open_collection(client, "planets", embedder)
    upsert_documents(collection, list(PASSAGES), list(PASSAGES.values()))
    stored = collection.get(ids=["mars"], include=["embeddings"])["embeddings"]
    assert stored is not None
    np.testing.assert_allclose(stored[0], embedder.embed_documents([PASSAGES["mars"]])[0], atol=1e-6)
    question = "What is red?"
    found = collection.query(query_texts=[question], n_results=3)
    assert found["distances"] is not None
    cosine = embedder.similarity(embedder.embed_query(question), embedder.embed_documents(list(PASSAGES.values())))
    assert found["ids"][0] == [list(PASSAGES)[index] for index in np.argsort(-cosine)]
    np.testing.assert_allclose(found["distances"][0], 1 - np.sort(cosine)[::-1], atol=1e-5)


def test_opening_again_keeps_what_is_there(client: ClientAPI) -> None:
    upsert_documents(open_collection(client, "planets", fake_embedder()), list(PASSAGES), list(PASSAGES.values()))
    collection = open_collection(client, "planets", fake_embedder(), create=False)
    assert collection.count() == 3
    hnsw = collection.configuration["hnsw"]
    assert hnsw is not None
    assert hnsw["space"] == "cosine"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda: fake_embedder(32), "dimensions"),
        (lambda: Embedder(FakeBackend(), FAKE_SPEC, quantization="Q8_0"), "quantization"),
        (lambda: Embedder(FakeBackend(), _spec(name="another")), "model"),
        (lambda: Embedder(FakeBackend(), _spec(pooling="last")), "pooling"),
        (lambda: Embedder(FakeBackend(), _spec(prompts=type(FAKE_SPEC.prompts)("Q: ", "Document: "))), "query_prompt"),
        (lambda: Embedder(_other_weights(), FAKE_SPEC), "weights"),
    ],
)
@pytest.mark.parametrize("create", [True, False])
def test_another_model_is_refused(client: ClientAPI, change: Callable[[], Embedder], field: str, create: bool) -> None:
    open_collection(client, "planets", fake_embedder())
    with pytest.raises(FingerprintMismatchError, match=rf"'planets'.*{field} .* fill a new collection"):
        open_collection(client, "planets", change(), create=create)


def test_a_fingerprint_opens_as_the_model_does_and_loads_none(
    client: ClientAPI, minilm: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_model = open_collection(client, "with-model", minilm)

    def load(*_: object, **__: object) -> Embedder:
        raise AssertionError("The model is loaded.")

    monkeypatch.setattr(Embedder, "from_pretrained", load)
    alone = open_collection(client, "alone", minilm.fingerprint)
    assert alone.metadata == with_model.metadata
    assert alone.configuration_json == with_model.configuration_json
    upsert_documents(alone, ["mars"], [PASSAGES["mars"]], embeddings=minilm.embed_documents([PASSAGES["mars"]]))
    assert open_collection(client, "alone", minilm).count() == 1
    with pytest.raises(FingerprintMismatchError):
        open_collection(client, "alone", dataclasses.replace(minilm.fingerprint, weights="others"))


def test_a_collection_of_somebody_else_is_refused(client: ClientAPI) -> None:
    client.create_collection("theirs", embedding_function=None)
    with pytest.raises(FingerprintMismatchError, match="does not say which model filled it"):
        open_collection(client, "theirs", fake_embedder(), create=False)


def test_a_collection_with_another_embedding_function_is_refused(client: ClientAPI) -> None:
    client.create_collection("theirs", metadata={FINGERPRINT_KEY: fake_embedder().fingerprint.to_json()})
    for create in (True, False):
        with pytest.raises(FingerprintMismatchError, match="embedding function 'default'"):
            open_collection(client, "theirs", fake_embedder(), create=create)


@pytest.mark.parametrize("metadata", [{"owner": "me"}, {FINGERPRINT_KEY: "nonsense"}])
def test_new_metadata_leave_the_guard_in_place(client: ClientAPI, metadata: dict[str, str]) -> None:
    open_collection(client, "planets", fake_embedder()).modify(metadata=metadata)
    assert open_collection(client, "planets", fake_embedder()).metadata == metadata
    with pytest.raises(FingerprintMismatchError, match="dimensions"):
        open_collection(client, "planets", fake_embedder(32))


def test_a_collection_made_by_chroma_with_our_function_is_ours(client: ClientAPI, minilm: Embedder) -> None:
    client.create_collection("planets", embedding_function=JinaRagEmbeddingFunction(MINILM))  # type: ignore[arg-type]
    assert open_collection(client, "planets", minilm).count() == 0
    with pytest.raises(FingerprintMismatchError):
        open_collection(client, "planets", fake_embedder())


def test_a_missing_collection_is_not_made_unasked(client: ClientAPI) -> None:
    with pytest.raises(IndexFolderError, match="no collection 'nothing'"):
        open_collection(client, "nothing", fake_embedder(), create=False)
    assert client.list_collections() == []


def test_more_documents_than_chroma_takes_at_a_time(client: ClientAPI) -> None:
    n = client.get_max_batch_size() + 10
    collection = open_collection(client, "many", fake_embedder(16))
    ids = [f"{index}" for index in range(n)]
    texts = [f"number {index}" for index in range(n)]
    upsert_documents(collection, ids, texts, [{"index": index} for index in range(n)])
    upsert_documents(collection, ids[:5], texts[:5])
    assert collection.count() == n
    assert collection.get(ids=[ids[-1]])["metadatas"] == [{"index": n - 1}]


def test_lists_of_other_lengths_are_refused_and_nothing_is_stored(client: ClientAPI) -> None:
    collection = open_collection(client, "planets", fake_embedder())
    one, two = ["a"], ["a", "b"]
    for arguments in ({"documents": one}, {"metadatas": [{"x": 1}]}, {"embeddings": np.ones((3, 64), np.float32)}):
        with pytest.raises(ValueError, match=r"There are 2 ids and \d (documents|metadatas|embeddings)\."):
            upsert_documents(collection, two, **{"documents": two} | arguments)
    assert collection.count() == 0


def test_a_text_is_named_by_its_place_in_the_whole_list(client: ClientAPI) -> None:
    n = client.get_max_batch_size() + 2
    collection = open_collection(client, "many", fake_embedder(16))
    texts = ["a"] * (n - 1) + ["word " * 600]
    with pytest.raises(InputTooLongError, match=f"Text {n - 1} has 603 tokens") as caught:
        upsert_documents(collection, [str(place) for place in range(n)], texts)
    assert caught.value.index == n - 1


FORK = """
import os, sys, chromadb
from jina_rag.chroma import open_collection, upsert_documents
from jina_rag.testing import fake_embedder

parent = open_collection(chromadb.PersistentClient(sys.argv[1]), "planets", fake_embedder())
upsert_documents(parent, ["a"], ["Mars"])
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
for use in (lambda: parent.query(query_texts=["Mars"]), lambda: upsert_documents(parent, ["b"], ["Venus"])):
    try:
        use()
    except Exception as error:
        print(type(error).__name__, error)
own = open_collection(chromadb.PersistentClient(sys.argv[1]), "planets", fake_embedder())
print(own.query(query_texts=["Mars"])["ids"], flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
def test_a_forked_process_is_told_at_once_and_may_open_anew(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    *refused, found = done.stdout.splitlines()
    assert len(refused) == 2
    assert all(line.startswith("IndexFolderError This process was forked after Chroma was opened") for line in refused)
    assert found == "[['a']]"


OPEN_BY_NAME = """
import sys, chromadb
import jina_rag.chroma
collection = chromadb.PersistentClient(sys.argv[1]).get_collection("planets")
found = collection.query(query_texts=["Which planet is red?"], n_results=1)
print(found["ids"][0][0], collection.count())
"""


def test_another_process_opens_it_by_name_alone(tmp_path: Path, minilm: Embedder) -> None:
    collection = open_collection(chromadb.PersistentClient(tmp_path), "planets", minilm)
    upsert_documents(collection, list(PASSAGES), list(PASSAGES.values()))
    command = [sys.executable, "-c", OPEN_BY_NAME, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["mars", "3"]


def test_opened_by_name_it_still_refuses_other_weights(minilm: Embedder) -> None:
    """What Chroma rebuilds by itself knows the fingerprint too: here the file has changed since."""
    stored = json.loads(minilm.fingerprint.to_json()) | {"weights": "0" * 64}
    function = JinaRagEmbeddingFunction.build_from_config({"model": MINILM, "fingerprint": json.dumps(stored)})
    with pytest.raises(FingerprintMismatchError, match="weights"):
        function(["text"])
    with pytest.raises(FingerprintMismatchError, match="weights"):
        function.embed_query(["text"])


def test_the_function_follows_chromas_protocol(minilm: Embedder) -> None:
    function = JinaRagEmbeddingFunction(MINILM)
    assert not function.is_legacy()
    assert (function.name(), function.default_space()) == ("jina_rag", "cosine")
    assert function.default_space() in function.supported_spaces()
    config = json.loads(json.dumps(function.get_config()))
    again = JinaRagEmbeddingFunction.build_from_config({**config, "of a later version": 1})
    assert again.get_config() == config
    (document,), (query,) = function(["text"]), again.embed_query(input=["text"])
    np.testing.assert_array_equal(document, minilm.embed_documents(["text"])[0])
    np.testing.assert_array_equal(query, minilm.embed_query("text"))


def test_the_function_may_have_a_file_and_stores_nothing_of_this_machine(tmp_path: Path, minilm: Embedder) -> None:
    path = tmp_path / "copy.gguf"
    path.symlink_to(ensure_model_file(minilm.spec))
    function = JinaRagEmbeddingFunction(MINILM, path=path, cache_dir=tmp_path, keep_alive=60)
    assert set(function.get_config()) == {"model", "quantization", "dimensions", "truncate", "fingerprint"}
    np.testing.assert_array_equal(function(["text"])[0], minilm.embed_documents(["text"])[0])


def test_rebuilding_the_function_loads_nothing() -> None:
    code = (
        "import sys, json\n"
        "from jina_rag.chroma import JinaRagEmbeddingFunction\n"
        "for _ in range(1000): JinaRagEmbeddingFunction.build_from_config({'model': 'jina-v5-small'})\n"
        "print('llama_cpp' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_settings_are_validated() -> None:
    JinaRagEmbeddingFunction.validate_config({"model": "jina-v5-nano", "dimensions": 256, "quantization": "IQ4_NL"})
    with pytest.raises(InvalidDimensionsError):
        JinaRagEmbeddingFunction.validate_config({"model": "jina-v5-nano", "dimensions": 1024})
    for damaged in ({"model": ["jina-v5-nano"]}, {"quantization": 4}, {"dimensions": "64"}, {"truncate": None}):
        with pytest.raises(FingerprintMismatchError, match=next(iter(damaged))):
            JinaRagEmbeddingFunction.build_from_config(damaged)


def test_settings_that_change_the_vectors_can_not_be_updated(minilm: Embedder) -> None:
    function = JinaRagEmbeddingFunction(embedder=minilm)
    config = function.get_config()
    function.validate_config_update(config, config)
    with pytest.raises(FingerprintMismatchError, match="depend on"):
        function.validate_config_update(config, {"model": "jina-v5-nano"})


def test_a_model_from_a_file_is_opened_by_its_embedder(client: ClientAPI, tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "model.gguf")
    with Embedder.from_file(path, TINY_SPEC) as embedder:
        upsert_documents(open_collection(client, "tiny", embedder), ["a"], ["hello"])
    with Embedder.from_file(path, TINY_SPEC) as embedder:
        assert open_collection(client, "tiny", embedder).query(query_texts=["hello"])["ids"] == [["a"]]
    other = write_tiny_gguf(tmp_path / "other.gguf", seed=1)
    with Embedder.from_file(other, TINY_SPEC) as embedder, pytest.raises(FingerprintMismatchError, match="weights"):
        open_collection(client, "tiny", embedder)


def test_a_file_opens_what_it_filled_whatever_it_is_called(client: ClientAPI, tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "model.gguf")
    with Embedder.from_file(path, TINY_SPEC, quantization="mine") as embedder:
        upsert_documents(open_collection(client, "tiny", embedder), ["a"], ["hello"])
    spec = dataclasses.replace(TINY_SPEC, name="another name")
    with Embedder.from_file(path, spec) as embedder:
        assert embedder.quantization == "F32"
        assert open_collection(client, "tiny", embedder).query(query_texts=["hello"])["ids"] == [["a"]]


def test_a_registered_model_is_opened_by_its_name(client: ClientAPI, tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "model.gguf")
    spec = dataclasses.replace(TINY_SPEC, name="registered-for-chroma")
    with Embedder.from_file(path, spec) as embedder:
        upsert_documents(open_collection(client, "tiny", embedder), ["a"], ["hello"])
    with pytest.raises(UnknownModelError, match="register_model"):
        client.get_collection("tiny").query(query_texts=["hello"])
    register_model(spec, path)
    assert client.get_collection("tiny").query(query_texts=["hello"])["ids"] == [["a"]]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec=None), min_size=1, max_size=100))
def test_any_text_is_stored_whole_or_refused(client: ClientAPI, text: str) -> None:
    collection = open_collection(client, "wild", fake_embedder())
    try:
        upsert_documents(collection, ["id"], [text])
    except InvalidTextError:
        assert any("\ud800" <= letter <= "\udfff" for letter in text)
        return
    assert collection.get(ids=["id"])["documents"] == [text]
    assert collection.query(query_texts=[text], n_results=1)["ids"] == [["id"]]


@pytest.mark.parametrize("letter", ["a", " ", "\x00", "日", "\u0301"])
def test_a_megabyte_of_one_letter_is_stored_whole(client: ClientAPI, minilm: Embedder, letter: str) -> None:
    text = letter * (1_000_000 // len(letter.encode()))
    embedder = Embedder(minilm.backend, minilm.spec, quantization=minilm.quantization, truncate=True)
    collection = open_collection(client, "large", embedder)
    upsert_documents(collection, ["id"], [text])
    assert collection.get(ids=["id"])["documents"] == [text]
    assert collection.query(query_texts=[text], n_results=1)["ids"] == [["id"]]


def test_the_fingerprint_is_where_the_documentation_says(client: ClientAPI) -> None:
    open_collection(client, "planets", fake_embedder())
    metadata = client.get_collection("planets").metadata
    assert json.loads(metadata[FINGERPRINT_KEY])["model"] == "fake"


def _spec(**changes: Any) -> ModelSpec:
    return dataclasses.replace(FAKE_SPEC, **changes)


def _other_weights() -> FakeBackend:
    backend = FakeBackend()
    backend.identity = "others"
    return backend
