"""What the reranking addresses do: hold limits, tokenise, wait for the scores.

Requests are computed side by side, one batch of each in turn, and the embedder has its turn between two batches.
The pairs of one request are packed as in process, so the scores are the same, whatever else is computed.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from jina_rag.backends.base import ProgressCallback
from jina_rag.backends.llama_cpp.cross_encoder import TokenPair
from jina_rag.errors import BackendError
from jina_rag.server.budget import PAIR_BYTES_PER_CHARACTER
from jina_rag.server.errors import RequestError, overloaded
from jina_rag.server.service import EmbeddingService, Result, engine_failed, in_parts, stage_seconds
from jina_rag.vectors import FloatArray

_SIDE_BY_SIDE = 16  # requests that take turns; more wait until one is done


class ServedReranker(Protocol):
    """A reranking model that runs in this process, as `LlamaCppReranker` describes it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def max_tokens(self) -> int:
        """Tokens of the longest pair that the model reads."""

    @property
    def gives_probabilities(self) -> bool:
        """Whether scores lie between 0 and 1; else they are logits."""

    def tokenize(self, query: str, texts: Sequence[str]) -> list[TokenPair]:
        """The query with each text, as the model reads them, and what is too long for it."""

    def score_pairs(self, pairs: Sequence[TokenPair], on_progress: ProgressCallback | None = None) -> FloatArray:
        """Score pairs, of shape (n,); texts that are too long are cut at their end."""


@dataclass(frozen=True, kw_only=True)
class RerankRequest:
    """Texts to score by how well each answers a query.

    Attributes:
        query: The question.
        texts: As the client sent them, one at least.
        param: Their field, for messages.
        truncate: Whether to read only the beginning of texts that are too long.
    """

    query: str
    texts: Sequence[str]
    param: str
    truncate: bool


@dataclass(frozen=True, kw_only=True)
class Reranked(Result):
    """What came of a request to rerank.

    Attributes:
        scores: float32 of shape (n,), in the order of the texts: the model's own, logits or probabilities.
        relevances: The same as probabilities.
        order: Positions of the texts, the best first; equals keep their order.
    """

    scores: FloatArray
    relevances: FloatArray
    order: tuple[int, ...]


class RerankService:
    """One reranker for many clients."""

    def __init__(self, reranker: ServedReranker, service: EmbeddingService) -> None:
        """Start its threads; `close` ends them.

        Args:
            reranker: The model.
            service: Of the embedder beside it: has the limits, the figures, and the turns in which both compute.
        """
        self.reranker = reranker
        self._service = service
        settings = service.settings
        self._names = {known.lower() for known in (reranker.name, *settings.served_names, *settings.reranker_names)}
        self._max_queue_tokens = settings.max_queue_tokens
        self._tokens_per_s = 0.0
        self._jobs: dict[_Job, None] = {}
        self._threads = ThreadPoolExecutor(_SIDE_BY_SIDE, "jina-rag-rerank")
        service.metrics.watch_queue(lambda: self._tokens, {"rerank": lambda: self._n_waiting})

    @property
    def description(self) -> dict[str, object]:
        """What a client needs to know of the model."""
        return {
            "model": self.reranker.name,
            "max_input_tokens": self.reranker.max_tokens,
            "raw_scores": "probabilities" if self.reranker.gives_probabilities else "logits",
        }

    def check_name(self, name: str | None) -> None:
        """Refuse a request for another model.

        Raises:
            RequestError: no reranker of this name is served.
        """
        if name is not None and name.lower() not in self._names:
            raise RequestError(
                "model_not_found",
                f"No reranker of this name is served. Ask for {self.reranker.name}, or leave `model` out.",
                param="model",
            )

    async def rerank(self, request: RerankRequest) -> Reranked:
        """Score the texts of a request.

        If this is cancelled, what is left to tokenise and to compute is forgotten.

        Raises:
            RequestError: the request is refused, or the engine failed.
        """
        service, texts = self._service, request.texts
        # The model reads the query with each text, so it is counted, and costs, as often.
        n_characters = sum(map(len, texts)) + len(texts) * len(request.query)
        service.check_size(len(texts), n_characters, request.param)
        started = time.monotonic()
        with service.budget.hold_answer(n_characters * PAIR_BYTES_PER_CHARACTER):
            pairs = await self._tokenize(request, n_characters)
            lengths = [len(pair.tokens) for pair in pairs]
            counts = tuple(min(length, self.reranker.max_tokens) for length in lengths)
            service.check_request_tokens(sum(counts), request.param)
            tokenized = time.monotonic()
            scored = await self._compute(pairs, sum(counts))
        reranked = Reranked(
            scores=scored.scores,
            relevances=scored.scores if self.reranker.gives_probabilities else _sigmoid(scored.scores),
            order=tuple(np.argsort(-scored.scores, kind="stable").tolist()),
            token_counts=counts,
            truncated=tuple(position for position, length in enumerate(lengths) if length > counts[position]),
            seconds=stage_seconds(started, tokenized, scored.queued_s, scored.computed_s),
        )
        service.observe(reranked, {"rerank": len(texts)})
        return reranked

    def close(self) -> None:
        """Finish what was taken, and end the threads."""
        self._threads.shutdown()

    @property
    def _tokens(self) -> int:
        return sum(job.n_tokens for job in self._jobs)

    @property
    def _n_waiting(self) -> int:
        return sum(not job.started for job in self._jobs)

    async def _tokenize(self, request: RerankRequest, n_characters: int) -> list[TokenPair]:
        pairs: list[TokenPair] = []
        for part in in_parts(request.texts, len(request.query)):
            try:
                pairs += await self._service.run(n_characters, self.reranker.tokenize, request.query, part)
            except BackendError as error:  # at this stage it can only be the query's length
                raise RequestError("too_long", str(error), param="query") from error
        limit = self.reranker.max_tokens
        too_long = next((position for position, pair in enumerate(pairs) if len(pair.tokens) > limit), None)
        if too_long is not None and not request.truncate:
            raise RequestError(
                "too_long",
                f"Text {too_long} has {len(pairs[too_long].tokens):,} tokens, the query included, and the model reads "
                f"{limit:,}. Split the text, or send `truncate`: true to have its beginning read.",
                param=request.param,
            )
        return pairs

    async def _compute(self, pairs: list[TokenPair], n_tokens: int) -> "_Scored":
        waiting = self._tokens
        if waiting and waiting + n_tokens > self._max_queue_tokens:
            raise overloaded(waiting / self._tokens_per_s if self._tokens_per_s else 1.0)
        job = _Job(pairs, n_tokens)
        self._jobs[job] = None
        computing = self._threads.submit(self._score, job)
        try:
            return await asyncio.wrap_future(computing)
        except Exception as error:  # whatever an engine raises is this request's answer and the log's
            raise engine_failed(error) from error
        finally:
            job.is_cancelled = True
            del self._jobs[job]

    def _score(self, job: "_Job") -> "_Scored":
        turns, n_left = self._service.turns, len(job.pairs)

        def pass_on(n_done: int) -> None:
            nonlocal n_left
            n_left -= n_done
            if job.is_cancelled:
                raise _CancelledJobError
            if n_left:
                turns.pass_on("reranker", keep_place=n_done == 0)  # a long pair keeps memory that the next one needs

        with turns.hold("reranker"):
            job.started = time.monotonic()
            if job.is_cancelled:
                raise _CancelledJobError
            scores = self.reranker.score_pairs(job.pairs, pass_on)
        seconds = time.monotonic() - job.started
        if not np.isfinite(scores).all():
            raise BackendError("The reranker returned NaN or infinite values. Its file may be damaged: get it again.")
        self._tokens_per_s = job.n_tokens / max(seconds, 1e-6)
        self._service.metrics.observe_batch("rerank", len(job.pairs), job.n_tokens, seconds)
        return _Scored(scores, job.started - job.submitted, seconds)


@dataclass(eq=False)
class _Job:
    """The pairs of one request, and whether somebody still waits for their scores."""

    pairs: list[TokenPair]
    n_tokens: int
    submitted: float = field(default_factory=time.monotonic)
    started: float = 0.0
    is_cancelled: bool = False


class _Scored(NamedTuple):
    scores: FloatArray
    queued_s: float
    computed_s: float


class _CancelledJobError(Exception):
    pass


def _sigmoid(logits: FloatArray) -> FloatArray:
    return np.exp(-np.logaddexp(0, -logits))
