"""What `jina-rag index` costs: on Ray beside bare processes, and with the number of chunks.

    python -m tests.benchmarks.cluster FOLDER pairs [--rounds 5]   # two one-CPU actors beside two processes
    python -m tests.benchmarks.cluster FOLDER level                # processor time and memory by the number of chunks

Each prints JSON. `level` has the fake engine from 1,000 to 100,000 chunks, which measures all but the model; with
`--ways all-MiniLM-L6-v2 Ray` a real model with 500 and 2,000 chunks, and the memory of the driver on Ray, without that
of its actors.
"""

import argparse
import json
import logging
import multiprocessing
import random
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jina_rag import Embedder, EmbedderConfig, LlamaCppOptions
from jina_rag.distributed import LocalEngine, RayEngine, index_documents
from jina_rag.distributed.shards import ShardFolder
from jina_rag.distributed.sources import list_sources
from jina_rag.distributed.stages import EmbedGroup, ReadBundle, WorkerSettings, bundles_of
from jina_rag.machine import peak_memory_bytes
from jina_rag.testing import fake_embedder, random_texts
from tests.distributed.conftest import write_documents

CHUNKS_IN_A_DOCUMENT = 25
LEVELS = {"no model": (1_000, 10_000, 100_000), "all-MiniLM-L6-v2": (500, 2_000), "Ray": (1_000, 10_000, 30_000)}
WORDS = 150  # of a chunk: two don't fit into one
_VOCABULARY = sorted(set(random_texts(5_000, words=1)))
ONE_THREAD = LlamaCppOptions(n_threads=1)
MINILM = EmbedderConfig(model="all-MiniLM-L6-v2", options=ONE_THREAD)


class TimedGroup(EmbedGroup):
    """Leaves the seconds of processor time that its process has taken."""

    def __call__(self, unit: tuple[str, int]) -> int:
        """Embed a group."""
        n_embedded = super().__call__(unit)
        pid = multiprocessing.current_process().pid
        Path(self._settings.folder.address, f"cpu-{pid}").write_text(str(time.process_time()))
        return n_embedded


def pairs(folder: Path, rounds: int, n_documents: int) -> dict[str, Any]:
    """Rounds in which both ways embed the same chunks, in turn the one first and the other; each starts its workers."""
    import ray

    write_documents(folder / "documents", n_documents)
    model = Embedder.from_config(MINILM)
    read = ShardFolder(str(folder / "read"))
    read.make()
    settings = WorkerSettings(MINILM, model.fingerprint, read, 50)
    files = list(list_sources([str(folder / "documents")]).files.values())
    list(LocalEngine().run(ReadBundle, settings, bundles_of(files), uses_model=False))
    bundles = read.bundles(model.fingerprint)
    units = [(bundle.name, group) for bundle in bundles for group in range(len(bundle.group_rows))]
    n_chunks = sum(sum(bundle.group_rows) for bundle in bundles)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    turns: list[dict[str, Any]] = []
    for turn in range(rounds):
        turns.append({})
        for way in ("ray", "processes")[:: 1 if turn % 2 else -1]:
            here = folder / f"{way}-{turn}"
            shutil.copytree(folder / "read", here)
            started = time.monotonic()
            _embed(way, replace(settings, folder=ShardFolder(str(here))), units)
            seconds = time.monotonic() - started
            written = [file.stat().st_mtime for file in (here / "shards").iterdir()]
            turns[-1][way] = {
                "with_start": seconds,
                "seconds": max(written) - min(written),
                "cpu_seconds": sum(float(file.read_text()) for file in here.glob("cpu-*")),
            }
    return {"chunks": n_chunks, "rounds": turns}


def _embed(way: str, settings: WorkerSettings, units: Sequence[tuple[str, int]]) -> None:
    if way == "ray":
        list(RayEngine(actors=2).run(TimedGroup, settings, units, uses_model=True))
        return
    spawn = multiprocessing.get_context("spawn").Process
    processes = [spawn(target=_embed_here, args=(settings, units[half::2])) for half in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def _embed_here(settings: WorkerSettings, units: Sequence[tuple[str, int]]) -> None:
    list(LocalEngine().run(TimedGroup, settings, units, uses_model=True))


def level(folder: Path, ways: Sequence[str]) -> dict[str, Any]:
    """Processor time of a chunk and the most memory, each number of chunks in a process of its own."""
    rows = []
    for way, n_chunks in [(name, n) for name in ways for n in LEVELS[name]]:
        documents = folder / f"documents-{n_chunks}"
        documents.mkdir(parents=True, exist_ok=True)
        for number in range(n_chunks // CHUNKS_IN_A_DOCUMENT):
            (documents / f"{number}.txt").write_text("\n\n".join(_texts(CHUNKS_IN_A_DOCUMENT, seed=number)))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(_level, (way, documents, folder / f"{way}-{n_chunks}")))
    return {"rows": rows}


def _level(way: str, documents: Path, shards: Path) -> dict[str, float | str]:
    started = time.process_time()
    report = index_documents(
        [str(documents)],
        None,
        shards=str(shards),
        embedder=MINILM if way == "all-MiniLM-L6-v2" else fake_embedder,
        engine=RayEngine(actors=1) if way == "Ray" else LocalEngine(),
    )
    cpu = time.process_time() - started
    return {
        "way": way,
        "chunks": report.n_chunks,
        "reading_ms": round(1000 * report.seconds["Reading"] / report.n_chunks, 3),
        "embedding_ms": round(1000 * report.seconds["Embedding"] / report.n_chunks, 3),
        "cpu_ms": round(1000 * cpu / report.n_chunks, 3),
        "peak_mb": round((peak_memory_bytes() or 0) / 1e6),
    }


def _texts(n: int, *, seed: int = 0) -> list[str]:
    chosen = random.Random(seed)
    return [" ".join(chosen.choices(_VOCABULARY, k=WORDS)) for _ in range(n)]


def main() -> None:
    """Print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where everything is written to")
    parser.add_argument("part", choices=("pairs", "level"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--documents", type=int, default=120, help="of about five chunks, for pairs")
    parser.add_argument("--ways", nargs="+", choices=LEVELS, default=["no model"])
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    parts = {
        "pairs": lambda: pairs(arguments.folder, arguments.rounds, arguments.documents),
        "level": lambda: level(arguments.folder, arguments.ways),
    }
    sys.stdout.write(json.dumps(parts[arguments.part]()) + "\n")


if __name__ == "__main__":
    main()
