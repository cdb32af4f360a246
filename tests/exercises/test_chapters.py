"""Chapters and checks agree: each exercise is called by its chapter, under its title, for its points."""

import re

import nbformat

from advlib.exercises import check
from advlib.exercises.frame import Exercise
from book._ext.coursebook.chapter import of_notebook
from tests.exercises.printed import CHAPTERS

CALL = re.compile(r"^check\.(\w+)\(", re.M)


def disagreements(exercises: dict[str, Exercise], notebooks: list) -> list[str]:
    """Where a chapter and the exercises' values say different things, one line each."""
    found, called = [], set()
    for notebook in notebooks:
        chapter = of_notebook(notebook)
        for printed in chapter.exercises:
            code = "\n".join(notebook.cells[number].source for number in printed.cells)
            names = [name for name in CALL.findall(code) if name != "progress"]
            called |= set(names)
            place = f"chapter {chapter.number}, exercise {printed.number}"
            unknown = [name for name in names if name not in exercises]
            found += [f"{place}: advlib/exercises/check.py imports no {name}" for name in unknown]
            values = [exercises[name] for name in names if name in exercises]
            for value in values:
                if value.chapter != chapter.number:
                    found.append(f"{place}: check.{value.name} says chapter={value.chapter}")
                if not value.title.startswith(printed.title):
                    found.append(f"{place}: check.{value.name} says title={value.title!r}, the page {printed.title!r}")
            if values and sum(value.points for value in values) != printed.points:
                found.append(f"{place}: {printed.points} points, but check.{', check.'.join(names)} say otherwise")
    missing = [exercise for name, exercise in exercises.items() if name not in called]
    return found + [f"chapter {one.chapter}: no cell calls check.{one.name}(…)" for one in missing]


def all_exercises() -> dict[str, Exercise]:
    return {name: value for name, value in vars(check).items() if isinstance(value, Exercise)}


def test_chapters_and_exercises_agree():
    notebooks = [nbformat.read(path, as_version=4) for path in sorted(CHAPTERS.glob("*.ipynb"))]
    found = disagreements(all_exercises(), notebooks)
    assert not found, "\n".join(found)


def test_a_disagreement_is_named():
    first = "# 6. FGSM\n\n*A step.*\n\n**Time:** 5 minutes to read, 5 for the exercises."
    heading = "### Exercise 1. Write it\n\n●○○ easy · 5 minutes · 1 point"
    cells = [
        nbformat.v4.new_markdown_cell(first),
        nbformat.v4.new_markdown_cell(heading),
        nbformat.v4.new_code_cell("check.fgsm(a)\ncheck.nonsense(b)"),
    ]
    found = disagreements({"fgsm": check.fgsm, "bim": check.bim}, [nbformat.v4.new_notebook(cells=cells)])
    assert [line for line in found if "imports no nonsense" in line]
    assert [line for line in found if "title='Write FGSM', the page 'Write it'" in line]
    assert [line for line in found if "1 points, but" in line]
    assert [line for line in found if line == "chapter 7: no cell calls check.bim(…)"]
    assert len(found) == 4
