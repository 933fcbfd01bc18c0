"""What the queue promises: joined calls, turns, bounds, cancelling, and one request's failure staying its own."""

from collections.abc import Callable

import numpy as np
import pytest

from jina_rag.server.batching import Batcher, QueueFullError
from jina_rag.testing import FakeBackend
from tests.server.conftest import HeldBackend

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
