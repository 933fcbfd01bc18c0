"""What a server counts and times, for Prometheus."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_TOKENS = (1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768)


class Metrics:
    """The figures of one server; labels are few and never come from a client."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter("jina_rag_requests", "Requests answered.", ("path", "status"), registry=self.registry)
        self.request_seconds = Histogram(
            "jina_rag_request_duration_seconds",
            "From a request's first byte to its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.stage_seconds = Histogram(
            "jina_rag_stage_duration_seconds",
            "Of a request's time: tokenization, queue, inference.",
            ("stage",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.rejected = Counter(
            "jina_rag_rejected_requests", "Requests refused, by reason.", ("reason",), registry=self.registry
        )
        self.cancelled = Counter(
            "jina_rag_cancelled_requests", "Requests whose client hung up.", registry=self.registry
        )
        self.texts = Counter(
            "jina_rag_texts", "Texts read, by prompt; rerank with a query.", ("prompt",), registry=self.registry
        )
        self.tokens = Counter("jina_rag_tokens", "Tokens read.", registry=self.registry)
        self.truncated = Counter("jina_rag_truncated_texts", "Texts that were cut.", registry=self.registry)
        self.input_tokens = Histogram(
            "jina_rag_input_tokens", "Tokens of a text.", buckets=_TOKENS, registry=self.registry
        )
        self.batch_tokens = Histogram(
            "jina_rag_batch_tokens", "Tokens in a call.", ("lane",), buckets=_TOKENS, registry=self.registry
        )
        self.batch_texts = Histogram(
            "jina_rag_batch_texts", "Texts in a call.", ("lane",), buckets=_TOKENS, registry=self.registry
        )
        self.batch_seconds = Histogram(
            "jina_rag_batch_duration_seconds", "Of a call.", ("lane",), buckets=_SECONDS, registry=self.registry
        )
        self.in_progress = Gauge(
            "jina_rag_requests_in_progress", "Requests being read, waiting or computed.", registry=self.registry
        )
        self._queues: list[Callable[[], float]] = []
        queue_tokens = Gauge("jina_rag_queue_tokens", "Tokens waiting or being computed.", registry=self.registry)
        queue_tokens.set_function(lambda: sum(tokens() for tokens in self._queues))
        self._queue_requests = Gauge("jina_rag_queue_requests", "Requests waiting.", ("lane",), registry=self.registry)

    def watch_queue(self, tokens: Callable[[], float], requests: Mapping[str, Callable[[], float]]) -> None:
        """Read a queue's length whenever somebody asks for the figures: tokens in all, requests by lane."""
        self._queues.append(tokens)
        for lane, length in requests.items():
            self._queue_requests.labels(lane).set_function(length)

    def observe_batch(self, lane: str, n_texts: int, n_tokens: int, seconds: float) -> None:
        """Count one call of the engine."""
        self.batch_texts.labels(lane).observe(n_texts)
        self.batch_tokens.labels(lane).observe(n_tokens)
        self.batch_seconds.labels(lane).observe(seconds)

    def render(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self.registry)
