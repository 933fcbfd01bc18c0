"""ONNX Runtime in this process: the weights of a GGUF file in a graph that is made from them once.

Tokens, prompts and limits come from the same code as llama.cpp's, and so do the rows of the embedding table, which
stays in the mapped file. What differs is the arithmetic of the layers, so these vectors have their own fingerprint.
"""

from pathlib import Path

from jina_rag.backends.llama_cpp.gguf_backend import GgufBackend
from jina_rag.backends.onnx.model import OnnxModel, SessionSettings, load_model
from jina_rag.backends.remote.address import Precision
from jina_rag.models import Pooling


class OnnxBackend(GgufBackend):
    """A GGUF file in ONNX Runtime."""

    def __init__(
        self,
        path: Path,
        *,
        pooling: Pooling,
        precision: Precision = "f32",
        n_threads: int = 0,
        device: str = "",
        closing_token: str | None = None,
        weights: str = "",
    ) -> None:
        """Name a file, as `GgufBackend` does, and how to run it; nothing is loaded yet.

        Args:
            path: The GGUF file.
            pooling: How the model was trained to be read.
            precision: "f32" computes with the file's weights as they are; "int8" rounds weights and states to 8 bits.
            n_threads: Threads to compute with; 0 takes every core this process may use.
            device: An execution provider of ONNX Runtime in short, such as "cuda"; "" is the processor.
            closing_token: The special token after each text, "" for none; None leaves that to the file.
            weights: The `identity` of an engine whose vectors these are known to agree with, in place of its own.
        """
        super().__init__(path, pooling=pooling, closing_token=closing_token)
        self.precision: Precision = precision
        self.n_threads = n_threads
        self.device = device
        self.weights = weights

    @property
    def identity(self) -> str:
        """The file's SHA-256, what is done with its weights, and where. Raises as `GgufBackend.identity` does."""
        return self.weights or "/".join(filter(None, (super().identity, "onnx", self.precision, self.device)))

    def _load(self) -> OnnxModel:
        settings = SessionSettings(self.precision, self.n_threads, self.device)
        return load_model(self.path, self.pooling, settings, self.closing_token)
