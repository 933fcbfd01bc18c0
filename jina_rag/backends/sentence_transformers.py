"""The model's original weights in this process, with torch: what the model's card shows first, and the reference.

On a GPU the weights are bfloat16, as the card has them, elsewhere float32. Prompts are in the texts already, so the
library is told to add none; texts are counted before, because it cuts silently; vectors are asked for whole.
"""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from jina_rag.backends.base import BackendResult, ProgressCallback, encode_utf8, find_too_long
from jina_rag.backends.remote.address import BackendAddress
from jina_rag.backends.remote.engine import ServerInfo
from jina_rag.errors import BackendError, MissingDependencyError, ModelLoadError
from jina_rag.models import BUNDLED_MODEL, ModelSpec
from jina_rag.vectors import FloatArray

_BATCH_TEXTS = 32  # the library's own default
_STEP_TEXTS = 512  # between two reports of progress; within, it sorts by length


class SentenceTransformersBackend:
    """A `SentenceTransformer`, loaded at the first need. One call computes at a time."""

    def __init__(self, address: BackendAddress, spec: ModelSpec) -> None:
        """Name a model; nothing is loaded yet."""
        self.address = address
        self.spec = spec
        self._model: Any = None
        self._lock = Lock()

    @property
    def dimensions(self) -> int:
        """Width of the full vector."""
        width: int = self._loaded().get_embedding_dimension()
        return width

    @property
    def identity(self) -> str:
        """The commit of the repository or the SHA-256 of the file, and how torch keeps the weights."""
        return self.address.weights or self.server_info.identity

    @property
    def server_info(self) -> ServerInfo:
        """What is known of the loaded model."""
        model = self._loaded()
        dtype = str(model.dtype).removeprefix("torch.")
        return ServerInfo(
            kind="sentence-transformers",
            name=self._name,
            identity=f"sentence-transformers/{self._revision(model)}/{dtype}",
            quantization={"float32": "F32", "float16": "F16", "bfloat16": "BF16"}.get(dtype, dtype),
            dimensions=model.get_embedding_dimension(),
            max_input_tokens=self._max_tokens(model),
        )

    def embed(
        self,
        texts: Sequence[str],
        *,
        max_tokens: int,
        truncate: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> BackendResult:
        """Embed texts in batches. Raises as `EmbeddingBackend.embed` does."""
        counts = self.count_tokens(texts)
        too_long = find_too_long(counts, max_tokens=max_tokens, truncate=truncate)
        with self._lock:
            model = self._load()
            model.max_seq_length = max_tokens
            parts = []
            for start in range(0, len(texts), _STEP_TEXTS):
                part = list(texts[start : start + _STEP_TEXTS])
                parts.append(self._encode(model, part))
                if on_progress:
                    on_progress(len(part))
        vectors = np.concatenate(parts).astype(np.float32, copy=False)
        return BackendResult(vectors, tuple(min(count, max_tokens) for count in counts), too_long)

    def _encode(self, model: Any, texts: list[str]) -> FloatArray:  # noqa: ANN401
        try:
            # An empty prompt, not none: a model with a default prompt would get it on top of ours.
            vectors: FloatArray = model.encode(texts, prompt="", batch_size=_BATCH_TEXTS, show_progress_bar=False)
        except RuntimeError as error:  # torch's, the device's memory among its reasons
            raise BackendError(
                f"torch cannot compute the vectors ({error}). If the GPU's memory is full, pass shorter texts, close "
                "other programs, or take another device: sentence-transformers?device=cpu"
            ) from error
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, special tokens included."""
        encode_utf8(texts)
        tokenizer = self._loaded().tokenizer
        if not texts:
            return []
        # "verbose" would warn of long texts, which is what they are counted for.
        return [len(ids) for ids in tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]]

    def close(self) -> None:
        """Let go of the model; the next call loads it again."""
        with self._lock:
            self._model = None

    def _loaded(self) -> Any:  # noqa: ANN401 - the library's
        with self._lock:
            return self._load()

    def _load(self) -> Any:  # noqa: ANN401
        if self._model is None:
            self._model = self._open()
        return self._model

    def _open(self) -> Any:  # noqa: ANN401
        try:
            import torch
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingDependencyError.for_extra("sentence-transformers", "sentence-transformers") from error
        dtype = self.address.dtype or ("bfloat16" if torch.cuda.is_available() else "float32")
        if not isinstance(getattr(torch, dtype, None), torch.dtype):
            raise BackendError(f"torch has no type {dtype!r}. Choose float32, bfloat16 or float16.")
        try:
            return SentenceTransformer(
                self._name,
                device=self.address.device or None,
                trust_remote_code=self.address.trust_remote_code,
                model_kwargs={"dtype": getattr(torch, dtype)},
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelLoadError(
                f"sentence-transformers cannot load {self._name} ({error}). Name its folder, "
                "sentence-transformers?model=/path; a model that brings its own code also needs trust_remote_code=true."
            ) from error

    @property
    def _name(self) -> str:
        """The folder or the repository of the original weights."""
        if self.address.model:
            return self.address.model
        if self.spec.name == BUNDLED_MODEL:
            from jina_rag.bundled import bundled_model_folder

            return str(bundled_model_folder())
        if self.spec.repo_id is None:
            raise BackendError(
                f"{self.spec.name} is in no repository. Name its folder: sentence-transformers?model=/path"
            )
        return self.spec.repo_id.removesuffix("-GGUF")  # the original weights are in the repository without it

    def _revision(self, model: Any) -> str:  # noqa: ANN401
        from jina_rag.locations import file_sha256

        files = sorted(Path(self._name).glob("*.safetensors"))
        if files:
            return "+".join(file_sha256(file) for file in files)
        commit = getattr(model[0].auto_model.config, "_commit_hash", None)
        return f"{self._name}@{commit or 'unknown revision'}"

    def _max_tokens(self, model: Any) -> int:  # noqa: ANN401
        """What the weights allow; `max_seq_length` is only a default, and set here for each call."""
        return int(getattr(model[0].auto_model.config, "max_position_embeddings", None) or self.spec.max_input_tokens)

    def __getstate__(self) -> dict[str, object]:
        return {"address": self.address, "spec": self.spec}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _model=None, _lock=Lock())

    def __repr__(self) -> str:
        return f"SentenceTransformersBackend({self.spec.name!r})"
