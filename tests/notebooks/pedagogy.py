"""What every chapter keeps to so that it teaches: exercises in one order, quizzes that give nothing away.

`RULES` is the list. A rule takes the notebook and what the chapter says of itself, and yields a line for each fault.
"""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from book._ext.coursebook import folds
from book._ext.coursebook.chapter import LEVELS, Chapter, Exercise, grade_id, of_notebook, prose
from tests.notebooks.guard import PICTURES

LONGEST_LINE = 79
ROOT = Path(__file__).resolve().parents[2]
REFERENCES = ROOT / "book" / "references.md"
# A block of help or of what came out: the blank lines make Colab and the book read Markdown inside.
BLOCK = re.compile(r"<details><summary>([^<]*)</summary>\n\n(.+?)\n\n</details>\s*", re.S)
FOLDED = re.compile(rf"^<details><summary>{folds.OUTCOME}</summary>\n\n")
FENCE = re.compile(r"^(?P<fence>`{3,}|~{3,})(?P<language>\w*)\n(?P<code>.*?)^(?P=fence)\s*$", re.M | re.S)
LINK = re.compile(r"\]\((https?://[^)\s]+)\)")
CHECK = re.compile(r"^check\.(?!progress\b)\w+\(", re.M)
PROGRESS = re.compile(r"^check\.progress\(\)", re.M)
MINUTES = re.compile(r"\b(\d+)[\s-]*min(?:utes?)?\b")
NUMBER = re.compile(r"\b[Cc]hapter (\d+)\b|chapters/(\d\d)_")

Faults = Iterator[str]


def faults(path: Path) -> list[str]:
    """Everything that the chapter at ``path`` does not keep to, one line each."""
    notebook = nbformat.read(path, as_version=4)
    try:
        chapter = of_notebook(notebook)
    except ValueError as error:
        return [f"cell 0: {error}"]
    return [fault for rule in RULES for fault in rule(notebook, chapter)]


# --- exercises --------------------------------------------------------------------------------------------


def is_stub(cell: NotebookNode) -> bool:
    marks = cell.metadata.get("nbgrader", {})
    return bool(marks.get("solution") and not marks.get("grade"))


def is_check(cell: NotebookNode) -> bool:
    marks = cell.metadata.get("nbgrader", {})
    return bool(marks.get("grade") and not marks.get("solution"))


def label_says_what_is_so(notebook: NotebookNode, chapter: Chapter) -> Faults:
    """Levels have words, numbers count up, points are those of the cells, minutes add up to those of the first cell."""
    for number, exercise in enumerate(chapter.exercises, 1):
        name = called(exercise)
        if exercise.number != number:
            yield f"{name}: it is number {number} on the page"
        if exercise.minutes is None:
            yield f"{name}: below its heading stands no label such as `●○○ easy · 10 minutes · 2 points`"
            continue
        if exercise.level not in [f"{dots} {word}" for dots, word in LEVELS.items()]:
            yield f"{name}: the level is {exercise.level!r}, expected one of {', '.join(map(' '.join, LEVELS.items()))}"
        marks = [notebook.cells[cell].metadata.get("nbgrader", {}) for cell in exercise.cells]
        points = sum(mark.get("points", 0) for mark in marks if mark.get("grade"))
        if points != (exercise.points or 0):
            yield f"{name}: its label says {exercise.points or 'no'} points, its check cell's metadata {points}"
    total = sum(exercise.minutes or 0 for exercise in chapter.exercises)
    if total != chapter.solving:
        yield f"cell 0: {chapter.solving} minutes for the exercises, but their labels add up to {total}"


def is_for_a_person(cell: NotebookNode) -> bool:
    """What no check can mark: nbgrader leaves it to the teacher."""
    marks = cell.metadata.get("nbgrader", {})
    return bool(marks.get("grade") and marks.get("solution"))


def exercise_has_its_order(notebook: NotebookNode, chapter: Chapter) -> Faults:
    """Heading, label, text, stub, check, help in three steps; or a quiz."""
    cells = notebook.cells
    for exercise in chapter.exercises:
        name = called(exercise)
        if any(is_for_a_person(cells[number]) for number in exercise.cells):
            continue
        stubs = [number for number in exercise.cells if is_stub(cells[number])]
        checks = [number for number in exercise.cells if is_check(cells[number])]
        if not stubs and not checks:
            if not any(quizzes(cells[number]) for number in exercise.cells):
                yield f"{name}: neither a stub (nbgrader: solution) with its check (nbgrader: grade) nor a quiz"
            continue
        if len(stubs) != 1 or checks != [stubs[0] + 1]:
            yield f"{name}: expected one stub and below it its check; stubs are cells {stubs}, checks {checks}"
            continue
        check = checks[0]
        if not cells[check].metadata["nbgrader"].get("locked"):
            yield f"cell {check}: the check cell is not locked (nbgrader)"
        if not CHECK.search(cells[check].source):
            yield f"cell {check}: the check cell calls no `check.…(…)`"
        if check + 1 not in exercise.cells or not has_steps(cells[check + 1]):
            steps = ", ".join(folds.STEPS)
            yield f"{name}: below its check, expected a Markdown cell of three <details>, {steps}, and nothing else"
    inside = {number for exercise in chapter.exercises for number in exercise.cells}
    for number, cell in enumerate(cells):
        if grade_id(cell) and number not in inside:
            yield f"cell {number}: {grade_id(cell)} stands below no heading `### Exercise 1. …`"


def has_steps(cell: NotebookNode) -> bool:
    names = tuple(name for name, _ in BLOCK.findall(cell.source))
    return cell.cell_type == "markdown" and names == folds.STEPS and not BLOCK.sub("", cell.source).strip()


def exercises_are_of_each_kind(notebook: NotebookNode, chapter: Chapter) -> Faults:
    """At least four: a function to write, something to explain, something to explore, a reason to give."""
    if len(chapter.exercises) < 4:
        yield f"{len(chapter.exercises)} exercises with a heading `### Exercise 1. …`, expected at least four"
    inside = [notebook.cells[number] for exercise in chapter.exercises for number in exercise.cells]
    if not any(is_stub(cell) and re.search(r"^def ", cell.source, re.M) for cell in inside):
        yield "no exercise asks for a function"
    if not any(quizzes(cell) for cell in inside):
        yield "no exercise asks to explain (a quiz)"
    if not any(exercise.title.startswith("Explore") for exercise in chapter.exercises):
        yield "no exercise explores (its title begins with “Explore”)"


def somebody_asks_why(notebook: NotebookNode, chapter: Chapter) -> Faults:
    """One exercise, the last, asks for a reason in words, which a teacher marks."""
    asked = [number for number, cell in enumerate(notebook.cells) if is_for_a_person(cell)]
    if len(asked) != 1:
        yield f"{len(asked)} cells that a teacher marks (nbgrader: grade and solution), expected one: “Say why”"
        return
    (answer,) = asked
    if notebook.cells[answer].cell_type != "markdown" or notebook.cells[answer].metadata["nbgrader"].get("locked"):
        yield f"cell {answer}: the answer to “Say why” is Markdown that is not locked (nbgrader)"
    if not chapter.exercises or chapter.exercises[-1].title != "Say why" or answer not in chapter.exercises[-1].cells:
        yield f"cell {answer}: it belongs to the last exercise, whose title is “Say why”"


def progress_is_shown(notebook: NotebookNode, chapter: Chapter) -> Faults:
    """`check.progress()` below the exercises, but not on the last one's card."""
    shown = [n for n, cell in enumerate(notebook.cells) if cell.cell_type == "code" and PROGRESS.search(cell.source)]
    if not shown or not chapter.exercises:
        yield "no cell below the exercises calls `check.progress()`"
    elif shown[-1] < chapter.exercises[-1].cells.stop:
        yield f"cell {shown[-1]}: `check.progress()` wants a heading of its own, below the last exercise"


def grade_ids_taken_twice(notebooks: dict[str, NotebookNode]) -> list[str]:
    """What nbgrader would take for one cell though it is two, in a course of named notebooks."""
    taken = [
        (grade_id(cell), name) for name, notebook in notebooks.items() for cell in notebook.cells if grade_id(cell)
    ]
    counts = Counter(one for one, _ in taken)
    return [f"{name}: the grade_id {one} is taken twice" for one, name in taken if counts[one] > 1]


def called(exercise: Exercise) -> str:
    return f"cell {exercise.cells.start}: exercise {exercise.number}"


# --- quizzes and predictions ------------------------------------------------------------------------------


def python(cell: NotebookNode) -> str:
    """A code cell without IPython's own syntax; nothing for text."""
    return TransformerManager().transform_cell(cell.source) if cell.cell_type == "code" else ""


def quizzes(cell: NotebookNode) -> list[ast.Call]:
    """The calls of `widgets.quiz` in a cell."""
    calls = [node for node in ast.walk(ast.parse(python(cell))) if isinstance(node, ast.Call)]
    return [call for call in calls if "quiz" in (getattr(call.func, "attr", ""), getattr(call.func, "id", ""))]


def quizzes_give_nothing_away(notebook: NotebookNode, chapter: Chapter) -> Faults:
    """Each answer has its feedback, and the right one is not the single longest."""
    calls = [(number, call) for number, cell in enumerate(notebook.cells) for call in quizzes(cell)]
    if not calls:
        yield "no quiz: expected at least one `widgets.quiz(…)`"
    for number, call in calls:
        given = dict(zip(("question", "answers"), call.args)) | {word.arg: word.value for word in call.keywords}
        try:
            answers, right = ast.literal_eval(given["answers"]), ast.literal_eval(given["correct"])
        except (KeyError, ValueError):
            yield f"cell {number}: a quiz whose answers or `correct` are not plain text written out"
            continue
        right = {right} if isinstance(right, str) else set(right)
        for answer, feedback in answers.items():
            if not feedback.strip():
                yield f"cell {number}: no feedback for the answer {answer!r}"
        longest = [answer for answer in answers if len(answer) == max(map(len, answers))]
        if len(longest) == 1 and longest[0] in right:
            yield f"cell {number}: the right answer is the longest, which gives it away: {longest[0][:50]!r}"


def results_wait_for_a_prediction(notebook: NotebookNode, chapter: Chapter) -> Faults:
    """A cell tagged `predict` has a quiz above, is collapsed in the notebook, and its reading is folded, too."""
    tagged = [n for n, cell in enumerate(notebook.cells) if folds.TAG in cell.metadata.get("tags", [])]
    if not tagged:
        yield f"no result waits for a prediction: tag the cell below a quiz `{folds.TAG}`"
    quizzed = [number for number, cell in enumerate(notebook.cells) if quizzes(cell)]
    for number in tagged:
        metadata = notebook.cells[number].metadata
        if not quizzed or quizzed[0] > number:
            yield f"cell {number}: tagged `{folds.TAG}`, but no quiz stands above it"
        if not (metadata.get("collapsed") and metadata.get("jupyter", {}).get("outputs_hidden")):
            wanted = '"collapsed": true, "jupyter": {"outputs_hidden": true}'
            yield f"cell {number}: the notebook shows its result; its metadata lacks {wanted}"
        reading = next((cell.source for cell in notebook.cells[number + 1 :] if cell.cell_type == "markdown"), "")
        block = BLOCK.match(reading)
        if number + 1 not in tagged and not (block and block[1] == folds.OUTCOME):
            start = f"<details><summary>{folds.OUTCOME}</summary>"
            yield f"cell {number}: the text below it does not begin with {start} and a blank line"


def figures_say_what_is_found(notebook: NotebookNode, chapter: Chapter) -> Faults:
    """The text below figures begins with their captions, numbered through; inside its fold where it is folded."""
    waiting: list[tuple[int, str]] = []
    count = 0
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            drawn = [one for one in cell.outputs if set(PICTURES) & set(one.get("data", {}))]
            waiting += [(number, f"**Figure {chapter.number}.{count + k}.** ") for k in range(1, len(drawn) + 1)]
            count += len(drawn)
        elif cell.cell_type == "markdown" and waiting:
            paragraphs = FOLDED.sub("", cell.source).split("\n\n")
            for (drawn_in, caption), paragraph in zip_longest(waiting, paragraphs[: len(waiting)], fillvalue=""):
                if not paragraph.startswith(caption):
                    yield f"cell {drawn_in}: the text below it does not begin with its caption, {caption}and a finding"
            waiting.clear()
    for drawn_in, caption in waiting:
        yield f"cell {drawn_in}: no text below it begins with its caption, {caption}and a finding"


# --- the text ---------------------------------------------------------------------------------------------


def sections_are_there(notebook: NotebookNode, chapter: Chapter) -> Faults:
    text = "\n".join(map(prose, notebook.cells))
    for title in ("Take-away", "Further reading"):
        if not re.search(rf"^## {title}$", text, re.M):
            yield f"no section `## {title}`"


def reading_is_listed(notebook: NotebookNode, chapter: Chapter) -> Faults:
    """What the reading list links also stands in the book's references."""
    known = set(LINK.findall(REFERENCES.read_text(encoding="utf-8")))
    _, _, reading = "\n".join(map(prose, notebook.cells)).partition("## Further reading")
    for link in LINK.findall(reading.partition("\n## ")[0]):
        if link not in known:
            yield f"further reading: book/references.md lacks {link}"


def code_fits_its_column(notebook: NotebookNode, chapter: Chapter) -> Faults:
    for number, cell in enumerate(notebook.cells):
        for code in code_of(cell):
            for line in code.splitlines():
                if len(line) > LONGEST_LINE:
                    yield f"cell {number}: {len(line)} characters, at most {LONGEST_LINE} fit: {line.strip()[:50]}…"


def comments_have_their_own_line(notebook: NotebookNode, chapter: Chapter) -> Faults:
    for number, cell in enumerate(notebook.cells):
        for code in code_of(cell):
            for comment in comments_behind_code(code):
                yield f"cell {number}: put this comment on a line of its own, above the code: {comment[:50]}"


def code_of(cell: NotebookNode) -> list[str]:
    """A code cell's text, or the Python blocks of a Markdown cell."""
    if cell.cell_type == "code":
        return [cell.source]
    return [fence["code"] for fence in FENCE.finditer(cell.source) if fence["language"] == "python"]


def comments_behind_code(code: str) -> list[str]:
    """
    >>> comments_behind_code("# above\\nx = '# no'  # behind\\nimport y  # noqa: F401\\n%pip install z  # left\\n")
    ['# behind', '# left']
    """
    plain = re.sub(r"^(\s*)%", r"\1", code, flags=re.M)
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(plain).readline))
    except (tokenize.TokenError, IndentationError):
        return []
    return [
        token.string
        for token in tokens
        if token.type == tokenize.COMMENT
        and token.line[: token.start[1]].strip()
        and not re.match(r"#\s*(noqa|type)\b", token.string)
    ]


def minutes_that_differ(text: str, chapters: Iterable[Chapter]) -> list[str]:
    """The lines of a page that state other minutes of a chapter than the chapter itself."""
    own = {chapter.number: {chapter.reading, chapter.solving, chapter.minutes} for chapter in chapters}
    found = []
    for line in text.splitlines():
        numbers = {int(word or file) for word, file in NUMBER.findall(line)} & own.keys()
        stated = {int(minutes) for minutes in MINUTES.findall(line)}
        if numbers and not stated <= set().union(*(own[number] for number in numbers)):
            found.append(f"the chapter states other minutes: {line.strip()[:100]}")
    return found


RULES: tuple[Callable[[NotebookNode, Chapter], Faults], ...] = (
    label_says_what_is_so,
    exercise_has_its_order,
    exercises_are_of_each_kind,
    somebody_asks_why,
    progress_is_shown,
    quizzes_give_nothing_away,
    results_wait_for_a_prediction,
    figures_say_what_is_found,
    sections_are_there,
    reading_is_listed,
    code_fits_its_column,
    comments_have_their_own_line,
)
