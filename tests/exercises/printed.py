"""The solutions that a chapter prints, read out of its notebook so that they cannot drift from what is tested."""

import ast
import re
import symtable
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
    wanted, kept = _reads(code), set()
    more = True
    while more:  # a function reads names that are set below it
        more = False
        for number, statement in enumerate(above):
            if number not in kept and _sets(statement) & wanted:
                kept.add(number)
                wanted |= _reads(ast.unparse(statement))
                more = True
    return [above[number] for number in sorted(kept)]


def _sets(statement: ast.stmt) -> set[str]:
    """What a statement binds or, standing for its own sake, may change."""
    text = ast.unparse(statement)
    if isinstance(statement, ast.Expr | ast.Assert):
        return set() if SHOWS.match(text) else _reads(text)
    table = symtable.symtable(text, "cell", "exec")
    return {name.get_name() for name in table.get_symbols() if name.is_assigned() or name.is_imported()}


def _reads(code: str) -> set[str]:
    """The notebook's names that the code looks up, those inside its functions among them."""
    top = symtable.symtable(code, "cell", "exec")
    names = {name.get_name() for name in top.get_symbols() if name.is_referenced()}
    tables = top.get_children()
    while tables:
        table = tables.pop()
        names |= {name.get_name() for name in table.get_symbols() if name.is_global()}
        tables += table.get_children()
    return names
