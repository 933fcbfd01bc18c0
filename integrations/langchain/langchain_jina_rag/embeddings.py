"""`JinaRagEmbeddings`: jina_rag's embedder as LangChain knows embeddings."""

from pathlib import Path
from typing import Any, Self

from langchain_core.embeddings import Embeddings
from pydantic import BaseModel, ConfigDict, Field, model_validator
from tqdm.auto import tqdm

from jina_rag import Embedder, EmbedderConfig, KnownModelName, LlamaCppOptions, shared_embedder
from jina_rag.config import refuse_unknown_settings
from jina_rag.models import DEFAULT_MODEL


class JinaRagEmbeddings(BaseModel, Embeddings):
    """Embeddings of a GGUF model in this process, each text with the prompt that the model was trained on.

    Making one checks the settings, and neither downloads nor loads anything; the first text does. Equal settings share
    one loaded model.

    Examples:
        >>> from langchain_jina_rag import JinaRagEmbeddings
        >>> embeddings = JinaRagEmbeddings(model="all-MiniLM-L6-v2")
        >>> len(embeddings.embed_query("Which planet is red?"))
        384
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: KnownModelName | str = DEFAULT_MODEL
    """A name from `jina_rag.list_models()`, with or without `:QUANTIZATION`, or "auto"."""
    quantization: str | None = None
    """How the weights are stored; None takes the model's default."""
    dimensions: int | None = None
    """Cut vectors to this width; None keeps the full one."""
    truncate: bool = False
    """Cut texts that are too long instead of refusing them."""
    show_progress: bool = False
    """Draw a bar on stderr while documents are embedded."""
    options: LlamaCppOptions = Field(default_factory=LlamaCppOptions)
    """How llama.cpp is to run: threads, GPU layers and so on."""
    backend: str | None = None
    """Another engine than llama.cpp, such as "http://host:8080", "jina", "sentence-transformers", "onnx" or "auto"."""
    path: Path | str | None = None
    """The model's GGUF file on this machine; None finds or downloads it by the model's name."""
    cache_dir: Path | str | None = None
    """Where the hub keeps its files; None for its usual place."""
    keep_alive: float | None = None
    """Seconds without use after which the model's memory is given back; None keeps it."""

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, settings: Any) -> Any:  # noqa: ANN401 - pydantic's signature
        if isinstance(settings, dict):
            refuse_unknown_settings(settings, cls.model_fields)
        return settings

    @model_validator(mode="after")
    def _check_settings(self) -> Self:
        self._config.check()
        return self

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors of passages. Raises as `jina_rag.Embedder.embed` does."""
        with tqdm(total=len(texts), desc="Embedding", unit="text", disable=not self.show_progress) as bar:
            vectors: list[list[float]] = self.embedder.embed(texts, "document", on_progress=bar.update).vectors.tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question. Raises as `jina_rag.Embedder.embed` does."""
        vector: list[float] = self.embedder.embed_query(text).tolist()
        return vector

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """`embed_documents` without holding up the event loop."""
        vectors: list[list[float]] = (await self.embedder.aembed_documents(texts)).tolist()
        return vectors

    async def aembed_query(self, text: str) -> list[float]:
        """`embed_query` without holding up the event loop."""
        vector: list[float] = (await self.embedder.aembed_query(text)).tolist()
        return vector

    @property
    def cache_namespace(self) -> str:
        """The `namespace` for `CacheBackedEmbeddings`: another one whenever the vectors would be others."""
        return f"jina_rag/{self.embedder.fingerprint.digest}"

    def record_manager_namespace(self, store: str) -> str:
        """The `namespace` for the record manager of `langchain_core.indexing.index`.

        The indexing API skips what it has seen, whatever model embedded it; with this namespace a change of model,
        quantisation, width or prompt is seen as something new.

        Args:
            store: Names the vector store, such as "chroma/my_collection".
        """
        return f"{store}/{self.cache_namespace}"

    @property
    def embedder(self) -> Embedder:
        """The embedder underneath; the first use downloads and loads its model."""
        return shared_embedder(self._config)

    @property
    def _config(self) -> EmbedderConfig:
        return EmbedderConfig(
            model=self.model,
            quantization=self.quantization,
            dimensions=self.dimensions,
            truncate=self.truncate,
            options=self.options,
            backend=self.backend,
            path=self.path,
            cache_dir=self.cache_dir,
            keep_alive=self.keep_alive,
        )
