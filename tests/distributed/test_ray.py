"""The Ray engine, on a cluster of this machine."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from jina_rag import Embedder, FingerprintMismatchError
from jina_rag.distributed import EmbedBatch, LocalEngine, RayEngine, index_documents
from jina_rag.testing import fake_embedder
from tests.distributed.conftest import assert_same, write_documents
from tests.distributed.test_embed_batch import MINILM, TEXTS

ray = pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = pytest.mark.filterwarnings("default")  # of Ray itself


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One for all tests: to start takes seconds."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    yield
    ray.shutdown()


def test_two_actors_make_the_same_collection(chroma: str, tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    write_documents(documents, 8)
    reports = [
        index_documents(
            [str(documents)],
            f"{chroma}/{name}",
            shards=str(tmp_path / name),
            embedder=MINILM,
            engine=engine,
            shard_rows=8,
        )
        for name, engine in (("on-ray", RayEngine(actors=2)), ("not-on-ray", LocalEngine()))
    ]
    assert reports[0].n_embedded == reports[1].n_embedded > 16
    assert_same(f"{chroma}/on-ray", f"{chroma}/not-on-ray")


def test_embed_batch_in_a_dataset(minilm: Embedder) -> None:
    embedded = ray.data.from_items([{"text": text} for text in TEXTS]).map_batches(
        EmbedBatch, fn_constructor_args=(MINILM,), compute=ray.data.ActorPoolStrategy(size=1), num_cpus=1
    )
    rows = {row["text"]: row["vector"] for row in embedded.take_all()}
    assert np.allclose([rows[text] for text in TEXTS], minilm.embed_documents(TEXTS), atol=1e-6)


def test_an_error_in_an_actor_is_its_own(documents: Path, tmp_path: Path) -> None:
    with pytest.raises(FingerprintMismatchError, match="same model file"):
        index_documents([str(documents)], None, shards=str(tmp_path), embedder=_Changing(), engine=RayEngine())


class _Changing:
    """Makes another model in another process."""

    def __call__(self) -> Embedder:
        return fake_embedder(32 if self.is_elsewhere else 64)

    is_elsewhere = False

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return _elsewhere, ()


def _elsewhere() -> _Changing:
    changing = _Changing()
    changing.is_elsewhere = True
    return changing
