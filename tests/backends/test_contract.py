"""What every engine must do, in one test body: in this process, behind real servers, and behind documented shapes."""

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jina_rag import BackendError, Embedder, InputTooLongError, InvalidTextError, ModelSpec, get_model_spec
from jina_rag.backends.base import EmbeddingBackend
from jina_rag.backends.registry import make_backend, make_file_backend
from jina_rag.machine import CACHE_VARIABLE
from jina_rag.models import InputType
from jina_rag.testing import FAKE_SPEC, TINY_SPEC, FakeBackend, random_texts
from jina_rag.vectors import FloatArray
from tests.backends import processes
from tests.backends.servers import JINA_SPEC, ElasticStandin, JinaStandin, Standin, TeiStandin, VllmStandin, running

TEXTS = [
    "The lighthouse keeper wrote down the weather.",
    "Who kept the diary?",
    "  blanks before and after  ",
    "\nlines\n\n",
    "a",
    "Sailing under the 🌈, 灯台守, كتب",
    "Query: a text that looks like one with a prompt",
    "Document: another",
]


@dataclass(frozen=True)
class Engine:
    """An engine under test, and the same model in this process."""

    setting: str
    spec: ModelSpec
    same_model: Embedder
    counts: bool = True
    cuts: bool = True
    file: Path | None = None

    def embedder(self, *, truncate: bool = False, dimensions: int | None = None) -> Embedder:
        backend: EmbeddingBackend
        if self.file:
            backend = make_file_backend(self.setting, self.file, self.spec)
        else:
            backend = make_backend(self.setting, self.spec)
        return Embedder(backend, self.spec, truncate=truncate, dimensions=dimensions)


def _standin(server: Standin, spec: ModelSpec, prefix: str, **traits: Any) -> Callable[..., Engine]:
    def start(request: pytest.FixtureRequest, stack: ExitStack) -> Engine:  # noqa: ARG001
        url = stack.enter_context(running(server))
        return Engine(prefix + url, spec, Embedder(FakeBackend(), spec), **traits)

    return start


def _ours(request: pytest.FixtureRequest, stack: ExitStack) -> Engine:
    url = stack.enter_context(processes.ours(request.getfixturevalue("tiny_gguf")))
    return Engine(url, TINY_SPEC, request.getfixturevalue("tiny"))


def _ours_as_tei(request: pytest.FixtureRequest, stack: ExitStack) -> Engine:
    url = stack.enter_context(processes.ours(request.getfixturevalue("tiny_gguf")))
    return Engine(f"tei+{url}", TINY_SPEC, request.getfixturevalue("tiny"))


def _minilm_file() -> Path:
    from jina_rag.model_files import ensure_model_file

    return ensure_model_file(get_model_spec("minilm"))


def _llama_cpp_python(request: pytest.FixtureRequest, stack: ExitStack) -> Engine:
    pytest.importorskip("llama_cpp.server.app", reason="llama-cpp-python's server is not installed")
    minilm: Embedder = request.getfixturevalue("minilm")
    url = stack.enter_context(processes.llama_cpp_python(_minilm_file()))
    return Engine(url, minilm.spec, minilm, cuts=False)


def _llama_server(request: pytest.FixtureRequest, stack: ExitStack) -> Engine:
    if not processes.LLAMA_SERVER:
        pytest.skip("set LLAMA_SERVER to the path of a llama-server")
    gguf: Path = request.getfixturevalue("tiny_gguf")
    options = ["-c", str(TINY_SPEC.max_input_tokens), "-np", "1"]
    url = stack.enter_context(processes.llama_server(gguf, pooling="last", options=options))
    spec = replace(TINY_SPEC, max_input_tokens=TINY_SPEC.max_input_tokens - 1)  # it keeps one place free
    return Engine(url, spec, Embedder(request.getfixturevalue("tiny").backend, spec))


def _llama_server_encoder(request: pytest.FixtureRequest, stack: ExitStack) -> Engine:
    if not processes.LLAMA_SERVER:
        pytest.skip("set LLAMA_SERVER to the path of a llama-server")
    minilm: Embedder = request.getfixturevalue("minilm")
    url = stack.enter_context(processes.llama_server(_minilm_file(), pooling="mean", options=["-np", "4"]))
    return Engine(url, minilm.spec, minilm)


def _onnx(model: str, file: Callable[[pytest.FixtureRequest], Path]) -> Callable[..., Engine]:
    def start(request: pytest.FixtureRequest, stack: ExitStack) -> Engine:
        here: Embedder = request.getfixturevalue(model)
        path = file(request)
        cache = request.getfixturevalue("tmp_path_factory").mktemp("onnx")
        stack.enter_context(pytest.MonkeyPatch.context()).setenv(CACHE_VARIABLE, str(cache))
        return Engine("onnx?threads=1", here.spec, here, file=path)

    return start


BACKEND_PARAMS = {
    "onnx, decoder": _onnx("tiny", lambda request: request.getfixturevalue("tiny_gguf")),
    "onnx, encoder": _onnx("minilm", lambda _: _minilm_file()),
    "jina-rag serve": _ours,
    "jina-rag serve as TEI": _ours_as_tei,
    "llama-cpp-python": _llama_cpp_python,
    "llama-server, decoder": _llama_server,
    "llama-server, encoder": _llama_server_encoder,
    "vLLM's shapes": _standin(VllmStandin(), FAKE_SPEC, ""),
    "TEI's shapes": _standin(TeiStandin(), FAKE_SPEC, ""),
    "Jina's shapes": _standin(JinaStandin(), JINA_SPEC, "jina+", counts=False, cuts=False),
    "Elastic's shapes": _standin(ElasticStandin(), JINA_SPEC, "elastic+", counts=False, cuts=False),
}


@pytest.fixture(scope="module", params=list(BACKEND_PARAMS.values()), ids=list(BACKEND_PARAMS))
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with ExitStack() as stack, pytest.MonkeyPatch.context() as environment:
        environment.setenv("JINA_API_KEY", str(JinaStandin.key))
        environment.setenv("ELASTIC_API_KEY", str(ElasticStandin.key))
        yield request.param(request, stack)


@pytest.fixture(scope="module")
def served(engine: Engine) -> Iterator[Embedder]:
    with engine.embedder() as embedder:
        yield embedder


def cosines(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(np.sum(a * b, axis=-1), np.float32)


def test_vectors_are_those_of_the_same_model_here(engine: Engine, served: Embedder) -> None:
    """So each prompt is there exactly once, whoever puts it there."""
    input_types: tuple[InputType, ...] = ("query", "document")
    for input_type in input_types:
        here = engine.same_model.embed(TEXTS, input_type)
        there = served.embed(TEXTS, input_type)
        assert cosines(here.vectors, there.vectors).min() >= 0.9999
        assert there.token_counts == (here.token_counts if engine.counts else ())
        assert there.truncated == ()


def test_order_and_duplicates_are_kept_over_many_batches(engine: Engine, served: Embedder) -> None:
    texts = random_texts(150, words=12)
    texts += texts[:20]
    vectors = served.embed_documents(texts)
    assert cosines(vectors, engine.same_model.embed_documents(texts)).min() >= 0.9999
    np.testing.assert_array_equal(vectors[:20], vectors[150:])


def test_a_text_is_the_same_alone_and_in_a_batch(served: Embedder) -> None:
    texts = random_texts(12, words=40)
    alone = np.stack([served.embed_documents([text])[0] for text in texts])
    assert cosines(alone, served.embed_documents(texts)).min() >= 0.9999


def test_accents_mean_the_same_composed_and_not(engine: Engine, served: Embedder) -> None:
    texts = ["Ou\u0300 e\u0301tait le phare?", "O\u00f9 \u00e9tait le phare?"]
    assert cosines(served.embed_documents(texts), engine.same_model.embed_documents(texts)).min() >= 0.9999


def test_no_texts_give_no_rows(served: Embedder) -> None:
    assert served.embed([], "document").vectors.shape == (0, served.dimensions)


def test_counting_agrees_with_the_model_here(engine: Engine, served: Embedder) -> None:
    if not engine.counts:
        with pytest.raises(BackendError, match="tokenizer"):
            served.count_tokens(TEXTS)
        return
    assert served.count_tokens(TEXTS) == engine.same_model.count_tokens(TEXTS)
    assert served.count_tokens([]) == []


def test_a_long_text_is_refused_by_position_and_numbers(engine: Engine, served: Embedder) -> None:
    texts = ["short", "word " * (served.max_input_tokens + 5)]
    if not engine.counts:
        with pytest.raises(BackendError, match=r"tokenizer\.json"):
            served.embed_documents(texts)
        return
    with pytest.raises(InputTooLongError) as caught:
        served.embed_documents(texts)
    assert (caught.value.index, caught.value.max_tokens) == (1, served.max_input_tokens)
    assert caught.value.token_count == engine.same_model.count_tokens(texts)[1]


def test_a_long_text_is_cut_on_request_as_here(engine: Engine) -> None:
    with engine.embedder(truncate=True) as embedder:
        texts = ["short", "word " * (embedder.max_input_tokens + 5)]
        if not engine.cuts:
            with pytest.raises(BackendError, match=r"cut a text|tokenizer"):
                embedder.embed(texts, "document")
            return
        result = embedder.embed(texts, "document")
    here = Embedder(engine.same_model.backend, engine.spec, truncate=True).embed(texts, "document")
    assert (result.truncated, result.token_counts) == ((1,), here.token_counts)
    assert cosines(result.vectors, here.vectors).min() >= 0.999  # thousands of tokens add up differently


def test_widths_are_cut_here(engine: Engine, served: Embedder) -> None:
    full = served.embed_documents(TEXTS)
    for dimensions in engine.spec.matryoshka_dimensions:
        with engine.embedder(dimensions=dimensions) as embedder:
            cut = embedder.embed_documents(TEXTS)
        expected = full[:, :dimensions] / np.linalg.norm(full[:, :dimensions], axis=1, keepdims=True)
        np.testing.assert_allclose(cut, expected, atol=1e-5)


def test_half_a_surrogate_pair_never_leaves(served: Embedder) -> None:
    with pytest.raises(InvalidTextError, match="Text 1 "):
        served.embed_documents(["fine", "\ud800"])


def test_progress_adds_up(served: Embedder) -> None:
    steps: list[int] = []
    texts = random_texts(140, words=8)
    served.embed([*texts, *texts[:7]], "document", on_progress=steps.append)
    assert sum(steps) == 147
    assert len(steps) > 1


def test_pickling_carries_settings_and_no_key(engine: Engine, served: Embedder) -> None:
    pickled = pickle.dumps(served)
    for key in (JinaStandin.key, ElasticStandin.key):
        assert str(key).encode() not in pickled
    with pickle.loads(pickled) as again:
        assert again.fingerprint == served.fingerprint
        assert cosines(again.embed_query("x"), engine.same_model.embed_query("x")) >= 0.9999


def test_a_closed_one_opens_again(engine: Engine) -> None:
    with engine.embedder() as embedder:
        before = embedder.embed_query("x")
    np.testing.assert_allclose(embedder.embed_query("x"), before, atol=1e-6)
    embedder.close()


def test_many_threads_at_once(engine: Engine, served: Embedder) -> None:
    texts = random_texts(8, words=12, seed=3)
    expected = engine.same_model.embed_documents(texts)
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: served.embed_documents(texts), range(16)))
    assert min(cosines(result, expected).min() for result in results) >= 0.9999


def test_the_fingerprint_holds_neither_address_nor_key(engine: Engine, served: Embedder) -> None:
    written = served.fingerprint.to_json()
    assert "127.0.0.1" not in written
    assert "secret" not in written
    assert "secret" not in repr(served.backend)
    assert served.fingerprint.model == engine.spec.name
