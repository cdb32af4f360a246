"""What a process may take, set from inside before code of somebody else's runs in it, and never raised again."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["bound"]


def bound(seconds: int, megabytes: int, file_bytes: int, open_files: int | None = None) -> None:
    """Hold this process to so much processor time in all, to files of this size and number, and to so much more memory.

    Memory only on Linux: elsewhere its limit is not kept, or counts what nobody uses. Nothing at all on Windows, where
    the clock of the one who waits is all there is.
    """
    try:
        import resource
    except ImportError:
        return
    wanted = {
        resource.RLIMIT_CPU: (seconds, seconds + 1),
        resource.RLIMIT_FSIZE: (file_bytes, file_bytes),
        resource.RLIMIT_CORE: (0, 0),
    }
    if open_files is not None:
        wanted[resource.RLIMIT_NOFILE] = (open_files, open_files)
    if sys.platform == "linux":
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        wanted[resource.RLIMIT_AS] = (taken + megabytes * 2**20,) * 2
    for which, (soft, hard) in wanted.items():
        most = resource.getrlimit(which)[1]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(which, (soft, hard))
