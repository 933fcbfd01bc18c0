"""Embedders that several test files share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from jina_rag import Embedder, LlamaCppOptions
from jina_rag.rag.store.seal import DATA_VARIABLE
from jina_rag.testing import TINY_SPEC, fake_embedder, write_tiny_gguf
from tests.chroma_server import chroma_server

# How long an example takes depends on who else uses the machine, so no test passes or fails by it. The examples of a
# change's own run are always the same ones; `-p hypothesispytest --hypothesis-profile=nightly` looks at others, and at
# more.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("nightly", settings.get_profile("any machine"), derandomize=False, max_examples=500)
settings.load_profile("any machine")

ONE_THREAD = LlamaCppOptions(n_threads=1)
"""As quick for models so small; threads of several tests would wait for each other on the same cores."""

EmbedderFactory = Callable[[], Embedder]


@pytest.fixture(scope="session", autouse=True)
def own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The tests have a key for their indexes, and don't use the models or chat servers of whoever runs them."""
    hub_cache = str(tmp_path_factory.mktemp("hub"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", hub_cache)  # for processes that tests start
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", hub_cache)
        patch.setenv("JINA_RAG_DISCOVER", "0")
        patch.setenv(DATA_VARIABLE, str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("tiny") / "tiny-qwen3.gguf")


@pytest.fixture(scope="session")
def tiny(tiny_gguf: Path) -> Iterator[Embedder]:
    with Embedder.from_file(tiny_gguf, TINY_SPEC, quantization="F32", options=ONE_THREAD) as embedder:
        yield embedder


@pytest.fixture(scope="session")
def minilm() -> Iterator[Embedder]:
    with Embedder.from_pretrained("all-MiniLM-L6-v2", options=ONE_THREAD) as embedder:
        yield embedder


@pytest.fixture(scope="session")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Chroma server, to which the name of a collection is added."""
    with chroma_server(tmp_path_factory.mktemp("chroma")) as address:
        yield address


@pytest.fixture(scope="session", params=["fake", "tiny-qwen3", "all-MiniLM-L6-v2"])
def any_embedder(request: pytest.FixtureRequest) -> Embedder:
    """Every engine in turn: one test body for all of them."""
    if request.param == "fake":
        return fake_embedder()
    embedder: Embedder = request.getfixturevalue({"tiny-qwen3": "tiny", "all-MiniLM-L6-v2": "minilm"}[request.param])
    return embedder
