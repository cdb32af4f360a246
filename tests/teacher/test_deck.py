"""What of a chapter goes on its slides and its handout, and what never does."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from book._ext.coursebook.chapter import grade_id
from book._ext.teacher import deck, exhibits, handouts, words

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "chapters").glob("[0-9]*.ipynb"))
FIRST = """# 9. Halves

*Every number has one.*

**After this chapter you can**

- **halve** a number.

**Time:** 10 minutes to read, 5 for the exercises."""
SOLUTION = re.compile(r"<summary>Solution</summary>.*?```python\n(.*?)```", re.S)
LONG = "x = 1\n" * (exhibits.ROOM + 1) + "print(x)"


def notebook(*cells: NotebookNode) -> NotebookNode:
    return new_notebook(cells=[new_markdown_cell(FIRST), new_code_cell("import torch"), *cells])


def slides(*cells: NotebookNode) -> list[dict]:
    """Each slide behind the title and the aims: what is on it, its cells, and the notes."""
    found = []
    for cell in deck.deck(notebook(*cells)).cells:
        kind = cell.metadata.get("slideshow", {}).get("slide_type")
        if kind == "slide":
            found.append({"text": cell.source, "cells": [], "finding": "", "notes": ""})
        elif kind == "fragment":
            found[-1]["finding"] = cell.source
        elif kind == "notes":
            found[-1]["notes"] = cell.source
        else:
            found[-1]["cells"].append(cell)
    return found[2:]


def printed(source: str, text: str, **metadata: object) -> NotebookNode:
    return new_code_cell(source, outputs=[new_output("stream", text=text)], metadata=metadata)


def figure(source: str) -> NotebookNode:
    output = new_output("execute_result", {"image/svg+xml": "<svg/>", "text/plain": "<Picture>"})
    return new_code_cell(source, outputs=[output], metadata={"mystnb": {"image": {"alt": "a line"}}})


def test_a_heading_begins_a_slide_and_the_rest_is_said() -> None:
    story = "Nobody knows that, and " + "so on and " * words.WORDS
    (one,) = slides(new_markdown_cell(f"## The question\n\nHow much is half? {story}."))
    assert one["text"] == "## The question\n\nHow much is half?"
    assert story in one["notes"]


def test_no_slide_has_a_lonely_sentence_while_there_is_more_to_show() -> None:
    text = "## The question\n\nA car drives up. It has a camera. Can they fool it?\n\nSo many pixels. Each may change."
    (one,) = slides(new_markdown_cell(text))
    assert "A car drives up. It has a camera. Can they fool it?\n\nSo many pixels. Each may change." in one["text"]
    (two,) = slides(new_markdown_cell("## Words\n\nFour questions.\n\n**Who?** A thief.\n\n**When?** Later, or now."))
    assert two["text"] == "## Words\n\nFour questions.\n\n**Who?**\n\n**When?**", "one answer, and not the other"


def test_each_formula_has_its_slide_and_the_sentence_that_runs_into_it() -> None:
    text = (
        "## In mathematics\n\n"
        + "Here is a long story about numbers. " * 5
        + "So whatever number they bring, to halve it means\n\n$$h = x / 2,$$\n\n"
        + "where $x$ is the number. Nothing is lost.\n\nSo\n\n$$2h = x.$$"
    )
    first, second = slides(new_markdown_cell(text))
    assert first["text"].endswith("means\n\n$$h = x / 2,$$\n\nwhere $x$ is the number.")
    assert first["text"].count("long story") == 1, "a sentence that begins with So brings the one before it, no more"
    assert first["finding"] == "Nothing is lost." and second["text"].endswith("So\n\n$$2h = x.$$")


def test_a_sentence_that_leans_on_the_paragraph_before_brings_it_along() -> None:
    cell = new_markdown_cell(
        "## In mathematics\n\nAn attacker comes. Their ball is small.\n\nThey want\n\n$$h = x / 2.$$"
    )
    assert "Their ball is small. They want\n\n$$" in slides(cell)[-1]["text"]


def test_what_is_found_in_a_figure_comes_below_it_and_is_said_in_full() -> None:
    finding = "It falls with every step. " + "Nobody had thought so before it was measured, but so it is. " * 4
    (one,) = slides(new_markdown_cell("## Measure\n\nLook at it."), figure("plot()"), new_markdown_cell(finding))
    assert one["text"].endswith("Look at it.") and one["finding"].startswith("It falls with every step.")
    assert len(one["finding"]) <= words.FINDING + 80 and finding.strip() in one["notes"]


def test_words_that_only_lead_on_are_no_finding() -> None:
    for onward in ("Read the table from left to right.", "Now backwards."):
        (one,) = slides(new_markdown_cell("## Measure\n\nLook at it."), figure("plot()"), new_markdown_cell(onward))
        assert one["finding"] == "" and onward in one["notes"]
    formula = new_markdown_cell("## In mathematics\n\nThis is\n\n$$h = 1.$$\n\n**Step 2.** Another thing.")
    assert slides(formula)[0]["finding"] == ""


def test_what_came_out_behind_a_quiz_is_found_in_the_figure_not_in_the_quiz() -> None:
    outcome = new_markdown_cell(
        "<details><summary>What came out</summary>\n\nHalf of it.\n\n- **One.** More.\n\n</details>"
    )
    (one,) = slides(new_markdown_cell("## Predict\n\nLook."), figure("plot()"), outcome)
    assert one["finding"] == "Half of it." and "**One.** More." in one["notes"]


def test_short_code_stands_with_what_it_prints_and_long_code_is_left_out() -> None:
    short, long = slides(
        new_markdown_cell("## In code"),
        printed("def half(x):\n    return x / 2\n\nprint(half(2))\nassert half(2) == 1", "1.0"),
        printed(LONG, "1"),
    )
    assert short["cells"][0].source == "def half(x):\n    return x / 2\n\nprint(half(2))"
    assert short["cells"][0].outputs[0].text == "1.0"
    assert long["cells"][0].source == "" and long["cells"][0].outputs[0].text == "1"


def test_code_that_only_prints_is_shown_in_sections_on_code_alone() -> None:
    first, second = (printed("for n in range(3):\n    print(n)", "0\n1\n2") for _ in range(2))
    in_code, measured = slides(new_markdown_cell("## In code"), first, new_markdown_cell("## Measure"), second)
    assert in_code["cells"][0].source and not measured["cells"][0].source
    assert measured["cells"][0].outputs[0].text == "0\n1\n2"


def test_a_function_stands_with_what_its_cell_prints_rather_than_with_the_loop_that_prints_it() -> None:
    half = "def half(x):\n    y = x / 2\n    # as it is\n    return y"
    loop = "for n in range(3):\n" + "    n = half(n)\n" * 8 + "    print(n)"
    (one,) = slides(new_markdown_cell("## In code"), printed(f"{half}\n\n{loop}", "0\n0\n0"))
    assert one["cells"][0].source == half and one["cells"][0].outputs[0].text == "0\n0\n0"


def test_of_a_long_cell_the_functions_are_shown_and_not_its_small_helpers() -> None:
    helper, main = "def short(x):\n    return f'{x}'", "def half(x):\n" + "    x = x / 1\n" * 8 + "    return x / 2"
    (one,) = slides(new_markdown_cell("## In code"), new_code_cell(f"{helper}\n\n\n{main}\n\n\n{LONG}"))
    assert one["cells"][0].source == main


def test_a_long_print_is_begun_and_a_wide_one_keeps_to_its_slide() -> None:
    rows = "\n".join(f"{row:2} {'x' * 40}{' ' * 30}{'50% (40% to 60%)  ' * 2}" for row in range(30))
    (one,) = slides(new_markdown_cell("## Measure\n\nHere it is:"), printed(LONG, rows))
    lines = one["cells"][0].outputs[0].text.splitlines()
    assert (
        len(lines) == exhibits.ROOM
        and lines[-1] == "…"
        and lines[0] == f" 0 {'x' * 40} {'50% (40% to 60%) ' * 2}".rstrip()
    )


def test_what_a_cell_prints_beside_its_slider_is_said() -> None:
    found = deck.deck(nbformat.read(ROOT / "chapters" / "07_bim.ipynb", as_version=4)).cells
    at = next(number for number, cell in enumerate(found) if cell.source.startswith("## Play"))
    assert "Move the slider" in found[at].source and exhibits.VIEW in found[at + 1].outputs[0].data
    assert "after BIM" in found[at + 2].source and found[at + 2].metadata.slideshow.slide_type == "notes"


def test_the_text_leads_to_the_figure_whose_numbers_come_behind_it() -> None:
    cell = figure("plot()")
    cell.outputs.insert(0, new_output("stream", text="1\n2\n3\n4"))
    picture, numbers = slides(new_markdown_cell("## Measure\n\nLook at it."), cell)
    assert picture["text"].endswith("Look at it.") and "image/svg+xml" in picture["cells"][0].outputs[0].data
    assert numbers["cells"][0].outputs[0].text == "1\n2\n3\n4"


def test_a_long_sentence_before_a_figure_has_a_slide_of_its_own() -> None:
    sentence, picture = slides(
        new_markdown_cell("## Measure\n\n" + "One network, and another, and " * 9 + "so on."), figure("plot()")
    )
    assert sentence["text"].endswith("so on.") and picture["text"] == "## Measure" and picture["cells"]


def test_what_follows_an_exercise_goes_on_with_the_section_above() -> None:
    stub = new_code_cell("def my_half(x): ...", metadata={"nbgrader": {"grade_id": "half"}})
    help_ = new_markdown_cell(
        "<details><summary>Nudge</summary>\n\nDivide.\n\n</details>\n\nNow double it. That is all."
    )
    task = new_markdown_cell("### Exercise 1. Halve it\n\n●○○ easy · 5 minutes · 1 point\n\nWrite it.")
    _, one, after = slides(new_markdown_cell("## In mathematics\n\nHalve."), task, stub, help_)
    assert one["text"].endswith("Write it.") and after["text"] == "## In mathematics\n\nNow double it. That is all."


def test_the_heading_of_the_exercises_is_no_slide() -> None:
    assert slides(new_markdown_cell("## Exercises\n\nA check names what is wrong.")) == []


def test_a_figure_stands_alone_and_keeps_its_words() -> None:
    (one,) = slides(new_markdown_cell("## Measure\n\nLook at it."), figure("plot()"))
    assert one["cells"][0].source == "" and one["cells"][0].outputs[0].metadata.alt == "a line"


def test_an_exercise_is_one_slide_without_stub_check_and_help() -> None:
    stub = new_code_cell("def my_half(x):\n    raise NotImplementedError", metadata={"nbgrader": {"grade_id": "half"}})
    check = printed("check.half(my_half)", "○ not written yet", nbgrader={"grade_id": "half-check"})
    (one,) = slides(
        new_markdown_cell("### Exercise 1. Halve it\n\n●○○ easy · 5 minutes · 1 point\n\nWrite it."),
        stub,
        check,
        new_markdown_cell("<details><summary>Solution</summary>\n\n```python\nx / 2\n```\n\n</details>"),
    )
    assert one["text"] == "## Exercise 1. Halve it\n\n**●○○ easy · 5 minutes · 1 point**\n\nWrite it."
    assert one["cells"] == [] and one["notes"] == ""


def test_a_cell_goes_where_its_metadata_says() -> None:
    def marked(cell: NotebookNode, kind: str) -> NotebookNode:
        cell.metadata["slideshow"] = {"slide_type": kind}
        return cell

    first, second = slides(
        new_markdown_cell("## Play\n\nOne."),
        marked(new_markdown_cell("Not this."), "skip"),
        marked(new_markdown_cell("Say this."), "notes"),
        marked(printed(LONG, "1"), "subslide"),
        marked(new_markdown_cell("And this."), "-"),
    )
    assert first["text"] == "## Play\n\nOne." and "Not this." not in str([first, second])
    assert (
        second["cells"][0].source == LONG and second["text"] == "## Play\n\nAnd this." and first["notes"] == "Say this."
    )


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_no_slide_has_an_answer_and_none_more_than_it_bears(path: Path) -> None:
    chapter = nbformat.read(path, as_version=4)
    found = deck.deck(chapter)
    text = "\n".join(cell.source for cell in found.cells)
    solutions = [code for cell in chapter.cells for code in SOLUTION.findall(cell.source)]
    graded = [cell.source for cell in chapter.cells if grade_id(cell)]
    assert solutions and not [one for one in solutions + graded if one.strip() in text]
    assert "<details" not in text
    by_hand = [cell.source for cell in chapter.cells if "slideshow" in cell.metadata]
    code = [cell.source for cell in found.cells if cell.cell_type == "code" and cell.source not in by_hand]
    assert max(len(one.splitlines()) for one in code) <= exhibits.ROOM
    shown = [one for cell in found.cells for one in cell.get("outputs", []) if exhibits.VIEW in one.get("data", {})]
    every = [one for cell in chapter.cells for one in cell.get("outputs", []) if exhibits.VIEW in one.get("data", {})]
    assert len(shown) == len(every), "a slider or a quiz is on no slide"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_handout_has_what_a_reader_takes_home(path: Path) -> None:
    sheet = handouts.contents(nbformat.read(path, as_version=4))
    assert sheet["aims"].startswith("- **") and sheet["takeaway"].startswith("- ")
    assert sheet["formulas"] or sheet["function"] or path.stem == "05_why"


def test_a_handout_s_question_has_the_sentence_that_it_refers_to() -> None:
    cell = new_markdown_cell("## The question\n\nFGSM fools half of the signs. Are the others safe? And who asks?")
    assert handouts.contents(notebook(cell))["questions"] == [
        "FGSM fools half of the signs. Are the others safe?",
        "And who asks?",
    ]
