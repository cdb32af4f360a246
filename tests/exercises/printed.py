"""The solutions that a chapter prints, read out of its notebook so that they cannot drift from what is tested."""

import re
from pathlib import Path

import nbformat

CHAPTERS = Path(__file__).resolve().parents[2] / "chapters"
SOLUTION = re.compile(r"<summary>Solution</summary>.*?```python\n(.*?)```", re.S)


def solutions(chapter: str) -> list[str]:
    """The Python code of every printed solution of ``chapters/<chapter>.ipynb``, in order."""
    notebook = nbformat.read(CHAPTERS / f"{chapter}.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return SOLUTION.findall(text)


def checks(chapter: str) -> list[str]:
    """The source of the check cells, in order."""
    notebook = nbformat.read(CHAPTERS / f"{chapter}.ipynb", as_version=4)
    return [
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("grade")
    ]
