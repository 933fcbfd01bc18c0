"""ONNX Runtime on the GGUF file that llama.cpp runs; what every engine must do is in test_contract.py."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, cast

import numpy as np
import onnx
import pytest
from gguf import GGUFValueType, GGUFWriter, TokenType
from langchain_jina_rag import JinaRagEmbeddings
from llama_index.embeddings.jina_rag import JinaRagEmbedding
from typer.testing import CliRunner

from jina_rag import Embedder, EmbedderConfig, InvalidTextError, ModelLoadError, UnknownBackendError
from jina_rag.agreement import AGREEMENT, vectors_agree
from jina_rag.backends.llama_cpp.gguf_backend import GgufBackend, LoadedFile
from jina_rag.backends.registry import served_model
from jina_rag.backends.remote.address import BACKEND_VARIABLE
from jina_rag.chroma import JinaRagEmbeddingFunction
from jina_rag.cli import app
from jina_rag.machine import CACHE_VARIABLE
from jina_rag.model_files import ensure_model_file
from jina_rag.models import DEFAULT_MODEL, ModelSpec, Pooling
from jina_rag.rag.indexing.index import read_index_settings
from jina_rag.testing import TINY_SPEC, Qwen3Shape, random_texts, tiny_merges, tiny_vocabulary, tiny_weights
from jina_rag.vectors import FloatArray
from tests.reference.texts import TEXTS

SHAPE = Qwen3Shape(layers=3, query_heads=6, key_heads=2, width=96, head_width=16)
WIDE_SHAPE = replace(
    SHAPE, width=384, head_width=64, feed_forward=1152
)  # as wide as MiniLM; fewer numbers average less


@pytest.fixture(autouse=True, scope="module")
def own_cache(minilm: Embedder, tmp_path_factory: pytest.TempPathFactory) -> "pytest.MonkeyPatch":  # noqa: ARG001
    patch = pytest.MonkeyPatch()
    patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
    return patch


def cosines(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(np.sum(a * b, axis=-1), np.float32)


def write_network(
    path: Path, architecture: str, shape: Qwen3Shape = SHAPE, /, *, without: str = "", **metadata: float | str
) -> Path:
    """A network with random weights: one of `tiny_weights`, without normalised heads and with biases as `qwen2` has."""
    vocabulary = tiny_vocabulary()
    weights = tiny_weights(shape, vocabulary_size=len(vocabulary), seed=3)
    if architecture != "qwen3":
        weights = {
            name: value for name, value in weights.items() if not name.endswith(("q_norm.weight", "k_norm.weight"))
        }
    if architecture == "qwen2":
        rng = np.random.default_rng(4)
        for layer in range(shape.layers):
            for part, heads in (("q", shape.query_heads), ("k", shape.key_heads), ("v", shape.key_heads)):
                width = heads * shape.head_width
                weights[f"blk.{layer}.attn_{part}.bias"] = rng.standard_normal(width, dtype=np.float32)
    writer = GGUFWriter(path, architecture)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.query_heads)
    writer.add_head_count_kv(shape.key_heads)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.rms_epsilon)
    if architecture == "eurobert":
        writer.add_causal_attention(False)
    for key, said in metadata.items():
        name = f"{architecture}.{key.replace('__', '.')}"
        writer.add_key_value(name, said, GGUFValueType.get_type(said))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([TokenType.NORMAL] * (len(vocabulary) - 1) + [TokenType.CONTROL])
    writer.add_token_merges(tiny_merges())
    writer.add_eos_token_id(len(vocabulary) - 1)
    writer.add_add_bos_token(False)
    for name, value in weights.items():
        if name != without:
            writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def spec_of(pooling: Pooling, width: int = SHAPE.width) -> ModelSpec:
    return replace(TINY_SPEC, dimensions=width, matryoshka_dimensions=(), pooling=pooling)


@pytest.mark.parametrize(
    ("architecture", "pooling"),
    [("qwen3", "last"), ("qwen2", "last"), ("eurobert", "last"), ("eurobert", "mean"), ("eurobert", "cls")],
)
def test_float32_is_what_llama_cpp_computes(tmp_path: Path, architecture: str, pooling: Pooling) -> None:
    path = write_network(tmp_path / "model.gguf", architecture)
    texts = [text for text in TEXTS.values() if text or pooling != "last"] + random_texts(40, words=60)
    llama, onnx = (Embedder.from_file(path, spec_of(pooling), backend=backend) for backend in (None, "onnx"))
    assert cosines(llama.embed_documents(texts), onnx.embed_documents(texts)).min() >= 0.9999


def test_float32_is_what_transformers_computes(tiny_gguf: Path) -> None:
    expected = json.loads((Path(__file__).parents[1] / "reference" / "tiny_qwen3.json").read_text())["vectors"]
    onnx = Embedder.from_file(tiny_gguf, TINY_SPEC, backend="onnx")
    vectors = np.array([expected[f"document: {name}"]["vector"] for name in TEXTS])
    assert cosines(onnx.embed_documents(TEXTS.values()), vectors).min() >= 0.9999


@pytest.mark.parametrize("architecture", ["qwen3", "qwen2", "eurobert"])
def test_int8_keeps_the_vectors_of_every_network(tmp_path: Path, architecture: str) -> None:
    path = write_network(tmp_path / "model.gguf", architecture, WIDE_SHAPE)
    texts = [text for text in TEXTS.values() if text] + random_texts(40, words=60)
    exact, rounded = (
        Embedder.from_file(path, spec_of("last", WIDE_SHAPE.width), backend=f"onnx?precision={precision}")
        for precision in ("f32", "int8")
    )
    assert cosines(exact.embed_documents(texts), rounded.embed_documents(texts)).min() >= 0.995


def test_int8_hardly_depends_on_the_other_texts_of_a_batch(minilm: Embedder) -> None:
    texts = [text for text in TEXTS.values() if text] + random_texts(30, words=40)
    with Embedder.from_pretrained("minilm", backend="onnx?precision=int8", truncate=True) as embedder:
        alone = np.vstack([embedder.embed_documents([text]) for text in texts])
        assert cosines(alone, embedder.embed_documents(texts)).min() >= AGREEMENT
    exact = Embedder(minilm.backend, minilm.spec, truncate=True).embed_documents(texts)
    assert cosines(alone, exact).min() >= 0.995


def test_a_quantised_file_gives_the_vectors_of_its_weights(tiny_gguf: Path, tmp_path: Path) -> None:
    from jina_rag.quantize import quantize_file

    path = quantize_file(tiny_gguf, tmp_path / "quantised.gguf", "Q8_0").path
    llama, onnx = (Embedder.from_file(path, TINY_SPEC, backend=backend) for backend in (None, "onnx"))
    assert vectors_agree(llama, onnx) >= 0.999  # llama.cpp rounds the states too
    assert onnx.quantization == "Q8_0"


def test_fingerprints_name_engine_and_precision(tiny_gguf: Path, tiny: Embedder) -> None:
    exact, rounded = (
        Embedder.from_file(tiny_gguf, TINY_SPEC, backend=f"onnx?precision={precision}") for precision in ("f32", "int8")
    )
    assert len({tiny.fingerprint.digest, exact.fingerprint.digest, rounded.fingerprint.digest}) == 3
    assert exact.with_fingerprint_of(tiny).fingerprint.digest == tiny.fingerprint.digest
    agreed = Embedder.from_file(tiny_gguf, TINY_SPEC, backend=f"onnx?weights={tiny.fingerprint.weights}")
    assert agreed.fingerprint.digest == tiny.fingerprint.digest


@pytest.mark.parametrize(
    ("architecture", "changes", "message"),
    [
        ("llama", {}, "its network is 'llama', not qwen3, qwen2, eurobert, bert"),
        ("qwen3", {"without": "blk.1.ffn_up.weight"}, r"no tensor 'blk\.1\.ffn_up\.weight'"),
        ("eurobert", {"feed_forward_length": 64}, "feed_forward_length is 64|has the shape"),
        ("qwen2", {"rope__scaling__type": "yarn"}, r"rope\.scaling\.type is 'yarn'"),
        ("qwen2", {"attention__sliding_window": 128.0}, r"sliding_window is 128"),
        ("qwen2", {"rope__scale_linear": 4.0}, r"rope\.scale_linear is 4"),
        ("qwen3", {"rope__freq_base": 0.0}, r"rope\.freq_base is 0"),
    ],
)
def test_other_networks_are_refused(
    tmp_path: Path, architecture: str, changes: dict[str, float | str], message: str
) -> None:
    settings = dict(changes)
    without = str(settings.pop("without", ""))
    path = write_network(tmp_path / "model.gguf", architecture, SHAPE, without=without, **settings)
    with pytest.raises(ModelLoadError, match=rf"{message}.*Leave out the backend"):
        Embedder.from_file(path, spec_of("last"), backend="onnx")


def test_a_text_that_is_too_long_for_it_is_refused_with_the_numbers(tiny_gguf: Path) -> None:
    embedder = Embedder.from_file(tiny_gguf, replace(TINY_SPEC, max_input_tokens=40_000), backend="onnx")
    with pytest.raises(
        InvalidTextError, match=r"Text 1 has 1\d,\d{3} tokens and the onnx engine reads 8,192.*leave out"
    ):
        embedder.embed_documents(["short", "word " * 6_000])


def test_a_setting_of_another_engine_is_refused(tiny_gguf: Path) -> None:
    with pytest.raises(UnknownBackendError, match="runs no GGUF file of this machine"):
        Embedder.from_file(tiny_gguf, TINY_SPEC, backend="jina")


def test_the_graph_is_made_once_and_again_where_it_is_damaged(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    before = Embedder.from_file(tiny_gguf, TINY_SPEC, backend="onnx?threads=3").embed_query("hello")
    (folder,) = (tmp_path / "onnx").iterdir()
    given_up = folder.with_name(".making-given-up")  # by a process that was killed
    given_up.mkdir()
    os.utime(given_up, (0, 0))
    made = (folder / "model.onnx").stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnx", None)  # no need of it any more
        again = Embedder.from_file(tiny_gguf, TINY_SPEC, backend="onnx?threads=1")
        np.testing.assert_allclose(again.embed_query("hello"), before, atol=1e-5)
    assert (folder / "model.onnx").stat().st_mtime_ns == made
    with monkeypatch.context() as patch:
        patch.setattr("onnxruntime.InferenceSession", out_of_memory)
        with pytest.raises(ModelLoadError, match=r"std::bad_alloc.*If memory is short"):
            Embedder.from_file(tiny_gguf, TINY_SPEC, backend="onnx?threads=4")
    assert (folder / "model.onnx").stat().st_mtime_ns == made
    (folder / "weights.bin").unlink()  # not emptied: a model that is still in memory may have it mapped
    mended = Embedder.from_file(tiny_gguf, TINY_SPEC, backend="onnx?threads=2")
    np.testing.assert_allclose(mended.embed_query("hello"), before, atol=1e-5)
    assert not given_up.exists()


def out_of_memory(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("std::bad_alloc")


def test_graphs_of_files_that_are_gone_or_changed_are_removed(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    kept, gone, changed = (tmp_path / name for name in ("kept.gguf", "gone.gguf", "changed.gguf"))
    shutil.copy(tiny_gguf, kept)
    for number, path in enumerate((gone, changed)):
        shutil.copy(tiny_gguf, path)
        with path.open("r+b") as file:  # other weights, in the last bytes
            file.seek(-16, os.SEEK_END)
            file.write(bytes([number] * 16))
    for path in (kept, gone, changed):
        Embedder.from_file(path, TINY_SPEC, backend="onnx").close()
    assert len(list((tmp_path / "onnx").iterdir())) == 3
    gone.unlink()
    os.utime(changed, (1, 1))
    (tmp_path / "onnx" / f"{'0' * 64}-f32-0").mkdir()  # of older code
    Embedder.from_file(kept, TINY_SPEC, backend="onnx?precision=int8").close()
    digest = hashlib.sha256(kept.read_bytes()).hexdigest()
    assert {folder.name for folder in (tmp_path / "onnx").iterdir()} == {f"{digest}-f32-1", f"{digest}-int8-1"}


def test_a_file_that_is_overwritten_while_its_graph_is_made_is_refused(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    path = tmp_path / "model.gguf"
    shutil.copy(tiny_gguf, path)

    def save_model(model: onnx.ModelProto, file: Path) -> None:
        save_onnx(model, file)
        os.utime(path, (1, 1))

    save_onnx = onnx.save_model
    monkeypatch.setattr(onnx, "save_model", save_model)
    with pytest.raises(ModelLoadError, match=r"has changed while it was read\. Load it again"):
        Embedder.from_file(path, TINY_SPEC, backend="onnx")
    assert not list((tmp_path / "onnx").iterdir())


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="this system has no such permissions")
@pytest.mark.parametrize("how", ["writable", "link"])
def test_a_graph_that_others_could_have_put_there_is_refused(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    Embedder.from_file(tiny_gguf, TINY_SPEC, backend="onnx?threads=3").close()
    (folder,) = (tmp_path / "onnx").iterdir()
    if how == "writable":
        folder.chmod(0o777)
    else:
        folder.symlink_to(folder.rename(tmp_path / "elsewhere"))
    with pytest.raises(ModelLoadError, match=r"not a folder that only you can write into.*JINA_RAG_CACHE"):
        Embedder.from_file(tiny_gguf, TINY_SPEC, backend="onnx?threads=2")
    assert how == "link" or folder.is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_full_disk_is_said_and_leaves_nothing(tiny_gguf: Path, tmp_path: Path) -> None:
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from jina_rag import Embedder, ModelLoadError\n"
        "from jina_rag.testing import TINY_SPEC\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n"
        "try: Embedder.from_file(Path(sys.argv[1]), TINY_SPEC, backend='onnx')\n"
        "except ModelLoadError as error: print(error)\n"
    )
    environment = {**os.environ, CACHE_VARIABLE: str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_gguf)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=environment,
    )
    assert "make room" in done.stdout
    assert not list((tmp_path / "onnx").iterdir())


def test_more_threads_than_it_can_start_are_refused(tiny_gguf: Path) -> None:
    with pytest.raises(UnknownBackendError, match="threads can be 512 at most, not 20000"):
        Embedder.from_file(tiny_gguf, TINY_SPEC, backend="onnx?threads=20000")


@pytest.mark.parametrize("setting", ["onnx?device=abacus", "onnx?device=azure&precision=int8"])
def test_a_device_that_is_not_there_is_refused(tiny_gguf: Path, setting: str) -> None:
    with pytest.raises(UnknownBackendError, match=r"It has .*cpu here.*onnxruntime-gpu"):
        Embedder.from_file(tiny_gguf, TINY_SPEC, backend=setting)


def test_closing_between_two_looks_at_the_model_harms_nobody(tiny_gguf: Path) -> None:
    class ClosedAtOnce:
        """A loaded model; another thread closes the backend while this one asks for its process."""

        dimensions = 96

        @property
        def pid(self) -> int:
            backend.close()
            return os.getpid()

    class Backend(GgufBackend):
        def _load(self) -> LoadedFile:
            return cast(LoadedFile, ClosedAtOnce())

    backend = Backend(tiny_gguf, pooling="last")
    assert [backend.dimensions for _ in range(2)] == [96, 96]


def test_a_forked_child_loads_its_own_and_ends(tiny_gguf: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from jina_rag import Embedder\n"
        "from jina_rag.testing import TINY_SPEC\n"
        "embedder = Embedder.from_file(Path(sys.argv[1]), TINY_SPEC, backend='onnx?threads=2')\n"
        "before = embedder.embed_query('hello')\n"
        "child = os.fork()\n"
        "same = abs(embedder.embed_query('hello') - before).max() < 1e-5\n"
        "if child == 0: sys.exit(not same)\n"
        "print(os.waitpid(child, 0)[1], same)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_gguf)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "0 True"


def test_closing_gives_the_memory_back(minilm: Embedder) -> None:
    code = (
        "import sys, psutil\n"
        "from pathlib import Path\n"
        "from jina_rag import Embedder, get_model_spec\n"
        "for _ in range(8):\n"
        "    with Embedder.from_file(Path(sys.argv[1]), get_model_spec('minilm'), backend='onnx?threads=1') as onnx:\n"
        "        onnx.embed_query('hello')\n"
        "    print(psutil.Process().memory_info().rss)\n"
    )
    path = str(ensure_model_file(minilm.spec))
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60, check=True)
    sizes = [int(line) for line in done.stdout.split()]
    assert sizes[-1] - sizes[1] < 30 * 2**20  # its weights are 43 MB, and come six times more


def test_auto_takes_what_was_faster(
    minilm: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "jina_rag")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    weights = minilm.fingerprint.weights

    def chosen(setting: str = "auto") -> str:
        with Embedder.from_file(path, minilm.spec, backend=setting) as embedder:
            return embedder.fingerprint.weights.removeprefix(weights)

    path = ensure_model_file(minilm.spec)
    chosen()
    (measured,) = (tmp_path / "probes").iterdir()
    assert "times as fast as llama.cpp here" in caplog.text
    remembered = json.loads(measured.read_text())
    for speedup, expected in ((9.0, "/onnx/f32"), (1.2, ""), (9.0, "/onnx/f32")):
        measured.write_text(json.dumps({**remembered, "speedup": speedup}))
        assert chosen() == expected
    assert chosen("llama.cpp?threads=1") == ""
    measured.write_text('{"speedup": NaN}')
    chosen()
    assert json.loads(measured.read_text()).keys() == remembered.keys()  # measured again
    path = ensure_model_file(minilm.spec, "Q8_0")
    chosen()
    assert {json.loads(file.read_text())["precision"] for file in measured.parent.iterdir()} == {"f32", "int8"}


@pytest.mark.parametrize("architecture", ["qwen3", "qwen2", "eurobert"])
def test_every_network_is_compared(tmp_path: Path, caplog: pytest.LogCaptureFixture, architecture: str) -> None:
    caplog.set_level("INFO", "jina_rag")
    path = write_network(tmp_path / "model.gguf", architecture, odd=-1)  # which nobody reads
    Embedder.from_file(path, spec_of("last"), backend="auto").close()
    assert "times as fast as llama.cpp here" in caplog.text


def test_auto_without_onnx_is_llama_cpp_and_says_so(
    minilm: Embedder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "jina_rag")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with Embedder.from_pretrained("minilm", backend="auto") as embedder:
        assert embedder.fingerprint == minilm.fingerprint
    assert "onnx is not installed (pip install 'jina-rag[onnx]')" in caplog.text


def test_an_index_keeps_its_engine_and_takes_another_that_agrees(
    minilm: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)
    (tmp_path / "mars.txt").write_text("Mars looks red because of rust.")

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, arguments)
        assert isinstance(result.exception, SystemExit | None), result.exception
        return result.output

    for precision, takes_llama_cpp in (("f32", True), ("int8", False)):
        index = ("--index", precision)
        run("add", "mars.txt", "--model", "minilm", "--backend", f"onnx?precision={precision}", *index)
        made_with = read_index_settings(tmp_path / precision)
        assert made_with.weights == f"{minilm.fingerprint.weights}/onnx/{precision}"
        for backend in ((), ("--backend", "auto"), ("--backend", "auto?threads=1")):
            assert "mars.txt" in run("search", "Which planet is red?", *backend, *index)
        output = run("search", "Which planet is red?", "--backend", "llama.cpp", *index)
        assert ("mars.txt" in output) is takes_llama_cpp
        assert takes_llama_cpp or "keep to the engine that the vectors were made with" in " ".join(output.split())


def test_a_collection_and_the_adapters_take_it(minilm: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)
    setting, texts = "onnx?precision=int8", ["Mars looks red because of rust."]
    expected = f"{minilm.fingerprint.weights}/onnx/int8"
    function = JinaRagEmbeddingFunction("minilm", backend=setting)
    again = JinaRagEmbeddingFunction.build_from_config(function.get_config())
    assert json.loads(again.get_config()["fingerprint"])["weights"] == expected
    np.testing.assert_allclose(again(texts), function(texts), atol=1e-6)
    assert JinaRagEmbeddings(model="minilm", backend=setting).embedder.fingerprint.weights == expected
    llama_index = JinaRagEmbedding(model_name="minilm", backend=setting)
    assert llama_index.embedder.fingerprint.weights == expected
    assert llama_index.to_dict()["backend"] == setting
    assert JinaRagEmbedding(model_name="minilm", backend="auto").to_dict()["backend"] != "auto"


def test_a_server_that_is_asked_for_any_model_has_the_default_one() -> None:
    assert {served_model(setting).name for setting in ("onnx", "llama.cpp", "auto")} == {DEFAULT_MODEL}


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ("onnx", "onnx?threads=2"),
        ("onnx?precision=int8", "onnx?precision=int8&threads=2"),
        ("onnx?threads=3", "onnx?threads=3"),
        ("http://host", "http://host"),
    ],
)
def test_a_worker_gives_an_engine_its_threads(backend: str, expected: str) -> None:
    assert EmbedderConfig(backend=backend).with_threads(2).backend == expected
