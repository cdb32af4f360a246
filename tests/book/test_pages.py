"""Every page of the built book, in a real browser without a network."""

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser

from advlib.plots import STYLE
from tests.book.pages import LIVE_PAGES, PAGES, SEEN, Book, widgets_of
from tests.book.picture import take

FORMULAS = """() => [...document.querySelectorAll('.math')].map(math => ({
    text: math.textContent.slice(0, 80),
    drawn: !!math.querySelector('mjx-container svg'),
    wrong: !!math.querySelector('[data-mjx-error], mjx-merror, [data-mml-node="merror"]'),
}))"""
PICTURES = """() => [...document.images].map(img => ({
    source: img.src.slice(0, 80), drawn: img.complete && img.naturalWidth > 0, alt: img.getAttribute('alt'),
}))"""
# Figures: how wide each is beside what it was drawn as, in points.
FIGURES = """() => [...document.querySelectorAll('.cell_output .drawn')]
    .filter(it => !it.closest('.still') && it.getBoundingClientRect().width > 0).map(it => ({
    shrunk: it.getBoundingClientRect().width / it.viewBox.baseVal.width, alt: it.ariaLabel.slice(0, 80),
}))"""


@pytest.mark.parametrize("over", ["http", "file"])
@pytest.mark.parametrize("page", SEEN)
def test_page_needs_nothing_but_itself(book: Book, page: str, over: str) -> None:
    visit = book.open(page, over=over)
    assert visit.page.locator(".widget-subarea").count() == widgets_of(page)
    for formula in visit.page.evaluate(FORMULAS):
        assert formula["drawn"] and not formula["wrong"], formula
    for picture in visit.page.evaluate(PICTURES):
        assert picture["drawn"] and picture["alt"] is not None, picture
    assert visit.complaints == []


@pytest.mark.parametrize("page", SEEN)
def test_phone_scrolls_down_and_never_sideways(book: Book, page: str) -> None:
    visit = book.open(page, width=375)
    wide = visit.page.evaluate("document.scrollingElement.scrollWidth")
    assert wide <= 375, f"the page is {wide} px wide"


@pytest.mark.parametrize("page", LIVE_PAGES)
def test_figures_can_be_read_on_a_phone(book: Book, page: str) -> None:
    for figure in book.open(page, width=375).page.evaluate(FIGURES):
        letters = STYLE["font.size"] * figure["shrunk"]
        assert letters >= 9, f"letters of {letters:.1f} px in: {figure['alt']}"


@pytest.mark.parametrize("page", LIVE_PAGES)
def test_sliders_have_room_on_a_phone(book: Book, page: str) -> None:
    for track in book.open(page, width=375).page.locator(".noUi-target").all():
        assert track.bounding_box()["width"] >= 240


@pytest.mark.parametrize("page", ["book/cheat_sheet", "book/notation"])
def test_formulas_in_tables_are_whole_on_a_phone(book: Book, page: str) -> None:
    formulas = book.open(page, width=375).page.locator("td mjx-container").all()
    assert formulas
    for formula in formulas:
        assert formula.evaluate("it => it.firstElementChild.getBoundingClientRect().width <= it.clientWidth + 1")


def test_first_address_leads_to_landing_page(book: Book) -> None:
    visit = book.open("index")
    visit.page.wait_for_url(f"**/{PAGES[0]}.html")
    assert "Adversarial Machine Learning by Example" in visit.page.title()


def test_the_readme_s_picture_is_taken_from_the_first_page(built_book: Path, browser: Browser, tmp_path: Path) -> None:
    light, dark = (Image.open(path).convert("L") for path in take(browser, built_book, tmp_path))
    assert light.size == dark.size and light.width > 1000
    # Left of the pictures is the page's own colour.
    assert light.getpixel((12, 300)) > 200 and dark.getpixel((12, 300)) < 60


def test_search_works_without_a_server(book: Book) -> None:
    visit = book.open("search", over="file")
    visit.page.goto(f"{visit.base}/search.html?q=perturbation")
    visit.page.locator("#search-results li").first.wait_for(timeout=10_000)


def test_formulas_are_tested_at_all(book: Book) -> None:
    assert book.open("book/notation").page.evaluate(FORMULAS)


def test_nothing_but_the_book_is_built(book: Book) -> None:
    extra = {"index", "search", "genindex", "404"}
    built = {path.relative_to(book.folder).with_suffix("").as_posix() for path in book.folder.rglob("*.html")}
    assert {page for page in built - extra if not page.startswith("_static/")} == set(PAGES)
