"""The solutions that a chapter prints, read out of its notebook so that they cannot drift from what is tested."""

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from advlib.grading.needed import needed, statements

CHAPTERS = Path(__file__).resolve().parents[2] / "chapters"
SOLUTION = re.compile(r"<summary>Solution</summary>.*?```python\n(.*?)```", re.S)


@dataclass(frozen=True)
class Printed:
    """An exercise of a notebook: the code above it, of that what its solution needs, the solution, and the check."""

    grade_id: str
    above: list[ast.stmt] = field(repr=False)
    solution: str
    check: str

    @property
    def needed(self) -> str:
        return "\n".join(
            ast.unparse(self.above[number]) for number in needed(self.above, self.solution + "\n" + self.check)
        )


def printed(path: Path) -> list[Printed]:
    """Every exercise of a chapter that has a check, in order."""
    cells = nbformat.read(path, as_version=4).cells
    above: list[ast.stmt] = []
    found = []
    for number, cell in enumerate(cells):
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("grade"):
            solution = SOLUTION.search(cells[number + 1].source)[1]
            found.append(Printed(cell.metadata["nbgrader"]["grade_id"], list(above), solution, cell.source))
            above += ast.parse(solution).body
        elif cell.cell_type == "code" and not _is_stub(cell):
            above += statements(cell.source)
    return found


def _is_stub(cell: NotebookNode) -> bool:
    """A stub's function is replaced by the solution; what else it sets up is needed."""
    return "raise NotImplementedError" in cell.source
