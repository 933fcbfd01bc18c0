"""Engines by address, from every door: the embedder, the adapters, Chroma; and which collections they may open."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import chromadb
import numpy as np
import pytest
from chromadb.api import ClientAPI
from langchain_jina_rag import JinaRagEmbeddings
from llama_index.embeddings.jina_rag import JinaRagEmbedding
from typer.testing import CliRunner

from jina_rag import (
    BackendError,
    BackendUnavailableError,
    Embedder,
    FingerprintMismatchError,
    Prompts,
    get_model_spec,
)
from jina_rag.agreement import vectors_agree
from jina_rag.backends.registry import make_backend
from jina_rag.backends.remote.address import BACKEND_VARIABLE
from jina_rag.chroma import JinaRagEmbeddingFunction, open_collection, upsert_documents
from jina_rag.cli import app
from jina_rag.config import EmbedderConfig
from jina_rag.model_files import ensure_model_file
from jina_rag.shared import shared_embedder
from jina_rag.testing import FAKE_SPEC, FakeBackend
from tests.backends import processes
from tests.backends.servers import TeiStandin, VllmStandin, running

PASSAGES = ["Mars looks red because of rust.", "Venus is covered in clouds."]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """`jina-rag serve` with MiniLM."""
    spec = get_model_spec("minilm")
    with processes.ours(ensure_model_file(spec), spec.name) as address:
        yield address


@pytest.fixture
def client(tmp_path: Path) -> ClientAPI:
    return chromadb.PersistentClient(tmp_path)


@pytest.mark.parametrize("model", ["all-MiniLM-L6-v2", "minilm:F32", "auto"])
@pytest.mark.parametrize("prefix", ["", "openai+", "tei+"])
def test_the_same_file_here_and_there_has_one_fingerprint(url: str, minilm: Embedder, model: str, prefix: str) -> None:
    with Embedder.from_pretrained(model, backend=prefix + url) as embedder:
        assert embedder.fingerprint == minilm.fingerprint
        assert vectors_agree(embedder, minilm) > 0.9999


def test_another_model_or_quantisation_than_it_has_is_refused(url: str) -> None:
    with pytest.raises(BackendError, match="has all-MiniLM-L6-v2 in F32, not F16"):
        Embedder.from_pretrained("minilm:F16", backend=url)
    with pytest.raises(BackendError, match="has no model 'jina-embeddings-v5-text-small-retrieval'"):
        Embedder.from_pretrained("jina-v5-small", backend=url)


def test_a_collection_made_here_is_searched_through_our_server(url: str, minilm: Embedder, client: ClientAPI) -> None:
    upsert_documents(open_collection(client, "planets", minilm), ["mars", "venus"], PASSAGES)
    with Embedder.from_pretrained("minilm", backend=url) as embedder:
        collection = open_collection(client, "planets", embedder, create=False)
        assert collection.query(query_texts=["Which planet is red?"], n_results=1)["ids"] == [["mars"]]


def test_a_collection_does_not_say_where_texts_go(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)
    function = JinaRagEmbeddingFunction("minilm", backend=url)
    assert url not in json.dumps(function.get_config())
    here = JinaRagEmbeddingFunction.build_from_config(function.get_config())
    monkeypatch.setenv(BACKEND_VARIABLE, url)
    there = JinaRagEmbeddingFunction.build_from_config(function.get_config())
    np.testing.assert_allclose(here(PASSAGES), there(PASSAGES), atol=1e-3)
    monkeypatch.setenv(BACKEND_VARIABLE, "http://127.0.0.1:9?retry_timeout=0.1")
    with pytest.raises(BackendUnavailableError):
        JinaRagEmbeddingFunction.build_from_config(function.get_config())(PASSAGES)


def test_adapters_take_it(url: str, minilm: Embedder) -> None:
    expected = minilm.embed_documents(PASSAGES)
    langchain = JinaRagEmbeddings(model="minilm", backend=url)
    assert np.sum(np.array(langchain.embed_documents(PASSAGES)) * expected, axis=1).min() > 0.9999
    assert langchain.cache_namespace == JinaRagEmbeddings(model="minilm").cache_namespace
    llama_index = JinaRagEmbedding(model_name="minilm", backend=url)
    again = JinaRagEmbedding.from_dict(llama_index.to_dict())
    assert np.sum(np.array(again.get_text_embedding_batch(PASSAGES)) * expected, axis=1).min() > 0.9999
    with pytest.raises(ValueError, match="names no engine"):
        JinaRagEmbeddings(backend="nonsense")


def test_the_command_line_takes_it(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is read through the server, and searched here and there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mars.txt").write_text(PASSAGES[0])

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        return result.output

    run("add", "mars.txt", "--model", "minilm", "--backend", url)
    assert "mars.txt" in run("search", "Which planet is red?")
    monkeypatch.setenv(BACKEND_VARIABLE, url)
    assert "mars.txt" in run("search", "Which planet is red?")


def test_equal_settings_share_one_connection(url: str) -> None:
    config = EmbedderConfig(model="minilm", backend=url)
    assert shared_embedder(config) is shared_embedder(dataclasses.replace(config))


def served(url: str) -> Embedder:
    return Embedder(make_backend(url, FAKE_SPEC), FAKE_SPEC)


def test_another_engine_is_refused_until_its_vectors_are_seen_to_agree(client: ClientAPI) -> None:
    here = Embedder(FakeBackend(), FAKE_SPEC)
    open_collection(client, "planets", here)
    with running(VllmStandin()) as url, served(url) as there:
        with pytest.raises(FingerprintMismatchError, match="weights 'fake-64' there and 'vllm/org/fake' here"):
            open_collection(client, "planets", there)
        assert vectors_agree(here, there) > 0.9999
        stand_in = there.with_fingerprint_of(here)
        assert stand_in.fingerprint == here.fingerprint
        open_collection(client, "planets", stand_in)
        with served(f"{url}?weights=fake-64") as stated:  # the same in one line, on the user's word
            open_collection(client, "planets", stated)


def test_one_that_does_not_agree_keeps_its_own_fingerprint() -> None:
    other = dataclasses.replace(FAKE_SPEC, prompts=Prompts("Q: ", "P: "))
    with running(VllmStandin()) as url, Embedder(make_backend(url, other), other) as there:
        with pytest.raises(FingerprintMismatchError, match=r"the cosine of one text is 0\.\d+, and 0\.9995 is needed"):
            there.with_fingerprint_of(Embedder(FakeBackend(), FAKE_SPEC))
        with pytest.raises(FingerprintMismatchError, match="different dimensions"):
            vectors_agree(there, Embedder(FakeBackend(), FAKE_SPEC, dimensions=32))


def test_a_server_may_move_but_not_change() -> None:
    changed = TeiStandin()
    changed.sha = "def456"
    fingerprints = []
    for standin in (TeiStandin(), TeiStandin(), changed):
        with running(standin) as url, served(url) as embedder:
            fingerprints.append(embedder.fingerprint)
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
