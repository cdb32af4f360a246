"""Slides and handouts in a real browser, from a folder, without a network."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from book._ext.teacher.handouts import print_sheet
from tests.teacher.conftest import SAMPLE

pytestmark = pytest.mark.slow

SLIDE = """() => {
    const slide = Reveal.getCurrentSlide();
    const boxes = [...slide.querySelectorAll('*')].filter(it => !it.closest('aside, mjx-assistive-mml, svg')
        && it.checkVisibility()).map(it => it.getBoundingClientRect()).filter(box => box.width && box.height);
    const letters = document.createTreeWalker(slide, NodeFilter.SHOW_TEXT);
    let smallest = 99;
    while (letters.nextNode()) {
        const around = letters.currentNode.parentElement;
        if (letters.currentNode.data.trim() && !around.closest('aside, mjx-container, style, script')
            && around.checkVisibility()) smallest = Math.min(smallest, parseFloat(getComputedStyle(around).fontSize));
    }
    return {
        text: slide.innerText.slice(0, 60), smallest,
        right: Math.max(...boxes.map(box => box.right)), bottom: Math.max(...boxes.map(box => box.bottom)),
        formulas: [...slide.querySelectorAll('.words mjx-container')].every(it => it.querySelector('svg')),
        raw: /\\$[^$\\n]{2,}\\$/.test(slide.querySelector('.words').innerText),
        broken: slide.querySelectorAll('[data-mjx-error], mjx-merror').length,
        pictures: [...slide.querySelectorAll('img')].every(it => it.complete && it.naturalWidth && it.alt),
        drawn: [...slide.querySelectorAll('img')].filter(it => it.checkVisibility()).reduce((sum, it) => sum
            + Math.min(it.clientWidth / it.naturalWidth, it.clientHeight / it.naturalHeight) ** 2
            * it.naturalWidth * it.naturalHeight, 0) / (1280 * 720),
        torn: [...slide.querySelectorAll('.words mjx-container:not([display])')]
            .filter(it => /^[,.;:)]/.test(it.nextSibling?.data ?? '') && !it.closest('.together')).length,
    };
}"""
SHOWN = "it => [...it.querySelectorAll('.widget-html-content')].map(one => one.innerHTML).join()"
SHEET = """() => {
    const sheet = document.querySelector('main'), page = sheet.getBoundingClientRect();
    const boxes = [...sheet.querySelectorAll('h1, h2, p, li, pre, svg, footer')].map(it => it.getBoundingClientRect());
    return {
        over: [sheet.scrollHeight - sheet.clientHeight, sheet.scrollWidth - sheet.clientWidth],
        inside: boxes.every(box => box.bottom <= page.bottom && box.right <= page.right),
        cut: [...sheet.querySelectorAll('pre')].some(it => it.scrollWidth > it.clientWidth),
        notes: sheet.querySelector('.notes').clientHeight / page.height,
        letters: parseFloat(getComputedStyle(sheet).fontSize),
        wrong: sheet.querySelectorAll('[data-mjx-error], mjx-merror').length,
    };
}"""


@pytest.mark.thorough
@pytest.mark.parametrize("stem", SAMPLE)
def test_slides_are_whole_and_alive_without_a_network(edition: Path, opened: Callable, stem: str) -> None:
    page, complaints = opened(edition / "slides" / f"{stem}.html")
    sliders = quizzes = 0
    for number in range(page.evaluate("Reveal.getTotalSlides()")):
        page.evaluate("number => Reveal.slide(number)", number)
        now = page.locator("section.present")
        looks_well(page.evaluate(SLIDE))
        for handle in now.locator(".noUi-handle").all():
            seen = []
            for key in ("Home", "ArrowRight", "End"):
                handle.press(key)
                seen.append(now.evaluate(SHOWN))
                looks_well(page.evaluate(SLIDE))
            assert len(set(seen)) == 3, "the slider moves, and the picture stays"
            sliders += 1
        assert page.evaluate("Reveal.getIndices().h") == number, "the slider's keys turn the slide"
        answers = now.locator(".widget-radio-box input").all()
        for answer in answers:
            answer.check()
            expect(now.locator("[role=status]:visible")).to_have_count(1)
            looks_well(page.evaluate(SLIDE))
        quizzes += bool(answers)
    assert sliders and quizzes
    assert complaints == []


def looks_well(slide: dict) -> None:
    assert slide["right"] <= 1281 and slide["bottom"] <= 721, f"cut off: {slide}"
    assert slide["smallest"] >= 24, f"too small to be read from the last row: {slide}"
    assert slide["formulas"] and not slide["raw"] and not slide["broken"], f"a formula is not drawn: {slide}"
    assert slide["pictures"], f"a picture is missing, or its words: {slide}"
    assert slide["drawn"] == 0 or slide["drawn"] > 0.17, f"a picture is too small for its slide: {slide}"
    assert not slide["torn"], f"a line can begin with the comma behind a formula: {slide}"


def test_what_is_found_comes_with_the_next_click(edition: Path, opened: Callable) -> None:
    page, _ = opened(edition / "slides" / "02_loss.html")
    number = page.evaluate("Reveal.getSlides().findIndex(slide => slide.querySelector('.print ~ .fragment'))")
    page.evaluate("number => Reveal.slide(number)", number)
    found = page.locator("section.present .fragment")
    expect(found).to_be_hidden()
    page.keyboard.press("PageDown")
    expect(found).to_be_visible()
    looks_well(page.evaluate(SLIDE))
    assert page.evaluate("Reveal.getIndices().h") == number


def test_a_picture_stands_beside_its_words_where_it_is_larger_there(edition: Path, opened: Callable) -> None:
    page, _ = opened(edition / "slides" / "02_loss.html")
    page.evaluate("Reveal.slide(Reveal.getSlides().findIndex(slide => slide.matches('.beside')))")
    words, picture = page.locator("section.present .column"), page.locator("section.present .figure")
    assert words.bounding_box()["x"] + words.bounding_box()["width"] <= picture.bounding_box()["x"]
    assert picture.bounding_box()["height"] > 0.8 * 720


def test_a_table_that_goes_on_is_dealt_evenly(edition: Path, opened: Callable) -> None:
    page, _ = opened(edition / "slides" / "02_loss.html")
    rows = page.evaluate(
        """Reveal.getSlides().filter(slide => slide.innerText.startsWith('What fails'))
        .map(slide => slide.querySelectorAll('tbody tr').length)"""
    )
    assert len(rows) == 2 and abs(rows[0] - rows[1]) <= 1


def test_the_speaker_s_window_has_the_notes(edition: Path, opened: Callable) -> None:
    page, _ = opened(edition / "slides" / "06_fgsm.html")
    page.evaluate("Reveal.slide(4)")
    with page.context.expect_page() as speaker:
        page.keyboard.press("s")
    expect(speaker.value.locator(".speaker-controls-notes")).to_contain_text("a pixel matters is of no interest")


def test_a_clicker_turns_the_slide_that_has_a_slider_in_hand(edition: Path, opened: Callable) -> None:
    page, _ = opened(edition / "slides" / "06_fgsm.html")
    number = page.evaluate("Reveal.getSlides().findIndex(slide => slide.querySelector('.noUi-handle'))")
    page.evaluate("number => Reveal.slide(number)", number)
    page.locator("section.present .noUi-handle").press("ArrowRight")
    page.keyboard.press("PageDown")
    assert page.evaluate("Reveal.getIndices().h") == number + 1


@pytest.mark.thorough
@pytest.mark.parametrize("stem", SAMPLE)
def test_a_handout_is_one_sheet_and_whole(edition: Path, opened: Callable, browser: Browser, stem: str) -> None:
    path = edition / "handouts" / f"{stem}.html"
    page, complaints = opened(path, width=794, height=1123)
    page.emulate_media(media="print")
    sheet = page.evaluate(SHEET)
    assert sheet["over"] == [0, 0] and sheet["inside"] and not sheet["cut"] and not sheet["wrong"], sheet
    assert sheet["notes"] > 0.1 and sheet["letters"] >= 8 * 96 / 72, sheet
    pdf = print_sheet(path, browser).read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1
    assert complaints == []
