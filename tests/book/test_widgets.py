"""Sliders and quizzes of the built book work without a kernel: by keyboard and mouse, http and file."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.book.pages import LIVE_PAGES, Book, Visit

# What one widget's cell shows: the pictures and words of its frames, not the slider's own readout.
SHOWN = """cell => [...cell.querySelectorAll('.widget-html-content')].map(frame => frame.innerHTML).join()"""


@pytest.fixture(scope="module", params=product(LIVE_PAGES, ["file", "http"]), ids="-".join)
def visit(built_book: Path, address: str, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A page with widgets, loaded once: the tests use it one after the other, as a reader does."""
    page, over = request.param
    book = Book(built_book, address, browser)
    yield book.open(page, over=over)
    book.close_pages()


def slider_cells(visit: Visit) -> list[Locator]:
    return visit.page.locator(".widget-subarea", has=visit.page.locator(".noUi-handle")).all()


def test_each_slider_moves_by_keyboard(visit: Visit) -> None:
    for cell in slider_cells(visit):
        for handle in cell.locator(".noUi-handle").all():
            handle.focus()
            handle.press("Home")
            shown = [cell.evaluate(SHOWN)]
            first, last = (float(handle.get_attribute(f"aria-value{end}")) for end in ("min", "max"))
            steps = int(last - first)
            assert steps >= 1
            for step in range(steps):
                readout = cell.locator(".widget-readout").first.inner_text()
                handle.press("ArrowRight")
                expect(cell.locator(".widget-readout").first).not_to_have_text(readout)
                shown.append(cell.evaluate(SHOWN))
            assert len(set(shown)) == steps + 1, "two positions of the slider show the same picture"
    assert visit.complaints == []


def test_each_slider_moves_by_mouse(visit: Visit) -> None:
    for cell in slider_cells(visit):
        for track in cell.locator(".noUi-target").all():
            handle = track.locator(".noUi-handle")
            handle.focus()
            handle.press("Home")
            before = cell.evaluate(SHOWN)
            track.scroll_into_view_if_needed()
            grip, rail = handle.bounding_box(), track.bounding_box()
            visit.page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
            visit.page.mouse.down()
            visit.page.mouse.move(rail["x"] + rail["width"] * 0.6, rail["y"], steps=8)
            visit.page.mouse.up()
            middle = cell.evaluate(SHOWN)
            assert middle != before, "dragging the handle changes nothing"
            visit.page.mouse.click(rail["x"] + rail["width"] - 1, rail["y"] + rail["height"] / 2)
            assert cell.evaluate(SHOWN) not in (before, middle), "a click at the track's end changes nothing"
    assert visit.complaints == []


def test_each_slider_has_a_name_and_says_its_value(visit: Visit) -> None:
    for cell in slider_cells(visit):
        for slider in cell.locator(".widget-slider").all():
            handle, readout = slider.locator(".noUi-handle"), slider.locator(".widget-readout")
            label = slider.locator(".widget-label").inner_text().strip()
            assert label and handle.get_attribute("aria-label") == label
            handle.press("End")
            expect(handle).to_have_attribute("aria-valuetext", readout.inner_text().strip())


def test_each_answer_of_a_quiz_shows_its_own_feedback(visit: Visit) -> None:
    quizzes = visit.page.locator(".widget-subarea", has=visit.page.locator(".widget-radio-box")).all()
    for quiz in quizzes:
        assert quiz.locator("[role=radiogroup]").get_attribute("aria-label")
        seen = [quiz.evaluate(SHOWN)]
        answers = quiz.locator("input[type=radio]").all()
        assert len(answers) >= 2
        for answer in answers:
            answer.check()
            expect(quiz.locator("[role=status]")).to_be_visible()
            seen.append(quiz.evaluate(SHOWN))
        assert len(set(seen)) == len(answers) + 1, "two answers show the same feedback"
        answers[-1].press("ArrowUp")
        assert quiz.evaluate(SHOWN) == seen[-2], "the arrow keys do not choose an answer"
    assert visit.complaints == []
