"""The same callable under several engines."""

import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from jina_rag import BackendError, BackendUnavailableError, Embedder, EmbedderConfig, FingerprintMismatchError
from jina_rag.backends.base import BackendResult
from jina_rag.distributed import EmbedBatch
from jina_rag.testing import FAKE_SPEC, FakeBackend, fake_embedder
from tests.conftest import ONE_THREAD

TEXTS = ["Mars looks red.", "Venus is covered in clouds.", "Saturn has rings made of ice."]
TOO_LONG = "word " * 600
MINILM = EmbedderConfig(model="all-MiniLM-L6-v2", options=ONE_THREAD)


class Moody(FakeBackend):
    """An engine that fails on some texts."""

    def __init__(self, *fails_on: str, error: type[BackendError] = BackendError) -> None:
        super().__init__()
        self.fails_on = fails_on
        self.error = error

    def embed(self, texts: Sequence[str], **options: Any) -> BackendResult:
        if any(word in text for word in self.fails_on for text in texts):
            raise self.error("It went wrong.")
        return super().embed(texts, **options)


@pytest.mark.parametrize(
    "batch",
    [
        {"id": np.array(["a", "b", "c"]), "text": np.array(TEXTS)},
        pa.table({"id": ["a", "b", "c"], "text": TEXTS}),
        pd.DataFrame({"id": ["a", "b", "c"], "text": TEXTS}),
    ],
    ids=["numpy", "arrow", "pandas"],
)
def test_a_batch_comes_back_with_its_vectors(batch: Any) -> None:
    embedded = EmbedBatch(fake_embedder)(batch)
    assert type(embedded) is type(batch)
    columns = (
        embedded.to_pydict() if isinstance(embedded, pa.Table) else {name: list(embedded[name]) for name in embedded}
    )
    assert columns["id"] == ["a", "b", "c"]
    assert np.array_equal(np.array(columns["vector"], np.float32), fake_embedder().embed_documents(TEXTS))
    assert not any(columns["error"])


def test_texts_that_can_not_be_embedded_are_set_aside_and_named() -> None:
    texts = [TEXTS[0], TOO_LONG, TEXTS[1], None, "a poisoned text", TEXTS[2]]
    embed = EmbedBatch(lambda: Embedder(Moody("poisoned"), FAKE_SPEC))
    table = embed(pa.table({"text": texts}))
    errors = table["error"].to_pylist()
    assert [error is None for error in errors] == [True, False, True, False, False, True]
    assert "tokens" in errors[1]
    assert "not a string" in errors[3]
    assert errors[4] == "It went wrong."
    good = [vector for vector in table["vector"].to_pylist() if vector is not None]
    assert np.allclose(good, fake_embedder().embed_documents(TEXTS), atol=1e-6)
    arrays = embed({"text": np.array(texts, dtype=object)})
    assert np.isnan(arrays["vector"]).all(axis=1).tolist() == [error is not None for error in errors]


@pytest.mark.parametrize(
    ("fails_on", "error"), [("Mars", BackendUnavailableError), ("", BackendError)], ids=["server away", "broken engine"]
)
def test_a_failing_engine_is_not_blamed_on_the_texts(fails_on: str, error: type[BackendError]) -> None:
    embed = EmbedBatch(lambda: Embedder(Moody(fails_on, error=error), FAKE_SPEC))
    with pytest.raises(error, match="It went wrong"):
        embed({"text": np.array(TEXTS)})


def test_a_process_with_another_model_embeds_nothing() -> None:
    other = fake_embedder(32).fingerprint
    with pytest.raises(FingerprintMismatchError, match="same model file"):
        EmbedBatch(fake_embedder, fingerprint=other)({"text": np.array(TEXTS)})


def test_empty_batches_have_the_columns() -> None:
    table = EmbedBatch(fake_embedder)(pa.table({"text": pa.array([], pa.string())}))
    assert table.column_names == ["text", "vector", "error"]
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 64)


def test_engines_agree(minilm: Embedder) -> None:
    embed: EmbedBatch = pickle.loads(pickle.dumps(EmbedBatch(MINILM)))
    expected = minilm.embed_documents(TEXTS)
    batches = [{"text": np.array(TEXTS[:2])}, {"text": np.array(TEXTS[2:])}]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pooled = np.concatenate([batch["vector"] for batch in pool.imap(embed, batches)])
    dask: Any = pytest.importorskip("dask")
    delayed = dask.compute(*(dask.delayed(embed)(batch) for batch in batches), scheduler="processes", num_workers=2)
    assert np.allclose(pooled, expected, atol=1e-6)
    assert np.allclose(np.concatenate([batch["vector"] for batch in delayed]), expected, atol=1e-6)


def test_what_is_not_used_is_not_imported() -> None:
    check = (
        "import sys, numpy; from jina_rag.distributed import EmbedBatch, LocalEngine;"
        "from jina_rag.testing import fake_embedder; EmbedBatch(fake_embedder)({'text': numpy.array(['Mars'])});"
        "assert 'pyarrow' not in sys.modules; from jina_rag.distributed import index_documents;"
        "assert not {'ray', 'dask'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
