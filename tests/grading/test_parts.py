"""The parts of grading: what is handed over, which notebook is whose, what a teacher gets, containers."""

import csv
import json
import os
import signal
import stat
import struct
import sys

import nbformat
import numpy as np
import pytest
import torch

from advlib import cli
from advlib.attacks import Patch
from advlib.exercises import check, exercise, own
from advlib.exercises.fgsm import smallest_eps
from advlib.exercises.frame import Formula
from advlib.grading import answering, handover, judge, worker
from advlib.grading.judge import DOUBT, Judge
from advlib.grading.limits import Limits
from advlib.grading.needed import needed, statements
from advlib.grading.notebook import cells_of, chapter_of, find_chapter
from advlib.grading.originals import Originals
from advlib.grading.results import Graded, Record, Result, about, write_page, write_scores
from advlib.grading.submissions import Submission, collected
from advlib.grading.supervisor import Supervisor
from tests.exercises.printed import CHAPTERS
from tests.grading.classroom import CHAPTER, FGSM, SEARCH

needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="answers are run apart by fork")


@pytest.fixture(scope="module")
def chapter():
    return chapter_of(CHAPTER)


# ------------------------------------------------------------------------------------------------ handing over
@pytest.mark.parametrize(
    "value", [0.25, -3, True, None, "ε", [1, (2.0, "a")], {"a": {"b": []}}, float("inf"), (), {}], ids=str
)
def test_plain_values_come_back_as_they_were(value):
    back = handover.unpack(handover.pack(value))
    assert back == value and type(back) is type(value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bool, torch.uint8])
def test_tensors_come_back_as_they_were(dtype):
    one = torch.arange(6).view(2, 3).to(dtype)
    back = handover.unpack(handover.pack({"a": one.t(), "b": [one[:1]]}))
    assert torch.equal(back["a"], one.t()) and torch.equal(back["b"][0], one[:1]) and back["a"].dtype == dtype


def test_a_view_brings_only_what_it_shows():
    assert len(handover.pack(torch.zeros(1000, 1000)[:1, :1])) < 1000


def test_numpy_numbers_and_stickers_are_known():
    patch = handover.unpack(handover.pack(Patch(torch.rand(3, 2, 2), torch.ones(1, 2, 2))))
    assert isinstance(patch, Patch) and handover.unpack(handover.pack(np.float32(0.5))) == 0.5


EXERCISES = [one for one in vars(check).values() if isinstance(one, exercise.Exercise) and not one.live]


@pytest.mark.slow
@pytest.mark.parametrize("one", [one for one in EXERCISES if isinstance(one, Formula)], ids=lambda one: one.name)
def test_what_a_right_function_gives_is_handed_over_whole(one):
    for result, _ in one.results(one.right, one.cases()):
        told = handover.unpack(handover.pack(answering.outcome(result)))
        assert one.agree(judge.outcome_of(one, told), result)


class Evil:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize("value", [Evil(), print, torch.nn.Linear(1, 1), {1: 2}, [Evil()], {"a": object()}, 10**400])
def test_what_could_run_is_not_handed_over(value):
    with pytest.raises(handover.Described):
        handover.pack(value)


@pytest.mark.parametrize(
    "data",
    [b"", b"abc", b"\0" * 8, struct.pack(">Q", 2**60), struct.pack(">Q", 2) + b"{]",
     struct.pack(">Q", 14) + b'{"tensor":"0"}', struct.pack(">Q", 8) + b'{"a": 1}',
     struct.pack(">Q", 4) + b"null" + b"x" * 40],
)  # fmt: skip
def test_broken_bytes_are_refused(data):
    with pytest.raises(ValueError):
        handover.unpack(data)


# ----------------------------------------------------------------------------------------- chapters, submissions
def test_every_chapter_can_be_graded():
    for path in sorted(CHAPTERS.glob("*.ipynb")):
        chapter = chapter_of(find_chapter(path.name[:2]))
        cells = nbformat.read(path, as_version=4).cells
        marked = [cell.metadata["nbgrader"] for cell in cells if cell.metadata.get("nbgrader", {}).get("grade")]
        points = {one["grade_id"]: one["points"] for one in marked}
        assert chapter.path.name == path.name
        assert {task.check_id: task.points for task in chapter.tasks} | chapter.by_hand == points
        assert len(chapter.by_hand) == 1 and all(task.title.startswith("Exercise") for task in chapter.tasks)


@pytest.mark.parametrize("named", ["99", "six", "no/such.ipynb"])
def test_an_unknown_chapter_is_refused(named):
    with pytest.raises(ValueError, match="--chapter"):
        find_chapter(named)


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"{", "not a notebook that can be read"), (b"[1]", "not a notebook"), (b'{"worksheets": []}', "format 3"),
     (b"[" * 10**5, "not a notebook that can be read"), (b"\xff", "not a notebook that can be read")],
)  # fmt: skip
def test_what_is_no_notebook_is_told(data, words):
    with pytest.raises(ValueError, match=words):
        cells_of(data)


def test_cells_with_anything_in_them_are_read():
    odd = {"cells": [1, {}, {"cell_type": "code", "source": ["a", 2], "metadata": {"nbgrader": 3}}, {"source": 5}]}
    assert [cell.source for cell in cells_of(json.dumps(odd).encode())] == ["", "a", ""]


def test_the_longer_names_of_folders_are_students(tmp_path, chapter):
    (tmp_path / "Zoë" / "06").mkdir(parents=True)
    (tmp_path / "Zoë" / "06" / CHAPTER.name).write_bytes(CHAPTER.read_bytes())
    (tmp_path / "Zoë" / "06" / "notes.ipynb").write_text("{}")
    (tmp_path / "ann.ipynb").write_bytes(CHAPTER.read_bytes())
    (tmp_path / "readme.txt").write_text("no notebook")
    found = collected(tmp_path, chapter)
    assert [one.student for one in found] == ["Zoë", "ann"] and not any(one.trouble or one.remarks for one in found)
    assert all(one.answers == (None, None, None) for one in found)


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_without_notebooks_is_refused(tmp_path, chapter, made):
    with pytest.raises(ValueError, match=r"<student>\.ipynb"):
        collected(tmp_path if made else tmp_path / "none", chapter)


def test_what_an_answer_sets_itself_is_not_looked_for():
    above = statements("start = 1\nother = 2\nbig = other + 1")
    assert needed(above, {"big"}) == [1, 2]
    assert statements("%time\nx = 1")[-1].lineno == 2


@needs_fork
def test_what_cannot_start_is_refused(tmp_path, capsys):
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "ann.ipynb").write_bytes(CHAPTER.read_bytes())
    for words, why in [
        ([tmp_path / "none", "--chapter", "06"], "no such folder"),
        ([tmp_path / "class", "--chapter", "99"], "--chapter 99"),
        ([tmp_path / "class", "--chapter", "06", "--out", tmp_path / "class"], "need one of their own"),
    ]:
        assert cli.main(["grade", *map(str, words)]) == 2
        assert why in capsys.readouterr().err
    for option in (["--seconds", "0"], ["--seconds", "soon"], ["--memory", "1"]):
        with pytest.raises(SystemExit):
            cli.main(["grade", str(tmp_path), "--chapter", "06", *option])


# ------------------------------------------------------------------------------------------------------ results
def test_no_name_is_computed_by_a_spreadsheet(tmp_path, chapter):
    names = ["=1+1", "+1", "-1", "@a", "\tx", "plain", "a\nb", "\udcff"]
    write_scores(tmp_path / "scores.csv", chapter, [Graded(name, trouble="=HYPERLINK()") for name in names])
    with open(tmp_path / "scores.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(names)
    assert not [cell for row in rows for cell in row.values() if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]


def test_a_page_escapes_all_that_students_write(tmp_path, chapter):
    results = tuple(Result(0, "<script>alert(1)</script>", ("<b>",)) for _ in chapter.tasks)
    write_page(tmp_path, chapter, Graded("<i>x", results), {})
    page = (tmp_path / "<i>x.html").read_text(encoding="utf-8")
    assert "<script" not in page and "<i>x" not in page and "&lt;script&gt;" in page
    assert "width=device-width" in page and "prefers-color-scheme: dark" in page


def test_the_record_knows_the_same_notebook_only(tmp_path, chapter):
    graded = Graded("ann", (Result(2, "✓", ("seen",)),))
    Record(tmp_path, "a").put(Submission("ann", b"one"), graded)
    assert Record(tmp_path, "a").get(Submission("ann", b"one")) == graded
    assert Record(tmp_path, "a").get(Submission("ann", b"two")) is None
    assert Record(tmp_path, "other limits").get(Submission("ann", b"one")) is None
    (tmp_path / "graded.json").write_text('{"about": "a", "students": {"ann": 3}}')
    assert Record(tmp_path, "a").get(Submission("ann", b"one")) is None
    one = about(chapter, Limits(1), tmp_path, False)
    assert one != about(chapter, Limits(2), tmp_path, False) and one != about(chapter, Limits(1), tmp_path, True)


def test_files_are_put_back(tmp_path):
    for name in ("kept", "changed", "removed"):
        (tmp_path / name).write_text(name)
    originals = Originals([tmp_path])
    (tmp_path / "changed").write_text("CHANGED")
    (tmp_path / "removed").unlink()
    assert sorted(path.name for path in originals.put_back()) == ["changed", "removed"]
    assert (tmp_path / "changed").read_text() == "changed" and (tmp_path / "removed").read_text() == "removed"
    assert originals.put_back() == []


# -------------------------------------------------------------------------------------------------------- judging
class Says:
    """A worker that hands over what it is told to."""

    def __init__(self, message):
        self.message = message

    def run(self, number, cell, others):
        return self.message


RIGHT = {"mark": "✓", "words": "✓ all right"}


@pytest.mark.parametrize(
    "message",
    [{"found": [RIGHT]}, {"found": [RIGHT | {"evidence": []}]}, {"found": [RIGHT | {"evidence": [{"result": 1}] * 8}]},
     {"found": [RIGHT | {"evidence": 3}]}],
)  # fmt: skip
def test_a_process_that_only_says_so_gets_no_points(chapter, message):
    result = Judge(chapter.tasks).grade(0, Says(message), FGSM, (), "ada")
    assert result.points == 0 and DOUBT in result.remarks[0]


@pytest.mark.parametrize(
    "message", [{}, {"found": 3}, {"found": []}, {"found": [3]}, {"died": "why"}, {"found": [RIGHT] * 2}]
)
def test_an_odd_message_gets_no_points(chapter, message):
    assert Judge(chapter.tasks).grade(0, Says(message), FGSM, (), "ada").points == 0


def test_a_number_is_judged_where_no_answer_runs(chapter, monkeypatch):
    its = Judge(chapter.tasks)
    assert its.grade(2, Says({"found": [RIGHT]}), SEARCH, (), "ada").points == 0
    asked = []
    monkeypatch.setattr(
        exercise.Exercise, "verdict", lambda self, *given: asked.append(given) or exercise.Verdict("✓", "")
    )
    monkeypatch.setattr("advlib.grading.judge.Setting", lambda task: type("S", (), {"names": NAMES}))
    assert its.grade(2, Says({"found": [{"value": [0.031, {}]}]}), SEARCH, (), "ada").points == 3
    assert asked == [(0.031, "the model", [own.YIELD], [own.YIELD])] and smallest_eps.live is False
    assert its.grade(2, Says({"found": [{"value": [0.031, {"model": 5}]}]}), SEARCH, (), "ada").points == 0


NAMES = {"model": "the model", "x": list(range(512)), "y": list(range(512)), "own": own}


# ----------------------------------------------------------------------------------------------------- containers
FAKE = """#!{python}
import os, sys
with open({log!r}, "a") as log:
    print(*sys.argv[1:], file=log)
if sys.argv[1] == "run":
    at = sys.argv.index("an-image")
    os.execv({python!r}, [{python!r}, *sys.argv[at + 1 :]])
"""


@needs_fork
@pytest.mark.slow
def test_a_container_runs_each_student_by_itself(tmp_path, monkeypatch, chapter):
    log = tmp_path / "log"
    engine = tmp_path / "docker"
    engine.write_text(FAKE.format(python=sys.executable, log=str(log)))
    engine.chmod(engine.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with Supervisor(chapter.tasks, Limits(20), "an-image") as supervisor:
        assert Judge(chapter.tasks).grade(0, supervisor, FGSM, (), "ada").points == 2
        supervisor.next_student()
        assert supervisor.process is None
    lines = log.read_text().splitlines()
    run = next(line for line in lines if line.startswith("run"))
    for words in ("--network none", "--read-only", "--cap-drop ALL", "--pids-limit 64", "advlib:ro", "--memory 4096m"):
        assert words in run
    assert lines[0] == "info" and lines[-1].startswith("rm --force advlib-grade-")


def test_a_container_that_cannot_be_is_told(tmp_path, monkeypatch, chapter):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="docker or podman"):
        Supervisor(chapter.tasks, Limits(), "an-image")


@needs_fork
@pytest.mark.slow
def test_a_chapter_that_fails_is_told_and_gives_nobody_points(tmp_path, chapter):
    broken = type(chapter.tasks[0])(**{**vars(chapter.tasks[0]), "stub": "raise OSError('no such file')"})
    with Supervisor([broken], Limits(5)) as supervisor, pytest.raises(ValueError, match="own cells fail: OSError"):
        supervisor.run(0, FGSM, ())


def test_what_a_person_marks_has_an_empty_column_and_is_on_the_page(tmp_path):
    notebook = nbformat.read(CHAPTER, as_version=4)
    why = {"grade_id": "fgsm-why", "grade": True, "solution": True, "locked": False, "points": 4, "schema_version": 3}
    notebook.cells.append(nbformat.v4.new_markdown_cell("Why?", metadata={"nbgrader": why | {"task": False}}))
    nbformat.write(notebook, tmp_path / CHAPTER.name)
    chapter = chapter_of(tmp_path / CHAPTER.name)
    notebook.cells[-1].source = "Because <b>"
    (tmp_path / "class").mkdir()
    nbformat.write(notebook, tmp_path / "class" / "ann.ipynb")
    (student,) = collected(tmp_path / "class", chapter)
    assert chapter.by_hand == {"fgsm-why": 4} and student.by_hand == {"fgsm-why": "Because <b>"}
    graded = Graded("ann", tuple(Result(0, "✗") for _ in chapter.tasks))
    write_scores(tmp_path / "scores.csv", chapter, [graded])
    write_page(tmp_path, chapter, graded, student.by_hand)
    assert "fgsm-smallest,fgsm-why,total" in (tmp_path / "scores.csv").read_text(encoding="utf-8-sig")
    assert "Because &lt;b&gt;" in (tmp_path / "ann.html").read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="answers are run apart by fork")
@pytest.mark.parametrize(
    ("sent", "said"), [("SIGXCPU", "it was stopped after 4 seconds of work"), ("SIGKILL", "SIGKILL")]
)
def test_why_a_process_said_nothing(sent, said):
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), getattr(signal, sent))
    assert said in worker._fate(pid, 4)
