"""Every chapter keeps to the guards; that its outputs are true is tested by nbval, cell by cell."""

import ast
from collections import Counter
from itertools import chain
from pathlib import Path

import nbformat
import pytest

from book._ext.coursebook.chapter import read
from tests.notebooks import pedagogy
from tests.notebooks.guard import faults, setup_source, untrue

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "chapters" / "06_fgsm.ipynb"
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_keeps_to_the_rules(path: Path) -> None:
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    setup = setup_source(nbformat.read(GOLDEN, as_version=4))
    found = faults(path, toc, setup)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_teaches_by_the_rules(path: Path) -> None:
    found = pedagogy.faults(path)
    assert not found, "\n".join(found)


def test_no_two_cells_of_the_course_share_a_grade_id() -> None:
    found = pedagogy.grade_ids_taken_twice({path.stem: nbformat.read(path, as_version=4) for path in CHAPTERS})
    assert not found, "\n".join(found)


def test_the_right_answer_of_a_quiz_stands_in_every_place() -> None:
    places = Counter()
    for path in CHAPTERS:
        for call in chain.from_iterable(map(pedagogy.quizzes, nbformat.read(path, as_version=4).cells)):
            answers = list(ast.literal_eval(call.args[1]))
            correct = next(ast.literal_eval(word.value) for word in call.keywords if word.arg == "correct")
            if isinstance(correct, str) and len(answers) in (3, 4):
                places[len(answers), answers.index(correct)] += 1
    for many in (3, 4):
        counts = [places[many, place] for place in range(many)]
        assert min(counts) >= sum(counts) / many / 3, f"of {many} answers the right one is first, second, …: {counts}"


@pytest.mark.parametrize(
    "page", [*(ROOT / "book").glob("*.md"), ROOT / "book" / "index.ipynb"], ids=lambda page: page.stem
)
def test_page_states_no_other_minutes_than_the_chapter(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        cells = nbformat.reads(text, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    found = pedagogy.minutes_that_differ(text, map(read, CHAPTERS))
    assert not found, "\n".join(found)


def test_golden_chapter_is_there() -> None:
    assert GOLDEN in CHAPTERS


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("*.ipynb")), ids=lambda path: path.stem)
def test_page_of_the_book_stores_a_whole_run(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    found = untrue(notebook)
    assert not found, "\n".join(found)
    assert setup_source(notebook) == setup_source(nbformat.read(GOLDEN, as_version=4))
