"""`EmbedBatch`: batches of texts in, the same batches with vectors out, for any engine that maps batches."""

import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from jina_rag.config import EmbedderConfig
from jina_rag.embedder import Embedder
from jina_rag.errors import BackendError, BackendUnavailableError, TextError
from jina_rag.fingerprint import Fingerprint
from jina_rag.shared import shared_embedder
from jina_rag.vectors import FloatArray

if TYPE_CHECKING:
    import pyarrow as pa

Batch = TypeVar("Batch")

EmbedderSource = EmbedderConfig | Callable[[], Embedder]
"""What makes an embedder in another process: settings, or a function that pickles by its name."""

_WARM_UP = "The quick brown fox jumps over the lazy dog."


class EmbedBatch:
    """A picklable callable that embeds documents. The model is loaded once in each process, at the first batch.

    A batch is an Arrow table, a pandas DataFrame or a dictionary of numpy arrays, and comes back with two more columns:
    the vectors, and what was wrong with a text that has none. Such a row has a null for a vector, in numpy NaN.

    Examples:
        >>> embed = EmbedBatch(EmbedderConfig(model="all-MiniLM-L6-v2"))
        >>> batch = embed({"text": np.array(["Mars is red.", "Venus is hot."])})
        >>> batch["vector"].shape
        (2, 384)

        With Ray Data, Dask, Spark and multiprocessing:

        dataset.map_batches(EmbedBatch, fn_constructor_args=(config,), num_cpus=4, compute=ActorPoolStrategy(size=8))
        frame.map_partitions(EmbedBatch(config), meta=...)
        frame.mapInPandas(partial(map, EmbedBatch(config)), schema)
        pool.imap(EmbedBatch(config), batches)
    """

    def __init__(
        self,
        embedder: EmbedderSource,
        *,
        text_column: str = "text",
        vector_column: str = "vector",
        error_column: str = "error",
        fingerprint: Fingerprint | None = None,
    ) -> None:
        """Keep settings; nothing is loaded yet.

        Args:
            embedder: The model. Where settings leave `n_threads` open, a Ray actor takes the CPUs assigned to it.
            text_column: Which column has the texts.
            vector_column: Which column gets the vectors, float32 of d dimensions and unit length.
            error_column: Which column gets what was wrong with a text; null where it has a vector.
            fingerprint: What the vectors must be like; a process whose model differs raises at its first batch.
        """
        self._source = embedder
        self._fingerprint = fingerprint
        self._text_column, self._vector_column, self._error_column = text_column, vector_column, error_column

    def __call__(self, batch: Batch) -> Batch:
        """Embed a batch.

        Raises:
            FingerprintMismatchError: this process has another model than it must have.
            BackendError: the engine fails on every text, so that it is not the text's fault.
            JinaRagError: the model can't be loaded, as from `Embedder.from_pretrained`.
        """
        vectors, errors = self.embed(_column(batch, self._text_column))
        embedded: Batch = _with_columns(batch, (self._vector_column, vectors), (self._error_column, errors))
        return embedded

    def embed(self, texts: Sequence[str]) -> tuple[FloatArray, list[str | None]]:
        """The vectors of texts, shape (n, d), and what was wrong with those whose row is NaN. Raises as a call does.

        A part that the engine fails on is halved until one text is left; a text that the model refuses is named by the
        error itself.
        """
        embedder = embedder_of(self._source, self._fingerprint)
        vectors = np.full((len(texts), embedder.dimensions), np.nan, np.float32)
        errors: list[str | None] = [None] * len(texts)
        waiting = [list(range(len(texts)))] if len(texts) else []
        while waiting:
            part = waiting.pop()
            try:
                vectors[part] = embedder.embed_documents([texts[index] for index in part])
            except TextError as error:
                errors[part.pop(error.index)] = f"The text {error.problem}"
                waiting += [part] if part else []
            except BackendUnavailableError:  # no text's fault
                raise
            except BackendError as error:
                if len(part) > 1:
                    waiting += [part[len(part) // 2 :], part[: len(part) // 2]]
                    continue
                self.warm_up()  # raises if the engine is broken
                errors[part[0]] = str(error)
        return vectors, errors

    def warm_up(self) -> None:
        """Load the model and embed a text, for an actor that should be ready, or to check its health.

        Raises:
            JinaRagError: as a call does.
        """
        embedder_of(self._source, self._fingerprint).embed_documents([_WARM_UP])


def embedder_of(source: EmbedderSource, fingerprint: Fingerprint | None = None) -> Embedder:
    """The one embedder of this process.

    Raises:
        FingerprintMismatchError: its vectors are not as `fingerprint` says.
        JinaRagError: the model can't be loaded.
    """
    embedder = _make_embedder(source)
    if fingerprint is not None:
        remedy = "Give every machine the same model file, for example in the image that its workers run."
        embedder.fingerprint.check(fingerprint, where="This run", remedy=remedy)
    return embedder


@cache
def _make_embedder(source: EmbedderSource) -> Embedder:
    if not isinstance(source, EmbedderConfig):
        return source()
    return shared_embedder(source.with_threads(cpus) if (cpus := _assigned_cpus()) else source)


def _assigned_cpus() -> int | None:
    """The CPUs that Ray has assigned to this actor or task; None in a driver and outside of Ray."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    context = ray.get_runtime_context()
    if context.worker.mode != ray.WORKER_MODE:
        return None
    return max(1, int(context.get_assigned_resources().get("CPU", 1)))


def _column(batch: object, name: str) -> list[Any]:
    """A column of an Arrow table, a DataFrame or a dictionary."""
    column = batch[name]  # type: ignore[index]
    return list(column.to_pylist() if hasattr(column, "to_pylist") else column)


def _with_columns(batch: Any, vectors: tuple[str, FloatArray], errors: tuple[str, list[str | None]]) -> Any:  # noqa: ANN401
    """The batch with two more columns, in its own kind."""
    if isinstance(batch, dict):
        return {**batch, vectors[0]: vectors[1], errors[0]: np.array(errors[1], dtype=object)}
    if hasattr(batch, "append_column"):
        import pyarrow as pa

        table = batch.append_column(vectors[0], vector_array(vectors[1]))
        return table.append_column(errors[0], pa.array(errors[1], pa.string()))
    rows = [None if error else vector for vector, error in zip(vectors[1], errors[1], strict=True)]
    return batch.assign(**{vectors[0]: rows, errors[0]: errors[1]})


def vector_array(vectors: FloatArray) -> "pa.FixedSizeListArray":
    """Vectors of shape (n, d) as an Arrow array; null where they are NaN."""
    import pyarrow as pa

    missing = pa.array(np.isnan(vectors[:, 0]))
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1], mask=missing)
