"""What a student's process may do, set from inside before the first line of theirs runs, and never lifted again.

Everywhere: processor time, memory, the size of files. On Linux also Landlock, by which a process gives up rights that
neither it nor its children get back: it writes to its own folder alone, reads what Python and the course are made of,
starts no program, opens no TCP connection (Linux 6.7) and signals nobody outside (Linux 6.12).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from advlib import resource_limits

__all__ = ["Limits", "abi", "adopt", "bound", "confine", "end_family", "end_with_parent", "readable_places"]

FILES = 64 * 2**20  # bytes of one file that an answer may write

# linux/landlock.h: the system calls have these numbers on every processor; rights came with versions of the interface.
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_READ, _ALL = 0b1100, {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38


@dataclass(frozen=True)
class Limits:
    """For each answer: processor seconds, and megabytes beyond what the chapter itself takes."""

    seconds: float = 120
    megabytes: int = 2048


class _Ruleset(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def abi() -> int:
    """The version of Landlock here, 0 where there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, _libc().syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def readable_places(more: Iterable[str | os.PathLike] = ()) -> list[str]:
    """Where Python, its packages, the course's package and its data lie. Not the chapters, and nobody's submissions."""
    package = Path(__file__).resolve().parents[1]
    system = (
        "/usr",
        "/lib",
        "/lib64",
        "/etc",
        "/dev/null",
        "/dev/urandom",
        "/proc/self",
        "/proc/cpuinfo",
        "/sys/devices",
    )
    below = [one for one in sys.path if one and Path(one).resolve() != package.parent]
    data = [os.environ[name] for name in ("ADVLIB_DATA", "TORCH_HOME") if os.environ.get(name)]
    cache = Path.home() / ".cache"
    every = [*system, sys.prefix, sys.base_prefix, *below, package, *data, cache / "torch", cache / "advlib", *more]
    return [str(one) for one in every if os.path.exists(one)]


def confine(folder: str | os.PathLike, readable: Iterable[str]) -> bool:
    """Write in ``folder`` alone, read there and in ``readable``; whether this machine can hold anyone to it."""
    version = abi()
    if not version:
        return False
    libc = _libc()
    rights = _ALL[min(version, 5)]
    rules = _Ruleset(rights, 0b11 if version >= 4 else 0, 0b11 if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = libc.syscall(_CREATE, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    for place, allowed in [(str(folder), rights & ~1), ("/dev/null", 0b110), *((one, _READ) for one in readable)]:
        parent = os.open(place, os.O_PATH | os.O_CLOEXEC)
        # A file has no folder's rights.
        beneath = _Beneath(allowed if os.path.isdir(place) else allowed & 0b110, parent)
        added = libc.syscall(_ADD, ruleset, 1, ctypes.byref(beneath), ctypes.c_uint32(0))
        os.close(parent)
        if added:
            raise OSError(ctypes.get_errno(), f"Landlock refuses {place}")
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return libc.syscall(_RESTRICT, ruleset, ctypes.c_uint32(0)) == 0


def bound(seconds: float, megabytes: int) -> None:
    """Processor seconds, and memory beyond what this process takes already."""
    resource_limits.bound(max(1, round(seconds)), megabytes, FILES)


def adopt() -> None:
    """On Linux: be the parent of all that a student's process leaves behind, and let nobody look into this process."""
    if sys.platform == "linux":
        libc = _libc()
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def end_with_parent() -> None:
    """On Linux: no answer outlives the worker."""
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def end_family(pid: int) -> None:
    """Kill a student's process and, where `adopt` was called, all that it started, however it hid; and bury them."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        for one in {pid, *_descendants()}:
            with contextlib.suppress(OSError):
                os.kill(one, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def _descendants() -> set[int]:
    """All processes below this one; none where there is no /proc."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            # The name in brackets may hold brackets itself.
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
    found: set[int] = set()
    more = {os.getpid()}
    while more:
        more = {child for child, parent in parents.items() if parent in more} - found
        found |= more
    return found
