"""What the queue promises: joined calls, turns, bounds, cancelling, and one request's failure staying its own."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from jina_rag.backends.base import BackendResult
from jina_rag.server.batching import MIN_BATCH_TOKENS, QUERY_WINDOW_S, Batcher, QueueFullError
from jina_rag.testing import FakeBackend
from tests.server.conftest import HeldBackend, wait_until

MakeBatcher = Callable[..., Batcher]


@pytest.fixture
def backend() -> HeldBackend:
    return HeldBackend()


@pytest.fixture
def make(backend: HeldBackend, request: pytest.FixtureRequest) -> MakeBatcher:
    def make_batcher(*, batch_tokens: int = 1000, max_queue_tokens: int = 100_000) -> Batcher:
        batcher = Batcher(
            backend,
            max_input_tokens=512,
            batch_tokens=batch_tokens,
            max_queue_tokens=max_queue_tokens,
            on_batch=lambda *_: None,
        )

        def end() -> None:
            backend.may_go_on.set()
            batcher.close()

        request.addfinalizer(end)
        return batcher

    return make_batcher


def test_what_waits_is_joined_and_each_gets_its_own_vectors(make: MakeBatcher, backend: HeldBackend) -> None:
    batcher = make()
    tickets = [batcher.submit(["first"], [2])]
    assert backend.has_call.acquire(timeout=5)
    tickets += [batcher.submit([f"text {n}", f"more {n}"], [3, 3]) for n in range(20)]
    backend.may_go_on.set()
    for ticket in tickets:
        expected = FakeBackend().embed(ticket.texts, max_tokens=512).vectors
        np.testing.assert_allclose(ticket.result.result(5).vectors, expected)
    assert len(backend.calls) == 2
    assert batcher.tokens == 0


def test_a_short_request_does_not_wait_for_long_ones(make: MakeBatcher, backend: HeldBackend) -> None:
    batcher = make()
    batcher.submit(["long"] * 50, [400] * 50)
    assert backend.has_call.acquire(timeout=5)
    batcher.submit(["question"], [5])
    assert backend.has_call.acquire(timeout=5)  # in a call of its own, beside the one under way
    assert backend.calls == [["long"] * 2, ["question"]]


def test_long_requests_take_turns(make: MakeBatcher, backend: HeldBackend) -> None:
    batcher = make()
    batcher.submit(["hold"], [500])
    assert backend.has_call.acquire(timeout=5)
    tickets = [batcher.submit([name] * 10, [300] * 10) for name in ("a", "b", "c")]
    backend.may_go_on.set()
    for ticket in tickets:
        ticket.result.result(5)
    assert backend.calls[1:4] == [["a", "b", "c"]] * 3


def test_a_text_larger_than_a_call_goes_alone(make: MakeBatcher, backend: HeldBackend) -> None:
    batcher = make(batch_tokens=100)
    backend.may_go_on.set()
    batcher.submit(["huge", "small"], [400, 10]).result.result(5)
    assert backend.calls == [["huge"], ["small"]]


def test_the_queue_is_bounded(make: MakeBatcher, backend: HeldBackend) -> None:
    batcher = make(max_queue_tokens=1000)
    alone = batcher.submit(["larger than the queue"], [5000])
    with pytest.raises(QueueFullError):
        batcher.submit(["one more"], [1])
    backend.may_go_on.set()
    alone.result.result(5)
    batcher.submit(["one more"], [1]).result.result(5)


def test_a_cancelled_request_is_forgotten(make: MakeBatcher, backend: HeldBackend) -> None:
    batcher = make()
    running = batcher.submit(["hold"], [500])
    assert backend.has_call.acquire(timeout=5)
    gone = batcher.submit(["gone"] * 100, [100] * 100)
    batcher.cancel(gone)
    assert batcher.tokens == 500
    assert batcher.waiting_requests("long") == 0
    backend.may_go_on.set()
    running.result.result(5)
    batcher.submit(["next"], [500]).result.result(5)
    assert backend.calls == [["hold"], ["next"]]
    assert not gone.result.done()


class PartwiseBackend(HeldBackend):
    """Computes one text after another, each when it may, with a pause between them."""

    def embed(self, texts: Sequence[str], **settings: Any) -> BackendResult:
        for text in texts:
            super().embed([text], **settings)
            self.may_go_on.clear()
            settings["on_progress"](0)
        return FakeBackend().embed(texts, **settings)


def test_what_is_computed_for_nobody_ends_at_the_next_pause(request: pytest.FixtureRequest) -> None:
    backend = PartwiseBackend()
    batcher = Batcher(backend, max_input_tokens=512, batch_tokens=512, max_queue_tokens=1000, on_batch=lambda *_: None)
    request.addfinalizer(batcher.close)
    gone = batcher.submit(["first part", "second part"], [100, 100])
    assert backend.has_call.acquire(timeout=5)
    batcher.cancel(gone)
    backend.may_go_on.set()
    wait_until(lambda: batcher.tokens == 0)
    assert backend.calls == [["first part"]]
    assert batcher.is_alive


def test_one_requests_failure_is_its_own(make: MakeBatcher, backend: HeldBackend) -> None:
    batcher = make()
    batcher.submit(["hold"], [5])
    assert backend.has_call.acquire(timeout=5)
    good, bad, also_good = (batcher.submit([text, "x"], [2, 2]) for text in ("good", "bad", "fine"))
    backend.may_go_on.set()
    with pytest.raises(RuntimeError, match="cannot embed"):
        bad.result.result(5)
    assert good.result.result(5).vectors.shape == also_good.result.result(5).vectors.shape == (2, 64)
    assert batcher.is_alive


def test_closing_finishes_what_was_taken(make: MakeBatcher, backend: HeldBackend) -> None:
    batcher = make()
    tickets = [batcher.submit([f"text {n}"] * 5, [100] * 5) for n in range(10)]
    backend.may_go_on.set()
    batcher.close()
    assert all(ticket.result.done() for ticket in tickets)
    assert not batcher.is_alive


class OneAtATimeBackend(HeldBackend):
    """Takes calls in the order in which they come, as llama.cpp's thread does, each of them released by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.n_queued = 0
        self._thread = ThreadPoolExecutor(1)

    def embed(self, texts: Sequence[str], **settings: Any) -> BackendResult:
        call = self._thread.submit(super().embed, texts, **settings)
        self.n_queued += 1
        return call.result()


def test_a_question_waits_for_one_batch_at_most(request: pytest.FixtureRequest) -> None:
    """Thirty-one clients ingest; the question's batch is the next after the one under way."""
    backend = OneAtATimeBackend()
    batcher = Batcher(
        backend, max_input_tokens=512, batch_tokens=512, max_queue_tokens=100_000, on_batch=lambda *_: None
    )
    request.addfinalizer(batcher.close)
    request.addfinalizer(backend.may_go_on.set)
    for _ in range(31):
        batcher.submit(["document"] * 4, [120] * 4)
    assert backend.has_call.acquire(timeout=5)
    question = batcher.submit(["question"], [8])
    wait_until(lambda: backend.n_queued == 2)
    backend.may_go_on.set()
    question.result.result(5)
    assert [call[0] for call in backend.calls[:2]] == ["document", "question"]


class PacedBackend(HeldBackend):
    """Computes so many tokens a second, by a clock of its own; each text is as many tokens as it has characters."""

    def __init__(self, tokens_per_s: float) -> None:
        super().__init__()
        self.tokens_per_s = tokens_per_s
        self.now = 1000.0
        self.may_go_on.set()

    def embed(self, texts: Sequence[str], **settings: Any) -> BackendResult:
        result = super().embed(texts, **settings)
        self.now += sum(map(len, texts)) / self.tokens_per_s
        return result


@contextmanager
def paced(backend: PacedBackend) -> Iterator[Callable[..., list[int]]]:
    """A queue before it, as a function that has so many texts of a length embedded and gives the sizes of the calls.

    Of several requests the first is in a call of its own, during which the others come.
    """
    batcher = Batcher(
        backend,
        max_input_tokens=512,
        batch_tokens=512,
        max_queue_tokens=100_000,
        on_batch=lambda *_: None,
        clock=lambda: backend.now,
    )

    def sizes(length: int, n_texts: int = 1, n_requests: int = 1) -> list[int]:
        backend.calls.clear()
        backend.may_go_on.clear()
        tickets = []
        for _ in range(n_requests):
            tickets.append(batcher.submit(["x" * length] * n_texts, [length] * n_texts))
            wait_until(lambda: backend.calls)
        backend.may_go_on.set()
        for ticket in tickets:
            ticket.result.result(5)
        wait_until(lambda: batcher.tokens == 0)  # the last call's rate has been noted
        return [sum(map(len, call)) for call in backend.calls]

    yield sizes
    batcher.close()


def test_batches_of_documents_are_small_while_questions_come() -> None:
    backend = PacedBackend(tokens_per_s=800)
    with paced(backend) as sizes:
        assert sizes(50, 20) == [500, 500]
        assert sizes(8) == [8]
        assert sizes(50, 20) == [200] * 5  # a quarter of a second each
        backend.now += QUERY_WINDOW_S + 1
        assert sizes(50, 20) == [500, 500]


@pytest.mark.parametrize(("tokens_per_s", "size"), [(100, MIN_BATCH_TOKENS), (1_000_000, 512)])
def test_they_are_neither_tiny_nor_larger_than_the_engines_own(tokens_per_s: int, size: int) -> None:
    with paced(PacedBackend(tokens_per_s)) as sizes:
        sizes(64, 8)
        sizes(8)
        assert set(sizes(64, 16)) == {size}


def test_documents_keep_their_half_beside_many_questions() -> None:
    with paced(PacedBackend(tokens_per_s=400)) as sizes:
        sizes(100, 5)
        assert sizes(10, n_requests=41) == [10, 400]
        assert sizes(10, 200) == [400] * 5
