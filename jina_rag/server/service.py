"""What the embedding addresses do with texts: choose prompts, hold limits, wait for the vectors, cut, normalise."""

import asyncio
import logging
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, ParamSpec, TypeVar

import numpy as np

from jina_rag.embedder import Embedder
from jina_rag.errors import InvalidDimensionsError, JinaRagError
from jina_rag.server.batching import BatchedResult, Batcher, QueueFullError
from jina_rag.server.budget import VECTOR_BYTES_PER_NUMBER, ByteBudget
from jina_rag.server.errors import RequestError, overloaded
from jina_rag.server.metrics import Metrics
from jina_rag.server.names import ServedNames, describe_model
from jina_rag.server.prompts import PromptName, apply_prompt
from jina_rag.server.settings import ServerSettings
from jina_rag.server.turns import Turns
from jina_rag.vectors import FloatArray, truncate_dimensions

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger("jina_rag.server")

_LONG_WORK = 100_000  # characters or numbers; about 10 ms of tokenizing, or of writing JSON
_SEARCH_CHARACTERS_PER_TOKEN = 16  # more than almost any text has


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


@dataclass(frozen=True, kw_only=True)
class Result:
    """What every request's answer may say of its work.

    Attributes:
        token_counts: How many tokens of each text were read, with its prompt or query.
        truncated: Positions of the texts that were cut.
        seconds: What each stage took, by its name: tokenization, queue, inference, total.
    """

    token_counts: tuple[int, ...]
    truncated: tuple[int, ...]
    seconds: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Embedded(Result):
    """What came of a request to embed.

    Attributes:
        vectors: float32 of shape (n, d), in the order of the texts.
    """

    vectors: FloatArray


@dataclass(frozen=True)
class _Prepared:
    texts: list[str]
    token_counts: list[int]
    truncated: set[int]


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
        self.budget = ByteBudget(settings.max_bytes_in_flight)
        self.draining = False
        self.turns = Turns()
        self._batcher = Batcher(
            embedder.backend,
            max_input_tokens=embedder.max_input_tokens,
            batch_tokens=settings.max_batch_tokens,
            max_queue_tokens=settings.max_queue_tokens,
            on_batch=self.metrics.observe_batch,
            turns=self.turns,
        )
        self.metrics.watch_queue(
            lambda: self._batcher.tokens,
            {
                "short": lambda: self._batcher.waiting_requests("short"),
                "long": lambda: self._batcher.waiting_requests("long"),
            },
        )
        # Two threads, so that a book's worth of tokenizing or of JSON doesn't hold up a query's.
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

    async def embed(self, request: EmbedRequest) -> Embedded:
        """The vectors of a request, computed together with those of others.

        If this is cancelled, what is left to tokenise and to compute is forgotten.

        Args:
            request: The texts, one at least.

        Raises:
            RequestError: the request is refused, or the engine failed.
        """
        dimensions = self._check_dimensions(request.dimensions)
        self.check_size(len(request.texts), sum(map(len, request.texts)), request.param)
        started = time.monotonic()
        with self.budget.hold_answer(len(request.texts) * self.embedder.spec.dimensions * VECTOR_BYTES_PER_NUMBER):
            with_prompts = [
                apply_prompt(text, request.prompt, self.settings.default_prompt, self.embedder.spec.prompts)
                for text in request.texts
            ]
            prepared = await self._prepare(request, [text for text, _ in with_prompts])
            self.check_request_tokens(sum(prepared.token_counts), request.param)
            tokenized = time.monotonic()
            result = await self._compute(prepared)
            vectors = _finish(result.vectors, dimensions, normalize=request.normalize)
        seconds = stage_seconds(started, tokenized, result.queued_s, result.computed_s)
        embedded = Embedded(
            vectors=vectors,
            token_counts=tuple(prepared.token_counts),
            truncated=tuple(sorted(prepared.truncated | set(result.truncated))),
            seconds=seconds,
        )
        self.observe(embedded, Counter(name for _, name in with_prompts))
        return embedded

    async def count_tokens(self, texts: Sequence[str], param: str) -> list[int]:
        """How many tokens each text has, in jobs so small that others have their turn between them.

        Raises:
            RequestError: there are more texts or characters than one request may have.
        """
        size = sum(map(len, texts))
        self.check_size(len(texts), size, param)
        counts: list[int] = []
        for part in in_parts(texts):
            counts += await self.run(size, self.embedder.backend.count_tokens, part)
        return counts

    def check_size(self, n_texts: int, n_characters: int, param: str) -> None:
        """Refuse more texts or characters than one request may have, before their tokens are counted.

        Raises:
            RequestError: there are more.
        """
        settings = self.settings
        if n_texts > settings.max_client_batch_size:
            raise RequestError(
                "validation",
                f"batch size {n_texts} > maximum allowed batch size {settings.max_client_batch_size}. Send fewer "
                "texts at a time.",
                param=param,
            )
        if n_characters > settings.max_request_characters:
            raise RequestError(
                "validation",
                f"The texts have {n_characters:,} characters together; one request may have "
                f"{settings.max_request_characters:,}. Send fewer or shorter texts at a time.",
                param=param,
            )

    def check_request_tokens(self, n_tokens: int, param: str) -> None:
        """Refuse more tokens than one request may have.

        Raises:
            RequestError: there are more.
        """
        limit = self.settings.max_request_tokens
        if n_tokens > limit:
            raise RequestError(
                "validation",
                f"The texts have {n_tokens:,} tokens together; one request may have {limit:,}. Send fewer at a time.",
                param=param,
            )

    async def run(self, size: int, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do some work away from the event loop; its size in characters or numbers decides behind which other work."""
        pool = self._slow if size > _LONG_WORK else self._quick
        future: Future[T] = pool.submit(job, *args, **kwargs)
        return await asyncio.wrap_future(future)

    def observe(self, result: Result, prompts: Mapping[str, int]) -> None:
        """Count a request that was answered.

        Args:
            result: What came of it.
            prompts: How many of its texts went with each prompt.
        """
        for stage in ("tokenization", "queue", "inference"):
            self.metrics.stage_seconds.labels(stage).observe(result.seconds[stage])
        for name, n_texts in prompts.items():
            self.metrics.texts.labels(name).inc(n_texts)
        for n_tokens in result.token_counts:
            self.metrics.input_tokens.observe(n_tokens)
        self.metrics.tokens.inc(sum(result.token_counts))
        self.metrics.truncated.inc(len(result.truncated))

    def _check_dimensions(self, dimensions: int | None) -> int:
        try:
            return self.embedder.spec.check_dimensions(self.embedder.dimensions if dimensions is None else dimensions)
        except InvalidDimensionsError as error:
            raise RequestError("validation", str(error), param="dimensions") from error

    async def _prepare(self, request: EmbedRequest, texts: list[str]) -> _Prepared:
        """Count the tokens of texts with their prompts, and cut those that are too long if that was asked for."""
        prepared = _Prepared(texts, await self.count_tokens(texts, request.param), set())
        if 0 in prepared.token_counts:
            raise RequestError(
                "validation",
                f"Text {prepared.token_counts.index(0)} is empty, and this model adds nothing to it. Leave it out.",
                param=request.param,
            )
        limit = self.embedder.max_input_tokens
        truncate = self.settings.truncate if request.truncate is None else request.truncate
        for index, n_tokens in enumerate(prepared.token_counts):
            if n_tokens <= limit:
                continue
            if not truncate:
                raise RequestError(
                    "too_long",
                    f"Text {index} has {n_tokens:,} tokens, its prompt included, and the model reads {limit:,}. Split "
                    "the text, or send `truncate`: true to embed a part of it.",
                    param=request.param,
                )
            if request.keep == "end":
                prompt = texts[index][: len(texts[index]) - len(request.texts[index])]
                texts[index] = await self.run(_LONG_WORK + 1, self._cut_beginning, prompt, request.texts[index])
            prepared.token_counts[index] = limit
            prepared.truncated.add(index)
        return prepared

    def _cut_beginning(self, prompt: str, text: str) -> str:
        """The prompt and as much of the text's end as the model reads."""
        limit = self.embedder.max_input_tokens

        def fits(start: int) -> bool:
            return self.embedder.backend.count_tokens([prompt + text[start:]])[0] <= limit

        start = max(0, len(text) - _SEARCH_CHARACTERS_PER_TOKEN * limit)
        if fits(start):
            start = 0
        return prompt + text[bisect_left(range(len(text)), True, lo=start, key=fits) :]

    async def _compute(self, prepared: _Prepared) -> BatchedResult:
        try:
            queued = self._batcher.submit(prepared.texts, prepared.token_counts)
        except QueueFullError as error:
            raise overloaded(error.retry_after) from error
        try:
            return await asyncio.wrap_future(queued.result)
        except Exception as error:  # whatever an engine raises is this request's answer and the log's
            raise engine_failed(error) from error
        finally:
            self._batcher.cancel(queued)


def in_parts(texts: Sequence[str], n_more: int = 0) -> Iterator[Sequence[str]]:
    """Slices of up to `_LONG_WORK` characters; a longer text goes alone.

    Args:
        texts: Any number of them.
        n_more: Characters that each costs besides its own: those of a query that is read with it.
    """
    start = n_characters = 0
    for index, text in enumerate(texts):
        if n_characters + len(text) + n_more > _LONG_WORK and index > start:
            yield texts[start:index]
            start, n_characters = index, 0
        n_characters += len(text) + n_more
    yield texts[start:]


def stage_seconds(started: float, tokenized: float, queued_s: float, computed_s: float) -> dict[str, float]:
    """What the stages of a request took, which ends now."""
    return {
        "tokenization": tokenized - started,
        "queue": queued_s,
        "inference": computed_s,
        "total": time.monotonic() - started,
    }


def engine_failed(error: Exception) -> RequestError:
    """The refusal of a request that an engine failed at, with a line in the log.

    Whatever an engine raises is its failure, not the request's; foreign words may quote a text.
    """
    words = str(error) if isinstance(error, JinaRagError) else ""
    _log.error("engine_failed", extra={"fields": {"error": type(error).__name__, "words": words}})
    return RequestError("backend", "The engine failed. Try again; if that does not help, see the server's log.")


def _finish(states: FloatArray, dimensions: int, *, normalize: bool) -> FloatArray:
    if not np.isfinite(states).all():
        raise RequestError(
            "backend",
            "The engine returned NaN or infinite values. The model's file may be damaged: download it again with "
            "`jina-rag download --force`.",
        )
    return truncate_dimensions(states, dimensions) if normalize else np.ascontiguousarray(states[:, :dimensions])
