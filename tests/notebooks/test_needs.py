"""A notebook whose data is not on disk is skipped, cell by cell, and the reason says where it was looked for."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.notebooks.needs import missing, needs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an empty data folder, an empty cache and an empty hub; the folder's path."""
    for variable in ("ADVLIB_DATA", "TORCH_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    missing.cache_clear()
    yield tmp_path
    missing.cache_clear()


@pytest.mark.parametrize("need", ["mnist", "cifar10", "imagenet:resnet18", "models/a.pt"])
def test_what_is_not_there_is_named_with_its_place(bare: Path, need: str) -> None:
    assert str(bare) in missing(need)


def test_what_is_there_is_no_reason(bare: Path) -> None:
    for path in ("models/a.pt", "hub/checkpoints/resnet18-f37072fd.pth"):
        (bare / path).parent.mkdir(parents=True)
        (bare / path).touch()
    assert missing("models/a.pt") == missing("imagenet:resnet18") == ""


def test_archives_count_as_there(bare: Path) -> None:
    raw = bare / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3"):
        (raw / f"{name}-ubyte.gz").touch()
    assert missing("mnist")
    missing.cache_clear()
    (raw / "t10k-labels-idx1-ubyte.gz").touch()
    assert missing("mnist") == ""


def test_unknown_names_are_no_files_by_chance() -> None:
    with pytest.raises(ValueError):
        missing("imagenet:no_such_network")


def test_notebook_and_cell_both_name_needs() -> None:
    assert needs({"advlib": {"needs": ["mnist"]}}, {"advlib": {"needs": ["gtsrb"]}}) == ["mnist", "gtsrb"]
    assert needs({"kernelspec": {}}, {}) == []


@pytest.mark.thorough
@pytest.mark.parametrize("where", ["notebook", "cell"])
def test_nbval_skips_what_needs_it_and_runs_the_rest(bare: Path, where: str) -> None:
    cells = [
        new_code_cell("1 + 1", execution_count=1, outputs=[]),
        new_code_cell("raise ValueError", execution_count=2),
    ]
    notebook = new_notebook(cells=cells)
    (notebook if where == "notebook" else cells[1]).metadata["advlib"] = {"needs": ["models/a.pt"]}
    nbformat.write(notebook, bare / "needy.ipynb")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "conftest",
        "--nbval-lax",
        "-o",
        "addopts=--nbval-current-env",
        str(bare / "needy.ipynb"),
    ]
    done = subprocess.run([*command, "-rs"], cwd=ROOT, env=os.environ.copy(), capture_output=True, text=True)
    expected = "2 skipped" if where == "notebook" else "1 passed, 1 skipped"
    assert expected in done.stdout and "has no models/a.pt" in done.stdout, done.stdout + done.stderr
