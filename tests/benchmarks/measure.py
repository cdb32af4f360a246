"""Times that can be compared on a busy machine, and tables of them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import TypeVar

import torch

Run = TypeVar("Run")  # what a run is called by


def times(
    runs: dict[Run, Callable[[], object]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[Run, float]:
    """The median time of each run in seconds. They take turns, so that a slow minute slows all of them.

    The first turn, which still looks for kernels and memory, is an outlier: a median of three or more drops it.
    """
    seconds = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            began = clock()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[name].append(clock() - began)
    return {name: median(values) for name, values in seconds.items()}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    head = list(head)
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """The machine and the versions that a figure was measured with, in one line."""
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
    else:
        names = [line.split(":")[1].strip() for line in _cpu_info() if line.startswith("model name")]
        name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads; Python {platform.python_version()}, torch {torch.__version__}"


def _cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []
