"""Run notebooks and store in them what they showed, their widgets, and the processor time that they took.

    python -m tests.notebooks.execute chapters/07_bim.ipynb

A notebook is replaced whole or, where a cell fails, not at all.
"""

import os
import sys
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from advlib.files import replacing

# A progress bar differs on every run; with several threads, waiting for each other would count as work.
# No bars, one thread, and a record of solved exercises that is nobody's.
QUIET = {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1", "ADVLIB_PROGRESS": os.devnull}


def execute(path: Path) -> float:
    """Run the notebook at ``path`` in its folder and store its outputs; its processor time in seconds.

    The time is the kernel's own, user and system, from its start: another program on the machine does not add to it.

    Raises
        CellExecutionError: a cell failed; the file is as it was.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=None,
        store_widget_state=True,
        record_timing=False,
        coalesce_streams=True,  # where a cell's prints are cut depends on the moment, not on the cell
        resources={"metadata": {"path": str(path.parent)}},
    )
    spent = [0.0]  # after each cell; a hook can only add to it
    client.on_cell_executed = lambda **_: spent.append(cpu_seconds(client.km.provisioner.pid))
    client.execute(env=os.environ | QUIET)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the moments of an earlier run, as other programs store them
    notebook.metadata.setdefault("advlib", {})["cpu_seconds"] = round(spent[-1], 1)
    with replacing(path) as temporary:
        nbformat.write(notebook, temporary)
    return spent[-1]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children, those that run and those that ended."""
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]  # on Windows the Python of a .venv only starts another
    return sum(sum(times[:4]) for times in (one.cpu_times() for one in family))


def main(paths: list[str]) -> int:
    """Run the notebooks one after the other; exit status 1 where one of them failed."""
    failed = 0
    for path in map(Path, paths):
        try:
            print(f"{path}: {execute(path):.0f} s of processor time", flush=True)
        except (CellExecutionError, OSError) as error:
            failed += 1
            print(f"{path}: not stored. {error}", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
