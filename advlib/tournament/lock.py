"""What locks the process that runs a submission: limits of the system, and a hook on what Python code asks of it.

The hook names what was tried. Compiled code gets past any hook (torch.from_file opens files, and TCPStore sockets, that
Python never sees): on Linux, Landlock refuses it what the hook would have. What is left is a determined attacker with a
hole in the system; where that matters, and elsewhere than on Linux, play in a container without a network.
"""

from __future__ import annotations

import math
import os
import site
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from advlib import landlock, resource_limits

__all__ = ["limit", "lock"]

OPEN_FILES = 256
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# Python's audit events (PEP 578) by how they begin: the outcome, and what was done in words.
REFUSED = {
    "socket.": ("network", "it used the network"),
    "urllib.": ("network", "it used the network"),
    "http.client": ("network", "it used the network"),
    "ftplib.": ("network", "it used the network"),
    "webbrowser.": ("network", "it used the network"),
    "subprocess.": ("program", "it started another program"),
    "os.system": ("program", "it started another program"),
    "os.exec": ("program", "it started another program"),
    "os.posix_spawn": ("program", "it started another program"),
    "os.spawn": ("program", "it started another program"),
    "os.startfile": ("program", "it started another program"),
    "os.fork": ("program", "it started another process"),
    "pty.": ("program", "it started another process"),
    "os.kill": ("program", "it sent a signal to a process"),
    "ctypes.": ("program", "it called compiled code through ctypes"),
    "pickle.find_class": ("pickle", "it opened a pickle"),
    "os.remove": ("files", "it removed a file"),
    "os.rename": ("files", "it renamed a file"),
    "os.rmdir": ("files", "it removed a folder"),
    "os.mkdir": ("files", "it made a folder"),
    "os.link": ("files", "it made a link"),
    "os.symlink": ("files", "it made a link"),
    "os.truncate": ("files", "it cut a file"),
    "os.chmod": ("files", "it changed a file"),
    "os.chown": ("files", "it changed a file"),
    "shutil.": ("files", "it moved or copied files"),
}
LISTED = ("os.listdir", "os.scandir", "glob.glob")


def limit(seconds: float, memory: int) -> None:
    """Limits of the system on this process: processor time beyond what it took to start, no files, memory (MB)."""
    resource_limits.bound(math.ceil(seconds + time.process_time()), memory, file_bytes=0, open_files=OPEN_FILES)


def lock(tell: Callable[[str, str], None]) -> None:
    """From now on, what a submission may not do ends this process; ``tell(outcome, reason)`` is called before.

    The process ends at once: an exception could be caught, and the attempt would go unnoticed. Allowed are Python's
    own folders and this package's, to read from. There is no way to lift the lock. Compiled code, where the system can
    hold it, is refused the same and more: other files, programs, TCP connections; that is an error of its own making.
    """
    import torch

    import advlib

    python = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    own = (Path(os.__file__).parent, Path(torch.__file__).parents[1], Path(advlib.__path__[0]))  # wherever they are
    folders = {*map(Path, filter(None, python)), *map(Path, site.getsitepackages()), *own}
    allowed = {os.path.realpath(folder) for folder in folders} | _linked(folders)
    roots = tuple(path + os.sep for path in allowed)
    listed = {os.path.realpath(path) for path in sys.path} | allowed
    refused, devices, leave = dict(REFUSED), {os.devnull, "/dev/urandom", "/dev/random"}, os._exit

    def reason(event: str, args: tuple) -> tuple[str, str] | None:
        if event == "open":
            path, mode, flags = args
            if not isinstance(path, (str, bytes, os.PathLike)) or os.fsdecode(path) in devices:
                return None  # a number: a file that is open already
            if flags & WRITES:
                return "files", f"it opened {os.fsdecode(path)!r} to write to it"
            whole = os.path.realpath(os.fsdecode(path))
            imported = whole.startswith(roots) or whole in listed  # of those, a .zip is opened
            return None if imported else ("files", f"it opened the file {os.fsdecode(path)!r}")
        if event == "ctypes.dlopen" and args[0] and os.path.realpath(os.fsdecode(args[0])).startswith(roots):
            return None  # a library that an installed package brings, as its extension modules are
        if event in LISTED:
            path = args[0] if args and args[0] is not None else "."
            if isinstance(path, int):
                return "files", "it listed a folder"
            whole = os.path.realpath(os.fsdecode(path))
            if whole in listed or whole.startswith(roots):
                return None
            return "files", f"it listed the folder {os.fsdecode(path)!r}"
        return next((said for start, said in refused.items() if event.startswith(start)), None)

    def watch(event: str, args: tuple) -> None:
        if found := reason(event, args):
            tell(*found)
            leave(0)

    landlock.confine([*landlock.SYSTEM, *allowed])
    sys.addaudithook(watch)


def _linked(folders: Iterable[Path]) -> set[str]:
    """Where packages lie that are but links in these folders, as some installers make them."""
    return {
        os.path.realpath(entry)
        for folder in folders
        if folder.is_dir()
        for entry in os.scandir(folder)
        if entry.is_symlink()
    }
