"""Start workers, and outlive whatever happens to them."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from advlib.exercises import own
from advlib.grading import handover
from advlib.grading.limits import Limits
from advlib.grading.notebook import Task

__all__ = ["PACKAGE", "Supervisor"]

PACKAGE = Path(__file__).resolve().parents[1]
START = "from advlib.grading.worker import main; main()"
CANNOT = b"!"  # how a message begins that the worker has for the teacher
SET_UP = 600  # seconds that a chapter's own cells may take
IMPORTS = 120
QUIET = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "ADVLIB_PROGRESS": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"}


class Supervisor:
    """A worker at hand, another one where it died; in a container of its own for each student where an image is named.

    Raises
        ValueError: no container can be started here.
    """

    def __init__(self, tasks: Sequence[Task], limits: Limits, image: str | None = None):
        self.tasks, self.limits, self.image = tasks, limits, image
        self.engine = _engine() if image else None
        self.process: subprocess.Popen | None = None
        self.container = ""
        self.confined = True

    def run(self, number: int, cell: str | None, others: Sequence[str]) -> dict:
        """What the worker says of an answer to exercise ``number``: {"found": …}, or {"died": why}.

        It runs with the numbers that `own.named` has set.

        Raises
            ValueError: the worker cannot start, or not run the chapter's own cells.
        """
        process = self.process or self._start()
        assert process.stdin is not None
        try:
            job = {"task": number, "cell": cell, "others": list(others), "student": os.environ.get(own.SETTING, "")}
            handover.send(process.stdin, handover.pack(job))
            reply = self._reply(process, SET_UP + 4 * self.limits.seconds)
        except (OSError, EOFError) as error:
            self.close()
            return {"died": f"the process that runs answers was lost ({type(error).__name__})"}
        if reply[:1] == CANNOT:
            raise ValueError(reply[1:].decode())
        try:
            found = handover.unpack(reply[1:])
            return found if isinstance(found, dict) else {"died": "it handed over something else than an answer"}
        except ValueError as error:
            return {"died": f"what it handed over is {error}"}

    def next_student(self) -> None:
        """In containers nobody finds what another one left."""
        if self.image:
            self.close()

    def close(self) -> None:
        """End the worker, and the container that it is in."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for stream in filter(None, (self.process.stdin, self.process.stdout)):
                with contextlib.suppress(OSError):
                    stream.close()
            self.process = None
        if self.container and self.engine:
            subprocess.run([self.engine, "rm", "--force", self.container], capture_output=True, check=False)
            self.container = ""

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _start(self) -> subprocess.Popen:
        paths = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, **QUIET, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        for name in ("ADVLIB_GRADING", "NBGRADER_EXECUTION", own.SETTING):
            environment.pop(name, None)
        self.process = process = subprocess.Popen(
            self._command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if self.image else subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        told = {"tasks": [task.sent() for task in self.tasks], "seconds": float(self.limits.seconds)}
        assert process.stdin is not None
        try:
            handover.send(process.stdin, handover.pack({**told, "megabytes": self.limits.megabytes}))
            ready = handover.unpack(self._reply(process, IMPORTS))
        except (OSError, EOFError):
            self.close()
            where = (
                f"in {self.image}: are python, torch and the course's other packages in it?" if self.image else "here"
            )
            raise ValueError(
                f"the process that runs answers does not start {where}; `advlib doctor` may know why"
            ) from None
        self.confined = bool(ready["confined"]) or bool(self.image)
        return process

    def _command(self) -> list[str]:
        if not self.image or not self.engine:
            return [sys.executable, "-c", START]
        self.container = f"advlib-grade-{secrets.token_hex(6)}"
        settings = [word for name, value in QUIET.items() for word in ("--env", f"{name}={value}")]
        mounts = ["--volume", f"{PACKAGE}:/course/advlib:ro", "--env", "PYTHONPATH=/course"]
        if data := os.environ.get("ADVLIB_DATA"):
            mounts += ["--volume", f"{Path(data).resolve()}:/data:ro", "--env", "ADVLIB_DATA=/data"]
        return [
            self.engine, "run", "--rm", "--interactive", "--name", self.container,
            "--network", "none", "--read-only", "--tmpfs", "/tmp:rw,size=256m", "--cap-drop", "ALL",
            "--security-opt", "no-new-privileges", "--user", "65534:65534", "--pids-limit", "64",
            "--memory", f"{2048 + self.limits.megabytes}m", "--env", "HOME=/tmp", *settings, *mounts,
            "--entrypoint", "python", self.image, "-c", START,
        ]  # fmt: skip

    def _reply(self, process: subprocess.Popen, seconds: float) -> bytes:
        """The next message; `EOFError` where the worker is gone, `TimeoutError` where it says nothing."""
        assert process.stdout is not None
        end, data, stream = time.monotonic() + seconds, b"", process.stdout.fileno()
        while len(data) < 8 or len(data) < 8 + struct.unpack(">Q", data[:8])[0]:
            ready, _, _ = select.select([stream], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise TimeoutError
            more = os.read(stream, 2**20)
            if not more:
                raise EOFError
            data += more
        return data[8:]


def _engine() -> str:
    found = shutil.which("docker") or shutil.which("podman")
    if not found:
        raise ValueError("--container needs docker or podman, and neither is on the PATH; without it, leave it out")
    asked = subprocess.run([found, "info"], capture_output=True, text=True, check=False)
    if asked.returncode:
        last = (asked.stderr.strip() or asked.stdout.strip() or "no reason given").splitlines()[-1]
        raise ValueError(f"--container: {Path(found).name} is here, but does not work: {last}")
    return found
