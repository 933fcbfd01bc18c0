"""The tensors of a GGUF file as float32, read from the mapped file when they are needed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jina_rag.errors import ModelLoadError
from jina_rag.gguf_file import GgufHeader, GgufTensor
from jina_rag.vectors import FloatArray


class Weights:
    """A mapped file. Safe to use from many threads."""

    def __init__(self, path: Path, header: GgufHeader) -> None:
        """Map a file whose header was read before."""
        self._path = path
        self._tensors: Mapping[str, GgufTensor] = header.tensors
        self._file = np.memmap(path, np.uint8, "r")
        if len(self._file) < header.size_bytes:
            raise ModelLoadError(f"{path} has changed while it was read. Load it again.")

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def array(self, name: str) -> FloatArray:
        """A whole tensor in its shape."""
        return self._floats(self._rows(name), name).reshape(self._tensors[name].shape)

    def rows(self, name: str, places: NDArray[np.integer[Any]]) -> FloatArray:
        """Rows of a matrix, shape (n, columns); nothing else of it is read."""
        distinct, which = np.unique(places, return_inverse=True)
        return self._floats(self._rows(name)[distinct], name)[which]

    def _rows(self, name: str) -> NDArray[np.uint8]:
        tensor = self._tensors[name]
        content = self._file[tensor.start : tensor.start + tensor.n_bytes]
        return content.reshape(*tensor.shape[:-1], -1)

    def _floats(self, content: NDArray[np.uint8], name: str) -> FloatArray:
        from gguf.constants import GGMLQuantizationType
        from gguf.quants import dequantize

        kind = GGMLQuantizationType(self._tensors[name].type_number)
        try:
            floats = dequantize(np.ascontiguousarray(content), kind)
        except NotImplementedError as error:
            raise ModelLoadError(
                f"{self._path} stores {name!r} as {kind.name}, which is for llama.cpp alone. Leave out the backend, or "
                "take another quantisation of the model."
            ) from error
        return np.asarray(floats, np.float32)
