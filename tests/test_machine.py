import os
import subprocess
import sys
from pathlib import Path

import pytest

from jina_rag import machine
from jina_rag.machine import available_cores, peak_memory_bytes


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 16 cores whose kernel says what a test writes into this folder."""
    (tmp_path / "groups").mkdir()
    monkeypatch.setattr(machine, "CONTROL_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(machine, "OWN_CONTROL_GROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def test_without_a_limit_all_cores_count(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert available_cores() == 16
    write(kernel / "own", "0::/")
    write(kernel / "groups/cpu.max", "max 100000")
    assert available_cores() == 16
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert available_cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert available_cores() == 16


@pytest.mark.parametrize(("limit", "cores"), [("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1)])
def test_a_container_s_limit_counts(kernel: Path, limit: str, cores: int) -> None:
    write(kernel / "own", "0::/")
    write(kernel / "groups/cpu.max", limit)
    assert available_cores() == cores


def test_the_tightest_group_around_counts(kernel: Path) -> None:
    write(kernel / "own", "0::/pod/container")
    write(kernel / "groups/pod/container/cpu.max", "800000 100000")
    write(kernel / "groups/pod/cpu.max", "300000 100000")
    assert available_cores() == 3


def test_control_groups_of_version_1(kernel: Path) -> None:
    write(kernel / "own", "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/x")
    write(kernel / "groups/cpu/cpu.cfs_period_us", "100000")
    write(kernel / "groups/cpu/cpu.cfs_quota_us", "-1")
    assert available_cores() == 16
    write(kernel / "groups/cpu/cpu.cfs_quota_us", "400000")  # as a container sees its own group: at the top
    assert available_cores() == 4


def test_peak_memory_grows_with_what_is_held() -> None:
    code = (
        "from jina_rag.machine import peak_memory_bytes as peak; before = peak(); held = bytes([1]) * 10**8; "
        "print(before is None or peak() - before > 9 * 10**7)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
    assert peak_memory_bytes() != 0
