"""Index runs in processes of their own, in which something is killed.

    python -m tests.distributed.kills FOLDER [--engine local] [--moments 10] [--documents 60] [--victims driver server]

An actor, the driver or the Chroma server of a run is killed with SIGKILL at a random moment, in each stage in
turn; then the command is run again. The collection must be the same as that of an undisturbed run, and what was in a
shard must not have been embedded again.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import chromadb
import psutil
import pyarrow.parquet as pq

from tests.backends.processes import free_port
from tests.chroma_server import start_chroma
from tests.distributed.conftest import assert_same, write_documents

Victim = Literal["actor", "driver", "server"]
SHARD_ROWS = 20
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1"}


class Server:
    """A Chroma server that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process = start_chroma(folder, self._port)
        self._client = chromadb.HttpClient("127.0.0.1", self._port)
        self.address = f"chroma://127.0.0.1:{self._port}"

    def count(self, name: str) -> int:
        """How many rows a collection has; 0 where there is none."""
        names = [collection.name for collection in self._client.list_collections()]
        return self._client.get_collection(name, embedding_function=None).count() if name in names else 0

    def restart(self) -> None:
        """Kill it with SIGKILL, and start it again."""
        self.kill()
        self._process = start_chroma(self._folder, self._port)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self._process.kill()
        self._process.wait()


@dataclass(frozen=True)
class Run:
    """`jina-rag index` with everything that it needs.

    Attributes:
        documents: The source.
        shards: The folder of shards.
        to: The store.
        engine: The options of the engine.
    """

    documents: Path
    shards: Path
    to: str
    engine: tuple[str, ...] = ("--engine", "local")

    @property
    def command(self) -> list[str]:
        """The command line."""
        options = {"--source": self.documents, "--shards": self.shards, "--to": self.to, "--shard-size": SHARD_ROWS}
        arguments = [str(part) for option in options.items() for part in option]
        return [
            sys.executable,
            "-m",
            "jina_rag.cli",
            "index",
            *arguments,
            *self.engine,
            "--model",
            "all-MiniLM-L6-v2",
            "--json",
        ]

    def start(self) -> "subprocess.Popen[str]":
        """Start it."""
        return subprocess.Popen(
            self.command,
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def finish(self) -> dict[str, Any]:
        """Run it to its end; gives the report."""
        done = subprocess.run(self.command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def rows_in_shards(self) -> int:
        """How many chunks have been embedded for good."""
        return sum(pq.read_metadata(file).num_rows for file in (self.shards / "shards").glob("*.parquet"))


def kill_once(run: Run, victim: Victim, server: Server, is_time: Callable[[], bool]) -> str:
    """Kill something of a run once it is time, run it again until it succeeds, and check what it has embedded.

    Returns:
        What happened, in a line.
    """
    process, state = run.start(), ""
    while process.poll() is None and not state:
        if is_time():
            n_stored = server.count(run.to.rpartition("/")[2])
            if _kill(victim, process, server):
                state = f"{len(list((run.shards / 'chunks').glob('*')))} bundles, {n_stored} rows in the store"
        time.sleep(0.02)
    process.wait()
    n_rows = run.rows_in_shards()
    report = run.finish()
    assert report["n_embedded"] == report["n_chunks"] - n_rows, "what was in a shard was embedded again"
    what = f"killed with {state}" if state else "it was too late to kill"
    ended = "went on to its end" if process.returncode == 0 else f"ended with {n_rows} chunks in shards"
    return f"{victim}: {what}; the run {ended}, of {report['n_chunks']}"


def _kill(victim: Victim, process: "subprocess.Popen[str]", server: Server) -> bool:
    """Kill it with SIGKILL; whether there was anything to kill."""
    if victim == "server":
        server.restart()
    elif victim == "driver":
        for each in [psutil.Process(process.pid), *_children(process.pid)]:  # with the cluster that it has started
            with suppress(psutil.NoSuchProcess):
                each.kill()
    else:
        actors = [child for child in _children(process.pid) if "_Actor" in _title(child)]
        if not actors:
            return False
        random.choice(actors).kill()
    return True


def _children(pid: int) -> list[psutil.Process]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def kill_at_random(undisturbed: Run, victim: Victim, number: int, server: Server, took: dict[str, float]) -> str:
    """Kill something of a new run at a random moment of one stage, and compare what there is in the end.

    Args:
        undisturbed: The run that was not disturbed.
        victim: What is killed.
        number: Of the kill; stages take turns. When rows are loaded, no actor is left to be killed.
        server: Of both runs.
        took: The seconds of each stage of the undisturbed run, and of its start.

    Returns:
        What happened, in a line.
    """
    name = f"{victim}-{number}"
    run = replace(undisturbed, shards=undisturbed.shards.with_name(name), to=f"{server.address}/killed-{name}")
    stages = list(took)[1:3] if victim == "actor" else list(took)[1:]
    stage = stages[number % len(stages)]
    before = sum(seconds for name, seconds in took.items() if list(took).index(name) < list(took).index(stage))
    moment = time.monotonic() + before + random.uniform(0, took[stage])
    n_rows = random.randrange(1, server.count("undisturbed") - 2 * SHARD_ROWS)
    if stage == "Loading":  # of the same shards, at once: it takes a second, which no clock hits
        shutil.copytree(undisturbed.shards, run.shards)

    def is_time() -> bool:
        return server.count(f"killed-{name}") >= n_rows if stage == "Loading" else time.monotonic() >= moment

    line = kill_once(run, victim, server, is_time)
    assert_same(run.to, undisturbed.to)
    return f"{line}; same collection"


def main() -> None:
    """Print a line for each kill."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where everything is written to")
    parser.add_argument("--moments", type=int, default=10, help="how many kills for each victim")
    parser.add_argument("--documents", type=int, default=60, help="how many documents of two to three chunks")
    parser.add_argument("--engine", default="ray", choices=("ray", "local"), help="which has no actors if it is local")
    parser.add_argument("--victims", nargs="*", choices=get_args(Victim), help="which; all by default")
    arguments = parser.parse_args()
    write_documents(arguments.folder / "documents", arguments.documents)
    server = Server(arguments.folder / "chroma")
    try:
        engine = ("--engine", arguments.engine, *(("--actors", "2") if arguments.engine == "ray" else ()))
        to = f"{server.address}/undisturbed"
        undisturbed = Run(arguments.folder / "documents", arguments.folder / "undisturbed", to, engine)
        started = time.monotonic()
        took = undisturbed.finish()["seconds"]
        took = {"Start": time.monotonic() - started - sum(took.values()), **took}
        _say(f"undisturbed: {', '.join(f'{stage} {seconds:.0f} s' for stage, seconds in took.items())}")
        for victim in arguments.victims or get_args(Victim):
            for number in range(arguments.moments):
                _say(kill_at_random(undisturbed, victim, number, server, took))
    finally:
        server.kill()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
