"""What is to be predicted, and help with an exercise, is folded: opened by hand, by an answer, and on paper."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from ipywidgets.embed import embed_data
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from playwright.sync_api import Browser, Locator, Page, expect

from advlib import widgets
from tests.book.conftest import built_once, shared_folder
from tests.book.pages import ROOT, WIDGET_VIEW, Book, Visit
from tests.book.test_accessibility import findings
from tests.book.test_columns import CUT_OFF, WIDTHS, WRAPS

PAGE = "chapters/99_small"
READING = "<details><summary>What came out</summary>\n\nMost of them **fell**: $x$.\n\n</details>"
STEPS = """<details><summary>Nudge</summary>

Look again.

</details>

<details><summary>Idea</summary>

It is one line.

</details>

<details><summary>Solution</summary>

```python
answer = 1
```

</details>"""


def question(name: str) -> tuple[nbformat.NotebookNode, dict]:
    """A quiz's cell and its widgets' stored state."""
    box = widgets.quiz(name, {"Yes": "It did.", "No": "It did, though."}, correct="Yes")
    output = new_output(
        "display_data", {WIDGET_VIEW: {"model_id": box.model_id, "version_major": 2, "version_minor": 0}}
    )
    cell = new_code_cell("quiz", execution_count=1, outputs=[output], metadata={"tags": ["hide-input"]})
    return cell, embed_data(views=[box], drop_defaults=False)["manager_state"]["state"]


def result(text: str, *tags: str) -> nbformat.NotebookNode:
    metadata = {"tags": ["predict", *tags], "collapsed": True, "jupyter": {"outputs_hidden": True}}
    return new_code_cell("measure()", execution_count=2, outputs=[new_output("stream", text=text)], metadata=metadata)


def small_chapter() -> nbformat.NotebookNode:
    """Two quizzes, each with a result and its reading below, and an exercise."""
    (first, state), (second, more) = question("Does it fall?"), question("And now?")
    cells = [
        new_markdown_cell("# A small chapter\n\n*Predict.*"),
        first,
        result("first: 3%"),
        new_markdown_cell(READING),
        new_code_cell("print(5)", execution_count=3, outputs=[new_output("stream", text="open: 5%")]),
        second,
        result("second: 4%", "hide-input"),
        new_markdown_cell(READING),
        new_markdown_cell("## Exercises\n\n### Exercise 1. Write it\n\n●○○ easy · 5 minutes · 2 points"),
        new_code_cell("answer = None", execution_count=4),
        new_code_cell("check.it(answer)", execution_count=5, outputs=[new_output("stream", text="○ not written yet")]),
        new_markdown_cell(STEPS),
    ]
    stored = {
        "application/vnd.jupyter.widget-state+json": {"state": state | more, "version_major": 2, "version_minor": 0}
    }
    return new_notebook(cells=cells, metadata={"widgets": stored, "language_info": {"name": "python"}})


@pytest.fixture(scope="session")
def small_book(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The built book of one small chapter, with all that shapes the real one."""
    root = tmp_path_factory.mktemp("small")
    shutil.copy(ROOT / "_config.yml", root)
    (root / "book").mkdir()
    for part in ("_ext", "_static", "course.yml"):
        (root / "book" / part).symlink_to(ROOT / "book" / part)
    (root / "_toc.yml").write_text(f"format: jb-book\nroot: book/index\nchapters:\n- file: {PAGE}\n")
    (root / "book" / "index.md").write_text("# A small book\n")
    (root / "chapters").mkdir()
    nbformat.write(small_chapter(), root / f"{PAGE}.ipynb")
    return built_once(root, shared_folder(tmp_path_factory, worker_id) / "small_book")


@pytest.fixture
def book(small_book: Path, browser: Browser) -> Iterator[Book]:
    book = Book(small_book, small_book.as_uri(), browser)
    yield book
    book.close_pages()


@pytest.fixture
def visit(book: Book) -> Visit:
    return book.open(PAGE, over="file")


def folds(page: Page) -> Locator:
    """The first result, its reading, the second result and its reading."""
    return page.locator("details.predict")


def are_open(page: Page) -> list[bool]:
    return folds(page).evaluate_all("folds => folds.map(fold => fold.open)")


def test_result_and_reading_are_closed_at_first(visit: Visit) -> None:
    assert are_open(visit.page) == [False] * 4
    expect(visit.page.get_by_text("first: 3%")).not_to_be_visible()
    expect(visit.page.get_by_text("Most of them").first).not_to_be_visible()
    expect(visit.page.get_by_text("open: 5%")).to_be_visible()


def test_fold_says_what_it_is_and_opens_by_keyboard(visit: Visit) -> None:
    summary = folds(visit.page).first.locator("summary")
    assert summary.inner_text() == "Predict first: answer the quiz above, or open the result"
    summary.focus()
    visit.page.keyboard.press("Enter")
    expect(visit.page.get_by_text("first: 3%")).to_be_visible()
    assert summary.inner_text() == "The result" and are_open(visit.page) == [True, False, False, False]
    visit.page.keyboard.press("Space")
    expect(visit.page.get_by_text("first: 3%")).not_to_be_visible()


@pytest.mark.parametrize("quiz, answer", [(0, 0), (0, 1), (1, 1)])
def test_an_answer_opens_what_its_quiz_asks_about_and_no_more(visit: Visit, quiz: int, answer: int) -> None:
    visit.page.locator(".widget-radio-box").nth(quiz).locator("input").nth(answer).check()
    assert are_open(visit.page) == [quiz == 0, quiz == 0, quiz == 1, quiz == 1]
    expect(visit.page.get_by_text(["first: 3%", "second: 4%"][quiz])).to_be_visible()
    assert visit.page.locator("details.step[open]").count() == 0
    assert visit.complaints == []


def test_an_answer_by_arrow_key_counts(visit: Visit) -> None:
    visit.page.locator(".widget-radio-box input").first.focus()
    visit.page.keyboard.press("Space")
    assert are_open(visit.page) == [True, True, False, False]


def test_code_that_only_draws_is_folded_below_what_it_draws(visit: Visit) -> None:
    names = visit.page.locator("details.hide summary").all_inner_texts()
    assert names == ["Code of the quiz", "Code of the quiz", "Code of these numbers"]
    for cell in visit.page.locator("div.cell:has(details.hide)").all():
        fold, shown = cell.locator("details.hide"), cell.locator(".cell_output").first
        assert not fold.evaluate("fold => fold.open")
        if shown.is_visible():
            box = shown.bounding_box()
            assert fold.bounding_box()["y"] >= box["y"] + box["height"] - 1


def test_without_scripts_a_fold_can_be_opened(book: Book) -> None:
    context = book.browser.new_context(java_script_enabled=False)
    book.contexts.append(context)
    page = context.new_page()
    page.goto(f"{book.address}/{PAGE}.html")
    expect(page.get_by_text("first: 3%")).not_to_be_visible()
    page.get_by_text("Predict first").first.click()
    expect(page.get_by_text("first: 3%")).to_be_visible()


def test_on_paper_all_but_the_hints_is_open(visit: Visit) -> None:
    visit.page.emulate_media(media="print")
    for text in ("first: 3%", "second: 4%", "answer = 1"):
        expect(visit.page.get_by_text(text)).to_be_visible()
    for hint in ("Look again.", "It is one line."):
        expect(visit.page.get_by_text(hint)).not_to_be_visible()
    expect(visit.page.get_by_text("Most of them")).to_have_count(2)
    for reading in visit.page.get_by_text("Most of them").all():
        expect(reading).to_be_visible()
    assert folds(visit.page).first.locator("summary").inner_text() == "The result"


def test_steps_of_help_stand_together_in_the_card_of_their_exercise(visit: Visit) -> None:
    card = visit.page.locator("section[id^='exercise-']")
    assert card.locator("h3").inner_text().startswith("Exercise 1. Write it")
    steps = card.locator("details.step")
    assert steps.locator("summary").all_inner_texts() == ["Nudge", "Idea", "Solution"]
    boxes = [step.bounding_box() for step in steps.all()]
    assert all(abs(upper["y"] + upper["height"] - lower["y"]) < 1 for upper, lower in zip(boxes, boxes[1:]))
    expect(card.get_by_text("Look again.")).not_to_be_visible()
    steps.first.locator("summary").press("Enter")
    expect(card.get_by_text("Look again.")).to_be_visible()


@pytest.mark.parametrize("width", WIDTHS)
def test_code_in_a_card_has_the_same_79_columns(book: Book, width: int) -> None:
    page = book.open(PAGE, over="file", width=width).page
    page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    boxes = page.locator(".bd-article pre").all()
    assert len(boxes) >= 8 and not any(box.evaluate(WRAPS) for box in boxes)
    assert page.evaluate(CUT_OFF) == []


def test_a_card_is_no_wider_than_a_phone(book: Book) -> None:
    page = book.open(PAGE, over="file", width=375).page
    page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 375
    for card in page.locator("section[id^='exercise-']").all():
        box = card.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 375


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_folds_and_cards_are_accessible(book: Book, theme: str) -> None:
    page = book.open(PAGE, over="file", theme=theme).page
    assert findings(page) == []
    page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    page.evaluate("Promise.all(document.getAnimations().map(fade => fade.finished)).then(() => true)")
    assert findings(page) == []
