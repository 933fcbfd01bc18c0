"""What this machine gives to this process: processor cores, memory, its own addresses, and a folder for files."""

import math
import os
import platform
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path, PurePosixPath

import platformdirs

CACHE_VARIABLE = "JINA_RAG_CACHE"
"""The environment variable that moves `cache_root`."""

CONTROL_GROUPS = Path("/sys/fs/cgroup")
OWN_CONTROL_GROUPS = Path("/proc/self/cgroup")

_LISTENING = "0A"


def available_cores() -> int:
    """How many cores this process may keep busy, at least 1: by its affinity and, on Linux, its container's limit.

    A container limited to one core and a half counts as two: with one thread, half a core would be lost.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([cores, *(math.ceil(limit) for limit in _core_limits())])


def processor() -> str:
    """The processor's name and its widest vector instructions, as far as the system says."""
    lines = dict(line.split(":", 1) for line in _read(Path("/proc/cpuinfo")).splitlines() if ":" in line)
    found = {name.strip(): value.strip() for name, value in lines.items()}
    flags = found.get("flags", "").split()
    vectors = next((name for name in ("avx512_vnni", "avx_vnni", "avx512f", "avx2") if name in flags), "")
    return ", ".join(filter(None, (found.get("model name") or platform.processor() or platform.machine(), vectors)))


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach a host: "localhost", or an address of the loopback network."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def port_owners(port: int) -> frozenset[int]:
    """The accounts whose programs listen at a TCP port of this machine; none where the system doesn't say (Linux does).

    Source: `Documentation/networking/proc_net_tcp.rst` of the Linux kernel.
    """
    tables = map(_read, (Path("/proc/net/tcp"), Path("/proc/net/tcp6")))
    rows = [row.split() for table in tables for row in table.splitlines()[1:]]
    return frozenset(int(row[7]) for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port)


def available_memory_bytes() -> int | None:
    """Memory that processes could still take; None where the system doesn't say (only Linux does)."""
    return _bytes_after("MemAvailable:", Path("/proc/meminfo"))


def peak_memory_bytes() -> int | None:
    """The most memory that this process has held, mapped weights included; None where the system doesn't say."""
    # Not getrusage(): what it gives on Linux includes the process that started this one.
    if (peak := _bytes_after("VmHWM:", Path("/proc/self/status"))) is not None:
        return peak
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cache_root() -> Path:
    """This user's folder for files made here, such as converted models; all of it can be made again."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_path("jina_rag"))


def _bytes_after(label: str, path: Path) -> int | None:
    """A size that /proc gives in units of 1,024 bytes."""
    return next((int(line.split()[1]) * 1024 for line in _read(path).splitlines() if line.startswith(label)), None)


def _core_limits() -> Iterator[float]:
    """The limits of this process's control group and of every group around it, in cores.

    Source: "Control Group v2" and "CFS Bandwidth Control" of the Linux kernel's documentation.
    """
    for line in _read(OWN_CONTROL_GROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        relative = PurePosixPath(path.lstrip("/"))
        for group in (relative, *relative.parents):
            if not controllers:  # version 2
                quota, _, period = _read(CONTROL_GROUPS / group / "cpu.max").partition(" ")
            elif "cpu" in controllers.split(","):
                folder = CONTROL_GROUPS / "cpu" / group
                quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
            else:
                continue
            if quota.isdigit() and period.isdigit():  # else "max" or "-1": no limit
                yield int(quota) / int(period)


def _read(path: Path) -> str:
    """What a file of the kernel's says; nothing where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
