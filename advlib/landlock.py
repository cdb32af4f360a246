"""Landlock (Linux 5.13): a process gives up rights that neither it nor its children get back.

Compiled code is held to them as Python code is: they are kept by the system.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable

__all__ = ["SYSTEM", "abi", "confine", "libc"]

# linux/landlock.h: the system calls have these numbers on every processor; rights came with versions of the interface.
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_READ, _ALL = 0b1100, {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_PR_SET_NO_NEW_PRIVS = 38

# What Python and its packages may open at any time: the system's libraries, and what they ask of the machine.
SYSTEM = ("/usr", "/lib", "/lib64", "/dev/null", "/dev/urandom", "/proc/self", "/proc/cpuinfo", "/sys/devices")


class _Ruleset(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def libc() -> ctypes.CDLL:
    """The C library, for what Python has no function for."""
    found = ctypes.CDLL(None, use_errno=True)
    found.syscall.restype = ctypes.c_long
    return found


def abi() -> int:
    """The version of Landlock here, 0 where there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, libc().syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def confine(readable: Iterable[str | os.PathLike], folder: str | os.PathLike | None = None) -> bool:
    """Hold this process to reading in ``readable`` and writing in ``folder`` (nowhere); whether this machine can.

    It starts no program either, opens no TCP connection (Linux 6.7) and signals nobody outside (Linux 6.12). Of
    ``readable``, what does not exist is left out.
    """
    version = abi()
    if not version:
        return False
    system = libc()
    rights = _ALL[min(version, 5)]
    rules = _Ruleset(rights, 0b11 if version >= 4 else 0, 0b11 if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = system.syscall(_CREATE, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    own = [] if folder is None else [(folder, rights & ~1)]
    allowed_at = [*own, ("/dev/null", 0b110), *((one, _READ) for one in readable if os.path.exists(one))]
    for place, allowed in allowed_at:
        parent = os.open(place, os.O_PATH | os.O_CLOEXEC)
        # A file has no folder's rights.
        beneath = _Beneath(allowed if os.path.isdir(place) else allowed & 0b110, parent)
        added = system.syscall(_ADD, ruleset, 1, ctypes.byref(beneath), ctypes.c_uint32(0))
        os.close(parent)
        if added:
            raise OSError(ctypes.get_errno(), f"Landlock refuses {place}")
    system.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return system.syscall(_RESTRICT, ruleset, ctypes.c_uint32(0)) == 0
