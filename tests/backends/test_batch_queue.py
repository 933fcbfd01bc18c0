"""The order in which batches come to a model's one thread."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

import pytest

from jina_rag.backends.llama_cpp.batch_queue import SMALL_BATCH_TOKENS, BatchQueue

BATCH = 512


@contextmanager
def held(queue: BatchQueue) -> Iterator[None]:
    """The queue behind a large batch that ends with the block."""
    began, go_on = Event(), Event()

    def work() -> None:
        began.set()
        assert go_on.wait(10)

    first = queue.submit(work, BATCH)
    assert began.wait(10)
    yield
    go_on.set()
    first.result(10)


def order_of(n_documents: int, n_questions: int) -> str:
    queue, order = BatchQueue(BATCH), list[str]()
    with held(queue):
        futures = [queue.submit(lambda: order.append("D"), BATCH) for _ in range(n_documents)]
        futures += [queue.submit(lambda: order.append("q"), 20) for _ in range(n_questions)]
    for future in futures:
        future.result(10)
    return "".join(order)


@pytest.mark.parametrize("n_documents", [0, 1, 8])
def test_a_question_goes_before_all_documents(n_documents: int) -> None:
    assert order_of(n_documents, 1) == "q" + "D" * n_documents


def test_a_flood_of_questions_leaves_documents_their_share() -> None:
    share = BATCH // SMALL_BATCH_TOKENS
    assert order_of(3, 20) == ("q" * share + "D") * 2 + "q" * (20 - 2 * share) + "D"


def test_documents_take_turns_in_the_order_in_which_they_come() -> None:
    queue, order = BatchQueue(BATCH), list[int]()
    with held(queue):
        futures = [queue.submit(lambda n=n: order.append(n), BATCH) for n in range(5)]  # type: ignore[misc]
        assert futures[2].cancel()
    for future in futures[3:]:
        future.result(10)
    assert order == [0, 1, 3, 4]


def test_errors_reach_who_waits_and_the_thread_goes_on() -> None:
    queue = BatchQueue(BATCH)

    def fail() -> int:
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        queue.run(fail, 1)
    assert queue.run(lambda: 7, 1) == 7
