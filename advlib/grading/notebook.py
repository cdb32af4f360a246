"""The cells of a notebook, and what a chapter's notebook asks for. A student's code is read as text, never parsed."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from advlib.grading.needed import binds, reads

__all__ = ["Call", "Cell", "Chapter", "Task", "cells_of", "chapter_of", "find_chapter", "task_of"]

EXERCISE = re.compile(r"^### (Exercise \d+\. .+)$", re.M)
NUMBER = re.compile(r"^# (\d+)\. ", re.M)


@dataclass(frozen=True)
class Cell:
    """``grade_id`` is empty where nbgrader keeps no record of the cell."""

    kind: str
    source: str
    grade_id: str = ""
    solution: bool = False
    grade: bool = False
    points: float = 0


@dataclass(frozen=True)
class Call:
    """One call of a check: its name, the answer's name, the other names that the student sets, all its arguments."""

    check: str
    answer: str
    own: tuple[str, ...]
    arguments: str


@dataclass(frozen=True)
class Task:
    """An exercise of a chapter: the cell to fill in, its check, and the code above that both may need."""

    grade_id: str
    check_id: str
    title: str
    points: float
    stub: str
    check: str
    calls: tuple[Call, ...]
    above: tuple[str, ...]

    def sent(self) -> dict:
        """As plain values, for the worker."""
        return asdict(self)


@dataclass(frozen=True)
class Chapter:
    """``by_hand``: the cells, by their id, that a person marks, with their points."""

    path: Path
    number: int
    title: str
    tasks: tuple[Task, ...]
    by_hand: dict[str, float]


def cells_of(data: bytes) -> list[Cell]:
    """The cells of a notebook file.

    Raises
        ValueError: it is none, in words for the person who opens the file.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a notebook that can be read ({type(error).__name__})") from None
    if not isinstance(found, dict) or not isinstance(found.get("cells"), list):
        old = isinstance(found, dict) and "worksheets" in found
        raise ValueError("a notebook of format 3: open it in Jupyter and save it" if old else "not a notebook")
    return [_cell(one) for one in found["cells"] if isinstance(one, dict)]


def _cell(given: dict) -> Cell:
    source = given.get("source", "")
    if isinstance(source, list):
        source = "".join(one for one in source if isinstance(one, str))
    meta = given.get("metadata")
    kept = meta.get("nbgrader") if isinstance(meta, dict) else None
    kept = kept if isinstance(kept, dict) else {}
    points = kept.get("points", 0)
    return Cell(
        kind=str(given.get("cell_type", "")),
        source=source if isinstance(source, str) else "",
        grade_id=str(kept.get("grade_id", "")),
        solution=kept.get("solution") is True,
        grade=kept.get("grade") is True,
        points=points if isinstance(points, int | float) else 0,
    )


def number_of(cells: list[Cell]) -> int | None:
    """The chapter's number, from its first heading `# 6. Title`."""
    found = (NUMBER.search(cell.source) for cell in cells if cell.kind == "markdown")
    return next((int(match[1]) for match in found if match), None)


def find_chapter(named: str) -> Path:
    """The notebook of ``--chapter``: a number as in `chapters/06_fgsm.ipynb`, or a file.

    Raises
        ValueError: there is none.
    """
    if named.endswith(".ipynb"):
        if not Path(named).is_file():
            raise ValueError(f"--chapter {named}: no such file")
        return Path(named)
    if not named.isdecimal():
        raise ValueError(f"--chapter {named}: write its number, such as 06, or the path of its notebook")
    folders = [Path("chapters"), Path(__file__).resolve().parents[2] / "chapters"]
    for folder in folders:
        if found := sorted(folder.glob(f"{int(named):02}_*.ipynb")):
            return found[0]
    raise ValueError(
        f"--chapter {named}: no chapters/{int(named):02}_….ipynb here or beside the package; "
        "run this in a clone of the course, or give the notebook's path"
    )


def chapter_of(path: Path) -> Chapter:
    """What a chapter's own notebook asks for.

    Raises
        ValueError: nothing that a check could grade.
    """
    cells = cells_of(path.read_bytes())
    above: list[str] = []
    tasks: list[Task] = []
    stub, heading = Cell("code", ""), ""
    for cell in cells:
        if cell.kind != "code":
            heading = (EXERCISE.findall(cell.source) or [heading])[-1]
        elif cell.grade and not cell.solution:
            tasks.append(task_of(cell, stub, heading or cell.grade_id, above))
            above.append(_without(stub.source, {call.answer for call in tasks[-1].calls}))
        elif cell.solution and not cell.grade:
            stub = cell
        elif not cell.solution:
            above.append(cell.source)
    if not tasks:
        raise ValueError(f"{path}: no cell with nbgrader's metadata and a check, so nothing to grade")
    first = re.search(r"^# (.+)$", cells[0].source, re.M)
    by_hand = {cell.grade_id: cell.points for cell in cells if cell.grade and cell.solution}
    return Chapter(path, number_of(cells) or 0, first[1] if first else path.stem, tuple(tasks), by_hand)


def task_of(cell: Cell, stub: Cell, title: str, above: list[str]) -> Task:
    """The exercise of a check cell and of the cell to fill in above it."""
    empty = {
        target.id
        for statement in ast.parse(stub.source).body
        if isinstance(statement, ast.Assign)
        and isinstance(statement.value, ast.Constant)
        and statement.value.value is None
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    calls = []
    for statement in ast.parse(cell.source).body:
        match statement:
            case ast.Expr(ast.Call(ast.Attribute(ast.Name("check"), name), [ast.Name(answer), *given], options)):
                own = tuple(sorted(empty & reads(cell.source) - {answer}))
                words = ast.unparse(ast.Call(ast.Name("arguments"), given, options))
                calls.append(Call(name, answer, own, words))
            case _:
                raise ValueError(f"{cell.grade_id}: expected check.name(answer, …), got {ast.unparse(statement)}")
    return Task(stub.grade_id, cell.grade_id, title, cell.points, stub.source, cell.source, tuple(calls), tuple(above))


def _without(stub: str, answers: set[str]) -> str:
    """What a stub sets up besides the answer: later exercises may need it."""
    return "\n".join(ast.unparse(one) for one in ast.parse(stub).body if not binds(one) & answers)
