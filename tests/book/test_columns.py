"""Code, what it prints and formulas fit the column: nothing is cut off, and no line carries a scroll bar."""

import pytest

from tests.book.pages import SEEN, Book

WIDTHS = (1280, 1920)
# What is wider than its box and cannot show it: code and printed lines, and formulas within a line.
CUT_OFF = """() => [...document.querySelectorAll(
        '.bd-article pre, .bd-article span.math, .bd-article mjx-container:not([display])')]
    .filter(box => box.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX !== 'visible')
    .map(box => `${box.tagName} ${box.scrollWidth} > ${box.clientWidth} px: ${box.textContent.slice(0, 60)}`)"""
# Does a line of 79 characters take more height than one of one? Spaced as the widest of the usual fonts (SF Mono).
WRAPS = """pre => {
    const height = text => {
        const copy = pre.cloneNode();
        copy.textContent = text;
        copy.style.letterSpacing = '0.016em';
        pre.after(copy);
        const found = copy.clientHeight;
        copy.remove();
        return found;
    };
    return height('x'.repeat(79)) > height('x');
}"""


@pytest.mark.parametrize("page", SEEN)
def test_nothing_is_cut_off(book: Book, page: str) -> None:
    page = book.open(page, width=WIDTHS[0]).page
    page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    for width in (*WIDTHS, 375):
        page.set_viewport_size({"width": width, "height": 900})
        cut_off = page.evaluate(CUT_OFF) if width in WIDTHS else page.evaluate(CUT_OFF.replace("span.math", "none"))
        assert not cut_off, f"at {width} px:\n" + "\n".join(cut_off)


@pytest.mark.parametrize("place", [".cell_input pre", ".cell_output pre", "details:not(.hide) pre"])
def test_79_columns_need_no_second_line(book: Book, place: str) -> None:
    page = book.open("chapters/06_fgsm", width=WIDTHS[0]).page
    page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    boxes = page.locator(f".bd-article {place}").all()
    assert boxes
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert not any(box.evaluate(WRAPS) for box in boxes), f"at {width} px"


def test_a_cut_off_line_is_noticed(book: Book) -> None:
    page = book.open("chapters/06_fgsm").page
    page.locator(".bd-article .cell_input pre").first.evaluate("pre => { pre.textContent = 'x'.repeat(200); }")
    assert not page.evaluate(CUT_OFF)
    page.add_style_tag(content=".bd-article pre { white-space: pre !important; overflow: auto !important; }")
    assert page.evaluate(CUT_OFF)
    page.locator(".bd-article .cell_input pre").first.evaluate("pre => { pre.style.paddingRight = '6rem'; }")
    page.add_style_tag(content=".bd-article pre { white-space: pre-wrap !important; }")
    assert page.locator(".bd-article .cell_input pre").first.evaluate(WRAPS)
