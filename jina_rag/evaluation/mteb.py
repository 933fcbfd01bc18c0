"""An encoder for `mteb` 2.x, to measure a GGUF file on MTEB's own tasks, which come from the hub.

>>> import mteb                                                                       # doctest: +SKIP
>>> from jina_rag.evaluation.mteb import MtebEncoder
>>> encoder = MtebEncoder("jina-v5-small", quantization="Q4_K_M", dimensions=512)     # doctest: +SKIP
>>> mteb.evaluate(encoder, mteb.get_tasks(["NFCorpus", "SciFact"]))                   # doctest: +SKIP

Source: `EncoderProtocol` in mteb/models/models_protocols.py. The retrieval models of the jina-embeddings-v5-text family
are tuned for tasks of retrieval and reranking; other tasks have models of their own.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from jina_rag.embedder import Embedder
from jina_rag.errors import MissingDependencyError
from jina_rag.vectors import FloatArray, cosine_similarity, normalize


class MtebEncoder:
    """Embeds what mteb gives it, a question as a query and all else as documents. Texts that are too long are cut."""

    def __init__(self, model_name: str, revision: str | None = None, **options: Any) -> None:  # noqa: ANN401, ARG002
        """Load a model.

        Args:
            model_name: As for `Embedder.from_pretrained`.
            revision: mteb's; the fingerprint says which weights these are.
            options: Those of `Embedder.from_pretrained`, and mteb's `device`, which counts for nothing here.
        """
        options.pop("device", None)
        self._embedder = Embedder.from_pretrained(model_name, truncate=True, **options)

    @classmethod
    def from_embedder(cls, embedder: Embedder) -> "MtebEncoder":
        """The encoder of an embedder that is there already, which must cut what is too long."""
        encoder = cls.__new__(cls)
        encoder._embedder = embedder
        return encoder

    @property
    def name(self) -> str:
        """By which mteb keeps results: another one for each quantisation and width."""
        spec, quantization = self._embedder.spec, self._embedder.quantization
        parts = filter(None, (spec.name, quantization, f"{self._embedder.dimensions}d"))
        return f"jina_rag/{'-'.join(parts)}"

    @property
    def revision(self) -> str:
        """The fingerprint of the vectors."""
        return self._embedder.fingerprint.digest

    @cached_property
    def mteb_model_meta(self) -> Any:  # noqa: ANN401 - mteb's ModelMeta
        """What mteb writes into its results.

        Raises:
            MissingDependencyError: mteb is not installed.
        """
        try:
            from mteb.models.model_meta import ModelMeta
        except ImportError as error:
            raise MissingDependencyError(
                "This needs the package mteb. Install it with: pip install 'mteb>=2'"
            ) from error
        return ModelMeta.create_empty(
            overwrites={
                "name": self.name,
                "revision": self.revision,
                "embed_dim": self._embedder.dimensions,
                "max_tokens": self._embedder.max_input_tokens,
                "similarity_fn_name": "cosine",
                "framework": ["GGUF"],
            }
        )

    def encode(
        self,
        inputs: Iterable[Mapping[str, Sequence[str]]],
        *,
        prompt_type: object = None,
        **_: Any,  # noqa: ANN401 - mteb's task, split and batch size
    ) -> FloatArray:
        """The vectors of all texts, float32 of shape (n, d), unit length.

        Args:
            inputs: Batches, their texts under "text".
            prompt_type: mteb's `PromptType`: "query" for questions; None for tasks that don't distinguish.
        """
        texts = [text for batch in inputs for text in batch["text"]]
        is_query = getattr(prompt_type, "value", prompt_type) == "query"
        return self._embedder.embed(texts, "query" if is_query else "document").vectors

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:  # noqa: ANN401 - arrays or tensors
        """The cosine of every vector with every other, as a tensor where torch is installed, as with mteb it is."""
        return _as_tensor(cosine_similarity(np.asarray(embeddings1), np.asarray(embeddings2)))

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:  # noqa: ANN401 - arrays or tensors
        """The cosine of each vector with the one in the same place."""
        one, other = normalize(np.asarray(embeddings1)), normalize(np.asarray(embeddings2))
        return _as_tensor(np.sum(one * other, axis=-1))


def _as_tensor(values: FloatArray) -> Any:  # noqa: ANN401 - a tensor or an array
    try:
        import torch
    except ImportError:
        return values
    return torch.from_numpy(values)
