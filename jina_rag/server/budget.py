"""How much memory requests may take together."""

from collections.abc import Iterator
from contextlib import contextmanager

from jina_rag.server.errors import overloaded

VECTOR_BYTES_PER_NUMBER = 16
"""A float32, and the same as JSON."""

PAIR_BYTES_PER_CHARACTER = 4
"""An int32, if each character of query and text is a token."""

SHOWN_BYTES_PER_TOKEN = 320
"""A token with its text and place as an object, and the same as JSON."""


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
    def hold_answer(self, n_bytes: int) -> Iterator[None]:
        """Count what is computed for a request, and the answer that it becomes, while it is computed.

        Raises:
            RequestError: there is no room, and other requests are being computed.
        """
        if self._n_computing and self.held + n_bytes > self.limit:
            raise overloaded(1.0)
        self._n_computing += 1
        self.held += n_bytes
        try:
            yield
        finally:
            self._n_computing -= 1
            self.held -= n_bytes
