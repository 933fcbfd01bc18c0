"""Jina's own service. It puts the model's prompts before the texts by itself, so ours are removed.

The shapes are those that Jina's own clients send (`POST /v1/embeddings` with `task`, `embedding_type`, `truncate`).
The service counts only whole requests; to have texts counted, name the model's tokenizer in the address.
"""

from collections.abc import Sequence
from dataclasses import replace
from threading import Event

from jina_rag.backends.remote.address import BackendAddress
from jina_rag.backends.remote.engine import EmbeddingResponse, Engine, HttpEngine, RemoteInput, ServerInfo, family_name
from jina_rag.backends.remote.http import HttpConnection
from jina_rag.backends.remote.openai import read_embeddings
from jina_rag.errors import BackendError
from jina_rag.models import InputType, ModelSpec

_FAMILY = "jina-embeddings-"


def connect_jina(address: BackendAddress, spec: ModelSpec) -> Engine:
    """The engine, without a request.

    Raises:
        BackendError: the model is none of Jina's, or there is no key.
    """
    if spec.task is None or not spec.name.startswith(_FAMILY):
        raise BackendError(f"Jina's service has no model {spec.name}. Choose one whose name begins with {_FAMILY}.")
    if address.key.read() is None:
        raise BackendError(f"Jina's service needs a key from https://jina.ai/api-dashboard. Put it in {address.key}.")
    return JinaEngine(HttpConnection(address, n_connections=address.concurrency), address, spec)


class JinaEngine(HttpEngine):
    """One model of the service, for one task."""

    def describe(self) -> ServerInfo:
        """What is known of it; the service has no address that says more."""
        name = self.address.model or family_name(self.spec)
        return ServerInfo(
            kind="jina",
            name=name,
            identity=f"jina/{name}/{self.spec.task}",
            dimensions=self.spec.dimensions,
            max_batch_texts=128,  # the service takes 512; smaller requests lose less when one fails
        )

    def prepare(self, texts: Sequence[str], *, max_tokens: int) -> list[RemoteInput]:
        """Texts without their prompts, each with its task; the service refuses those that are too long."""
        tasks = {"query": "retrieval.query", "document": "retrieval.passage"}
        inputs = []
        for each in super().prepare(texts, max_tokens=max_tokens):
            input_type, text = remove_prompt(str(each.payload), self.spec)
            task = tasks[input_type] if self.spec.task == "retrieval" else str(self.spec.task)
            inputs.append(replace(each, payload=text, task=task))
        return inputs

    def send(self, inputs: Sequence[RemoteInput], cancelled: Event) -> EmbeddingResponse:
        """`POST /v1/embeddings`."""
        body = {
            "model": self.address.model or family_name(self.spec),
            "task": inputs[0].task,
            "input": [each.payload for each in inputs],
            "embedding_type": "base64",
            "normalized": True,
            "truncate": any(each.is_too_long for each in inputs),
            "late_chunking": False,
        }
        return EmbeddingResponse(vectors=read_embeddings(self.http.post("/v1/embeddings", body, cancelled=cancelled)))


def remove_prompt(text: str, spec: ModelSpec) -> tuple[InputType, str]:
    """The input type and the bare text, for services that add the prompt: neither prompt begins with the other.

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
