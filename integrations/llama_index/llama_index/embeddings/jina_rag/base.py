"""`JinaRagEmbedding`: jina_rag's embedder as LlamaIndex knows embeddings."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import ConfigDict, Field, model_validator

from jina_rag import (
    Embedder,
    EmbedderConfig,
    KnownModelName,
    LlamaCppOptions,
    TextError,
    get_model_spec,
    shared_embedder,
)
from jina_rag.backends.remote.address import engine_of, parse_backend
from jina_rag.config import refuse_unknown_settings
from jina_rag.locations import file_sha256
from jina_rag.models import DEFAULT_MODEL


class JinaRagEmbedding(BaseEmbedding):
    """Embeddings of a GGUF model in this process, each text with the prompt that the model was trained on.

    Making one checks the settings, and neither downloads nor loads anything; the first text does. Equal settings share
    one loaded model.

    Examples:
        >>> from llama_index.embeddings.jina_rag import JinaRagEmbedding
        >>> embed_model = JinaRagEmbedding(model_name="all-MiniLM-L6-v2")
        >>> len(embed_model.get_query_embedding("Which planet is red?"))
        384
    """

    # A misspelt setting is refused, and a setting changed later is checked like a first one.
    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    model_name: KnownModelName | str = Field(default=DEFAULT_MODEL, description="A name of a model, or 'auto'.")
    quantization: str | None = Field(default=None, description="How the weights are stored; None takes the default.")
    dimensions: int | None = Field(default=None, description="Cut vectors to this width; None keeps the full one.")
    truncate: bool = Field(default=False, description="Cut texts that are too long instead of refusing them.")
    # Enough texts at once for the embedder to pack them by length.
    embed_batch_size: int = Field(default=128, gt=0, le=2048, description="Texts handed over at a time.")
    # How this machine runs the model is no part of what a vector means, so it stays out of cache keys.
    options: LlamaCppOptions = Field(default_factory=LlamaCppOptions, exclude=True)
    # Another engine may round otherwise, so this one does belong into cache keys.
    backend: str | None = Field(
        default=None, description="Another engine: 'http://host:8080', 'jina', 'sentence-transformers', 'onnx', 'auto'."
    )
    path: Path | str | None = Field(
        default=None, description="The model's GGUF file; None finds it by the model's name."
    )
    cache_dir: Path | str | None = Field(default=None, exclude=True, description="Where the hub keeps its files.")
    keep_alive: float | None = Field(
        default=None, exclude=True, description="Seconds without use after which the model's memory is given back."
    )

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, settings: Any) -> Any:  # noqa: ANN401 - pydantic's signature
        """Drop what `to_dict` and `model_dump` add to the settings, and say what a misspelt one should be."""
        if not isinstance(settings, dict):
            return settings
        settings = {name: value for name, value in settings.items() if name not in ("class_name", "weights")}
        refuse_unknown_settings(settings, cls.model_fields)
        return settings

    @model_validator(mode="after")
    def _check_settings(self) -> Self:
        self._config.check()
        # "auto" may turn out to be a model with two prompts.
        prompts = None if self.model_name == "auto" else get_model_spec(self.model_name).prompts
        if self.embeddings_cache is not None and (prompts is None or prompts.query != prompts.document):
            raise ValueError(
                "embeddings_cache keeps one vector for each text, and this model gives a text one vector as a question "
                "and another as a passage. Leave it out; IngestionPipeline(cache=...) keeps passages only."
            )
        return self

    def __setattr__(self, name: str, value: Any) -> None:  # noqa: ANN401 - pydantic's signature
        """Change a setting. One that is refused stays as it was; pydantic would leave the new one in place."""
        before = dict(self.__dict__)
        try:
            super().__setattr__(name, value)
        except ValueError:
            self.__dict__.update(before)
            raise

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex stores this class."""
        return "JinaRagEmbedding"

    @property
    def embedder(self) -> Embedder:
        """The embedder underneath; the first use downloads and loads its model."""
        return shared_embedder(self._config)

    @property
    def _config(self) -> EmbedderConfig:
        return EmbedderConfig(
            model=self.model_name,
            quantization=self.quantization,
            dimensions=self.dimensions,
            truncate=self.truncate,
            options=self.options,
            backend=self.backend,
            path=self.path,
            cache_dir=self.cache_dir,
            keep_alive=self.keep_alive,
        )

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - LlamaIndex's signature
        """The settings that decide the vectors: `from_dict` reads them, and the ingestion cache takes them as its key.

        They have one spelling: the model's own name, its quantisation and dimensions, and a file's checksum. "auto"
        loads the model, to name the one taken, or the engine: tomorrow's may be another, and the vectors with it.
        """
        settings: dict[str, Any] = super().to_dict(**kwargs)
        for name in ("embed_batch_size", "num_workers"):
            settings.pop(name, None)
        config = self._config.resolved()
        if config.model == "auto":
            made_with = self.embedder.fingerprint
            config = replace(config, model=made_with.model, quantization=made_with.quantization).resolved()
        if config.backend is not None and parse_backend(config.backend).kind == "auto":
            settings["backend"] = engine_of(self.embedder.fingerprint.weights, config.backend)
        settings |= {"model_name": config.model, "quantization": config.quantization, "dimensions": config.dimensions}
        if config.path is not None:
            settings |= {"path": str(config.path), "weights": file_sha256(Path(config.path))}
        return settings

    def to_payload(self) -> dict[str, Any]:
        """The settings, for LlamaIndex's events."""
        names = ("model_name", "quantization", "dimensions", "truncate", "embed_batch_size", "backend")
        return {"class_name": self.class_name()} | {name: getattr(self, name) for name in names}

    def get_text_embedding_batch(
        self,
        texts: list[str],
        show_progress: bool = False,
        **kwargs: Any,  # noqa: ANN401 - LlamaIndex's signature
    ) -> list[list[float]]:
        """The vectors of passages. Raises as `jina_rag.Embedder.embed` does."""
        with _positions_in(texts):
            return super().get_text_embedding_batch(texts, show_progress, **kwargs)

    async def aget_text_embedding_batch(
        self,
        texts: list[str],
        show_progress: bool = False,
        **kwargs: Any,  # noqa: ANN401
    ) -> list[list[float]]:
        """`get_text_embedding_batch` without holding up the event loop."""
        with _positions_in(texts):
            return await super().aget_text_embedding_batch(texts, show_progress, **kwargs)

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = self.embedder.embed_query(query).tolist()
        return vector

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self.embedder.embed_documents(texts).tolist()
        return vectors

    async def _aget_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = (await self.embedder.aembed_query(query)).tolist()
        return vector

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = (await self.embedder.aembed_documents(texts)).tolist()
        return vectors


@contextmanager
def _positions_in(texts: list[str]) -> Iterator[None]:
    """Name a text that is refused by its place among all, not in LlamaIndex's batch."""
    try:
        yield
    except TextError as error:
        if error.text in texts:
            error.move_to(texts.index(error.text))
        raise
