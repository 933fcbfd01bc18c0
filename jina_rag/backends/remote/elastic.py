"""An inference endpoint of Elasticsearch, through its official client.

Elastic's own service and Jina's put the model's prompt before a text by `input_type`; a model that was uploaded to the
cluster (`elasticsearch`) gets the text as it is. Nothing counts tokens here; name the model's tokenizer in the address.

Source: the client's `inference` namespace and elasticsearch-specification's `inference` types.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Any
from weakref import finalize

from jina_rag.backends.remote.address import BackendAddress
from jina_rag.backends.remote.backend import (
    EmbeddingResponse,
    Engine,
    RemoteInput,
    ServerInfo,
    check_model,
    rows_to_vectors,
    surely_fits,
)
from jina_rag.backends.remote.http import (
    FIRST_RETRY_S,
    RetryableError,
    StatusError,
    is_retryable,
    retry,
    retry_after_s,
)
from jina_rag.backends.remote.jina_api import family_name, without_prompt
from jina_rag.backends.remote.tokenizer import LocalTokenizer
from jina_rag.errors import BackendError, MissingDependencyError
from jina_rag.models import ModelSpec

_ADDS_PROMPTS = {"elastic": True, "jinaai": True, "elasticsearch": False}
_NOT_FOUND = 404
_BATCH_TEXTS = 16


def connect_elastic(address: BackendAddress, spec: ModelSpec) -> Engine:
    """The engine, not asked anything yet.

    Raises:
        MissingDependencyError: the client is not installed.
    """
    return ElasticEngine(address, spec)


class ElasticEngine:
    """One inference endpoint for dense text embeddings."""

    def __init__(self, address: BackendAddress, spec: ModelSpec) -> None:
        try:
            from elasticsearch import Elasticsearch
        except ImportError as error:
            raise MissingDependencyError.for_extra("elasticsearch", "elastic") from error
        self._address = address
        self._spec = spec
        self._endpoint = address.endpoint or f".{family_name(spec)}"
        self._adds_prompts, self._described = True, False
        self.interrupted_at = -math.inf
        self._key = address.key.read()
        self._tokenizer = LocalTokenizer(address.tokenizer) if address.tokenizer else None
        self._client = Elasticsearch(
            address.url,
            api_key=self._key,
            request_timeout=address.timeout,
            max_retries=0,  # trying again is done here, by the same rules as elsewhere
            retry_on_timeout=False,
            connections_per_node=address.concurrency,
        )
        finalize(self, self._client.close)

    def describe(self) -> ServerInfo:
        """Ask for the endpoint, and make it if that was wished."""
        try:
            retry_s = (
                self._address.retry_timeout if self._described else min(FIRST_RETRY_S, self._address.retry_timeout)
            )
            answer = self._try(lambda: self._client.inference.get(inference_id=self._endpoint), retry_s=retry_s)
        except StatusError as error:
            if error.status != _NOT_FOUND:
                raise
            answer = {"endpoints": [self._create()]}
        (endpoint,) = answer["endpoints"]
        service, settings = endpoint["service"], endpoint["service_settings"]
        name = str(settings.get("model_id") or endpoint["inference_id"])
        self._check(endpoint, service, name)
        self._adds_prompts, self._described = _ADDS_PROMPTS[service], True
        return ServerInfo(
            kind="elastic",
            name=name,
            identity=f"elastic/{service}/{name}/{self._spec.task}",
            dimensions=settings.get("dimensions"),
            max_batch_texts=_BATCH_TEXTS,
        )

    def prepare(self, texts: Sequence[str], *, max_tokens: int) -> list[RemoteInput]:
        """Texts, without prompts where the service adds them; none that might be too long, for it may cut silently."""
        counts: Sequence[int | None] = [None] * len(texts)
        if self._tokenizer or not all(surely_fits(text, max_tokens) for text in texts):
            counts = self.count_tokens(texts)
        return [self._piece(text, n_tokens, max_tokens) for text, n_tokens in zip(texts, counts, strict=True)]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count with the tokenizer that the user named."""
        if self._tokenizer is None:
            raise BackendError(
                "Elastic's inference does not count tokens, so nobody knows whether a text fits. Name the model's "
                "tokenizer after the address: ?tokenizer=/path/to/tokenizer.json"
            )
        return self._tokenizer.count_tokens(texts)

    def send(self, inputs: Sequence[RemoteInput], cancelled: Event) -> EmbeddingResponse:
        """`POST _inference/text_embedding/ENDPOINT`."""
        if any(item.limit is not None for item in inputs):
            raise BackendError("Elastic can't be asked to cut a text. Split those that are too long yourself.")
        texts = [str(item.payload) for item in inputs]
        answer = self._try(
            lambda: self._client.inference.text_embedding(
                inference_id=self._endpoint,
                input=texts,
                input_type=inputs[0].task or None,
                timeout=f"{self._address.timeout:.0f}s",
            ),
            cancelled=cancelled,
        )
        if "text_embedding" not in answer:
            raise BackendError(
                f"{self._address} gave {', '.join(answer) or 'nothing'} instead of vectors of floats. Set the "
                "endpoint's element_type to float."
            )
        return EmbeddingResponse(
            vectors=rows_to_vectors([row["embedding"] for row in answer["text_embedding"]], self._address.url)
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _piece(self, text: str, n_tokens: int | None, max_tokens: int) -> RemoteInput:
        limit = max_tokens if n_tokens is not None and n_tokens > max_tokens else None
        if not self._adds_prompts:
            return RemoteInput(payload=text, n_tokens=n_tokens, limit=limit)
        input_type, bare = without_prompt(text, self._spec)
        task = self._spec.task if self._spec.task != "retrieval" else "search" if input_type == "query" else "ingest"
        return RemoteInput(payload=bare, n_tokens=n_tokens, limit=limit, task=str(task))

    def _check(self, endpoint: Mapping[str, Any], service: str, name: str) -> None:
        if endpoint.get("task_type") != "text_embedding":
            raise BackendError(
                f"The endpoint {self._endpoint} is for {endpoint.get('task_type')}. Name one for text_embedding."
            )
        if service not in _ADDS_PROMPTS:
            raise BackendError(
                f"The endpoint {self._endpoint} is run by {service!r}, and nobody here knows if that adds prompts. "
                f"Name one run by: {', '.join(_ADDS_PROMPTS)}."
            )
        if self._spec.task == "text-matching" and _ADDS_PROMPTS[service]:
            raise BackendError(
                f"Elastic has no input_type for text matching. Run {self._spec.name} on an engine of yours."
            )
        check_model(name, self._spec, self._address)

    def _create(self) -> Mapping[str, Any]:
        if not self._address.create:
            raise BackendError(
                f"{self._address} has no inference endpoint {self._endpoint!r}. Name one after the address, "
                "?endpoint=ID, or have it made with ?create=true."
            )
        settings = {"model_id": self._address.model or family_name(self._spec)}
        config = {"service": "elastic", "service_settings": settings}
        made: Mapping[str, Any] = self._try(
            lambda: self._client.inference.put(
                task_type="text_embedding", inference_id=self._endpoint, inference_config=config
            )
        )
        return made

    def _try(self, call: Callable[[], Any], *, retry_s: float | None = None, cancelled: Event | None = None) -> Any:  # noqa: ANN401 - the client's
        return retry(
            lambda: self._translated(call),
            where=self._address.url,
            retry_s=retry_s or self._address.retry_timeout,
            cancelled=cancelled or Event(),
        )

    def _translated(self, call: Callable[[], Any]) -> Any:  # noqa: ANN401
        """The call's answer, or its failure as everywhere else here."""
        from elasticsearch import ApiError, SerializationError, SSLError, TransportError

        try:
            return call().body
        except ApiError as error:
            status, text = error.meta.status, self._without_key(str(error.message))
            if is_retryable(status):
                if status >= 500:
                    self.interrupted_at = time.monotonic()
                raise RetryableError(f"it answers {status}: {text}", retry_after_s(error.meta.headers)) from error
            hint = f"Put a key in {self._address.key}." if status in (401, 403) else "Check the endpoint's settings."
            raise StatusError.make(
                f"{self._address} refuses the request ({status}: {text}). {hint}", status, text
            ) from error
        except (SSLError, SerializationError) as error:  # another try would meet the same
            raise BackendError(
                f"{self._address} cannot be trusted or understood ({self._without_key(str(error.message))}). Check the "
                "address and its certificate."
            ) from error
        except TransportError as error:
            self.interrupted_at = time.monotonic()
            raise RetryableError(self._without_key(str(error.message))) from error

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text
