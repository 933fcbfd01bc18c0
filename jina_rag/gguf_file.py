"""What a GGUF file says about itself, checked before llama.cpp sees it.

llama.cpp reports a damaged file on its own log, and some damage ends the process. This reader walks the same header
by the same rules and says in an exception what is wrong. It never reads the weights.

Source: the specification `docs/gguf.md` and the reader `gguf.cpp` of the ggml project, whose strictness is kept:
duplicate names, nested arrays and tensors that do not follow each other are refused there too.
"""

import mmap
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import isfinite, prod
from pathlib import Path
from struct import Struct
from types import MappingProxyType
from typing import NamedTuple, NoReturn, TypeAlias, cast

from jina_rag.errors import ModelLoadError, ModelNotFoundError

MetadataValue: TypeAlias = int | float | bool | str

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32
_MAX_DIMENSIONS = 4

# Far above any real model; a damaged length is refused here before it costs time or memory.
_MAX_STRING_BYTES = 2**24
_MAX_ARRAY_STRINGS = 2**22
_MAX_ENTRIES = 2**16  # of metadata, and of tensors

_MAX_LAYERS = 512  # LLAMA_MAX_LAYERS

_MAX_KEY_LENGTH = 2**16 - 1  # of the specification
_MAX_TENSOR_NAME_LENGTH = 63  # GGML_MAX_NAME, less its closing zero

_UINT32, _UINT64 = Struct("<I"), Struct("<Q")
# The specification's numbers for its types of value: u8 i8 u16 i16 u32 i32 f32 bool, u64 i64 f64.
_SCALARS = {number: Struct(f"<{code}") for number, code in zip((*range(8), 10, 11, 12), "BbHhIif?Qqd", strict=True)}
_STRING, _ARRAY = 8, 9
_VOCABULARY = "tokenizer.ggml.tokens"


@dataclass(frozen=True)
class GgufHeader:
    """What stands before the weights.

    Attributes:
        architecture: llama.cpp's name for the kind of network, such as "qwen3" or "bert".
        metadata: Every number, flag and text, by its key; arrays (the vocabulary) are left out.
        tensor_count: How many tensors the file holds.
        size_bytes: Where the last tensor ends; a whole file is at least as long.
        main_type: How most weights of the layers are stored, such as "Q4_K"; empty in a file without layers.
        tensors: The tensors by their names.
        vocabulary_size: How many tokens the vocabulary has.
        vocabulary_bytes: Where they are in the file, each behind its length.
    """

    architecture: str
    metadata: Mapping[str, MetadataValue]
    tensor_count: int
    size_bytes: int
    main_type: str
    tensors: Mapping[str, "GgufTensor"]
    vocabulary_size: int = 0
    vocabulary_bytes: range = range(0)

    @property
    def quantization(self) -> str:
        """llama.cpp's name for how the weights are stored, such as "Q4_K_M"; the main type where the file has none."""
        from gguf.constants import LlamaFileType

        names = {int(kind): kind.name.partition("_")[2] for kind in LlamaFileType}  # MOSTLY_Q4_K_M, ALL_F32
        return names.get(int(self.metadata.get("general.file_type", -1)), self.main_type)


def read_gguf_header(path: Path) -> GgufHeader:
    """Read the header of a GGUF file and check that the rest of the file is there.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelLoadError: the file cannot be read, is no GGUF file, is cut short or damaged.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:  # nothing to map
                _refuse("it is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
                return _read_header(_Reader(buffer))
    except _DamagedError as error:
        raise ModelLoadError(
            f"{path} cannot be used: {error}. Check the path, or download the file again with: "
            "jina-rag download MODEL --force"
        ) from error
    except FileNotFoundError as error:
        raise ModelNotFoundError(
            f"There is no file {path}. Check the path, or download a model with: jina-rag download MODEL"
        ) from error
    except (OSError, ValueError) as error:  # mmap raises ValueError for what is not a plain file
        raise ModelLoadError(f"{path} cannot be read ({error}). Check the path and its permissions.") from error


class GgufTensor(NamedTuple):
    """A line of the list of tensors.

    Attributes:
        shape: As numpy has it: the numbers of the last dimension are side by side in the file.
        type_number: The specification's number for how its numbers are stored.
        start: Where it begins in the file.
        n_bytes: How long it is there.
    """

    shape: tuple[int, ...]
    type_number: int
    start: int
    n_bytes: int


class _DamagedError(Exception):
    """What is wrong with the file, as the middle of a sentence."""


def _refuse(reason: str) -> NoReturn:
    raise _DamagedError(reason)


class _Reader:
    """Walks over the bytes of a header, never past their end."""

    def __init__(self, buffer: mmap.mmap) -> None:
        self._buffer = buffer
        self.offset = 0
        self.size = len(buffer)

    def skip(self, size: int) -> int:
        """Step over `size` bytes and say where they began."""
        start = self.offset
        self.offset += size
        if self.offset > self.size:
            _refuse(f"it ends after {self.size:,} bytes, in the middle of its header")
        return start

    def number(self, layout: Struct) -> int | float | bool:
        return cast(int | float | bool, layout.unpack_from(self._buffer, self.skip(layout.size))[0])

    def uint32(self) -> int:
        return cast(int, self.number(_UINT32))

    def uint64(self) -> int:
        return cast(int, self.number(_UINT64))

    def raw(self, size: int) -> bytes:
        start = self.skip(size)
        return self._buffer[start : start + size]

    def string(self) -> str:
        length = self.uint64()
        if length > _MAX_STRING_BYTES:
            _refuse(f"a text in its header claims to be {length:,} bytes long")
        # A stray byte in a description does no harm; in a name it makes the name unknown, which is noticed.
        return self.raw(length).decode("utf-8", "replace")

    def skip_strings(self, count: int) -> None:
        """Step over `count` strings; written out, for a vocabulary has hundreds of thousands."""
        if count > _MAX_ARRAY_STRINGS:
            _refuse(f"a list in its header claims to hold {count:,} texts")
        buffer, offset, unpack = self._buffer, self.offset, _UINT64.unpack_from
        last_start = self.size - _UINT64.size
        for _ in range(count):
            if offset > last_start:
                offset = self.size + 1  # past the end, for skip() to refuse
                break
            offset += _UINT64.size + unpack(buffer, offset)[0]
        self.skip(offset - self.offset)

    def first_repeated(self, count: int) -> bytes | None:
        """Step over `count` strings, and return one that comes twice; empty ones may."""
        offset = self.offset
        self.skip_strings(count)
        buffer, unpack = self._buffer, _UINT64.unpack_from
        seen: set[bytes] = set()
        for _ in range(count):
            start = offset + _UINT64.size
            offset = start + unpack(buffer, offset)[0]
            text = buffer[start:offset]
            if text and text in seen:
                return text
            seen.add(text)
        return None


def _read_header(reader: _Reader) -> GgufHeader:
    if (magic := reader.raw(len(_MAGIC))) != _MAGIC:
        _refuse(f"it begins with {magic!r} and a GGUF file begins with {_MAGIC!r}")
    _check_version(reader.uint32())
    tensor_count, entry_count = reader.uint64(), reader.uint64()
    if (most := max(tensor_count, entry_count)) > _MAX_ENTRIES:
        _refuse(f"a list in its header claims to hold {most:,} entries")
    metadata, vocabulary_size, vocabulary_bytes = _read_metadata(reader, entry_count)
    alignment = _alignment(metadata)
    tensors = _read_tensors(reader, tensor_count, alignment)
    size_bytes = max((tensor.start + tensor.n_bytes for tensor in tensors.values()), default=reader.offset)
    if reader.size < size_bytes:
        _refuse(f"it has {reader.size:,} bytes and should have {size_bytes:,}")
    architecture = _architecture(metadata)
    _check_hyperparameters(architecture, metadata)
    return GgufHeader(
        architecture,
        MappingProxyType(metadata),
        tensor_count,
        size_bytes,
        _main_type(tensors),
        MappingProxyType(tensors),
        vocabulary_size,
        vocabulary_bytes,
    )


def _check_version(version: int) -> None:
    if not version & 0xFFFF:
        _refuse("it is written for big-endian machines")
    if version not in _VERSIONS:
        _refuse(f"its GGUF version is {version} and versions {', '.join(map(str, _VERSIONS))} are understood")


def _architecture(metadata: Mapping[str, MetadataValue]) -> str:
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        _refuse("it does not name its architecture")
    return architecture


def _check_hyperparameters(architecture: str, metadata: Mapping[str, MetadataValue]) -> None:
    """Refuse numbers at which llama.cpp ends the process; of others that can't be, it says so itself."""
    for key, value in metadata.items():
        name = key.removeprefix(f"{architecture}.")
        if name == key or not isinstance(value, int | float):
            continue
        if name == "block_count" and not 1 <= value <= _MAX_LAYERS:
            _refuse(f"it claims to have {value:,} layers")
        if not isfinite(value) or (name.endswith("epsilon") and value < 0):
            _refuse(f"its {key} is {value}")


def _alignment(metadata: Mapping[str, MetadataValue]) -> int:
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        _refuse(f"its tensors claim to be aligned to {alignment!r} bytes")
    return alignment


def _read_metadata(reader: _Reader, count: int) -> tuple[dict[str, MetadataValue], int, range]:
    """All that is no array, and of the vocabulary how many tokens it has and where they are."""
    metadata: dict[str, MetadataValue] = {}
    seen: set[str] = set()
    vocabulary_size, vocabulary_bytes = 0, range(0)
    for _ in range(count):
        key = reader.string()
        _check_name(key, seen, longest=_MAX_KEY_LENGTH)
        if (type_number := reader.uint32()) != _ARRAY:
            metadata[key] = _read_value(reader, type_number)
            continue
        length, content = _skip_array(reader, is_vocabulary=key == _VOCABULARY)
        if key == _VOCABULARY:
            vocabulary_size, vocabulary_bytes = length, content
    return metadata, vocabulary_size, vocabulary_bytes


def _check_name(name: str, seen: set[str], *, longest: int) -> None:
    if not 0 < len(name) <= longest:
        _refuse(f"a name in its header has {len(name):,} letters")
    if name in seen:
        _refuse(f"the name {name[:60]!r} comes twice in its header")
    seen.add(name)


def _read_value(reader: _Reader, type_number: int) -> MetadataValue:
    return reader.string() if type_number == _STRING else reader.number(_scalar(type_number))


def _skip_array(reader: _Reader, *, is_vocabulary: bool) -> tuple[int, range]:
    """Step over an array, and say how long it is and where its values are."""
    type_number, count = reader.uint32(), reader.uint64()
    start = reader.offset
    if type_number == _STRING and is_vocabulary:
        if token := reader.first_repeated(count):  # llama.cpp ends the process
            _refuse(f"its vocabulary has the token {token.decode('utf-8', 'replace')[:60]!r} twice")
    elif type_number == _STRING:
        reader.skip_strings(count)
    else:
        reader.skip(count * _scalar(type_number).size)
    return count, range(start, reader.offset)


def _scalar(type_number: int) -> Struct:
    if type_number not in _SCALARS:
        _refuse(f"its header holds a value of the unknown type {type_number}")
    return _SCALARS[type_number]


def _main_type(tensors: Mapping[str, GgufTensor]) -> str:
    from gguf.constants import GGMLQuantizationType

    sizes: Counter[int] = Counter()
    for name, tensor in tensors.items():
        if name.startswith("blk."):
            sizes[tensor.type_number] += tensor.n_bytes
    return GGMLQuantizationType(sizes.most_common(1)[0][0]).name if sizes else ""


def _read_tensors(reader: _Reader, count: int, alignment: int) -> dict[str, GgufTensor]:
    """Walk over the list of tensors, which follow each other in the file, behind the list."""
    tensors: dict[str, GgufTensor] = {}
    end = 0
    seen: set[str] = set()
    for _ in range(count):
        name = reader.string()
        _check_name(name, seen, longest=_MAX_TENSOR_NAME_LENGTH)
        shape, type_number, n_bytes = _read_shape(reader, name)
        start = _padded(end, alignment)
        if reader.uint64() != start:
            _refuse(f"its tensor {name!r} does not begin where the one before it ends")
        end = start + n_bytes
        tensors[name] = GgufTensor(shape, type_number, start, n_bytes)
    data = _padded(reader.offset, alignment)
    return {name: tensor._replace(start=data + tensor.start) for name, tensor in tensors.items()}


def _read_shape(reader: _Reader, name: str) -> tuple[tuple[int, ...], int, int]:
    """A tensor's shape, its type, and its size in bytes."""
    n_dimensions = reader.uint32()
    if not 1 <= n_dimensions <= _MAX_DIMENSIONS:
        _refuse(f"its tensor {name!r} has {n_dimensions} dimensions")
    shape = [reader.uint64() for _ in range(n_dimensions)]
    type_number = reader.uint32()
    if type_number not in (sizes := _block_sizes()):
        _refuse(f"its tensor {name!r} has the unknown type {type_number}, of a newer llama.cpp or none")
    block_length, block_bytes = sizes[type_number]
    if shape[0] % block_length:
        _refuse(f"the rows of its tensor {name!r} are {shape[0]:,} long and should be a multiple of {block_length}")
    return tuple(reversed(shape)), type_number, prod(shape) // block_length * block_bytes


@cache
def _block_sizes() -> dict[int, tuple[int, int]]:
    """For each tensor type, how many numbers make a block and how many bytes that takes."""
    from gguf.constants import GGML_QUANT_SIZES

    return {int(kind): sizes for kind, sizes in GGML_QUANT_SIZES.items()}


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
