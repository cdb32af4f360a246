"""axe-core finds nothing critical or serious on any page, light or dark, wide or narrow."""

import pytest

from tests.book.pages import PAGES, ROOT, SEEN, Book

AXE = ROOT / "book" / "_ext" / "node_modules" / "axe-core" / "axe.min.js"


def findings(page) -> list[str]:
    """axe's critical and serious findings; a formula is one picture, not its thousand strokes."""
    page.add_script_tag(path=AXE)
    run = "axe.run({ exclude: ['mjx-container > svg'] }, { resultTypes: ['violations'] })"
    violations = page.evaluate(run)["violations"]
    return [
        f"{found['impact']} {found['id']}: {node['html'][:160]} ({node['failureSummary']})"
        for found in violations
        if found["impact"] in ("critical", "serious")
        for node in found["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.thorough)])
@pytest.mark.parametrize("page", SEEN)
def test_page_is_accessible(book: Book, page: str, theme: str) -> None:
    visit = book.open(page, theme=theme)
    assert visit.page.evaluate("document.documentElement.dataset.theme") == theme
    # Feedback and hints are part of the page: choose an answer, open every fold.
    for quiz in visit.page.locator(".widget-radio-box").all():
        quiz.locator("input").first.check()
    visit.page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    # Folds fade in, and what is half faded in is pale.
    visit.page.evaluate("Promise.all(document.getAnimations().map(fade => fade.finished)).then(() => true)")
    assert findings(visit.page) == []


@pytest.mark.thorough
@pytest.mark.parametrize("page", SEEN)
def test_page_is_accessible_on_a_phone(book: Book, page: str) -> None:
    assert findings(book.open(page, width=375).page) == []


def test_axe_sees_a_nameless_slider(book: Book) -> None:
    visit = book.open(PAGES[0])
    nameless = "<div role=slider tabindex=0 aria-valuenow=1 style='width: 9px; height: 9px'></div>"
    visit.page.evaluate("html => document.querySelector('main').insertAdjacentHTML('beforeend', html)", nameless)
    assert any("aria-input-field-name" in finding for finding in findings(visit.page))
