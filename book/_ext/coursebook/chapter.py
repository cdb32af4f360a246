"""What a chapter's notebook says of itself: title, promise, minutes, exercises. Nothing else states them.

The first cell holds `# 6. Title`, the promise as a line in italics, and

    **Time:** 40 minutes to read, 43 for the exercises.

An exercise is a heading `### Exercise 1. Write FGSM` with its label as the next line of text, such as
`●○○ easy · 10 minutes · 2 points`, without points where nothing is checked. All until the next heading belongs to it.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LEVELS = {"●○○": "easy", "●●○": "medium", "●●●": "hard"}
TITLE = re.compile(r"^# (\d+)\. (.+)$", re.M)
PROMISE = re.compile(r"^\*([^*\n].*)\*$", re.M)
TIME = re.compile(r"^\*\*Time:\*\* (\d+) minutes to read, (\d+) for the exercises\.", re.M)
HEADING = re.compile(r"^#{1,3} (.+)$", re.M)
EXERCISE = re.compile(r"Exercise (\d+)\. (.+)")
LABEL = re.compile(r"([●○]{3}) (\w+) · (\d+) minutes?(?: · (\d+) points?)?")
FENCED = re.compile(r"^(`{3,}|~{3,}).*?^\1\s*$", re.M | re.S)


@dataclass(frozen=True)
class Exercise:
    """One exercise: what its label says, None where there is none, and the numbers of its cells."""

    number: int
    title: str
    level: str | None
    minutes: int | None
    points: int | None
    cells: range


@dataclass(frozen=True)
class Chapter:
    number: int
    title: str
    promise: str
    reading: int
    solving: int
    exercises: tuple[Exercise, ...]

    @property
    def minutes(self) -> int:
        """The time to read, run and solve it all."""
        return self.reading + self.solving


def source(cell: dict) -> str:
    """A cell's text: a file holds it in lines, nbformat joins them."""
    return "".join(cell["source"])


def prose(cell: dict) -> str:
    """The text of a Markdown cell without its code blocks; nothing for a code cell.

    >>> prose({"cell_type": "markdown", "source": ["Run\\n", "```python\\n", "# no heading\\n", "```\\n", "it."]})
    'Run\\n\\nit.'
    """
    return FENCED.sub("", source(cell)) if cell["cell_type"] == "markdown" else ""


def grade_id(cell: dict) -> str:
    """The name under which nbgrader keeps a cell; empty where it keeps none."""
    return cell["metadata"].get("nbgrader", {}).get("grade_id", "")


def exercises(cells: list[dict]) -> tuple[Exercise, ...]:
    """All exercises, in the order of the page.

    >>> heading = {"cell_type": "markdown", "source": "### Exercise 2. Explain\\n\\n●●○ medium · 5 minutes"}
    >>> exercises([heading, {"cell_type": "code", "source": "widgets.quiz()"}])
    (Exercise(number=2, title='Explain', level='●●○ medium', minutes=5, points=None, cells=range(0, 2)),)
    """
    headings = [
        (number, heading[1], text[heading.end() :].lstrip().partition("\n")[0].strip())
        for number, cell in enumerate(cells)
        for text in [prose(cell)]
        for heading in HEADING.finditer(text)
    ]
    ends = [number for number, _, _ in headings[1:]] + [len(cells)]
    found = []
    for (start, title, below), end in zip(headings, ends):
        if named := EXERCISE.fullmatch(title.strip()):
            level, word, minutes, points = label.groups() if (label := LABEL.fullmatch(below)) else (None,) * 4
            level = f"{level} {word}" if level else None
            minutes, points = (int(value) if value else None for value in (minutes, points))
            found.append(Exercise(int(named[1]), named[2], level, minutes, points, range(start, max(end, start + 1))))
    return tuple(found)


def of_notebook(notebook: dict) -> Chapter:
    """What the notebook says of itself; `ValueError` where its first cell lacks something."""
    first = source(notebook["cells"][0])
    title, promise, time = TITLE.search(first), PROMISE.search(first), TIME.search(first)
    for found, missing in [
        (title, "`# 6. Title`"),
        (promise, "the promise, a line in *italics*"),
        (time, "`**Time:** 40 minutes to read, 60 for the exercises.`"),
    ]:
        if not found:
            raise ValueError(f"the first cell lacks {missing}")
    return Chapter(int(title[1]), title[2], promise[1], int(time[1]), int(time[2]), exercises(notebook["cells"]))


def read(path: Path) -> Chapter:
    """The chapter whose notebook lies at ``path``."""
    try:
        return of_notebook(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def pages(found: Iterable[str]) -> dict[int, str]:
    """The pages that are chapters, by number.

    >>> pages(["book/index", "chapters/06_fgsm"])
    {6: 'chapters/06_fgsm'}
    """
    return {int(page[9:11]): page for page in found if re.match(r"chapters/\d\d_", page)}
