"""Within nbgrader: release a chapter without its printed solutions, and grade as ``advlib grade`` does.

nbgrader by itself runs a whole notebook in one kernel, and gives full points to a check's cell without an error in it.
`GradeApart` takes the place of that run: each answer in a process of its own, judged outside of it.
"""

from __future__ import annotations

import atexit
import functools
import re
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader import utils
from nbgrader.preprocessors import ClearSolutions, Execute, NbGraderPreprocessor
from traitlets import Float, Integer, Unicode

from advlib.grading.judge import Judge
from advlib.grading.notebook import Chapter, cells_of, chapter_of
from advlib.grading.submissions import of_cells
from advlib.grading.supervisor import Limits, Supervisor

__all__ = ["GradeApart", "WithoutSolutions", "configure"]

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

    source = Unicode(help="The folder source/ of the course.").tag(config=True)
    seconds = Float(Limits.seconds, help="Of processor time for an answer.").tag(config=True)
    megabytes = Integer(Limits.megabytes, help="Of memory for an answer, above the chapter's.").tag(config=True)
    container = Unicode("", help="An image to run answers in, by docker or podman.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        where = resources["nbgrader"]
        path = Path(self.source, where["assignment"], f"{where['notebook']}.ipynb")
        chapter, judge, supervisor = _classroom(path, Limits(self.seconds, self.megabytes), self.container)
        student = of_cells(where["student"], b"", cells_of(nbformat.writes(nb).encode()), chapter)
        results = {
            task.check_id: judge.grade(number, supervisor, student.answers[number], student.others[number])
            for number, task in enumerate(chapter.tasks)
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
def _classroom(path: Path, limits: Limits, image: str) -> tuple[Chapter, Judge, Supervisor]:
    """One judge and one worker for all students of a chapter."""
    chapter = chapter_of(path)
    supervisor = Supervisor(chapter.tasks, limits, image or None)
    atexit.register(supervisor.close)
    return chapter, Judge(chapter.tasks), supervisor


def _output(result: Any) -> NotebookNode:
    """An error wherever there are no points: a cell without one gets them all."""
    if result is not None and result.points:
        return nbformat.v4.new_output("stream", name="stdout", text=result.words)
    words = result.words if result is not None else "✗ this is no check of the chapter's"
    return nbformat.v4.new_output("error", ename="AssertionError", evalue=words, traceback=words.split("\n"))


def configure(config: Any, folder: Path) -> None:
    """The settings of a course in ``folder``, for nbgrader's `get_config()`."""
    from nbgrader.converters import Autograde, GenerateAssignment

    release = [one for one in GenerateAssignment.preprocessors.default() if one is not ClearSolutions]
    config.GenerateAssignment.preprocessors = [WithoutSolutions, *release]
    graded = Autograde.autograde_preprocessors.default()
    config.Autograde.autograde_preprocessors = [GradeApart if one is Execute else one for one in graded]
    config.GradeApart.source = str(folder.resolve() / "source")
    config.CourseDirectory.root = str(folder.resolve())
