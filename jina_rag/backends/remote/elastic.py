"""An inference endpoint of Elasticsearch, through its official client.

Elastic's own service and Jina's put the model's prompt before a text by `input_type`; a model that was uploaded to the
cluster (`elasticsearch`) gets the text as it is. Nothing counts tokens here; name the model's tokenizer in the address.

Source: the client's `inference` namespace and elasticsearch-specification's `inference` types.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from threading import Event
from typing import Any
from weakref import finalize

from jina_rag.backends.remote.address import BackendAddress
from jina_rag.backends.remote.engine import (
    EmbeddingResponse,
    Engine,
    RemoteInput,
    ServerInfo,
    family_name,
    rows_to_vectors,
)
from jina_rag.backends.remote.http import (
    FIRST_ANSWER_TIMEOUT_S,
    RetryableError,
    RetryPolicy,
    StatusError,
    is_retryable,
    retry_after_s,
)
from jina_rag.backends.remote.jina_api import remove_prompt
from jina_rag.errors import BackendError, MissingDependencyError
from jina_rag.models import ModelSpec

_ADDS_PROMPTS = {"elastic": True, "jinaai": True, "elasticsearch": False}


class ElasticEngine(Engine):
    """One inference endpoint for dense text embeddings."""

    def __init__(self, address: BackendAddress, spec: ModelSpec) -> None:
        try:
            from elasticsearch import Elasticsearch
        except ImportError as error:
            raise MissingDependencyError.for_extra("elasticsearch", "elastic") from error
        super().__init__(address, spec, RetryPolicy(address))
        self._endpoint = address.endpoint or f".{family_name(spec)}"
        self._adds_prompts = True
        self._first_answer_timeout_s = FIRST_ANSWER_TIMEOUT_S
        self._key = address.key.read()
        self._client = Elasticsearch(
            address.url,
            api_key=self._key,
            request_timeout=address.timeout,
            max_retries=0,  # our policy does that
            retry_on_timeout=False,
            connections_per_node=address.concurrency,
        )
        finalize(self, self._client.close)

    def describe(self) -> ServerInfo:
        """Ask for the endpoint, and create it if the address says so."""
        inference = self._client.inference
        try:
            body = self._call(
                lambda: inference.get(inference_id=self._endpoint), at_most_s=self._first_answer_timeout_s
            )
        except StatusError as error:
            if error.status != 404:
                raise
            body = {"endpoints": [self._create()]}
        (endpoint,) = body["endpoints"]
        service, settings = endpoint["service"], endpoint["service_settings"]
        name = str(settings.get("model_id") or endpoint["inference_id"])
        self._check(endpoint, service)
        self.check_model(name)
        self._adds_prompts, self._first_answer_timeout_s = _ADDS_PROMPTS[service], math.inf
        return ServerInfo(
            kind="elastic",
            name=name,
            identity=f"elastic/{service}/{name}/{self.spec.task}",
            dimensions=settings.get("dimensions"),
            max_batch_texts=16,
        )

    def prepare(self, texts: Sequence[str], *, max_tokens: int) -> list[RemoteInput]:
        """Texts, without prompts where the service adds them; none that might be too long, for it may cut silently."""
        inputs = super().prepare(texts, max_tokens=max_tokens)
        return [self._without_prompt(each) for each in inputs] if self._adds_prompts else inputs

    def send(self, inputs: Sequence[RemoteInput], cancelled: Event) -> EmbeddingResponse:
        """`POST _inference/text_embedding/ENDPOINT`."""
        self.refuse_cuts(inputs)
        body = self._call(
            lambda: self._client.inference.text_embedding(
                inference_id=self._endpoint,
                input=[str(each.payload) for each in inputs],
                input_type=inputs[0].task or None,
                timeout=f"{self.address.timeout:.0f}s",
            ),
            cancelled=cancelled,
        )
        if "text_embedding" not in body:
            raise BackendError(
                f"{self.address} gave {', '.join(body) or 'nothing'} instead of vectors of floats. Set the endpoint's "
                "element_type to float."
            )
        rows = [row["embedding"] for row in body["text_embedding"]]
        return EmbeddingResponse(vectors=rows_to_vectors(rows, self.address.url))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _without_prompt(self, each: RemoteInput) -> RemoteInput:
        input_type, text = remove_prompt(str(each.payload), self.spec)
        retrieval = {"query": "search", "document": "ingest"}
        task = retrieval[input_type] if self.spec.task == "retrieval" else str(self.spec.task)
        return replace(each, payload=text, task=task)

    def _check(self, endpoint: Mapping[str, Any], service: str) -> None:
        if endpoint.get("task_type") != "text_embedding":
            raise BackendError(
                f"The endpoint {self._endpoint} is for {endpoint.get('task_type')}. Name one for text_embedding."
            )
        if service not in _ADDS_PROMPTS:
            raise BackendError(
                f"The endpoint {self._endpoint} is run by {service!r}, and whether that adds prompts is not known. "
                f"Name one run by: {', '.join(_ADDS_PROMPTS)}."
            )
        if self.spec.task == "text-matching" and _ADDS_PROMPTS[service]:
            raise BackendError(f"Elastic has no input_type for text matching. Run {self.spec.name} on another engine.")

    def _create(self) -> Mapping[str, Any]:
        if not self.address.create:
            raise BackendError(
                f"{self.address} has no inference endpoint {self._endpoint!r}. Name one after the address, "
                "?endpoint=ID, or have it created with ?create=true."
            )
        settings = {"model_id": self.address.model or family_name(self.spec)}
        created: Mapping[str, Any] = self._call(
            lambda: self._client.inference.put(
                task_type="text_embedding",
                inference_id=self._endpoint,
                inference_config={"service": "elastic", "service_settings": settings},
            )
        )
        return created

    def _call(self, call: Callable[[], Any], *, at_most_s: float = math.inf, cancelled: Event | None = None) -> Any:  # noqa: ANN401 - the client's
        def once() -> Any:  # noqa: ANN401
            with self._errors_as_ours():
                return call().body

        return self.policy.run(once, at_most_s=at_most_s, cancelled=cancelled)

    @contextmanager
    def _errors_as_ours(self) -> Iterator[None]:
        from elasticsearch import ApiError, SerializationError, SSLError, TransportError

        try:
            yield
        except (ApiError, TransportError) as error:
            text = str(error.message)
            text = text.replace(self._key, "***") if self._key else text
            if isinstance(error, SSLError | SerializationError):  # another try would meet the same
                raise BackendError(
                    f"{self.address} cannot be trusted or understood ({text}). Check the address and its certificate."
                ) from error
            if not isinstance(error, ApiError):
                raise RetryableError(text) from error
            status = error.meta.status
            if is_retryable(status):
                raise RetryableError(
                    f"it answers {status}: {text}", wait_s=retry_after_s(error.meta.headers), is_busy=status == 429
                ) from error
            hint = f"Put a key in {self.address.key}." if status in (401, 403) else "Check the endpoint's settings."
            raise StatusError.make(f"{self.address} refuses the request ({status}: {text}). {hint}", status) from error
