"""Run one notebook as Colab does: alone in an empty folder, from its first cell, which has to bring the package."""

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from tests.colab import environment
from tests.notebooks.execute import cpu_seconds
from tests.notebooks.guard import stored_widgets

LONGEST_FIRST_CELL = 30  # seconds of processor time
LARGEST = (
    2000  # megabytes: a computer of Binder's has no more (and a torch without CUDA, which takes a few hundred less)
)


@dataclass(frozen=True)
class Run:
    """What came of a notebook: processor seconds of its first code cell and of all, memory at most, what went wrong."""

    name: str
    first: float
    whole: float
    megabytes: float
    faults: tuple[str, ...]

    def __str__(self) -> str:
        verdict = "pass" if not self.faults else "FAIL: " + "; ".join(self.faults)
        return f"{self.name:<26} {self.first:>10.1f} {self.whole:>8.1f} {self.megabytes:>8.0f}   {verdict}"


HEAD = f"{'chapter':<26} {'first cell':>10} {'all':>8} {'MB':>8}   (seconds of processor time, memory at most)"


def run(
    path: Path, python: Path, also: dict[str, str], keep: Path, weights: Mapping[str, Path] = MappingProxyType({})
) -> Run:
    """Run a copy of the notebook at `path` in an empty folder, and put what came out into the folder `keep`.

    also        environment variables: where git and the data come from
    weights     what torch finds on disk, as if it had been fetched before, by name
    """
    forget(python)
    before = packages(python)
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="colab-") as scratch:
        folder = Path(scratch, "content")
        folder.mkdir()
        shutil.copyfile(path, folder / path.name)
        checkpoints = Path(scratch, "cache", "torch", "hub", "checkpoints")
        checkpoints.mkdir(parents=True)
        for name, file in weights.items():
            shutil.copyfile(file, checkpoints / name)
        client = NotebookClient(
            notebook,
            kernel_name=environment.KERNEL,
            timeout=None,
            store_widget_state=True,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(folder)}},
        )
        spent, memory = [], [0.0]  # hooks can only add to a list

        def measure(**_: object) -> None:
            spent.append(cpu_seconds(client.km.provisioner.pid))
            memory.append(megabytes(client.km.provisioner.pid))

        client.on_notebook_start = client.on_cell_executed = measure
        faults = []
        try:
            client.execute(env=environment.variables(python, Path(scratch)) | also)
        except CellExecutionError as error:
            faults.append(" ".join(str(error).split())[-300:])
        except DeadKernelError as error:
            faults.append(str(error))
    keep.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, keep / path.name)
    if not faults and (lost := [one for one, whole in stored_widgets(notebook) if not whole]):
        faults.append(f"{len(lost)} widgets are not stored whole")
    if moved := sorted(name for name in before ^ packages(python) if not name.startswith("advlib-")):
        faults.append(f"the first cell changed what Colab has: {', '.join(moved)}")
    first = spent[1] - spent[0] if len(spent) > 1 else 0.0
    if first > LONGEST_FIRST_CELL:
        faults.append(f"the first cell took {first:.0f} s, the limit is {LONGEST_FIRST_CELL} s")
    if max(memory) > LARGEST:
        faults.append(f"it held {max(memory):.0f} MB, Binder has {LARGEST}")
    return Run(path.stem, first, spent[-1] if spent else 0.0, max(memory), tuple(faults))


def packages(python: Path) -> set[str]:
    """Names and versions of what is installed, as pip's folders have them."""
    return {folder.stem for folder in python.parents[1].glob("lib/python*/site-packages/*.dist-info")}


def forget(python: Path) -> None:
    """Take the package away that the notebook before has installed."""
    subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "advlib"], check=True, capture_output=True)


def megabytes(pid: int) -> float:
    """The most memory that a process has held so far; 0 where the system does not tell."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)
