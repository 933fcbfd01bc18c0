"""Run jina-embeddings-v5-text GGUF models from Python, exactly and fast.

>>> from jina_rag import Embedder
>>> with Embedder.from_pretrained("all-MiniLM-L6-v2") as embedder:
...     embedder.embed_query("Which planet is red?").shape
(384,)
"""

from importlib import import_module
from typing import TYPE_CHECKING

from jina_rag.errors import (
    BackendError,
    BackendUnavailableError,
    ChecksumError,
    ContextTooSmallError,
    DocumentError,
    EvaluationError,
    FingerprintMismatchError,
    GenerationError,
    IndexFolderError,
    InputTooLongError,
    InvalidDimensionsError,
    InvalidTextError,
    JinaRagError,
    MissingDependencyError,
    ModelLoadError,
    ModelNotFoundError,
    ServerSettingsError,
    StoreError,
    StoreNotFoundError,
    StoreUnavailableError,
    TextError,
    UnknownBackendError,
    UnknownModelError,
)
from jina_rag.fingerprint import Fingerprint
from jina_rag.models import KnownModelName, ModelFile, ModelSpec, Prompts, get_model_spec, list_models, register_model

if TYPE_CHECKING:
    from jina_rag.backends.llama_cpp.options import LlamaCppOptions
    from jina_rag.config import EmbedderConfig
    from jina_rag.embedder import Embedder, EmbeddingResult
    from jina_rag.shared import shared_embedder

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "BackendUnavailableError",
    "ChecksumError",
    "ContextTooSmallError",
    "DocumentError",
    "Embedder",
    "EmbedderConfig",
    "EmbeddingResult",
    "EvaluationError",
    "Fingerprint",
    "FingerprintMismatchError",
    "GenerationError",
    "IndexFolderError",
    "InputTooLongError",
    "InvalidDimensionsError",
    "InvalidTextError",
    "JinaRagError",
    "KnownModelName",
    "LlamaCppOptions",
    "MissingDependencyError",
    "ModelFile",
    "ModelLoadError",
    "ModelNotFoundError",
    "ModelSpec",
    "Prompts",
    "ServerSettingsError",
    "StoreError",
    "StoreNotFoundError",
    "StoreUnavailableError",
    "TextError",
    "UnknownBackendError",
    "UnknownModelError",
    "get_model_spec",
    "list_models",
    "register_model",
    "shared_embedder",
]

# These need numpy, which alone takes longer to import than all the rest: they load at first use.
_LAZY = {
    "Embedder": "jina_rag.embedder",
    "EmbedderConfig": "jina_rag.config",
    "EmbeddingResult": "jina_rag.embedder",
    "LlamaCppOptions": "jina_rag.backends.llama_cpp.options",
    "shared_embedder": "jina_rag.shared",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LAZY[name]), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *_LAZY]
