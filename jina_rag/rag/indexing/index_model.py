"""The model of an index: known by its fingerprint at once, loaded at the first need.

Much of what is done with an index needs no new vector, and so neither the time nor the memory that a model takes, nor
its weights on this machine.
"""

from collections.abc import Callable
from pathlib import Path
from threading import Lock

from jina_rag.backends.remote.address import engine_of
from jina_rag.embedder import Embedder
from jina_rag.errors import FingerprintMismatchError
from jina_rag.fingerprint import Fingerprint

_SHA256_LENGTH = 64

EmbedderLoader = Callable[[], Embedder]
"""Gives the model when it is needed; it raises as `Embedder.from_pretrained` does."""


class IndexModel:
    """What the vectors of an index are made with. Safe to use from many threads."""

    def __init__(
        self, place: Path | str, fingerprint: Fingerprint, embedder: Embedder | EmbedderLoader | None = None
    ) -> None:
        """Load nothing yet.

        Args:
            place: The index's folder or address, for messages.
            fingerprint: What the model must have.
            embedder: The model, or what loads it; None loads it by the name in the fingerprint.

        Raises:
            FingerprintMismatchError: `embedder` is a model, and another one.
        """
        self.fingerprint = fingerprint
        self._place = place
        self._lock = Lock()
        self._given = embedder if isinstance(embedder, Embedder) else None
        self._load = embedder if callable(embedder) else lambda: load_by_name(fingerprint)
        self._loaded: Embedder | None = None
        if self._given:
            self._check(self._given)

    @property
    def embedder(self) -> Embedder:
        """The model, loaded by now.

        Raises:
            FingerprintMismatchError: what was loaded is another model, or another file of the same name.
            JinaRagError: otherwise as `Embedder.from_pretrained`.
        """
        if self._given:
            return self._given
        with self._lock:
            if self._loaded is None:
                embedder = self._load()
                self._check(embedder)
                self._loaded = embedder
            return self._loaded

    def check(self, made_with: Fingerprint) -> None:
        """Refuse an index that another process has rebuilt with another model.

        Raises:
            FingerprintMismatchError: the index was made with another model than it was when it was opened.
        """
        self.fingerprint.check(
            made_with,
            where=f"The index {self._place}, rebuilt since it was opened,",
            remedy="Open it again with the model that it has now.",
        )

    def close(self) -> None:
        """Give back what was loaded here; a model that was handed in stays with its owner."""
        with self._lock:
            if self._loaded:
                self._loaded.close()

    def _check(self, embedder: Embedder) -> None:
        made_with = self.fingerprint
        embedder.fingerprint.check(
            made_with,
            where=f"The index {self._place}",
            remedy=f"Open it with its own model ({made_with.model}, {made_with.quantization}, "
            f"{made_with.dimensions} dimensions), or make one with the other model.",
        )


def load_by_name(fingerprint: Fingerprint, backend: str | None = None) -> Embedder:
    """The model that a fingerprint names, in the engine that it names unless `backend` is another.

    Another engine on the same file is taken where its vectors agree with those of the fingerprint's own.

    Raises:
        FingerprintMismatchError: they don't agree.
        JinaRagError: otherwise as `Embedder.from_pretrained`.
    """
    embedder = _load(fingerprint, engine_of(fingerprint.weights, backend))
    weights = embedder.fingerprint.weights
    if weights == fingerprint.weights or weights[:_SHA256_LENGTH] != fingerprint.weights[:_SHA256_LENGTH]:
        return embedder
    with _load(fingerprint, engine_of(fingerprint.weights)) as own:
        try:
            return embedder.with_fingerprint_of(own)
        except FingerprintMismatchError:
            embedder.close()
            raise


def _load(fingerprint: Fingerprint, backend: str | None) -> Embedder:
    return Embedder.from_pretrained(
        fingerprint.model,
        quantization=fingerprint.quantization or None,
        dimensions=fingerprint.dimensions,
        backend=backend,
    )
