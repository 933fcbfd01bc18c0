"""llama.cpp in this process, through llama-cpp-python's low-level functions.

`llama_cpp.Llama.embed` cuts texts silently, aborts under threads, and has the whole vocabulary scored for every token.
Here a text is tokenised once and never cut unasked; a model belongs to one thread of its own, which takes a batch from
each caller in turn, small batches first, and the parts of a long text one by one; and a decoder is run in two passes
that skip the vocabulary for all but the last tokens:

1. with embeddings off, every token but the last of each text goes through the layers and into the key-value cache;
2. with embeddings on, the last tokens follow, one for each text, and their states are the vectors.

The vectors are the same, and a text may be longer than a batch. Encoders have no cache and take one pass. What the
choices here were measured to bring stands in tests/benchmarks/RESULTS.md.
"""

from pathlib import Path

from jina_rag.backends.llama_cpp.gguf_backend import GgufBackend
from jina_rag.backends.llama_cpp.model import LoadedModel, load_model
from jina_rag.backends.llama_cpp.options import LlamaCppOptions
from jina_rag.models import Pooling


class LlamaCppBackend(GgufBackend):
    """A GGUF file in llama.cpp."""

    def __init__(
        self,
        path: Path,
        *,
        pooling: Pooling,
        options: LlamaCppOptions | None = None,
        closing_token: str | None = None,
    ) -> None:
        """Name a file, as `GgufBackend` does, and how to run it; nothing is loaded yet."""
        super().__init__(path, pooling=pooling, closing_token=closing_token)
        self.options = options or LlamaCppOptions()

    def _load(self) -> LoadedModel:
        return load_model(self.path, self.pooling, self.options, self.closing_token)
