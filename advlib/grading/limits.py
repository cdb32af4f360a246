"""What a student's process may do, set from inside before the first line of theirs runs, and never lifted again.

Everywhere: processor time, memory, the size of files. On Linux also Landlock, by which a process gives up rights that
neither it nor its children get back: it writes to its own folder alone, reads what Python and the course are made of,
starts no program, opens no TCP connection (Linux 6.7) and signals nobody outside (Linux 6.12).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from advlib import landlock, resource_limits

__all__ = ["Limits", "adopt", "bound", "end_family", "end_with_parent", "readable_places"]

FILES = 64 * 2**20  # bytes of one file that an answer may write

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 1, 4, 36


@dataclass(frozen=True)
class Limits:
    """For each answer: processor seconds, and megabytes beyond what the chapter itself takes."""

    seconds: float = 120
    megabytes: int = 2048


def readable_places() -> list[str]:
    """Where Python, its packages, the course's package and its data lie. Not the chapters, and nobody's submissions."""
    package = Path(__file__).resolve().parents[1]
    below = [one for one in sys.path if one and Path(one).resolve() != package.parent]
    data = [os.environ[name] for name in ("ADVLIB_DATA", "TORCH_HOME") if os.environ.get(name)]
    cache = Path.home() / ".cache"
    own = [sys.prefix, sys.base_prefix, *below, str(package), *data, str(cache / "torch"), str(cache / "advlib")]
    return [*landlock.SYSTEM, "/etc", *own]


def bound(seconds: float, megabytes: int) -> None:
    """Processor seconds, and memory beyond what this process takes already."""
    resource_limits.bound(max(1, round(seconds)), megabytes, FILES)


def adopt() -> None:
    """On Linux: be the parent of all that a student's process leaves behind, and let nobody look into this process."""
    if sys.platform == "linux":
        libc = landlock.libc()
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def end_with_parent() -> None:
    """On Linux: no answer outlives the worker."""
    if sys.platform == "linux":
        landlock.libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


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
