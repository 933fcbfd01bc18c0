"""The tensors of a GGUF file as float32, read when they are needed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jina_rag.errors import ModelLoadError
from jina_rag.gguf_file import GgufHeader, GgufTensor
from jina_rag.vectors import FloatArray


class Weights:
    """A file, mapped for the rows that texts need. Safe to use from many threads."""

    def __init__(self, path: Path, header: GgufHeader) -> None:
        """Map a file whose header was read before."""
        self._path = path
        self._tensors: Mapping[str, GgufTensor] = header.tensors
        self._file = np.memmap(path, np.uint8, "r")
        if len(self._file) < header.size_bytes:
            raise self._changed()

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def array(self, name: str) -> FloatArray:
        """A whole tensor in its shape: read, not mapped, since mapped pages would stay in memory."""
        tensor = self._tensors[name]
        content = np.fromfile(self._path, np.uint8, tensor.n_bytes, offset=tensor.start)
        if len(content) < tensor.n_bytes:
            raise self._changed()
        return self._floats(content.reshape(*tensor.shape[:-1], -1), name).reshape(tensor.shape)

    def rows(self, name: str, places: NDArray[np.integer[Any]]) -> FloatArray:
        """Rows of a matrix, shape (n, columns); nothing else of it is read."""
        distinct, which = np.unique(places, return_inverse=True)
        tensor = self._tensors[name]
        content = self._file[tensor.start : tensor.start + tensor.n_bytes]
        return self._floats(content.reshape(*tensor.shape[:-1], -1)[distinct], name)[which]

    def _changed(self) -> ModelLoadError:
        return ModelLoadError(f"{self._path} has changed while it was read. Load it again.")

    def _floats(self, content: NDArray[np.uint8], name: str) -> FloatArray:
        from gguf.constants import GGMLQuantizationType
        from gguf.quants import dequantize

        kind = GGMLQuantizationType(self._tensors[name].type_number)
        try:
            floats = dequantize(np.ascontiguousarray(content), kind)
        except NotImplementedError as error:  # gguf's, for a type that it can't unpack
            raise ModelLoadError(
                f"{self._path} stores {name!r} as {kind.name}, which is for llama.cpp alone. Leave out the backend, or "
                "take another quantisation of the model."
            ) from error
        return np.asarray(floats, np.float32)
