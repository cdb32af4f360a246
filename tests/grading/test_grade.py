"""``advlib grade`` on a whole class: honest, unlucky and hostile notebooks, with the points that each is to get."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from advlib.grading import limits
from tests.grading.classroom import CHAPTER, CLASS, IDS, hand_in

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="advlib grade needs fork")]
MARK = f"GRADED_FOR_{os.getpid()}"
PACKAGE = Path(limits.__file__).parents[1]


def grade(*words):
    return subprocess.run(
        [sys.executable, "-m", "advlib", "grade", *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | {MARK: "1"},
    )


def rows(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The class, graded once: expected points, the finished command, its folder, and the package before and after."""
    folder = tmp_path_factory.mktemp("class")
    handed_in, out = folder / "handed in", folder / "out"
    expected = hand_in(handed_in, out / "scores.csv")
    (handed_in / "=cmd|' !A0.ipynb").write_text("{")
    (handed_in / "twice").mkdir()
    (handed_in / "twice" / CHAPTER.name).write_bytes(CHAPTER.read_bytes())
    (handed_in / "Twice.ipynb").write_bytes(CHAPTER.read_bytes())
    (handed_in / "borrows.ipynb").symlink_to(handed_in / "right" / CHAPTER.name)
    (handed_in / "other-chapter.ipynb").write_bytes((CHAPTER.parent / "07_bim.ipynb").read_bytes())
    (handed_in / "without").mkdir()
    (handed_in / ".ipynb_checkpoints").mkdir()
    before = {path: path.read_bytes() for path in [*PACKAGE.rglob("*.py"), *handed_in.rglob("*.ipynb")]}
    done = grade(handed_in, "--chapter", "06", "--out", out, "--seconds", 4)
    return expected, done, out, handed_in, before


def test_everyone_gets_their_points(graded):
    expected, done, out, _, _ = graded
    table = rows(out / "scores.csv")
    found = {name: tuple(float(table[name][one]) for one in IDS) for name in expected}
    wrong = [
        f"{name}: expected {expected[name]}, got {found[name]}" for name in expected if found[name] != expected[name]
    ]
    assert not wrong, "\n".join(wrong) + done.stdout
    assert all(float(table[name]["total"]) == sum(expected[name]) for name in expected)


def test_who_cannot_be_graded_is_told_and_the_others_go_on(graded):
    _, done, out, _, _ = graded
    table = rows(out / "scores.csv")
    why = {
        "'=cmd|' !A0": "not a notebook that can be read",
        "borrows": "is a link",
        "other-chapter": "the notebook of chapter 7, not of chapter 6",
        "without": "no notebook in without/",
        "Twice": "handed in twice",
    }
    for name, words in why.items():
        assert table[name]["total"] == "" and words in table[name]["remarks"], name
    assert done.returncode == 1 and "ipynb_checkpoints" not in done.stdout


def test_remarks_name_what_a_teacher_should_see(graded):
    table = rows(graded[2] / "scores.csv")
    said = {name: row["remarks"] for name, row in table.items()}
    assert "fgsm-l2: it was stopped after 4 seconds of work" in said["endless"]
    assert "fgsm-write: the process ended itself, with status 0" in said["leaves"]
    assert "fgsm-write: its process says that it is right" in said["patched"]
    assert "fgsm-write-check: another check than the chapter's" in said["other-checks"]
    assert "fgsm-l2: no such cell" in said["played"]
    assert said["right"] == said["talkative"] == said["changed-model"] == said["helped"] == ""


def test_nothing_was_changed_and_nobody_is_left(graded):
    before = graded[4]
    changed = [str(path) for path, data in before.items() if path.read_bytes() != data]
    assert not changed
    # Whatever an answer started has inherited this.
    left = [one for one in psutil.process_iter(["environ"]) if MARK in (one.info["environ"] or {})]
    assert not left


def test_each_has_a_page_that_names_the_mistake(graded):
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (graded[2] / "feedback").iterdir()}
    assert set(CLASS) < set(pages) and "Exercise 1. Write FGSM" in pages["right"]
    assert "8 of 8 points" in pages["right"] and "name &#x27;epsilon&#x27; is not defined" in pages["forgotten"]
    assert "advlib&#x27;s own fgsm" in pages["library"] and "<script" not in "".join(pages.values())


def test_a_second_run_runs_only_what_is_new(graded):
    expected, _, out, handed_in, _ = graded
    before = rows(out / "scores.csv")
    path = handed_in / "empty" / CHAPTER.name
    path.write_bytes((handed_in / "begins" / CHAPTER.name).read_bytes())
    (out / "scores.csv").unlink()
    done = grade(handed_in, "--chapter", CHAPTER, "--out", out, "--seconds", 4)
    after = rows(out / "scores.csv")
    assert after.pop("empty")["total"] == "2" and before.pop("empty")["total"] == "0", done.stderr
    assert after == before
