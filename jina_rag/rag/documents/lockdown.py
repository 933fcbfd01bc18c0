"""What the process that parses documents may not do, whatever a document makes of its parser.

| nothing but Python's own libraries can be read, and nothing written | Landlock | Linux >= 5.13 |
| no sockets, no new processes, no hold on others | seccomp | Linux, x86-64 and arm64 |
| no TCP; no signals and no abstract sockets to other processes | Landlock | Linux >= 6.7; >= 6.12 |
| no file content written, no core dump, 64 open files, no new processes unless root | rlimits | Linux, macOS |

The parser gets a document's bytes through a pipe, so it has no files to open. On Windows it has a process of its own
and no more than that; on macOS the limits of the last row.
"""

import ctypes
import mimetypes
import os
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

_MAX_OPEN_FILES = 64

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446  # the same on every processor
_LANDLOCK_VERSION_FLAG, _LANDLOCK_PATH_BENEATH = 1, 1
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many rights there are by Landlock's version; 16 since version 5."""
_TCP = 0b11  # bind and connect
_SCOPED = 0b11  # abstract Unix sockets and signals

_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _SECCOMP_FILTER = 38, 22, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_CLONE_THREAD = 0x00010000
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_FORBIDDEN = {
    **{"socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201)},
    **{"fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281)},
    **{"kill": (62, 129), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "pidfd_send_signal": (424, 424)},
    **{"ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271)},
    **{"pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "io_uring_setup": (425, 425), "bpf": (321, 280)},
    **{"unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "userfaultfd": (323, 282)},
    **{"perf_event_open": (298, 241), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219)},
}
"""The numbers of system calls on both processors. io_uring would get around the filter."""
_CLONE, _CLONE3 = (56, 220), 435


def lock_down() -> list[str]:
    """Give up this process's rights for good.

    Returns:
        Which of "landlock", "seccomp" and "rlimits" hold.
    """
    sys.dont_write_bytecode = True
    measures: dict[str, Callable[[], bool]] = {
        "rlimits": _limit_resources,
        "landlock": _restrict_files,
        "seccomp": _filter_system_calls,
    }
    return [name for name, apply in measures.items() if apply()]


def landlock_version() -> int:
    """Which version of Landlock the kernel has; 0 for none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc().syscall(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION_FLAG)))


def _limit_resources() -> bool:
    try:
        import resource
    except ImportError:  # Windows
        return False
    limits = {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: _MAX_OPEN_FILES}
    limits[resource.RLIMIT_NPROC] = 0
    for limit, value in limits.items():
        _, most = resource.getrlimit(limit)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(limit, (value, value))
    return True


def _restrict_files() -> bool:
    version = landlock_version()
    if not version:
        return False
    rights = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    attributes = struct.pack("=Q", rights)
    attributes += struct.pack("=Q", _TCP) if version >= 4 else b""
    attributes += struct.pack("=Q", _SCOPED) if version >= 6 else b""
    libc = _libc()
    rules = libc.syscall(_LANDLOCK_CREATE, attributes, len(attributes), 0)
    if rules < 0:
        return False
    try:
        for path in _library_paths():
            _allow_reading(libc, rules, path)
        libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        return bool(libc.syscall(_LANDLOCK_RESTRICT, rules, 0) == 0)
    finally:
        os.close(rules)


def _allow_reading(libc: ctypes.CDLL, rules: int, path: Path) -> None:
    try:
        descriptor = os.open(path, getattr(os, "O_PATH", 0))
    except OSError:  # it isn't there
        return
    try:
        rights = _READ_FILE | (_READ_FOLDER if path.is_dir() else 0)
        libc.syscall(_LANDLOCK_ADD, rules, _LANDLOCK_PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)


def _library_paths() -> Iterable[Path]:
    """Where Python and its packages are: readers load some of them only for the documents that need them."""
    yield Path(__file__).resolve().parents[2]  # this package
    yield from (Path(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages"))
    yield from (Path(os.__file__).resolve().parent, Path(sys.base_prefix, "lib"))
    yield from map(Path, mimetypes.knownfiles)  # openpyxl has them read
    yield from map(Path, ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"))


def _filter_system_calls() -> bool:
    if sys.platform != "linux" or os.uname().machine not in _ARCHITECTURES:
        return False
    place, architecture = _ARCHITECTURES[os.uname().machine]
    program = b"".join(_filter(place, architecture))
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    libc = _libc()
    libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return bool(libc.prctl(_SET_SECCOMP, _SECCOMP_FILTER, header, 0, 0) == 0)


def _filter(place: int, architecture: int) -> Iterator[bytes]:
    """A program for the kernel's BPF machine: it refuses the forbidden calls and lets all others pass."""
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06

    def step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    refuse = step(give, _ERRNO | _EPERM)
    yield step(load, 4)  # the architecture
    yield step(equal, architecture, 1, 0)
    yield refuse
    yield step(load, 0)  # the number of the call
    yield step(at_least, 0x40000000, 0, 1)  # x32, a second set of numbers on x86-64
    yield refuse
    for numbers in _FORBIDDEN.values():
        if (number := numbers[place]) is not None:
            yield step(equal, number, 0, 1)
            yield refuse
    yield step(equal, _CLONE3, 0, 1)
    yield step(give, _ERRNO | _ENOSYS)  # its flags can't be seen from here; the C library then calls clone
    yield step(equal, _CLONE[place], 0, 3)
    yield step(load, 16)  # its first argument
    yield step(any_bit, _CLONE_THREAD, 1, 0)
    yield refuse
    yield step(give, _ALLOW)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
