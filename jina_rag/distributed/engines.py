"""Where the stages run: in this process, or in actors of a Ray cluster."""

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from jina_rag.errors import BackendError, JinaRagError, MissingDependencyError
from jina_rag.machine import available_cores

_MOST_BLOCKS = 10_000  # of a Ray dataset; each has the work of one task

Stage = Callable[[Any], Callable[[Any], int]]
"""A class: its constructor takes the settings in the worker, and its instances turn a unit of work into a count."""


class Engine(Protocol):
    """Runs a stage over units of work, in any order, and holds no more than it works on."""

    def run(self, stage: Stage, settings: object, units: Sequence[Any], *, uses_model: bool) -> Iterator[int]:
        """What the stage gives for each unit, as they are done.

        Args:
            stage: The class.
            settings: What its constructor takes.
            units: The work; they and the settings pickle.
            uses_model: Whether the model computes, so that a worker is to have all the cores meant for it.

        Raises:
            JinaRagError: what the stage raised.
        """
        ...


class LocalEngine:
    """Everything in this process: documents are read in threads, one for each core, and the model has all cores."""

    def run(self, stage: Stage, settings: object, units: Sequence[Any], *, uses_model: bool) -> Iterator[int]:
        """As `Engine.run`."""
        if not units:
            return
        work = stage(settings)
        if uses_model:
            yield from map(work, units)
            return
        threads = ThreadPoolExecutor(available_cores())
        try:
            yield from threads.map(work, units)
        finally:
            threads.shutdown(cancel_futures=True)


@dataclass(frozen=True, kw_only=True)
class RayEngine:
    """An actor pool of Ray Data, on this machine or a cluster.

    A worker that dies is started again by Ray, and what it was at is done again. Ray Data's `CheckpointConfig` is not
    used: it keeps the ids of all finished rows in memory, and needs them to be those of the input, but a document
    becomes many chunks. Here files are the units and their names say what is done, for every engine.

    Attributes:
        address: Of the cluster, as `ray.init` takes it; None takes the one in RAY_ADDRESS, one that `ray start` has
            started on this machine, or starts one.
        actors: How many models; None takes as many as the cluster has CPUs for.
        cpus: For each model, which computes with as many threads.
        gpus: For each model; 0.5 lets two share one.
    """

    address: str | None = None
    actors: int | None = None
    cpus: int = 1
    gpus: float = 0.0

    def run(self, stage: Stage, settings: object, units: Sequence[Any], *, uses_model: bool) -> Iterator[int]:
        """As `Engine.run`.

        Raises:
            MissingDependencyError: Ray is not installed.
            BackendError: the cluster can't be reached or has failed.
        """
        if not units:
            return
        ray = _connect(self.address)
        with _ray_errors(ray):
            total = int(ray.cluster_resources().get("CPU", 1))
            cpus = self.cpus if uses_model else 1
            actors = (self.actors if uses_model else None) or max(1, total // cpus)
            rows = [{"unit": pickle.dumps(unit)} for unit in units]
            done = ray.data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS)).map(
                _Actor,
                fn_constructor_args=(stage, settings),
                compute=ray.data.ActorPoolStrategy(size=min(actors, len(rows))),
                num_cpus=cpus,
                num_gpus=self.gpus if uses_model and self.gpus else None,
            )
            for row in done.iter_rows():
                if row["error"]:
                    raise pickle.loads(row["error"])  # noqa: S301 - our own, through Ray
                yield row["done"]


class _Actor:
    """A stage as Ray Data calls it: rows are dictionaries. Errors are rows, too: Ray passes on their text alone."""

    def __init__(self, stage: Stage, settings: object) -> None:
        self._stage, self._settings = stage, settings
        self._work: Callable[[Any], int] | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            self._work = self._work or self._stage(self._settings)
            return {"done": self._work(pickle.loads(row["unit"])), "error": b""}  # noqa: S301 - our own, through Ray
        except JinaRagError as error:
            return {"done": 0, "error": pickle.dumps(error)}


def _connect(address: str | None) -> Any:  # noqa: ANN401 - a module
    """Ray, connected; it stays so until this process ends, as Ray's own functions leave it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingDependencyError.for_extra("ray[data]", "ray") from error

    if not ray.is_initialized():
        with _ray_errors(ray):
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        for handler in logging.getLogger("ray.data").handlers:
            if isinstance(handler, logging.StreamHandler):  # the terminal; its files keep everything
                handler.setLevel(logging.CRITICAL)
        ray.data.DataContext.get_current().enable_progress_bars = False
    return ray


@contextmanager
def _ray_errors(ray: Any) -> Iterator[None]:  # noqa: ANN401 - a module
    """Report in our words that Ray has failed."""
    try:
        yield
    except (ray.exceptions.RayError, ConnectionError) as error:
        first_line = next(iter(str(error).splitlines()), type(error).__name__)
        raise BackendError(
            f"Ray has ended the run ({first_line}). Run the same command again: it continues from there."
        ) from error
