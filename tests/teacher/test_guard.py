"""Every chapter can be taught with what there is, and each rule about it can fail."""

import json
import shutil
from pathlib import Path

import pytest

from tests.teacher import guard

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "chapters").glob("[0-9]*.ipynb"))
STEM = "06_fgsm"


@pytest.mark.parametrize("stem", [path.stem for path in CHAPTERS])
def test_chapter_has_its_page_its_board_and_its_answers(stem: str) -> None:
    found = guard.faults(ROOT, stem)
    assert not found, "\n".join(found)


def test_syllabi_name_only_what_exists_in_an_order_that_works() -> None:
    found = guard.plan_faults(ROOT)
    assert not found, "\n".join(found)


PAGE = """# Teaching chapter 6: FGSM

## Outcomes

- one
- two
- three

## Before the slider moves

## On the board

![an arrow](boards/06_fgsm.svg)

## Minute by minute

| Minutes | You |
|---|---|
| 0–30 | ask |
| 30–90 | wait |

## Five misconceptions

| They believe | What exposes it |
|---|---|
| A | [exercise 6.1](../../chapters/06_fgsm.ipynb) |
| B | [exercise 6.3](../../chapters/06_fgsm.ipynb) |
| C | [the quiz](../../chapters/06_fgsm.ipynb) |
| D | [exercise 6.4](../../chapters/06_fgsm.ipynb) |
| E | [exercise 6.2](../../chapters/06_fgsm.ipynb) |

## Exam questions

1. One? *(1 point)*
2. Two? *(2 points)*
3. Three? *(3 points)*
4. Four? *(4 points)*
"""
ANSWERS = "# Answers: chapter 6\n\n## Question 1\n\n## Question 2\n\n## Question 3\n\n## Question 4\n\n## The why\n"
BOARD = '<svg viewBox="0 0 640 360" role="img"><title>An arrow</title></svg>'
LINK = "(../../chapters/06_fgsm.ipynb)"
PLAN = f"""# Teach with it

## A term

| Week | Homework | Points | Exam |
|---|---|---|---|
| 1, [FGSM]{LINK} | [6.1]{LINK}, [6.3]{LINK} | 5 | [1, 4](06_fgsm.md) |

| Minutes | You |
|---|---|
| 90 | ask |
"""


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A course of one chapter that needs no other, with all there has to be."""
    notebook = json.loads((ROOT / "chapters" / f"{STEM}.ipynb").read_text(encoding="utf-8"))
    notebook["cells"][0]["source"] = "".join(notebook["cells"][0]["source"]).partition("**You need:**")[0]
    files = {
        "_toc.yml": f"- file: book/teach/{STEM}\n",
        f"chapters/{STEM}.ipynb": json.dumps(notebook),
        f"book/teach/{STEM}.md": PAGE,
        f"book/teach/boards/{STEM}.svg": BOARD,
        f"classroom/answers/{STEM}.md": ANSWERS,
        "book/teach/index.md": PLAN,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_a_course_that_has_all_is_not_blamed(course: Path) -> None:
    assert guard.faults(course, STEM) == guard.plan_faults(course) == []


@pytest.mark.parametrize(
    "before, after, fault",
    [
        ("chapter 6:", "chapter 7:", "expected the title `# Teaching chapter 6: …`"),
        ("## On the board", "## The board", "expected Outcomes, Before the slider moves, On the board,"),
        ("- one\n", "", "2 outcomes, expected three to five"),
        ("boards/06", "boards/07", "expected ![what it shows](boards/06_fgsm.svg)"),
        ("30–90", "30–80", "adds up to 80 minutes, expected 90"),
        ("| C | [the quiz](../../chapters/06_fgsm.ipynb) |\n", "", "4 rows in `Five misconceptions`"),
        ("[the quiz](../../chapters/06_fgsm.ipynb)", "nothing", "nothing exposes “C”"),
        ("[the quiz]", "[a cell]", "names neither an exercise, such as 6.2, nor a quiz"),
        ("exercise 6.4", "exercise 6.9", "exercise 6.9, which chapters/06_fgsm.ipynb does not have"),
        (
            "the quiz](../../chapters/06_fgsm",
            "the quiz](../../chapters/60_x",
            "chapters/60_x.ipynb, which does not exist",
        ),
        (" *(3 points)*", "", "exam question 3 has no points"),
        ("4. Four? *(4 points)*\n", "", "3 exam questions, expected four to six"),
        ("4. Four? *(4 points)*\n", "", "classroom/answers/06_fgsm.md: its sections are Question 1"),
    ],
)
def test_what_a_page_lacks_is_named(course: Path, before: str, after: str, fault: str) -> None:
    page = course / "book" / "teach" / f"{STEM}.md"
    assert before in PAGE
    page.write_text(PAGE.replace(before, after), encoding="utf-8")
    found = guard.faults(course, STEM)
    assert any(fault in line for line in found), found


@pytest.mark.parametrize(
    "name, fault",
    [
        (f"book/teach/{STEM}.md", "is missing: every chapter has a page"),
        (f"book/teach/boards/{STEM}.svg", 'expected viewBox="0 0 640 360"'),
        (f"classroom/answers/{STEM}.md", "its sections are none"),
        ("_toc.yml", "_toc.yml does not list book/teach/06_fgsm"),
    ],
)
def test_a_missing_file_is_named(course: Path, name: str, fault: str) -> None:
    (course / name).unlink()
    found = guard.faults(course, STEM)
    assert any(fault in line for line in found), found


@pytest.mark.parametrize(
    "before, after, fault",
    [
        ("| 90 |", "| 80 |", "a session's minutes add up to 80"),
        ("| 5 |", "| 6 |", "the exercises 6.1, 6.3 have 5 points"),
        ("[6.3]", "[6.7]", "names exercise 6.7"),
        ("[1, 4]", "[1, 5]", "names exam question 5 of book/teach/06_fgsm.md, which has 4"),
        ("[FGSM](../../chapters/06_fgsm", "[FGSM](../../chapters/60_x", "links chapters/60_x.ipynb"),
    ],
)
def test_what_a_syllabus_gets_wrong_is_named(course: Path, before: str, after: str, fault: str) -> None:
    assert before in PLAN
    (course / guard.PLAN).write_text(PLAN.replace(before, after), encoding="utf-8")
    found = guard.plan_faults(course)
    assert any(fault in line for line in found), found


def test_a_chapter_before_what_it_needs_is_named(course: Path) -> None:
    shutil.copyfile(ROOT / "chapters" / f"{STEM}.ipynb", course / "chapters" / f"{STEM}.ipynb")
    found = guard.plan_faults(course)
    assert [line.partition(": ")[2] for line in found] == [
        f"chapter 6 needs chapter {number}, which does not come before it" for number in (2, 3, 4)
    ]
