"""One embedder for each configuration in a process: for adapters, whose objects come and go."""

from functools import lru_cache

from jina_rag.config import EmbedderConfig
from jina_rag.embedder import Embedder
from jina_rag.models import ModelSpec, get_model_spec


def shared_embedder(config: EmbedderConfig) -> Embedder:
    """The embedder of a configuration, made at the first call and kept for the next.

    Configurations that differ only in how they spell a setting share one. Raises as `Embedder.from_config` does.
    """
    config = config.resolved()
    return _make(config, None if config.model == "auto" else get_model_spec(config.model))


@lru_cache(maxsize=8)
def _make(config: EmbedderConfig, _row: ModelSpec | None) -> Embedder:  # a row may be registered anew under its name
    return Embedder.from_config(config)
