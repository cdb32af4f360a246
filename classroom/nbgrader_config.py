"""The course's settings for nbgrader, for the folder where its commands are run.

They release a chapter without its printed solutions, and grade as ``advlib grade`` does. nbgrader by itself runs a
whole notebook in one kernel, and gives full points to a check's cell without an error in it; here each answer runs in
a process of its own, and is judged outside of it. Where this file is missing every check fails, so that it is missed.
"""

from __future__ import annotations

import atexit
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbformat import NotebookNode
from nbgrader import utils
from nbgrader.converters import Autograde, GenerateAssignment
from nbgrader.preprocessors import ClearSolutions, Execute, NbGraderPreprocessor
from traitlets import Bool, Float, Integer, Unicode

from advlib.grading.limits import Limits
from advlib.grading.notebook import Chapter, cells_of, chapter_of
from advlib.grading.submissions import of_cells

if TYPE_CHECKING:
    from advlib.grading.judge import Judge
    from advlib.grading.supervisor import Supervisor

COURSE = Path(__file__).resolve().parent
SOLUTION = re.compile(r"<details>\s*<summary>Solution</summary>.*?</details>\s*", re.S)


class WithoutSolutions(NbGraderPreprocessor):
    """Leave the folded solutions out of the text that students get; the stubs stay as the chapter has them."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        for cell in nb.cells:
            if cell.cell_type == "markdown":
                cell.source = SOLUTION.sub("", cell.source).rstrip()
        return nb, resources


class GradeApart(NbGraderPreprocessor):
    """Fill the cells of the checks with what a judge says of each answer; nothing runs in a kernel."""

    seconds = Float(Limits.seconds, help="Of processor time for an answer.").tag(config=True)
    megabytes = Integer(Limits.megabytes, help="Of memory for an answer, above the chapter's.").tag(config=True)
    container = Unicode("", help="An image to run answers in, by docker or podman.").tag(config=True)
    own_numbers = Bool(False, help="Whether every student had numbers of their own, by their name.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        where = resources["nbgrader"]
        path = Path(COURSE, "source", where["assignment"], f"{where['notebook']}.ipynb")
        chapter, judge, supervisor = _classroom(
            path, Limits(self.seconds, self.megabytes), self.container, self.own_numbers
        )
        student = of_cells(where["student"], b"", cells_of(nbformat.writes(nb).encode()), chapter)
        results = {
            task.check_id: judge.grade(number, supervisor, *pair, where["student"])
            for number, (task, *pair) in enumerate(zip(chapter.tasks, student.answers, student.others))
        }
        supervisor.next_student()
        for cell in nb.cells:
            if cell.cell_type != "code":
                continue
            cell.outputs, cell.execution_count = [], None
            if utils.is_grade(cell) and not utils.is_solution(cell):
                cell.outputs = [_output(results.get(cell.metadata.nbgrader["grade_id"]))]
        for remark in (*student.remarks, *(remark for result in results.values() for remark in result.remarks)):
            self.log.warning("%s: %s", where["student"], remark)
        return nb, resources


@functools.cache
def _classroom(path: Path, limits: Limits, image: str, own_numbers: bool) -> tuple[Chapter, Judge, Supervisor]:
    """One judge and one worker for all students of a chapter."""
    # They bring torch, which only autograde needs.
    from advlib.grading.judge import Judge
    from advlib.grading.supervisor import Supervisor

    chapter = chapter_of(path)
    supervisor = Supervisor(chapter.tasks, limits, image or None)
    atexit.register(supervisor.close)
    return chapter, Judge(chapter.tasks, own_numbers), supervisor


def _output(result: Any) -> NotebookNode:
    """An error wherever there are no points: a cell without one gets them all."""
    from advlib.exercises.exercise import wrapped

    words = wrapped(result.words) if result is not None else "✗ this is no check of the chapter's"
    if result is not None and result.points:
        return nbformat.v4.new_output("stream", name="stdout", text=words)
    return nbformat.v4.new_output("error", ename="AssertionError", evalue=words, traceback=words.split("\n"))


c = get_config()  # noqa: F821  (nbgrader's)
c.CourseDirectory.root = str(COURSE)
c.GenerateAssignment.preprocessors = [
    WithoutSolutions,
    *(one for one in GenerateAssignment.preprocessors.default() if one is not ClearSolutions),
]
c.Autograde.autograde_preprocessors = [
    GradeApart if one is Execute else one for one in Autograde.autograde_preprocessors.default()
]
