"""Jina's own service. It puts the model's prompts before the texts by itself, so ours are taken off again.

The shapes are those that Jina's own clients send (`POST /v1/embeddings` with `task`, `embedding_type`, `truncate`).
The service counts only whole requests; to have texts counted, name the model's tokenizer in the address.
"""

from collections.abc import Sequence
from threading import Event

from jina_rag.backends.remote.address import BackendAddress
from jina_rag.backends.remote.backend import EmbeddingResponse, Engine, RemoteInput, ServerInfo, surely_fits
from jina_rag.backends.remote.http import HttpConnection
from jina_rag.backends.remote.openai import read_embeddings
from jina_rag.backends.remote.tokenizer import LocalTokenizer
from jina_rag.errors import BackendError
from jina_rag.models import InputType, ModelSpec

_FAMILY = "jina-embeddings-"
_MAX_TEXTS = 128  # the service takes 512; smaller requests lose less when one fails


def connect_jina(address: BackendAddress, spec: ModelSpec) -> Engine:
    """The engine, not asked anything yet.

    Raises:
        BackendError: the model is none of Jina's, or there is no key.
    """
    if spec.task is None or not spec.name.startswith(_FAMILY):
        raise BackendError(f"Jina's service has no model {spec.name}. Choose one whose name begins with {_FAMILY}.")
    if address.key.read() is None:
        raise BackendError(
            f"Jina's service wants a key. Put it in {address.key}; https://jina.ai/api-dashboard gives one."
        )
    return JinaEngine(address, spec)


class JinaEngine:
    """One model of the service, for one task."""

    def __init__(self, address: BackendAddress, spec: ModelSpec) -> None:
        self._address = address
        self._spec = spec
        self._http = HttpConnection(
            address.url, address.key, policy=address.retry_policy, n_connections=address.concurrency
        )
        self._name = address.model or family_name(spec)
        self._tokenizer = LocalTokenizer(address.tokenizer) if address.tokenizer else None

    def describe(self) -> ServerInfo:
        """What is known of it; the service has nothing to ask."""
        return ServerInfo(
            kind="jina",
            name=self._name,
            identity=f"jina/{self._name}/{self._spec.task}",
            dimensions=self._spec.dimensions,
            max_batch_texts=_MAX_TEXTS,
        )

    def prepare(self, texts: Sequence[str], *, max_tokens: int) -> list[RemoteInput]:
        """Texts without their prompts, each with its task; the service refuses those that are too long."""
        counts: Sequence[int | None] = [None] * len(texts)
        if self._tokenizer or not all(surely_fits(text, max_tokens) for text in texts):
            counts = self.count_tokens(texts)
        inputs = []
        for text, n_tokens in zip(texts, counts, strict=True):
            input_type, bare = without_prompt(text, self._spec)
            limit = max_tokens if n_tokens is not None and n_tokens > max_tokens else None
            inputs.append(RemoteInput(payload=bare, n_tokens=n_tokens, task=self._task(input_type), limit=limit))
        return inputs

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count with the tokenizer that the user named."""
        if self._tokenizer is None:
            raise BackendError(
                "Jina's service does not count the tokens of each text. Name the model's tokenizer after the address: "
                "jina?tokenizer=/path/to/tokenizer.json"
            )
        return self._tokenizer.count_tokens(texts)

    def send(self, inputs: Sequence[RemoteInput], cancelled: Event) -> EmbeddingResponse:
        """`POST /v1/embeddings`."""
        body = {
            "model": self._name,
            "task": inputs[0].task,
            "input": [item.payload for item in inputs],
            "embedding_type": "base64",
            "normalized": True,
            "truncate": any(item.limit is not None for item in inputs),
            "late_chunking": False,
        }
        reply = self._http.post("/v1/embeddings", body, cancelled=cancelled)
        return EmbeddingResponse(vectors=read_embeddings(reply.json(self._address.url), self._address.url))

    @property
    def interrupted_at(self) -> float:
        """When the service was away last."""
        return self._http.interrupted_at

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _task(self, input_type: InputType) -> str:
        if self._spec.task != "retrieval":
            return str(self._spec.task)
        return "retrieval.query" if input_type == "query" else "retrieval.passage"


def family_name(spec: ModelSpec) -> str:
    """The name that a service gives to all tasks of a model together."""
    return spec.name.removesuffix(f"-{spec.task}")


def without_prompt(text: str, spec: ModelSpec) -> tuple[InputType, str]:
    """What a text is, and the text itself, for services that add the prompt: neither prompt begins with the other.

    Raises:
        BackendError: it has no prompt of this model.
    """
    input_types: tuple[InputType, ...] = ("document", "query")
    for input_type in input_types:
        if text.startswith(spec.prompts[input_type]):
            return input_type, text.removeprefix(spec.prompts[input_type])
    raise BackendError(
        f"The text {text[:40]!r} has no prompt of {spec.name}. Embed it through an Embedder, which adds it."
    )
