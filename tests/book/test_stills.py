"""What a page shows where no script runs, and while it loads."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from book._ext.coursebook import icons
from tests.book.pages import LIVE_PAGES, PAGES, Book, widgets_of

# The sum of all shifts of what was on the screen, as browsers count it. They call back where there was one.
SHIFTS = """() => new Promise(done => {
    let sum = 0;
    new PerformanceObserver(list => list.getEntries().forEach(shift => sum += shift.value))
        .observe({type: 'layout-shift', buffered: true});
    setTimeout(() => done(sum), 500);
})"""


@pytest.fixture
def scriptless(book: Book) -> Iterator[Page]:
    context = book.browser.new_context(java_script_enabled=False)
    book.contexts.append(context)
    yield context.new_page()


@pytest.mark.parametrize("name", LIVE_PAGES)
def test_without_scripts_each_widget_shows_a_frame_or_its_answers(book: Book, scriptless: Page, name: str) -> None:
    scriptless.goto(f"{book.address}/{name}.html")
    stills = scriptless.locator(".still").all()
    assert len(stills) == widgets_of(name)
    for still in stills:
        folded = still.evaluate("still => !!still.closest('details:not([open])')")
        if answers := still.locator("details").all():
            assert len(answers) >= 2 and not folded
            answers[0].locator("summary").click()
            expect(answers[0].locator("[role=status]")).to_be_visible()
        elif not folded:
            expect(still.locator("img, .drawn").first).to_be_visible()


@pytest.mark.thorough
@pytest.mark.parametrize("name", LIVE_PAGES)
@pytest.mark.parametrize("width", [1280, 375])
def test_nothing_moves_while_a_page_comes_alive(book: Book, name: str, width: int) -> None:
    visit = book.open(name, width=width)
    for still in visit.page.locator(".still").all():
        expect(still).to_be_hidden()
    assert visit.page.evaluate(SHIFTS) <= 0.02


def test_every_icon_has_its_outline(book: Book) -> None:
    pages = [(book.folder / f"{name}.html").read_text(encoding="utf-8") for name in [*PAGES, "search"]]
    used = {name for page in pages for tag in re.findall(r'<(?:i|span) class="([^"]*\bfa\w?-[^"]*)"', page)
            for name in re.findall(r"\bfa-([a-z-]+)", tag)}  # fmt: skip
    assert used - {"solid", "regular", "brands", "lg", "fw"} == set(icons.NAMES)


def test_an_icon_that_the_theme_does_not_have_is_named() -> None:
    with pytest.raises(ValueError, match="no icon 'rooster'"):
        icons.rule("rooster")
