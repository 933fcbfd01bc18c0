"""Texts put together to batches: full ones cost least per token."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from jina_rag.backends.base import ProgressCallback, TokenArray
from jina_rag.vectors import FloatArray

MAX_SEQUENCES = 64
"""Texts in one batch. More cost memory (in llama.cpp a row of vocabulary scores each) and bring nothing."""


def rows_in_batches(
    texts: Sequence[TokenArray],
    run_batch: Callable[[Sequence[TokenArray]], FloatArray],
    *,
    dimensions: int,
    max_tokens: int,
    on_progress: ProgressCallback | None,
) -> FloatArray:
    """The rows of texts by their tokens, shape (n, d): longest first, in batches, equal texts once.

    Args:
        texts: Their tokens.
        run_batch: Gives the rows of a batch.
        dimensions: Width of a row.
        max_tokens: Tokens in a batch of more than one text.
        on_progress: Called after each batch; what it raises ends the call.
    """
    first: dict[bytes, int] = {}
    equal_to = np.array([first.setdefault(ids.tobytes(), index) for index, ids in enumerate(texts)], np.intp)
    n_equal = np.bincount(equal_to, minlength=len(texts))
    distinct = np.fromiter(first.values(), np.intp, len(first))
    rows = np.empty((len(texts), dimensions), np.float32)
    for places in pack([len(texts[index]) for index in distinct], max_tokens=max_tokens):
        batch = distinct[places]
        rows[batch] = run_batch([texts[index] for index in batch])
        if on_progress:
            on_progress(int(n_equal[batch].sum()))
    return rows if len(first) == len(texts) else rows[equal_to]


def pack(lengths: Sequence[int], *, max_tokens: int, max_texts: int = MAX_SEQUENCES) -> Iterator[list[int]]:
    """Best-fit decreasing: positions of texts in batches of up to `max_tokens` tokens and `max_texts` texts.

    The longest text left begins a batch, alone if it is longer than a batch, and the longest that still fit fill it: a
    full batch costs least per token.
    """
    left = sorted(range(len(lengths)), key=lengths.__getitem__)
    while left:
        batch = [left.pop()]
        room = max_tokens - lengths[batch[0]]
        while len(batch) < max_texts and (fitting := bisect_right(left, room, key=lengths.__getitem__)):
            batch.append(left.pop(fitting - 1))
            room -= lengths[batch[-1]]
        yield batch
