"""How far a command is: on stderr, and only if that is a terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from jina_rag.cli.output import shortened
from jina_rag.formatting import duration

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from jina_rag.bench import BenchProgress, BenchProgressCallback
    from jina_rag.distributed.index import ProgressCallback as IndexProgressCallback
    from jina_rag.rag.indexing.index import AddProgress, AddProgressCallback


_SECONDS_BETWEEN_LINES = 30


class CountCallback(Protocol):
    """Draws how far it is."""

    def __call__(self, done: int, total: int | None = None) -> None:
        """Show how many are done, and of how many if that was not known before."""


@contextmanager
def working(text: str) -> Iterator[None]:
    """A spinner and the seconds since it began, for work of unknown length."""
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    with _progress(SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()) as progress:
        progress.add_task(text, total=None)
        yield


@contextmanager
def counting_bar(description: str, total: int | None, unit: str) -> "Iterator[CountCallback]":
    """A bar with rate and time left; call it with how many are done, and of how many if that was unknown."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn(f"{{task.fields[rate]}} {unit}/s", markup=False),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    with _progress(*columns) as progress:
        task = progress.add_task(description, total=total, rate="-")

        def show(done: int, total: int | None = None) -> None:
            speed = progress.tasks[0].finished_speed or progress.tasks[0].speed
            progress.update(task, completed=done, total=total, rate=f"{speed:,.1f}" if speed else "-")

        yield show


@contextmanager
def adding_bar() -> "Iterator[AddProgressCallback]":
    """A bar: the document at hand, files done, chunks a second, the time left."""
    from rich.progress import BarColumn, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[counts]}", markup=False),
    )
    with _progress(*columns) as progress:
        task = progress.add_task("Reading", total=None, counts="")

        def show(state: "AddProgress") -> None:
            counts = [f"{state.documents_done:,}/{state.documents_total:,} files"]
            counts += [f"{state.chunks_per_second:.1f} chunks/s"] if state.chunks_done else []
            counts += [f"{duration(state.seconds_left)} left"] if state.seconds_left is not None else []
            progress.update(
                task,
                description=shortened(Path(state.source).name, 24),
                total=max(1, state.bytes_total),
                completed=state.bytes_done,
                counts=", ".join(counts),
            )

        yield show


@contextmanager
def index_bars() -> "Iterator[IndexProgressCallback]":
    """A bar for each stage of an index run; where stderr is no terminal, as in a cluster's log, a line now and then."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=None), MofNCompleteColumn())
    with _progress(*columns, TimeRemainingColumn(compact=True, elapsed_when_finished=True)) as progress:
        tasks: dict[str, TaskID] = {}
        next_line = time.monotonic() + _SECONDS_BETWEEN_LINES

        def show(stage: str, done: int, total: int) -> None:
            nonlocal next_line
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], completed=done, total=total)
            if progress.disable and time.monotonic() > next_line:
                typer.echo(f"{stage}: {done:,} of {total:,}", err=True)
                next_line = time.monotonic() + _SECONDS_BETWEEN_LINES

        yield show


@contextmanager
def stage_bar() -> "Iterator[BenchProgressCallback]":
    """A bar: the stage of a measurement, how far it is, the time left."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with _progress(*columns) as progress:
        task = progress.add_task("Starting", total=None)

        def show(state: "BenchProgress") -> None:
            progress.update(task, description=shortened(state.stage, 30), completed=state.done, total=state.total)

        yield show


def _progress(*columns: object) -> "Progress":
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)  # type: ignore[arg-type]
