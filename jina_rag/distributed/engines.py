"""Where the stages run: in this process, or in actors of a Ray cluster."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from jina_rag.errors import BackendError, JinaRagError, MissingDependencyError
from jina_rag.machine import available_cores

Unit = TypeVar("Unit")
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
        address: Of the cluster, as `ray.init` takes it; None takes the one in RAY_ADDRESS, or starts one here.
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
        with _cluster(self.address) as ray, _ray_errors(ray):
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
                yield row["done"]


_MOST_BLOCKS = 10_000


class _Actor:
    """A stage as Ray Data calls it: rows are dictionaries."""

    def __init__(self, stage: Stage, settings: object) -> None:
        self._work = stage(settings)

    def __call__(self, row: dict[str, Any]) -> dict[str, int]:
        return {"done": self._work(pickle.loads(row["unit"]))}  # noqa: S301 - our own, through Ray


@contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    """Ray, connected; one that was started here is stopped in the end."""
    import os

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingDependencyError.for_extra("ray[data]", "ray") from error

    is_ours = not ray.is_initialized()
    if is_ours:
        with _ray_errors(ray):
            ray.init(address=address, log_to_driver=False, logging_level="error")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    try:
        yield ray
    finally:
        if is_ours:
            ray.shutdown()


@contextmanager
def _ray_errors(ray: Any) -> Iterator[None]:  # noqa: ANN401 - a module
    """Raise what a stage has raised, and report in our words what Ray itself says."""
    try:
        yield
    except (ray.exceptions.RayError, ConnectionError) as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, JinaRagError):
                raise cause from None
            cause = getattr(cause, "cause", None) or cause.__cause__
        raise BackendError(
            f"Ray has ended the run ({_first_line(error)}). Run the same command again: it continues from there."
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
