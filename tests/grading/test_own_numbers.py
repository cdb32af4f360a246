"""``advlib grade --own-numbers``: each answer by the numbers of who hands it in, so that nobody's helps another."""

import csv
import subprocess
import sys

import nbformat
import pytest

from advlib.exercises import check, own
from tests.exercises.printed import CHAPTERS

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="advlib grade needs fork")]
CHAPTER = CHAPTERS / "04_norms.ipynb"
ASKED = "norms-by-hand"


def answer_for(student):
    with own.named(student):
        return check.norms_by_hand.right(own.pixels())


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    answers = {
        "ada": f'own.name("ada")\nby_hand = {answer_for("ada")}',
        "bob": f'own.name("ada")\nby_hand = {answer_for("ada")}',  # copied with all that belongs to it
        "carol": f"by_hand = {answer_for('')}",
    }
    for student, code in answers.items():
        notebook = nbformat.read(CHAPTER, as_version=4)
        (cell,) = [one for one in notebook.cells if one.metadata.get("nbgrader", {}).get("grade_id") == ASKED]
        cell.source = code
        nbformat.write(notebook, folder / f"{student}.ipynb")
    return folder


def graded(folder, out, *words):
    told = [sys.executable, "-m", "advlib", "grade", str(folder), "--chapter", str(CHAPTER), "--out", str(out), *words]
    subprocess.run(told, check=True, capture_output=True)
    with open(out / "scores.csv", encoding="utf-8-sig", newline="") as file:
        return {row["student"]: (float(row[ASKED]), row["remarks"]) for row in csv.DictReader(file)}


def test_with_numbers_of_their_own_a_copied_answer_gets_nothing(handed_in, tmp_path):
    found = graded(handed_in, tmp_path, "--own-numbers")
    assert {student: points for student, (points, _) in found.items()} == {"ada": 2, "bob": 0, "carol": 0}
    assert "right for the book’s numbers, not for the student’s own" in found["carol"][1]
    assert "right for" not in found["bob"][1] + found["ada"][1]


def test_without_the_setting_the_books_numbers_count_and_the_teacher_is_told(handed_in, tmp_path):
    found = graded(handed_in, tmp_path)
    assert {student: points for student, (points, _) in found.items()} == {"ada": 0, "bob": 0, "carol": 2}
    assert "right for the student’s own numbers, so grade with --own-numbers" in found["ada"][1]
