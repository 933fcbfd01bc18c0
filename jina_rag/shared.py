"""One embedder for each configuration in a process: for adapters, whose objects come and go."""

from dataclasses import dataclass, field
from functools import lru_cache

from jina_rag.backends.llama_cpp.options import LlamaCppOptions
from jina_rag.embedder import Embedder
from jina_rag.models import DEFAULT_MODEL, parse_model_name


@dataclass(frozen=True, kw_only=True)
class EmbedderConfig:
    """What it takes to make an `Embedder` again, in this process or another; for adapters that store settings.

    The fields are `Embedder.from_pretrained`'s arguments.
    """

    model: str = DEFAULT_MODEL
    quantization: str | None = None
    dimensions: int | None = None
    truncate: bool = False
    options: LlamaCppOptions = field(default_factory=LlamaCppOptions)
    backend: str | None = None

    def check(self) -> None:
        """Refuse settings that no model fits, without loading or downloading anything. "auto" passes.

        Raises:
            UnknownModelError, InvalidDimensionsError: the model, quantisation or width does not exist.
            UnknownBackendError: the backend's setting names no engine.
        """
        if self.backend is not None:
            from jina_rag.backends.remote.address import parse_backend

            parse_backend(self.backend)
        if self.model != "auto":
            spec, named = parse_model_name(self.model)
            if self.backend is None:  # another engine may store weights in other ways
                spec.file(self.quantization or named)
            spec.check_dimensions(self.dimensions)


@lru_cache(maxsize=8)
def shared_embedder(config: EmbedderConfig) -> Embedder:
    """The embedder of a configuration, made at the first call and kept for the next: for adapters, which come and go.

    Raises as `Embedder.from_pretrained` does.
    """
    return Embedder.from_pretrained(
        config.model,
        quantization=config.quantization,
        dimensions=config.dimensions,
        truncate=config.truncate,
        options=config.options,
        backend=config.backend,
    )
