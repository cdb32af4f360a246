"""What the teacher's pages keep to: each chapter has its page, its board and its answers, and what they name exists.

`PAGE_RULES` and `PLAN_RULES` are the lists. A rule yields a line for each fault, which names the file to change.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from book._ext.coursebook import chapter
from book._ext.coursebook.chapter import Chapter

HEADINGS = ["Outcomes", "Before the slider moves", "On the board", "Minute by minute", "Five misconceptions"]
HEADINGS += ["Exam questions"]
SESSION = 90
CHAPTER_LINK = re.compile(r"\[([^\]]*)\]\(\.\./\.\./chapters/(\w+)\.ipynb\)")
PAGE_LINK = re.compile(r"\[([^\]]*)\]\((\d\d_\w+)\.md\)")
QUESTION = re.compile(r"^\d+\. ", re.M)
POINTS = re.compile(r"\*\((\d+) points?\)\*")
BOARD = re.compile(r"!\[([^\]]+)\]\(boards/(\w+)\.svg\)")
EXERCISE = re.compile(r"\b(\d+)\.(\d+)$")

Faults = Iterator[str]


@dataclass(frozen=True)
class Teaching:
    """What there is to teach one chapter with."""

    root: Path
    stem: str

    @property
    def page(self) -> str:
        return f"book/teach/{self.stem}.md"

    @property
    def answers(self) -> str:
        return f"classroom/answers/{self.stem}.md"

    @cached_property
    def text(self) -> str:
        return read(self.root / self.page)

    @cached_property
    def chapter(self) -> Chapter:
        return chapter.read(self.root / "chapters" / f"{self.stem}.ipynb")

    def section(self, name: str) -> str:
        return section(self.text, name)


def read(path: Path) -> str:
    """A file's text; nothing where there is none, so that every rule says what it misses."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def section(text: str, name: str) -> str:
    """What stands below a heading, down to the next of its kind.

    >>> section("# A\\n\\n## B\\n\\none\\n\\n## C\\n\\ntwo\\n", "B")
    'one'
    """
    found = re.search(rf"^## {re.escape(name)}$(.*?)(?=^## |\Z)", chapter.FENCED.sub("", text), re.M | re.S)
    return found[1].strip() if found else ""


def rows(text: str) -> list[list[str]]:
    """The cells of each row of the tables in a text, without their heads.

    >>> rows("| a | b |\\n|---|---|\\n| 1 | two |")
    [['1', 'two']]
    """
    lines = [line.strip().strip("|") for line in text.splitlines() if line.lstrip().startswith("|")]
    heads = {number - 1 for number, line in enumerate(lines) if set(line) <= set("-|: ")}
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)]
        for number, line in enumerate(lines)
        if number not in heads and not set(line) <= set("-|: ")
    ]


# --- a chapter's page ---------------------------------------------------------------------------------------


def page_is_there(one: Teaching) -> Faults:
    if not one.text:
        yield f"{one.page} is missing: every chapter has a page for its teacher"
    if not re.search(rf"\bfile: book/teach/{one.stem}\b", read(one.root / "_toc.yml")):
        yield f"_toc.yml does not list book/teach/{one.stem}"


def page_has_its_order(one: Teaching) -> Faults:
    """Title and headings, and three to five outcomes."""
    if not one.text.startswith(f"# Teaching chapter {one.chapter.number}: "):
        yield f"{one.page}: expected the title `# Teaching chapter {one.chapter.number}: …`"
    found = re.findall(r"^## (.+)$", chapter.FENCED.sub("", one.text), re.M)
    if found != HEADINGS:
        yield f"{one.page}: its sections are {', '.join(found)}; expected {', '.join(HEADINGS)}"
    outcomes = len(re.findall(r"^[-*] ", one.section("Outcomes"), re.M))
    if not 3 <= outcomes <= 5:
        yield f"{one.page}: {outcomes} outcomes, expected three to five bullets"


def board_is_drawn(one: Teaching) -> Faults:
    """One picture, with words that say what it shows, for who cannot see it as well."""
    boards = [name for _, name in BOARD.findall(one.section("On the board"))]
    if boards != [one.stem]:
        wanted = f"![what it shows](boards/{one.stem}.svg)"
        yield f"{one.page}: `On the board` shows {boards or 'no board'}; expected {wanted}"
    drawn = read(one.root / "book" / "teach" / "boards" / f"{one.stem}.svg")
    if 'role="img"' not in drawn or "<title" not in drawn or 'viewBox="0 0 640 360"' not in drawn:
        yield f'book/teach/boards/{one.stem}.svg: expected viewBox="0 0 640 360", role="img" and a <title>'


def minutes_make_a_session(one: Teaching) -> Faults:
    if (total := minutes(one.section("Minute by minute"))) != SESSION:
        yield f"{one.page}: `Minute by minute` adds up to {total} minutes, expected {SESSION}"


def minutes(table: str) -> int:
    """The sum of a table's first column, which says how long, or from when to when.

    >>> minutes("| Minutes | You |\\n|---|---|\\n| 0–15 | ask |\\n| 15–20 | wait |"), minutes("|  |\\n|---|\\n| 20 |")
    (20, 20)
    """
    spans = [re.fullmatch(r"(?:(\d+)[–-])?(\d+)", row[0]) for row in rows(table)]
    return sum(int(span[2]) - int(span[1] or 0) for span in spans if span)


def misconceptions_are_exposed(one: Teaching) -> Faults:
    """Five, each with a link to an exercise or a quiz that exists."""
    found = rows(one.section("Five misconceptions"))
    if len(found) != 5:
        yield f"{one.page}: {len(found)} rows in `Five misconceptions`, expected five"
    for row in found:
        links = CHAPTER_LINK.findall(" ".join(row))
        if not links:
            yield f"{one.page}: nothing exposes “{row[0]}”: link an exercise or a quiz"
        for text, stem in links:
            yield from what_is_linked(one, text, stem, "quiz" in " ".join(row))


def what_is_linked(one: Teaching, text: str, stem: str, quiz: bool) -> Faults:
    path = one.root / "chapters" / f"{stem}.ipynb"
    if not path.is_file():
        yield f"{one.page} links chapters/{stem}.ipynb, which does not exist"
    elif named := EXERCISE.search(text):
        other = chapter.read(path)
        if int(named[1]) != other.number or int(named[2]) not in [exercise.number for exercise in other.exercises]:
            yield f"{one.page} names exercise {named[0]}, which chapters/{stem}.ipynb does not have"
    elif quiz and "widgets.quiz(" not in read(path):
        yield f"{one.page} names a quiz, and chapters/{stem}.ipynb has none"
    elif not quiz:
        yield f"{one.page}: the link [{text}] names neither an exercise, such as 6.2, nor a quiz"


def questions_have_points(one: Teaching) -> Faults:
    asked = QUESTION.split(one.section("Exam questions"))[1:]
    if not 4 <= len(asked) <= 6:
        yield f"{one.page}: {len(asked)} exam questions, expected four to six"
    for number, question in enumerate(asked, 1):
        if not POINTS.search(question):
            yield f"{one.page}: exam question {number} has no points, such as *(3 points)*"


def answers_are_there(one: Teaching) -> Faults:
    """An answer to each question, and what to look for in the why."""
    text = read(one.root / one.answers)
    asked = len(QUESTION.findall(one.section("Exam questions")))
    expected = [f"Question {number}" for number in range(1, asked + 1)] + ["The why"]
    found = re.findall(r"^## (.+)$", chapter.FENCED.sub("", text), re.M)
    if not text.startswith(f"# Answers: chapter {one.chapter.number}\n"):
        yield f"{one.answers}: expected the title `# Answers: chapter {one.chapter.number}`"
    if found != expected:
        yield f"{one.answers}: its sections are {', '.join(found) or 'none'}; expected {', '.join(expected)}"


PAGE_RULES: tuple[Callable[[Teaching], Faults], ...] = (
    page_is_there,
    page_has_its_order,
    board_is_drawn,
    minutes_make_a_session,
    misconceptions_are_exposed,
    questions_have_points,
    answers_are_there,
)


def faults(root: Path, stem: str) -> list[str]:
    """Everything that is amiss with what there is to teach a chapter with."""
    one = Teaching(root, stem)
    return [fault for rule in (PAGE_RULES if one.text else PAGE_RULES[:1]) for fault in rule(one)]


# --- the syllabi --------------------------------------------------------------------------------------------

PLAN = "book/teach/index.md"
NEEDS = re.compile(r"\*\*You need:\*\*(.*)")


def sessions_have_their_minutes(root: Path) -> Faults:
    """Each table of minutes in the plan makes a session."""
    for table in re.split(r"\n\s*\n", read(root / PLAN)):
        if table.lstrip().startswith("| Minutes") and (total := minutes(table)) != SESSION:
            yield f"{PLAN}: a session's minutes add up to {total}, expected {SESSION}"


def homework_exists_and_has_its_points(root: Path) -> Faults:
    for row in rows(read(root / PLAN)):
        tasks = [(text, stem) for cell in row for text, stem in CHAPTER_LINK.findall(cell) if EXERCISE.fullmatch(text)]
        points = 0
        for text, stem in tasks:
            known = exercises_of(root, stem)
            if text not in known:
                yield f"{PLAN} names exercise {text}, which chapters/{stem}.ipynb does not have"
            points += known.get(text, 0)
        if tasks and str(points) not in row:
            names = ", ".join(text for text, _ in tasks)
            yield f"{PLAN}: the exercises {names} have {points} points; its row says otherwise"


def exercises_of(root: Path, stem: str) -> dict[str, int]:
    """The points of a chapter's exercises by their names, such as 6.2."""
    path = root / "chapters" / f"{stem}.ipynb"
    found = chapter.read(path) if path.is_file() else None
    return {f"{found.number}.{one.number}": one.points or 0 for one in found.exercises} if found else {}


def linked_chapters_and_questions_exist(root: Path) -> Faults:
    text = read(root / PLAN)
    for _, stem in CHAPTER_LINK.findall(text):
        if not (root / "chapters" / f"{stem}.ipynb").is_file():
            yield f"{PLAN} links chapters/{stem}.ipynb, which does not exist"
    for named, stem in PAGE_LINK.findall(text):
        asked = len(QUESTION.findall(Teaching(root, stem).section("Exam questions")))
        for number in map(int, re.findall(r"\d+", named)):
            if number > asked:
                yield f"{PLAN} names exam question {number} of book/teach/{stem}.md, which has {asked}"


def chapters_come_after_what_they_need(root: Path) -> Faults:
    """In each syllabus a chapter is done with after those that its first cell says you need."""
    for syllabus in re.split(r"^## ", read(root / PLAN), flags=re.M)[1:]:
        tables = " ".join(line for line in syllabus.splitlines() if line.startswith(("|", "**Session", "[")))
        last = reversed([stem for _, stem in CHAPTER_LINK.findall(tables)])
        order = list(dict.fromkeys(last))[::-1]
        if "Minutes |" not in syllabus and "Week |" not in syllabus:
            continue
        numbers = [int(stem[:2]) for stem in order]
        for place, stem in enumerate(order):
            for needed in sorted(needed_by(root, stem) - set(numbers[:place])):
                name = syllabus.partition("\n")[0]
                yield f"{PLAN}, {name}: chapter {int(stem[:2])} needs chapter {needed}, which does not come before it"


def needed_by(root: Path, stem: str) -> set[int]:
    """The chapters that a chapter's first cell says you need; those that only help do not count."""
    cells = json.loads(read(root / "chapters" / f"{stem}.ipynb") or '{"cells": []}')["cells"]
    first = chapter.source(cells[0]) if cells else ""
    line = NEEDS.search(first)
    clauses = [clause for clause in line[1].split(";") if "help" not in clause] if line else []
    listed = " ".join(re.findall(r"chapters? [\d, and]+", " ".join(clauses)))
    return {int(number) for number in re.findall(r"\d+", listed)}


PLAN_RULES: tuple[Callable[[Path], Faults], ...] = (
    sessions_have_their_minutes,
    homework_exists_and_has_its_points,
    linked_chapters_and_questions_exist,
    chapters_come_after_what_they_need,
)


def plan_faults(root: Path) -> list[str]:
    return [fault for rule in PLAN_RULES for fault in rule(root)]
