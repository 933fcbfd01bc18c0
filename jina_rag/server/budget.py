"""How much memory requests may take together."""

from collections.abc import Iterator
from contextlib import contextmanager

from jina_rag.server.errors import overloaded

ANSWER_BYTES_PER_NUMBER = 16
"""A float32, and the same as JSON."""


class ByteBudget:
    """Counts the bytes of bodies, vectors and answers of all requests in flight.

    Attributes:
        limit: How many there may be.
        held: How many there are.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._n_computing = 0

    @contextmanager
    def hold_answer(self, n_numbers: int) -> Iterator[None]:
        """Count the vectors of a request, and the answer that they become, while they are computed.

        Raises:
            RequestError: there is no room, and other requests are being computed.
        """
        n_bytes = n_numbers * ANSWER_BYTES_PER_NUMBER
        if self._n_computing and self.held + n_bytes > self.limit:
            raise overloaded(1.0)
        self._n_computing += 1
        self.held += n_bytes
        try:
            yield
        finally:
            self._n_computing -= 1
            self.held -= n_bytes
