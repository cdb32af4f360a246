"""Real nbgrader with the course's settings: release, submit, autograde, export, feedback, and the same points."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.grading.classroom import CHAPTER, FGSM, hand_in

determine_grade = pytest.importorskip("nbgrader.utils", reason="nbgrader is not installed").determine_grade
pytestmark = [pytest.mark.thorough, pytest.mark.skipif(sys.platform == "win32", reason="answers are run apart by fork")]
CONFIG = Path(__file__).parents[2] / "classroom" / "nbgrader_config.py"
# Of the whole class those that nbgrader alone gave other points.
STUDENTS = ("right", "half", "endless", "leaves", "changed-check", "patched")


def nbgrader(course, *words):
    # Beside this very Python, where nbgrader looks for alembic.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        [sys.executable, "-m", "nbgrader", *words],
        cwd=course,
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": path},
    )


def points(course):
    done = nbgrader(course, "export")
    assert done.returncode == 0, done.stderr
    with open(course / "grades.csv", newline="") as file:
        return {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}


def new_course(folder):
    (folder / "source" / "06").mkdir(parents=True)
    shutil.copy(CHAPTER, folder / "source" / "06")
    return folder


def release(course):
    done = nbgrader(course, "generate_assignment", "06")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course up to its feedback, the points that each student is to get, and what autograde said."""
    course = new_course(tmp_path_factory.mktemp("course"))
    shutil.copy(CONFIG, course)
    release(course)
    expected = hand_in(course / "submitted", course / "gradebook.db", "{}/06/06_fgsm.ipynb", STUDENTS)
    autograded = nbgrader(course, "autograde", "06", "--GradeApart.seconds=3")
    feedback = nbgrader(course, "generate_feedback", "06")
    assert feedback.returncode == 0, feedback.stderr
    return course, {student: sum(one) for student, one in expected.items()}, autograded


def test_the_release_has_stubs_and_no_solutions(course):
    released = nbformat.read(course[0] / "release" / "06" / CHAPTER.name, as_version=4)
    text = "\n".join(cell.source for cell in released.cells)
    assert "<summary>Idea</summary>" in text and "<summary>Solution</summary>" not in text
    stubs = {
        cell.metadata["nbgrader"]["grade_id"]: cell.source for cell in released.cells if "nbgrader" in cell.metadata
    }
    chapter = nbformat.read(CHAPTER, as_version=4)
    shipped = {
        cell.metadata["nbgrader"]["grade_id"]: cell.source for cell in chapter.cells if "nbgrader" in cell.metadata
    }
    assert stubs == shipped


def test_everyone_gets_the_points_of_advlib_grade(course):
    folder, expected, autograded = course
    assert points(folder) == expected, autograded.stderr


def test_feedback_names_the_mistake(course):
    page = next((course[0] / "feedback" / "half" / "06").glob("*.html")).read_text(encoding="utf-8")
    assert "my_fgm_l2: not written yet" in page and "fools the model, but so does" in page


def test_without_the_settings_nobody_gets_points_and_everybody_sees_why(tmp_path):
    """The one kernel of nbgrader's own gives points to whoever replaces the check: its absence must show."""
    course = new_course(tmp_path)
    source = course / "source" / "06" / CHAPTER.name
    chapter = nbformat.read(source, as_version=4)
    # What the exercises need; the figures take a minute.
    chapter.cells = [cell for cell in chapter.cells if "nbgrader" in cell.metadata or "import check" in cell.source]
    nbformat.write(chapter, source)
    release(course)
    answered = course / "submitted" / "right" / "06" / CHAPTER.name
    answered.parent.mkdir(parents=True)
    next(cell for cell in chapter.cells if "def my_fgsm" in cell.source).source = FGSM
    nbformat.write(chapter, answered)
    done = nbgrader(course, "autograde", "06", "--Execute.timeout=300")
    graded = nbformat.read(course / "autograded" / "right" / "06" / CHAPTER.name, as_version=4)
    by_a_machine = [cell for cell in graded.cells if cell.cell_type == "code"]
    checks = [cell for cell in by_a_machine if cell.metadata.get("nbgrader", {}).get("grade")]
    assert len(checks) == 3, done.stderr
    assert [determine_grade(cell)[0] for cell in checks] == [0, 0, 0]
    assert all("nbgrader_config.py" in cell.outputs[0].evalue for cell in checks)
