"""The worker: ``python -c "from advlib.grading.worker import main; main()"``, with messages on its standard streams.

It is told the exercises of a chapter, runs the chapter's own cells that they need, and makes a copy of itself for each
answer. No student's code runs in it; what runs in a copy cannot come back.
"""

from __future__ import annotations

import os
import secrets
import select
import shutil
import signal
import sys
import tempfile
import time

from advlib import landlock
from advlib.exercises import own
from advlib.grading import handover, limits
from advlib.grading.answering import Setting, answered

__all__ = ["main"]

# How long an answer may wait or sleep, for each second of work that it may do.
PATIENCE = 3


def main() -> None:
    """Answer one message after the other until the stream ends."""
    jobs, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    _nowhere()
    # A copy's folder must not be a place to import from.
    sys.path[:] = [place for place in sys.path if place]
    limits.adopt()
    told = handover.unpack(handover.receive(jobs) or b"")
    readable = limits.readable_places()
    settings: dict[int, Setting] = {}
    handover.send(replies, handover.pack({"confined": landlock.abi() > 0}))
    while (message := handover.receive(jobs)) is not None:
        job = handover.unpack(message)
        number = job["task"]
        if number not in settings:
            try:
                settings[number] = Setting(told["tasks"][number])
            except Exception as error:  # the chapter's own cells, so for the teacher to mend
                words = f"the chapter's own cells fail: {type(error).__name__}: {error}"
                handover.send(replies, b"!" + f"{told['tasks'][number]['grade_id']}: {words}".encode())
                continue
        folder = tempfile.mkdtemp(prefix="advlib-grade-")
        try:
            reply = _apart(settings[number], job, told, folder, readable)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        handover.send(replies, b"." + reply)


def _nowhere() -> None:
    """Nothing to read, and whatever is printed is dropped."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)


def _apart(setting: Setting, job: dict, told: dict, folder: str, readable: list[str]) -> bytes:
    """Run one answer in a copy of this process; its message, or why there is none."""
    token = secrets.token_bytes(16)
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _answer(setting, job, told, folder, readable, into, token)
        finally:
            os._exit(1)
    os.close(into)
    try:
        return _waited(out, pid, told["seconds"], token)
    finally:
        os.close(out)
        limits.end_family(pid)


def _answer(setting: Setting, job: dict, told: dict, folder: str, readable: list[str], into: int, token: bytes) -> None:
    """In the copy: never returns to the worker's loop."""
    os.setsid()
    limits.end_with_parent()
    os.dup2(into, 3)
    os.closerange(4, 4096)
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_DFL)
    os.chdir(folder)
    os.environ |= {"HOME": folder, "TMPDIR": folder}
    own.name(job["student"])
    tempfile.tempdir = folder
    landlock.confine(readable, folder)
    limits.bound(told["seconds"], told["megabytes"])
    found = answered(setting, job["cell"], job["others"])
    try:
        message = handover.pack({"found": found})
    except handover.Described as what:
        words = f"✗ the answer holds {what}; what can be handed over are numbers, words, tensors, and lists of them"
        message = handover.pack({"found": [{"mark": "✗", "words": words}] * len(found)})
    with os.fdopen(3, "wb") as stream:
        stream.write(token)
        handover.send(stream, message)


def _waited(out: int, pid: int, seconds: float, token: bytes) -> bytes:
    end, data = time.monotonic() + PATIENCE * seconds + 10, b""
    while time.monotonic() < end and len(data) <= handover.LARGEST:
        ready, _, _ = select.select([out], [], [], 0.02)
        if ready:
            more = os.read(out, 2**20)
            data += more
            if not more or _whole(data, token):
                break
        elif _ended(pid):
            break
    else:
        what = "it hands over too much" if len(data) > handover.LARGEST else "it was still waiting when time was up"
        return _died(what)
    if message := _whole(data, token):
        return message
    if data:
        return _died("it wrote where only the check may write")
    return _died(_fate(pid, seconds))


def _whole(data: bytes, token: bytes) -> bytes | None:
    """The message, where it is there to its end and begins as only this worker's own code can begin it."""
    head, length = data[:16], int.from_bytes(data[16:24], "big")
    whole = len(data) >= 24 + length and len(data) >= 24
    return data[24 : 24 + length] if whole and secrets.compare_digest(head, token) else None


def _ended(pid: int) -> bool:
    """Whether the copy has ended, which leaves it to be asked for its status. Where that cannot be seen, no."""
    look = getattr(os, "waitid", None)
    return look is not None and look(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _fate(pid: int, seconds: float) -> str:
    """Why a copy said nothing."""
    end = time.monotonic() + 5
    while (ended := os.wait4(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > end:
            return "it closed its way to answer"
        time.sleep(0.01)
    _, status, used = ended
    killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    # The kernel may count a little less for us than for its own limit.
    if killed == signal.SIGXCPU or used.ru_utime + used.ru_stime >= 0.95 * seconds:
        return f"it was stopped after {seconds:g} seconds of work: look for a loop that never ends"
    if killed is not None:
        return f"the process was ended by {signal.Signals(killed).name}"
    return f"the process ended itself, with status {os.waitstatus_to_exitcode(status)}, before the check was done"


def _died(why: str) -> bytes:
    return handover.pack({"died": why})
