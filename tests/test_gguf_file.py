import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from jina_rag.errors import ModelLoadError, ModelNotFoundError
from jina_rag.gguf_file import read_gguf_header


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", vocabulary_size=3)


@pytest.fixture(scope="module")
def content(path: Path) -> bytes:
    return path.read_bytes()


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "damaged.gguf"


def _write_gguf(path: Path, *, vocabulary_size: int) -> Path:
    writer = GGUFWriter(path, "qwen3")
    writer.add_context_length(512)
    writer.add_layer_norm_rms_eps(0.5)
    writer.add_causal_attention(False)
    writer.add_description("naïve")
    writer.add_token_list([f"word {index}" for index in range(vocabulary_size)])
    writer.add_token_types([1] * vocabulary_size)
    writer.add_tensor("token_embd.weight", np.ones((3, 64), np.float32))
    writer.add_tensor("output_norm.weight", np.ones(5, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _size_of_header(content: bytes) -> int:
    return content.index(np.ones(64, np.float32).tobytes())


def test_header_of_a_whole_file(path: Path) -> None:
    header = read_gguf_header(path)
    assert header.architecture == "qwen3"
    assert header.tensor_count == 2
    assert header.metadata["qwen3.context_length"] == 512
    assert header.metadata["qwen3.attention.layer_norm_rms_epsilon"] == 0.5
    assert header.metadata["qwen3.attention.causal"] is False
    assert header.metadata["general.description"] == "naïve"
    assert "tokenizer.ggml.tokens" not in header.metadata


def test_size_is_where_the_last_tensor_ends(path: Path, content: bytes, damaged: Path) -> None:
    size = read_gguf_header(path).size_bytes
    damaged.write_bytes(content[:size])
    assert read_gguf_header(damaged).size_bytes == size
    damaged.write_bytes(content[: size - 1])
    with pytest.raises(ModelLoadError, match=f"it has {size - 1:,} bytes and should have {size:,}"):
        read_gguf_header(damaged)


def test_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="jina-rag download"):
        read_gguf_header(tmp_path / "none.gguf")


def test_folder_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="permissions"):
        read_gguf_header(tmp_path)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"", "is empty"),
        (b"GG", "middle of its header"),
        (b"<html><body>", "begins with b'<htm'"),
        (b"GGUF" + struct.pack(">I", 3), "big-endian"),
        (b"GGUF" + struct.pack("<I", 1), "version is 1"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**60), "claims to be 1,152,921,504,606,846,976 bytes long"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "does not name its architecture"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**17, 0), "claims to hold 131,072 entries"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**17), "claims to hold 131,072 entries"),
    ],
)
def test_damage_is_named(damaged: Path, start: bytes, message: str) -> None:
    damaged.write_bytes(start)
    with pytest.raises(ModelLoadError, match=f"{message}.*jina-rag download MODEL --force"):
        read_gguf_header(damaged)


def test_unknown_tensor_type_is_named(damaged: Path, content: bytes) -> None:
    name = b"output_norm.weight"
    start = content.index(name) + len(name) + 4 + 8
    damaged.write_bytes(content[:start] + struct.pack("<I", 999) + content[start + 4 :])
    with pytest.raises(ModelLoadError, match=r"tensor 'output_norm.weight' has the unknown type 999"):
        read_gguf_header(damaged)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (b"qwen3.block_count", struct.pack("<I", 0), "claims to have 0 layers"),
        (b"qwen3.block_count", struct.pack("<I", 513), "claims to have 513 layers"),
        (b"qwen3.block_count", struct.pack("<I", 2**32 - 1), "claims to have 4,294,967,295 layers"),
        (b"qwen3.attention.layer_norm_rms_epsilon", struct.pack("<f", -1), "layer_norm_rms_epsilon is -1"),
        (b"qwen3.attention.layer_norm_rms_epsilon", struct.pack("<f", np.nan), "layer_norm_rms_epsilon is nan"),
        (b"qwen3.rope.freq_base", struct.pack("<f", np.inf), "freq_base is inf"),
    ],
)
def test_numbers_that_end_llama_cpp_are_refused(
    tiny_gguf: Path, damaged: Path, key: bytes, value: bytes, message: str
) -> None:
    content = tiny_gguf.read_bytes()
    start = content.index(key) + len(key) + 4  # the number of the value's type comes between
    damaged.write_bytes(content[:start] + value + content[start + len(value) :])
    with pytest.raises(ModelLoadError, match=message):
        read_gguf_header(damaged)


def test_a_token_that_comes_twice_is_refused(damaged: Path, content: bytes) -> None:
    damaged.write_bytes(content.replace(b"word 2", b"word 1"))
    with pytest.raises(ModelLoadError, match="its vocabulary has the token 'word 1' twice"):
        read_gguf_header(damaged)


def test_zeros_are_refused(damaged: Path) -> None:
    with damaged.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 2**62, 2**62))
        file.truncate(2**30)
    with pytest.raises(ModelLoadError):
        read_gguf_header(damaged)


@settings(max_examples=200)
@given(data=st.data())
def test_cut_file_is_refused(content: bytes, damaged: Path, data: st.DataObject) -> None:
    size = data.draw(st.integers(0, _size_of_header(content)))
    damaged.write_bytes(content[:size])
    with pytest.raises(ModelLoadError):
        read_gguf_header(damaged)


@settings(max_examples=500)
@given(data=st.data())
def test_flipped_bytes_are_harmless_or_refused(content: bytes, damaged: Path, data: st.DataObject) -> None:
    changed = bytearray(content)
    places = st.integers(0, _size_of_header(content) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=3)):
        changed[place] = data.draw(st.integers(0, 255))
    damaged.write_bytes(changed)
    tracemalloc.start()
    with suppress(ModelLoadError):
        read_gguf_header(damaged)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
