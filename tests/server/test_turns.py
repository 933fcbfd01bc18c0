"""Embedding and reranking take turns: neither waits for more than a batch of the other."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from jina_rag.server.turns import Engine, Turns
from tests.server.conftest import wait_until


class Work:
    """Calls of two engines, each of so many batches that are let go by hand, and the order in which they computed."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.turns = Turns()
        self.order: list[str] = []
        self._pool = pool
        self._gates: dict[str, threading.Semaphore] = {}

    def start(self, name: str, engine: Engine, n_batches: int = 1, *, keep_place: bool = False) -> "Future[None]":
        self._gates[name] = threading.Semaphore(0)

        def call() -> None:
            with self.turns.hold(engine):
                for number in range(n_batches):
                    if number:
                        self.turns.pass_on(engine, keep_place=keep_place)
                    self.order.append(name)
                    assert self._gates[name].acquire(timeout=10)

        return self._pool.submit(call)

    def let_go_of_all(self) -> None:
        for gate in self._gates.values():
            gate.release(100)

    def finish_batch(self, name: str) -> None:
        """End one batch, and wait for the next one's begin."""
        n_before = len(self.order)
        self._gates[name].release()
        wait_until(lambda: len(self.order) > n_before)


@pytest.fixture
def work() -> Iterator[Work]:
    with ThreadPoolExecutor(10) as pool:
        work = Work(pool)
        yield work
        work.let_go_of_all()


def test_embedding_calls_share_a_turn(work: Work) -> None:
    work.start("long", "embedder")
    work.start("short", "embedder")
    wait_until(lambda: sorted(work.order) == ["long", "short"])


def test_a_question_waits_for_one_batch_however_many_rerank(work: Work) -> None:
    for n_waiting, name in enumerate("abc"):
        work.start(name, "reranker", 5)
        wait_until(lambda n=n_waiting: work.order == ["a"] and work.turns.n_waiting == n)  # type: ignore[misc]
    work.start("question", "embedder")
    wait_until(lambda: work.turns.n_waiting == 3)
    for name in ("a", "question", "b", "c", "a", "b"):
        work.finish_batch(name)
    assert work.order == ["a", "question", "b", "c", "a", "b", "c"]


def test_embedding_goes_on_beside_reranking(work: Work) -> None:
    work.start("documents", "embedder", 5)
    wait_until(lambda: work.order == ["documents"])
    work.start("a", "reranker", 5)
    work.start("b", "reranker", 5)
    wait_until(lambda: work.turns.n_waiting == 2)
    work.start("question", "embedder")  # waits, too: it would keep the rerankers from their turn
    wait_until(lambda: work.turns.n_waiting == 3)
    work.finish_batch("documents")
    assert work.order == ["documents", "a"]
    work.finish_batch("a")
    wait_until(lambda: sorted(work.order[2:]) == ["documents", "question"])


def test_what_only_one_call_may_do_is_not_interrupted_by_another(work: Work) -> None:
    work.start("long pair", "reranker", 3, keep_place=True)
    wait_until(lambda: work.order == ["long pair"])
    work.start("other", "reranker")
    wait_until(lambda: work.turns.n_waiting == 1)
    work.finish_batch("long pair")
    work.start("question", "embedder")
    wait_until(lambda: work.turns.n_waiting == 2)
    for name in ("long pair", "question", "long pair"):
        work.finish_batch(name)
    assert work.order == ["long pair", "long pair", "question", "long pair", "other"]
