"""The solutions that a chapter prints, read out of its notebook so that they cannot drift from what is tested."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

CHAPTERS = Path(__file__).resolve().parents[2] / "chapters"
SOLUTION = re.compile(r"<summary>Solution</summary>.*?```python\n(.*?)```", re.S)
# A call for its own sake that shows something changes nothing that a solution needs.
SHOWS = re.compile(r"^(print|display|assert|plots|widgets|check)\b")


@dataclass(frozen=True)
class Printed:
    """An exercise of a notebook: the code above that its solution needs, the solution, and the check."""

    grade_id: str
    needed: str
    solution: str
    check: str


def printed(path: Path) -> list[Printed]:
    """Every exercise of a chapter that has a check, in order."""
    cells = nbformat.read(path, as_version=4).cells
    above: list[ast.stmt] = []
    found = []
    for number, cell in enumerate(cells):
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("grade"):
            solution = SOLUTION.search(cells[number + 1].source)[1]
            needed = "\n".join(map(ast.unparse, _slice(above, solution + "\n" + cell.source)))
            found.append(Printed(cell.metadata["nbgrader"]["grade_id"], needed, solution, cell.source))
            above += ast.parse(solution).body
        elif cell.cell_type == "code" and not _is_stub(cell):
            above += ast.parse(TransformerManager().transform_cell(cell.source)).body
    return found


def _is_stub(cell: NotebookNode) -> bool:
    """A stub's function is replaced by the solution; what else it sets up is needed."""
    return "raise NotImplementedError" in cell.source


def _slice(above: list[ast.stmt], code: str) -> list[ast.stmt]:
    """The statements above that set or change what ``code`` reads, and what those read in turn."""
    wanted, kept = _names(ast.parse(code), ast.Load), []
    for statement in reversed(above):
        shows = isinstance(statement, ast.Expr | ast.Assert) and SHOWS.match(ast.unparse(statement))
        touches = _binds(statement) | (_names(statement, ast.Load) if isinstance(statement, ast.Expr) else set())
        if touches & wanted and not shows:
            kept.append(statement)
            wanted |= _names(statement, ast.Load)
    return kept[::-1]


def _names(tree: ast.AST, kind: type) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, kind)}


def _binds(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    return _names(statement, ast.Store)
