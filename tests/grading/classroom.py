"""A class's notebooks of chapter 6, and the points that each is to get: for `advlib grade` and for nbgrader."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from tests.exercises.printed import CHAPTERS

CHAPTER = CHAPTERS / "06_fgsm.ipynb"
WRITE, L2, SMALLEST = IDS = ("fgsm-write", "fgsm-l2", "fgsm-smallest")

FGSM = """def my_fgsm(model, x, y, eps):
    x = x.clone().requires_grad_()
    loss = F.cross_entropy(model(x), y, reduction="sum")
    (grad,) = torch.autograd.grad(loss, x)
    return (x + eps * grad.sign()).clamp(0, 1).detach()
"""
FGM_L2 = """def my_fgm_l2(model, x, y, eps):
    x = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(model(x), y, reduction="sum"), x)
    norm = g.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    step = torch.where(norm > 0, g / norm, 0)
    return (x + eps * step).clamp(0, 1).detach()
"""
SEARCH = """bent, its_label = own.sign(x, y)

start = bent.clone().requires_grad_()
u = losses.log_odds(model(start), its_label).sum()
(g,) = torch.autograd.grad(u, start)
smallest = None
for k in range(1, 1000):
    attacked = (bent + k / 1000 * g.sign()).clamp(0, 1)
    if model(attacked).argmax(1) != its_label:
        smallest = k / 1000
        break
"""
NOTHING = "def my_fgsm(model, x, y, eps):\n    return x\n"

# Swallows whatever is raised in it, the alarm of the check and nbgrader's interrupt among it.
ENDLESS = """while True:
    try:
        while True:
            pass
    except BaseException:
        pass
"""
LIBRARY = """def my_fgsm(model, x, y, eps):
    return attacks.fgsm(model, x, y, Linf(eps), loss=losses.cross_entropy)
"""
LIBRARY_L2 = """def my_fgm_l2(model, x, y, eps):
    return attacks.fgsm(model, x, y, L2(eps), loss=losses.cross_entropy)
"""
# Everything that judges here says yes.
PATCHED = """from advlib.exercises import exercise, frame, guarded
from advlib.exercises.exercise import Verdict
exercise.Exercise.verdict = lambda self, *given, **more: Verdict("✓", "as right as can be")
exercise.Exercise.__call__ = lambda self, *given, **more: print("✓")
frame.Formula.judge = frame.Number.judge = lambda self, *given: "as right as can be"
frame.Formula.agree = lambda self, *pair: True
guarded.guarded = lambda function, args, watch: args[1]
"""
OVERWRITES = """import pathlib, shutil
import advlib.exercises.fgsm
for place in [pathlib.Path(advlib.exercises.fgsm.__file__), pathlib.Path({other!r}), pathlib.Path({scores!r})]:
    try:
        place.parent.mkdir(exist_ok=True, parents=True)
        place.write_text("student,total\\\\n{name},8\\\\n")
    except OSError:
        pass
"""
SHOUTS = """import atexit, os, threading, time
def shout():
    for number in range(64):
        try:
            os.write(number, "✓ right".encode())
        except OSError:
            pass
atexit.register(shout)
threading.Thread(target=shout, daemon=True).start()
time.sleep(0.1)
shout()
"""
STAYS = """import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(3600)
    os._exit(0)
"""
LEAVES = 'import os\nprint("✓ my_fgsm: the same images as the formula", flush=True)\nos._exit(0)\n'
YES = "class check:\n    fgsm = fgm_l2 = smallest_eps = progress = staticmethod(lambda *given: print('✓'))\n"


@dataclass(frozen=True)
class Student:
    """``points`` for the three exercises; ``doubted``: the teacher is to read it."""

    points: tuple[float, float, float]
    change: Callable[[NotebookNode, dict[str, NotebookNode]], None]
    doubted: str = ""


def writes(write: str | None = FGSM, l2: str | None = FGM_L2, smallest: str | None = SEARCH) -> Callable:
    """Answers, the right ones but for what is said; None leaves the stub."""

    def change(notebook: NotebookNode, cells: dict[str, NotebookNode]) -> None:
        for grade_id, text in zip(IDS, (write, l2, smallest)):
            if text is not None:
                cells[grade_id].source = text

    return change


def also(*changes: Callable) -> Callable:
    return lambda notebook, cells: [change(notebook, cells) for change in changes]


def setup(text: str) -> Callable:
    """More lines in the chapter's own setup cell."""

    def change(notebook: NotebookNode, cells: dict[str, NotebookNode]) -> None:
        cell = next(cell for cell in notebook.cells if "load_model(" in cell.source)
        cell.source += "\n" + text

    return change


def checks(text: str) -> Callable:
    def change(notebook: NotebookNode, cells: dict[str, NotebookNode]) -> None:
        for grade_id in IDS:
            cells[f"{grade_id}-check"].source = text

    return change


def played(notebook: NotebookNode, cells: dict[str, NotebookNode]) -> None:
    """One answer's cell deleted, one moved to the top, one copied into a cell of its own; outputs gone, order lost."""
    notebook.cells.remove(cells[L2])
    notebook.cells.remove(cells[SMALLEST])
    notebook.cells.insert(1, cells[SMALLEST])
    cells[SMALLEST].source = SEARCH
    notebook.cells.append(new_code_cell(FGSM))
    for count, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], 100 - count
    notebook.metadata.pop("widgets", None)


def helped(notebook: NotebookNode, cells: dict[str, NotebookNode]) -> None:
    """A helper in a cell of its own, magics, a cell that is no Python."""
    head, _, _ = FGSM.replace("my_fgsm(model, x, y, eps)", "slope(model, x, y)").partition("    return")
    helper = head + "    return grad\n"
    here = notebook.cells.index(cells[WRITE])
    notebook.cells[here:here] = [
        new_code_cell(helper),
        new_code_cell("%matplotlib inline\n!ls"),
        new_code_cell("what is this?!"),
    ]
    cells[
        WRITE
    ].source = "%time\ndef my_fgsm(model, x, y, eps):\n    return (x + eps * slope(model, x, y).sign()).clamp(0, 1)\n"


FORGOT = FGM_L2.replace("eps * step", "epsilon * step")
OTHER_MODEL = 'model = load_model("signs-linear")\nwithin = Linf(0.5)\nx, y = x[:3], y[:3]'

CLASS = {
    "right": Student((2, 3, 3), writes()),
    "half": Student((2, 0, 0), writes(l2=None, smallest="smallest = 0.5")),
    "begins": Student((2, 0, 0), writes(l2=None, smallest=None)),
    "empty": Student((0, 0, 0), writes(None, None, None)),
    "forgotten": Student((2, 0, 0), writes(l2=FORGOT, smallest=None)),
    "endless": Student((2, 0, 3), writes(l2=ENDLESS)),
    "talkative": Student((2, 3, 0), writes(write="print('a' * 10_000_000)\n" + FGSM, smallest=None)),
    "leaves": Student((0, 3, 3), writes(write=LEAVES)),
    "broken": Student((0, 3, 0), writes(write="def my_fgsm(model, x, y, eps:\n    return x", smallest=None)),
    "changed-model": Student((2, 3, 3), also(setup(OTHER_MODEL), writes())),
    "changed-check": Student((0, 0, 0), also(setup(YES), writes(NOTHING, None, "smallest = 0.5"))),
    "other-checks": Student((0, 0, 0), also(checks("print('✓')"), writes(NOTHING, None, "smallest = 0.5"))),
    "patched": Student((0, 3, 0), writes(PATCHED + NOTHING, FGM_L2, PATCHED + "smallest = 0.5"), "read this answer"),
    "library": Student((0, 0, 0), writes(LIBRARY, LIBRARY_L2, None)),
    "played": Student((2, 0, 3), played),
    "helped": Student((2, 3, 0), also(writes(smallest=None), helped)),
    "shouts": Student((0, 3, 0), writes(SHOUTS + NOTHING, smallest=None)),
    "stays": Student((2, 3, 0), writes(STAYS + FGSM, smallest=None)),
}
OVERWRITER = "overwrites"


def hand_in(
    folder: Path, scores: Path, name: str = "{}/06_fgsm.ipynb", students: Iterable[str] | None = None
) -> dict[str, tuple[float, float, float]]:
    """Write the notebooks; the points that each is to get."""
    first = name.format("right")
    overwrites = OVERWRITES.format(other=str(folder / first), scores=str(scores), name=OVERWRITER)
    whole = CLASS | {OVERWRITER: Student((2, 3, 3), writes(overwrites + FGSM))}
    everyone = {student: whole[student] for student in students or whole}
    chapter = nbformat.read(CHAPTER, as_version=4)
    for student, one in everyone.items():
        notebook = copy.deepcopy(chapter)
        cells = {cell.metadata["nbgrader"]["grade_id"]: cell for cell in notebook.cells if "nbgrader" in cell.metadata}
        one.change(notebook, cells)
        path = folder / name.format(student)
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)
    return {student: one.points for student, one in everyone.items()}
