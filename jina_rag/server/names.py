"""The names by which clients may ask for the model, and what each says about the prompt."""

from dataclasses import dataclass
from typing import Any

from jina_rag.embedder import Embedder
from jina_rag.server.errors import RequestError
from jina_rag.server.prompts import PROMPT_NAMES, PromptName


@dataclass(frozen=True)
class ServedNames:
    """Names of the one model that is served.

    Attributes:
        listed: Those that `/v1/models` lists, the model's own first.
        accepted: Those and more, in lower case: the row's aliases, and each with the quantisation after a colon.
    """

    listed: tuple[str, ...]
    accepted: frozenset[str]

    @classmethod
    def of(cls, embedder: Embedder, more: tuple[str, ...]) -> "ServedNames":
        """The names of an embedder's model, and more."""
        names = (embedder.spec.name, *embedder.spec.aliases, *more)
        quantized = [f"{name}:{embedder.quantization}" for name in names if embedder.quantization]
        return cls((embedder.spec.name, *more), frozenset(name.lower() for name in (*names, *quantized)))

    def find(self, name: str) -> PromptName | None:
        """The prompt that a model's name chooses with its ending, `:query`, `:document` or `:none`; None without one.

        Raises:
            RequestError: no model of this name is served.
        """
        if name.lower() in self.accepted:
            return None
        model, _, ending = name.rpartition(":")
        for prompt in PROMPT_NAMES:
            if model.lower() in self.accepted and ending.lower() == prompt:
                return prompt
        raise RequestError(
            "model_not_found",
            f"No model of this name is served. Ask for one of: {', '.join(self.listed)}; add :query, :document or "
            ":none to choose the prompt.",
            param="model",
        )

    def with_prompts(self) -> list[tuple[str, PromptName | None]]:
        """Every listed name, bare and with each prompt."""
        return [
            (f"{name}:{prompt}" if prompt else name, prompt) for name in self.listed for prompt in (None, *PROMPT_NAMES)
        ]


def describe_model(embedder: Embedder, limits: dict[str, Any]) -> dict[str, Any]:
    """What a client needs to know to get the same vectors as in process, and to stay within the limits."""
    spec, fingerprint = embedder.spec, embedder.fingerprint
    return {
        "model": spec.name,
        "quantization": embedder.quantization,
        "weights": fingerprint.weights,
        "fingerprint": fingerprint.digest,
        "pooling": spec.pooling,
        "dimensions": spec.dimensions,
        "default_dimensions": embedder.dimensions,
        "matryoshka_dimensions": list(spec.matryoshka_dimensions or (spec.dimensions,)),
        "max_input_tokens": spec.max_input_tokens,
        "prompts": {"query": spec.prompts.query, "document": spec.prompts.document},
        **limits,
    }
