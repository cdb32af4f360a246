"""What `make notebook` stores: outputs, widgets and processor time, or nothing where a cell fails."""

import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.notebooks.execute import execute, main
from tests.notebooks.guard import untrue

MOMENT = {"execution": {"iopub.execute_input": "2026-01-01T10:00:00Z", "shell.execute_reply": "2026-01-01T11:00:00Z"}}
SLEPT = 3  # seconds


def stored(path: Path, *sources: str) -> Path:
    notebook = new_notebook(cells=[new_code_cell(source, metadata=MOMENT) for source in sources])
    notebook.metadata["advlib"] = {"needs": []}
    nbformat.write(notebook, path)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[nbformat.NotebookNode, float]:
    """A notebook that waits, shows a slider and looks around, after its run; and the seconds that passed."""
    sources = [
        f"import time\ntime.sleep({SLEPT});",
        "import ipywidgets\nipywidgets.IntSlider(3)",
        "import os\nos.path.basename(os.getcwd()), os.environ['TQDM_DISABLE']",
    ]
    path = stored(tmp_path_factory.mktemp("folder") / "waits.ipynb", *sources)
    start = time.monotonic()
    assert main([str(path)]) == 0
    return nbformat.read(path, as_version=4), time.monotonic() - start


def test_processor_time_is_stored_and_waiting_is_none(run) -> None:
    notebook, passed = run
    assert 0 < notebook.metadata["advlib"]["cpu_seconds"] < passed - SLEPT + 0.1
    assert notebook.metadata["advlib"]["needs"] == []


def test_outputs_and_widgets_are_stored_and_moments_are_not(run) -> None:
    notebook, _ = run
    assert untrue(notebook) == []
    assert notebook.cells[2].outputs[0].data["text/plain"].endswith("'1')")
    assert "'folder" in notebook.cells[2].outputs[0].data["text/plain"]
    assert not any("execution" in cell.metadata for cell in notebook.cells)


def test_a_notebook_that_fails_is_left_as_it_was(tmp_path: Path, capsys) -> None:
    path = stored(tmp_path / "fails.ipynb", "1 + 1", "raise KeyError('the cause')")
    before = path.read_bytes()
    assert main([str(path)]) == 1
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    assert "the cause" in capsys.readouterr().err


def test_a_name_that_is_no_file_fails(tmp_path: Path, capsys) -> None:
    assert main([str(tmp_path / "none.ipynb")]) == 1
    assert "none.ipynb" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError):
        execute(tmp_path / "none.ipynb")
