"""The warden: a clean process that starts one locked process for each task, watches it, and kills it in time.

The organiser's own process never runs a submission, and none inherits anything from it: the warden is a fresh Python
with an empty environment, which imports torch once and then forks (on Linux) a process for each task, which costs
milliseconds where a new Python would cost seconds. It runs no submission itself, so that no task meets what another
left behind. Where forking a process that has loaded torch is not safe (macOS) or not known (Windows), each task gets
a fresh Python.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

import advlib

__all__ = ["Answer", "Warden"]

PRINTED = 2**20  # characters that a submission may print
ERRORS = "errors"  # the file for what a warden says
SLACK = 2**20  # bytes of an answer beside its tensors
STARTING = 30  # seconds, for a fresh Python to import torch
READY = b"ready\n"
MOST_PASSES = 10**12
# What reading an answer may end in that no one meant to be read.
FORGED = (ArithmeticError, AttributeError, KeyError, RuntimeError, TypeError, ValueError, safetensors.SafetensorError)
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMPDIR")
SETTINGS = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONHASHSEED": "0"}
SETTINGS |= {"MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
START = "import sys; sys.path[:] = {path!r}; from advlib.tournament import warden; warden.{function}()"
FORKS = sys.platform == "linux"
XCPU, KILL = (int(getattr(signal, name, 99)) for name in ("SIGXCPU", "SIGKILL"))  # Windows has neither


@dataclass(frozen=True)
class Answer:
    """What came of a task: the outcome in a word ("" where all went well) and its reason, tensors, and the cost."""

    outcome: str
    reason: str
    tensors: dict[str, Tensor]
    seconds: float  # of processor time, as the system counted them; of the clock, where a task gets a fresh Python
    passes: int = 0  # as counted beside the attack


def wall(seconds: float) -> float:
    """How long to wait by the clock for so much processor time: other processes want some, too."""
    return 4 * seconds + 5


class Warden:
    """Asks for tasks to be done in isolation, one at a time; a context manager."""

    def __init__(self, fork: bool = FORKS):
        self.forks = fork
        self._process: subprocess.Popen | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="advlib-tournament-")
        self.folder = Path(self._folder.name)

    def __enter__(self) -> Warden:
        return self

    def __exit__(self, *_) -> None:
        if self._process:
            _end(self._process)
        self._folder.cleanup()

    def keep(self, data: bytes) -> str:
        """Write bytes for a task to read before it is locked; the path."""
        path = self.folder / hashlib.sha256(data).hexdigest()
        if not path.exists():
            path.write_bytes(data)
        return str(path)

    def ask(self, job: Mapping, given: dict[str, Tensor]) -> Answer:
        """Do one task with the tensors ``given``; see `cell.run`."""
        data = safetensors.torch.save({name: one.contiguous() for name, one in given.items()})
        path = self.folder / "input"
        path.write_bytes(data)
        job = {**job, "input": str(path), "wall": wall(job["seconds"]), "most": 2 * len(data) + SLACK}
        head, body = self._forked(job) if self.forks else self._fresh(job)
        return _understood(job, head, body)

    def _start(self, function: str) -> subprocess.Popen:
        path = [one for one in sys.path if os.path.isabs(one)] + [str(Path(advlib.__path__[0]).parent)]
        with open(self.folder / ERRORS, "wb") as errors:
            return subprocess.Popen(
                [sys.executable, "-s", "-c", START.format(path=path, function=function)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=self.folder,
                env={name: os.environ[name] for name in PASSED_ON if name in os.environ} | SETTINGS,
                start_new_session=True,  # Ctrl-C is the organiser's, who ends the warden
            )

    def _forked(self, job: dict) -> tuple[dict, bytes]:
        for _ in range(2):  # once more where the warden was taken down: by the task, or by the system
            process = self._process = self._process or self._served()
            assert process.stdin and process.stdout
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(job).encode() + b"\n")
                process.stdin.flush()
            if line := process.stdout.readline():
                head = json.loads(line)
                return head, process.stdout.read(head["bytes"])
            _end(process)
            self._process = None
        return {"end": "exit", "status": -KILL, "seconds": 0.0}, b""

    def _served(self) -> subprocess.Popen:
        process = self._start("serve")
        if process.stdout and process.stdout.readline() == READY:
            return process
        _end(process)
        said = (self.folder / ERRORS).read_text("utf-8", "replace").strip().splitlines()
        raise RuntimeError(f"the process that watches over the matches could not start: {' '.join(said[-1:])}")

    def _fresh(self, job: dict) -> tuple[dict, bytes]:
        process, began, late = self._start("alone"), time.monotonic(), threading.Event()
        assert process.stdin and process.stdout

        def give_up() -> None:
            late.set()
            _kill(process)

        stop = threading.Timer(job["wall"] + STARTING, give_up)
        stop.start()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(job).encode())
            process.stdin.close()
        body = process.stdout.read(job["most"] + 1)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        stop.cancel()
        _end(process)
        end = "time" if late.is_set() else "exit"
        return {"end": end, "status": process.returncode, "seconds": time.monotonic() - began}, body


def _end(process: subprocess.Popen) -> None:
    """Close what it listens to, upon which it ends what it has started; kill it if it does not."""
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(2)
    _kill(process)
    process.wait()


def _kill(process: subprocess.Popen) -> None:
    """End a process that has a session of its own, and all others in it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, KILL) if hasattr(os, "killpg") else process.kill()


def _understood(job: dict, head: dict, body: bytes) -> Answer:
    """The answer of the submission's process, of which nothing is believed that it could gain by."""
    failed = lambda outcome, reason: Answer(outcome, reason, {}, head["seconds"])
    if len(body) > job["most"]:
        return failed("output", "it gave back more than the images it was given")
    line, _, rest = body.partition(b"\n")
    with contextlib.suppress(*FORGED):
        said = json.loads(line)
        if said["outcome"]:
            return failed(_words(said["outcome"], 20), _words(said["reason"], 1000))
        passes = said["passes"] if isinstance(said["passes"], int) and 0 <= said["passes"] < MOST_PASSES else 0
        return Answer("", "", safetensors.torch.load(rest), head["seconds"], passes)
    killed = -head["status"]  # by which signal: of the system, when processor time is up, or one that may mean memory
    if head["end"] == "time" or killed == XCPU or (killed == KILL and head["seconds"] >= job["seconds"]):
        return failed("hung", f"it took more than {job['seconds']:g} seconds and was stopped")
    if head["end"] == "printed":
        return failed("output", f"it printed more than {PRINTED:,} characters")
    if killed > 0:
        why = " (out of memory?)" if killed == KILL else ""
        return failed("crashed", f"its process was ended by the system: {signal.strsignal(killed)}{why}")
    return failed("exit", f"it ended its process (status {head['status']}) without a result")


def _words(said: object, most: int) -> str:
    """A text of so many letters that can be written to a file, which half of a pair (a surrogate) cannot."""
    return str(said)[:most].encode("utf-8", "backslashreplace").decode()


# ------------------------------------------------------------------------------------------- in the clean process
def alone() -> None:
    """One task, read from the standard input, in this process."""
    from advlib.tournament import cell

    job, pipe = json.load(sys.stdin.buffer), os.dup(1)
    _silence(os.open(os.devnull, os.O_WRONLY))
    cell.warm(job)
    cell.run(job, pipe)


def serve() -> None:
    """Tasks from the standard input, one a line; each is answered by a line and so many bytes."""
    import torch

    from advlib.tournament import cell  # once, for all the processes that are forked from here

    torch.set_num_threads(1)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    out.write(READY)
    out.flush()
    for line in sys.stdin.buffer:
        job = json.loads(line)
        cell.warm(job)
        head, body = _watched(job)
        out.write(json.dumps(head | {"bytes": len(body)}).encode() + b"\n" + body)
        out.flush()


def _watched(job: dict) -> tuple[dict, bytes]:
    """Fork, wait for the answer no longer than allowed, and kill what is left."""
    (answer, their_answer), (prints, their_prints) = os.pipe(), os.pipe()
    pid, began = os.fork(), time.monotonic()
    if not pid:
        try:
            _become_cell(job, their_answer, their_prints)
        finally:
            os._exit(1)  # whatever happens, the copy of the warden does not go on as one
    os.close(their_answer)
    os.close(their_prints)
    body, printed, end, open_ends = bytearray(), 0, "", {answer, prints}
    while not end:
        left = began + job["wall"] - time.monotonic()
        ready, _, _ = select.select([0, *open_ends], [], [], min(max(left, 0.0), 0.2 if open_ends else 0.005))
        if 0 in ready:  # the organiser is gone: no task comes while one is being done
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                os.killpg(pid, signal.SIGKILL)
            os._exit(1)
        for one in open_ends & set(ready):
            part = os.read(one, 2**16)
            if not part:
                open_ends.discard(one)
            elif one == answer:
                body += part
            else:
                printed += len(part)
        ended, status, usage = os.wait4(pid, os.WNOHANG) if not open_ends or not ready else (0, 0, None)
        if ended:
            end = "exit"
        elif left < 0:
            end = "time"
        elif printed > PRINTED:
            end = "printed"
        elif len(body) > job["most"]:
            end = "big"
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # and whatever it has started
    if end != "exit":
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
    os.close(answer)
    os.close(prints)
    assert usage
    seconds = usage.ru_utime + usage.ru_stime
    return {"end": end, "status": os.waitstatus_to_exitcode(status), "seconds": seconds}, bytes(body)


def _become_cell(job: dict, answer: int, prints: int) -> None:
    from advlib.tournament import cell

    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _silence(prints)
    pipe = os.dup2(answer, 3)
    os.closerange(4, 1024)
    cell.run(job, pipe)


def _silence(onto: int) -> None:
    """What is printed goes to ``onto``, however it is printed."""
    os.dup2(onto, 1)
    os.dup2(onto, 2)
