"""A run in which something is killed at some moments; `kills` has more of them, and Ray's."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.distributed.conftest import assert_same, write_documents
from tests.distributed.kills import Run, Server, Victim, kill_once


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("chroma"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def undisturbed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Run:
    documents = tmp_path_factory.mktemp("documents")
    write_documents(documents, 16)
    run = Run(documents, tmp_path_factory.mktemp("shards"), f"{server.address}/undisturbed")
    run.finish()
    return run


@pytest.mark.parametrize(("victim", "n_shards", "n_rows"), [("driver", 2, 0), ("driver", 0, 20), ("server", 0, 20)])
def test_a_killed_run_ends_as_an_undisturbed_one(
    undisturbed: Run, server: Server, tmp_path: Path, victim: Victim, n_shards: int, n_rows: int
) -> None:
    """Killed while it embeds, and while it fills the store."""
    name = f"killed-{victim}-{n_shards}"
    run = replace(undisturbed, shards=tmp_path / "shards", to=f"{server.address}/{name}")

    def is_time() -> bool:
        return len(list((run.shards / "shards").glob("*"))) >= n_shards and server.count(name) >= n_rows

    assert "killed with" in kill_once(run, victim, server, is_time)
    assert_same(run.to, undisturbed.to)
