"""Each rule of `pedagogy.RULES` sees the fault it is there for, in a chapter that is otherwise whole."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from book._ext.coursebook.chapter import Chapter, read
from tests.notebooks import pedagogy

FIRST = """# 99. A whole chapter

*It teaches by the rules.*

**Time:** 20 minutes to read, 40 for the exercises. **You need:** nothing."""
QUIZ = """widgets.quiz(
    "Does it?",
    {"Yes, it does.": "It does.", "No, it does not.": "It does."},
    correct="Yes, it does.",
)"""
WRITTEN = 'def mine():\n    """It."""\n    raise NotImplementedError'
STEPS = "\n\n".join(
    f"<details><summary>{name}</summary>\n\n{text}\n\n</details>"
    for name, text in [("Nudge", "Look."), ("Idea", "One line."), ("Solution", "```python\ndef mine():\n    ...\n```")]
)
LAST = "## Take-away\n\n- It does.\n\n## Further reading\n\n- [FGSM](https://arxiv.org/abs/1412.6572), ICLR 2015."
CAPTION = "**Figure 99.1.** It rises."
FIGURE = new_output("display_data", {"image/svg+xml": "<svg/>"})
QUESTION, RESULT, READING, HEADING, STUB, CHECK, HELP, EXPLAIN, EXPLORE, WHY, ANSWER, PROGRESS = (
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    10,
    14,
    15,
    17,
)


def graded(source: str, name: str, points: int | None = None) -> NotebookNode:
    """A stub, or with points its check."""
    grade = points is not None
    marks = {
        "grade_id": name,
        "grade": grade,
        "locked": grade,
        "solution": not grade,
        "task": False,
        "schema_version": 3,
    }
    return new_code_cell(source, metadata={"nbgrader": marks | ({"points": points} if grade else {})})


def whole_chapter() -> NotebookNode:
    predict = {"tags": ["predict"], "collapsed": True, "jupyter": {"outputs_hidden": True}}
    cells = [
        new_markdown_cell(FIRST),
        new_code_cell(QUIZ),
        new_code_cell("# what comes out\nprint(1)", metadata=predict, outputs=[FIGURE]),
        new_markdown_cell(f"<details><summary>What came out</summary>\n\n{CAPTION}\n\nOne.\n\n</details>\n\nMore."),
        new_markdown_cell(
            "## Exercises\n\nThree.\n\n### Exercise 1. Write it\n\n●○○ easy · 10 minutes · 2 points\n\nFrom memory."
        ),
        graded(WRITTEN, "whole-write"),
        graded("check.mine(mine)", "whole-write-check", 2),
        new_markdown_cell(STEPS),
        new_markdown_cell("### Exercise 2. Explain\n\n●●○ medium · 5 minutes"),
        new_code_cell(QUIZ),
        new_markdown_cell("### Exercise 3. Explore: the least\n\n●●● hard · 15 minutes · 3 points"),
        graded("least = None", "whole-least"),
        graded("check.least(least)", "whole-least-check", 3),
        new_markdown_cell(STEPS),
        new_markdown_cell("### Exercise 4. Say why\n\n●●○ medium · 10 minutes · 2 points\n\nWhy is it so?"),
        new_markdown_cell(
            "*Your answer.*",
            metadata={
                "nbgrader": {"grade_id": "whole-why", "grade": True, "locked": False, "solution": True, "points": 2}
            },
        ),
        new_markdown_cell("### Where you stand"),
        new_code_cell("check.progress()"),
        new_markdown_cell(LAST),
    ]
    return new_notebook(cells=cells)


def check(notebook: NotebookNode, folder: Path) -> list[str]:
    nbformat.write(notebook, path := folder / "99_whole.ipynb")
    return pedagogy.faults(path)


def test_whole_chapter_has_no_fault(tmp_path: Path) -> None:
    assert check(whole_chapter(), tmp_path) == []


def says(number: int, old: str, new: str) -> Callable[[NotebookNode], None]:
    """A chapter in which one cell reads otherwise."""

    def broken(notebook: NotebookNode) -> None:
        assert old in notebook.cells[number].source
        notebook.cells[number].source = notebook.cells[number].source.replace(old, new)

    return broken


def marks(number: int, **changed: object) -> Callable[[NotebookNode], None]:
    """A chapter in which nbgrader is told otherwise about one cell."""
    return lambda notebook: notebook.cells[number].metadata["nbgrader"].update(changed)


def without(*numbers: int) -> Callable[[NotebookNode], None]:
    def broken(notebook: NotebookNode) -> None:
        notebook.cells = [cell for number, cell in enumerate(notebook.cells) if number not in numbers]

    return broken


def shown_in_notebook(notebook: NotebookNode) -> None:
    del notebook.cells[RESULT].metadata["jupyter"]


def untagged(notebook: NotebookNode) -> None:
    notebook.cells[RESULT].metadata["tags"] = []


def asked_too_late(notebook: NotebookNode) -> None:
    notebook.cells.insert(RESULT, notebook.cells.pop(QUESTION))


def swapped(notebook: NotebookNode) -> None:
    notebook.cells.insert(STUB, notebook.cells.pop(CHECK))


def two_stubs(notebook: NotebookNode) -> None:
    notebook.cells.insert(STUB, graded("other = None", "whole-other"))


def graded_outside(notebook: NotebookNode) -> None:
    notebook.cells.insert(QUESTION, graded("early = None", "whole-early"))


def no_progress_heading(notebook: NotebookNode) -> None:
    del notebook.cells[PROGRESS - 1]


LONG = "x = '" + "x" * 75 + "'"
ORDER = "cell 4: exercise 1: expected one stub and below it its check"
HELP_FAULT = "cell 4: exercise 1: below its check, expected a Markdown cell of three <details>, Nudge, Idea, Solution"


@pytest.mark.parametrize(
    "broken, message",
    [
        (says(0, "# 99. A", "# A"), "cell 0: the first cell lacks `# 6. Title`"),
        (says(0, "*It teaches by the rules.*", "It teaches."), "cell 0: the first cell lacks the promise"),
        (says(0, "**Time:** 20", "**Time:** about 20"), "cell 0: the first cell lacks `**Time:**"),
        (says(0, ", 40 for", ", 45 for"), "cell 0: 45 minutes for the exercises, but their labels add up to 40"),
        (says(EXPLAIN, "Exercise 2", "Exercise 4"), "cell 8: exercise 4: it is number 2 on the page"),
        (
            says(HEADING, "2 points", "3 points"),
            "cell 4: exercise 1: its label says 3 points, its check cell's metadata 2",
        ),
        (marks(CHECK, points=1), "cell 4: exercise 1: its label says 2 points, its check cell's metadata 1"),
        (says(HEADING, "easy", "light"), "cell 4: exercise 1: the level is '●○○ light'"),
        (says(EXPLAIN, "●●○", "●○○"), "cell 8: exercise 2: the level is '●○○ medium'"),
        (swapped, ORDER),
        (two_stubs, ORDER),
        (marks(CHECK, locked=False), "cell 6: the check cell is not locked"),
        (says(CHECK, "check.mine(mine)", "mine()"), "cell 6: the check cell calls no `check.…(…)`"),
        (without(HELP), HELP_FAULT),
        (says(HELP, "<summary>Nudge", "<summary>Hint"), HELP_FAULT),
        (says(HELP, "<summary>Nudge", "<summary>Idea"), HELP_FAULT),
        (says(HELP, "Look.\n\n</details>", "Look.</details>"), HELP_FAULT),
        (says(HELP, "```\n\n</details>", "```\n\n</details>\n\nThe next exercise is easier."), HELP_FAULT),
        (graded_outside, "cell 1: whole-early stands below no heading"),
        (says(STUB, WRITTEN, "mine = None"), "no exercise asks for a function"),
        (says(EXPLORE, "Explore: the least", "The least"), "no exercise explores"),
        (marks(ANSWER, locked=True), "cell 15: the answer to “Say why” is Markdown that is not locked"),
        (says(WHY, "Say why", "Explain"), "cell 15: it belongs to the last exercise, whose title is “Say why”"),
        (without(PROGRESS), "no cell below the exercises calls `check.progress()`"),
        (no_progress_heading, "cell 16: `check.progress()` wants a heading of its own"),
        (says(QUESTION, '"It does.", "No', '" ", "No'), "cell 1: no feedback for the answer 'Yes, it does.'"),
        (says(QUESTION, "Yes, it does", "Yes, it surely does"), "cell 1: the right answer is the longest"),
        (says(QUESTION, "{", "more | {"), "cell 1: a quiz whose answers or `correct` are not plain text"),
        (untagged, "no result waits for a prediction"),
        (asked_too_late, "cell 1: tagged `predict`, but no quiz stands above it"),
        (shown_in_notebook, "cell 2: the notebook shows its result"),
        (
            says(READING, f"{CAPTION}\n\n", ""),
            "cell 2: the text below it does not begin with its caption, **Figure 99.1.**",
        ),
        (says(READING, "99.1", "99.2"), "cell 2: the text below it does not begin with its caption, **Figure 99.1.**"),
        (
            says(READING, f"{CAPTION}\n\nOne.", f"One.\n\n{CAPTION}"),
            "cell 2: the text below it does not begin with its",
        ),
        (says(-1, "## Take-away", "## Summary"), "no section `## Take-away`"),
        (says(-1, "## Further reading", "## Reading"), "no section `## Further reading`"),
        (
            says(-1, "abs/1412.6572", "abs/0000.0000"),
            "further reading: book/references.md lacks https://arxiv.org/abs/0000",
        ),
        (says(RESULT, "print(1)", f"{LONG}\nprint(1)"), "cell 2: 81 characters, at most 79 fit"),
        (says(HELP, "    ...", f"    {LONG}"), "cell 7: 85 characters, at most 79 fit"),
        (
            says(RESULT, "print(1)", "print(1)  # one"),
            "cell 2: put this comment on a line of its own, above the code: # one",
        ),
        (says(HELP, "    ...", "    ...  # here"), "cell 7: put this comment on a line of its own"),
    ],
)
def test_rule_sees(broken: Callable[[NotebookNode], None], message: str, tmp_path: Path) -> None:
    notebook = whole_chapter()
    broken(notebook)
    found = check(notebook, tmp_path)
    assert len(found) == 1 and found[0].startswith(message), "\n".join(found)


@pytest.mark.parametrize(
    "broken, message",
    [
        (says(HEADING, "●○○ easy · ", "●○○ · "), "cell 4: exercise 1: below its heading stands no label"),
        (marks(ANSWER, solution=False, locked=True), "0 cells that a teacher marks"),
        (says(HEADING, "### Exercise 1. ", "**1.** "), "3 exercises with a heading"),
        (without(EXPLAIN, EXPLAIN + 1), "no exercise asks to explain (a quiz)"),
        (without(CHECK), ORDER),
        (without(EXPLAIN + 1), "cell 8: exercise 2: neither a stub"),
        (without(QUESTION, EXPLAIN, EXPLAIN + 1), "no quiz: expected at least one"),
        (
            says(READING, "<details><summary>What came out</summary>", "It is"),
            "cell 2: the text below it does not begin with <details>",
        ),
        (says(READING, "</summary>\n\n", "</summary>\n"), "cell 2: the text below it does not begin with <details>"),
        (without(*range(READING, 19)), "cell 2: no text below it begins with its caption, **Figure 99.1.**"),
    ],
)
def test_rule_sees_what_several_rules_see(broken: Callable, message: str, tmp_path: Path) -> None:
    notebook = whole_chapter()
    broken(notebook)
    found = check(notebook, tmp_path)
    assert any(fault.startswith(message) for fault in found), "\n".join(found)


@pytest.mark.parametrize("kept", ["import x  # noqa: F401", "x = []  # type: ignore", "# above\nx = 1", "x = '# no'"])
def test_a_comment_may_stand_where_it_must(kept: str, tmp_path: Path) -> None:
    notebook = whole_chapter()
    notebook.cells[RESULT].source = kept
    assert check(notebook, tmp_path) == []


def test_results_in_a_row_share_one_reading(tmp_path: Path) -> None:
    notebook = whole_chapter()
    notebook.cells.insert(RESULT, new_code_cell("print(2)", metadata=notebook.cells[RESULT].metadata))
    assert check(notebook, tmp_path) == []


def test_a_grade_id_is_taken_once_in_the_whole_course() -> None:
    twice = {"98_other": whole_chapter(), "99_whole": whole_chapter()}
    assert pedagogy.grade_ids_taken_twice({"99_whole": whole_chapter()}) == []
    found = pedagogy.grade_ids_taken_twice(twice)
    assert len(found) == 10 and found[0] == "98_other: the grade_id whole-write is taken twice"


@pytest.mark.parametrize(
    "line, wrong",
    [
        ("Chapter 9 takes 50 minutes.", False),
        ("| one lecture | [it](../chapters/09_it.ipynb) | 20 min, then 30 min |", False),
        ("Chapter 9 takes 45 minutes.", True),
        ("| one lecture | [it](../chapters/09_it.ipynb) | 45 min |", True),
        ("Ten minutes, or 45 minutes, without a chapter.", False),
        ("Chapter 10, not written yet, takes 45 minutes.", False),
    ],
)
def test_other_minutes_are_noticed(line: str, wrong: bool) -> None:
    chapter = Chapter(number=9, title="It", promise="It.", reading=20, solving=30, exercises=())
    assert bool(pedagogy.minutes_that_differ(f"A page.\n{line}\n", [chapter])) == wrong


def test_a_chapter_says_what_it_is(tmp_path: Path) -> None:
    nbformat.write(whole_chapter(), path := tmp_path / "99_whole.ipynb")
    chapter = read(path)
    assert (chapter.number, chapter.title, chapter.promise) == (99, "A whole chapter", "It teaches by the rules.")
    assert (chapter.reading, chapter.solving, chapter.minutes) == (20, 40, 60)
    assert [(one.title, one.level, one.minutes, one.points) for one in chapter.exercises] == [
        ("Write it", "●○○ easy", 10, 2),
        ("Explain", "●●○ medium", 5, None),
        ("Explore: the least", "●●● hard", 15, 3),
        ("Say why", "●●○ medium", 10, 2),
    ]
