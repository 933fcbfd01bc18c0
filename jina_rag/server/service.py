"""What both APIs do with texts: choose prompts, hold limits, wait for the vectors, cut and normalise them."""

import asyncio
import logging
import math
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, ParamSpec, TypeVar

import numpy as np

from jina_rag.embedder import Embedder
from jina_rag.errors import InvalidDimensionsError, InvalidTextError, JinaRagError
from jina_rag.server.batching import BatchedResult, Batcher, QueueFullError
from jina_rag.server.errors import ClientGoneError, RequestError
from jina_rag.server.metrics import Metrics
from jina_rag.server.names import ServedNames, describe_model
from jina_rag.server.prompts import PromptName, apply_prompt
from jina_rag.server.settings import ServerSettings
from jina_rag.vectors import FloatArray, truncate_dimensions

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger("jina_rag.server")

MAX_RETRY_AFTER = 60
_LONG_WORK = 100_000  # characters or numbers; about 10 ms of tokenizing, or of writing JSON


@dataclass(frozen=True)
class EmbedRequest:
    """Texts and how to embed them; None leaves a choice to the server.

    Attributes:
        texts: As the client sent them.
        param: Their field, for messages.
        prompt: Which prompt goes before each.
        truncate: Whether to cut texts that are too long.
        keep: Which end of such a text survives.
        dimensions: Width of the vectors.
        normalize: Whether they have unit length.
    """

    texts: Sequence[str]
    param: str
    prompt: PromptName | None = None
    truncate: bool | None = None
    keep: Literal["start", "end"] = "start"
    dimensions: int | None = None
    normalize: bool = True


@dataclass(frozen=True)
class Embedded:
    """What came of a request.

    Attributes:
        vectors: float32 of shape (n, d), in the order of the texts.
        token_counts: How many tokens of each text were read, prompt included.
        truncated: Positions of the texts that were cut.
        seconds: What each stage took, by its name.
    """

    vectors: FloatArray
    token_counts: tuple[int, ...]
    truncated: tuple[int, ...]
    seconds: dict[str, float]


@dataclass(frozen=True)
class _Prepared:
    texts: list[str]
    token_counts: list[int]
    truncated: set[int]
    prompts: list[str]


class EmbeddingService:
    """One embedder for many clients."""

    def __init__(self, embedder: Embedder, settings: ServerSettings) -> None:
        """Start the queue; `close` ends it."""
        self.embedder = embedder
        self.settings = settings
        self.names = ServedNames.of(embedder, settings.served_names)
        self.description = describe_model(
            embedder,
            {
                "max_batch_size": settings.max_client_batch_size,
                "max_request_tokens": settings.max_request_tokens,
                "max_body_bytes": settings.max_body_bytes,
                "default_prompt": settings.default_prompt,
                "truncate": settings.truncate,
            },
        )
        self.metrics = Metrics()
        self.draining = False
        self._batcher = Batcher(
            embedder.backend,
            max_input_tokens=embedder.max_input_tokens,
            batch_tokens=settings.max_batch_tokens,
            max_queue_tokens=settings.max_queue_tokens,
            on_batch=self.metrics.observe_batch,
        )
        self.metrics.watch_queue(
            lambda: self._batcher.tokens,
            {
                "short": lambda: self._batcher.waiting_requests("short"),
                "long": lambda: self._batcher.waiting_requests("long"),
            },
        )
        # Two threads, so that a book's worth of tokenizing or of JSON doesn't hold up a question's.
        self._quick = ThreadPoolExecutor(1, "jina-rag-quick")
        self._slow = ThreadPoolExecutor(1, "jina-rag-slow")

    @property
    def is_ready(self) -> bool:
        """Whether requests are taken."""
        return not self.draining and self._batcher.is_alive

    def close(self) -> None:
        """Finish what was taken, and end all threads."""
        self._batcher.close()
        self._quick.shutdown()
        self._slow.shutdown()

    async def embed(self, request: EmbedRequest, gone: Callable[[], Awaitable[None]]) -> Embedded:
        """The vectors of a request, computed together with those of others.

        Args:
            request: The texts, one at least.
            gone: Returns when the client has hung up, and not before.

        Raises:
            RequestError: the request is refused, or the engine failed.
            ClientGoneError: the client hung up; what was waiting is forgotten.
        """
        dimensions = self._check_dimensions(request.dimensions)
        self._check_batch_size(len(request.texts), request.param)
        started = time.monotonic()
        prepared = await self.run(sum(map(len, request.texts)), self._prepare, request)
        self._check_request_tokens(sum(prepared.token_counts), request.param)
        tokenized = time.monotonic()
        result = await self._wait(prepared, gone)
        vectors = _finished(result.vectors, dimensions, normalize=request.normalize)
        seconds = {
            "tokenization": tokenized - started,
            "queue": result.queued_s,
            "inference": result.computed_s,
            "total": time.monotonic() - started,
        }
        truncated = tuple(sorted(prepared.truncated | set(result.truncated)))
        self._count(prepared, truncated, seconds)
        return Embedded(vectors, tuple(prepared.token_counts), truncated, seconds)

    async def run(self, size: int, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do some work away from the event loop; its size in characters or numbers decides behind which other work."""
        pool = self._slow if size > _LONG_WORK else self._quick
        future: Future[T] = pool.submit(job, *args, **kwargs)
        return await asyncio.wrap_future(future)

    def _check_dimensions(self, dimensions: int | None) -> int:
        try:
            return self.embedder.spec.check_dimensions(self.embedder.dimensions if dimensions is None else dimensions)
        except InvalidDimensionsError as error:
            raise RequestError("validation", str(error), param="dimensions") from error

    def _check_batch_size(self, n_texts: int, param: str) -> None:
        limit = self.settings.max_client_batch_size
        if n_texts > limit:
            raise RequestError(
                "validation",
                f"batch size {n_texts} > maximum allowed batch size {limit}. Send fewer texts at a time.",
                param=param,
            )

    def check_tokens(self, texts: Sequence[str], param: str) -> None:
        """Refuse more texts or tokens than one request may have.

        Raises:
            RequestError: there are more, or a text cannot be read.
        """
        self._check_batch_size(len(texts), param)
        self._check_request_tokens(sum(self._count_tokens(texts, param)), param)

    def _prepare(self, request: EmbedRequest) -> _Prepared:
        with_prompts = [
            apply_prompt(text, request.prompt, self.settings.default_prompt, self.embedder.spec.prompts)
            for text in request.texts
        ]
        texts = [text for text, _ in with_prompts]
        prepared = _Prepared(texts, self._count_tokens(texts, request.param), set(), [name for _, name in with_prompts])
        self._check_not_empty(prepared.token_counts, request.param)
        limit = self.embedder.max_input_tokens
        truncate = self.settings.truncate if request.truncate is None else request.truncate
        for index, n_tokens in enumerate(prepared.token_counts):
            if n_tokens > limit and not truncate:
                raise RequestError(
                    "too_long",
                    f"Text {index} has {n_tokens:,} tokens, its prompt included, and the model reads {limit:,}. Split "
                    "the text, or send `truncate`: true to embed a part of it.",
                    param=request.param,
                )
            if n_tokens > limit:
                if request.keep == "end":
                    prompt = texts[index][: len(texts[index]) - len(request.texts[index])]
                    texts[index] = self._cut_beginning(prompt, request.texts[index])
                prepared.token_counts[index] = limit
                prepared.truncated.add(index)
        return prepared

    def _count_tokens(self, texts: Sequence[str], param: str) -> list[int]:
        try:
            return self.embedder.backend.count_tokens(texts)
        except InvalidTextError as error:
            raise RequestError("validation", str(error), param=param) from error

    def _check_not_empty(self, counts: list[int], param: str) -> None:
        if 0 in counts:
            raise RequestError(
                "validation",
                f"Text {counts.index(0)} is empty, and this model adds nothing to it. Leave it out.",
                param=param,
            )

    def _cut_beginning(self, prompt: str, text: str) -> str:
        """The prompt and as much of the text's end as the model reads."""
        limit = self.embedder.max_input_tokens

        def fits(start: int) -> bool:
            return self.embedder.backend.count_tokens([prompt + text[start:]])[0] <= limit

        return prompt + text[bisect_left(range(len(text)), True, key=fits) :]

    def _check_request_tokens(self, n_tokens: int, param: str) -> None:
        limit = self.settings.max_request_tokens
        if n_tokens > limit:
            raise RequestError(
                "validation",
                f"The texts have {n_tokens:,} tokens together; one request may have {limit:,}. Send fewer at a time.",
                param=param,
            )

    async def _wait(self, prepared: _Prepared, gone: Callable[[], Awaitable[None]]) -> BatchedResult:
        try:
            ticket = self._batcher.submit(prepared.texts, prepared.token_counts)
        except QueueFullError as error:
            raise overloaded(error.retry_after) from error
        result: asyncio.Future[BatchedResult] = asyncio.wrap_future(ticket.result)
        hung_up: asyncio.Future[None] = asyncio.ensure_future(gone())
        try:
            await asyncio.wait((result, hung_up), return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                self.metrics.cancelled.inc()
                raise ClientGoneError
            return result.result()
        except (ClientGoneError, asyncio.CancelledError):
            raise
        except Exception as error:
            # Whatever an engine raises is its failure, not the request's; foreign words may quote a text.
            words = str(error) if isinstance(error, JinaRagError) else ""
            _log.error("engine_failed", extra={"fields": {"error": type(error).__name__, "words": words}})
            raise RequestError(
                "backend", "The engine failed. Try again; if that does not help, see the server's log."
            ) from error
        finally:
            hung_up.cancel()
            result.cancel()
            self._batcher.cancel(ticket)

    def _count(self, prepared: _Prepared, truncated: tuple[int, ...], seconds: dict[str, float]) -> None:
        for stage in ("tokenization", "queue", "inference"):
            self.metrics.stage_seconds.labels(stage).observe(seconds[stage])
        for name in set(prepared.prompts):
            self.metrics.texts.labels(name).inc(prepared.prompts.count(name))
        for n_tokens in prepared.token_counts:
            self.metrics.input_tokens.observe(n_tokens)
        self.metrics.tokens.inc(sum(prepared.token_counts))
        self.metrics.truncated.inc(len(truncated))


def overloaded(retry_after: float) -> RequestError:
    """The refusal of a request for which there is no room."""
    seconds = str(min(MAX_RETRY_AFTER, max(1, math.ceil(retry_after))))
    return RequestError(
        "overloaded",
        f"The server has as much to do as it may take. Try again in {seconds} seconds, or send less at a time.",
        headers={"Retry-After": seconds},
    )


def _finished(states: FloatArray, dimensions: int, *, normalize: bool) -> FloatArray:
    if not np.isfinite(states).all():
        raise RequestError(
            "backend",
            "The engine gave numbers that are no vector. The model's file may be damaged: fetch it again with "
            "`jina-rag download --force`.",
        )
    return truncate_dimensions(states, dimensions) if normalize else np.ascontiguousarray(states[:, :dimensions])
