"""Formulas are drawn while the book is built, and a page with them asks for nothing more."""

import re

import pytest
from sphinx.errors import ExtensionError

from book._ext.coursebook.formulas import drawn
from tests.book.pages import Book

INLINE = r'<p>where <span class="math notranslate nohighlight">\(x &lt; \varepsilon\)</span> holds</p>'
LINES = '<div class="math notranslate nohighlight">\n\\[\\begin{split}a &amp;= b \\\\ &amp;= c\\end{split}\\]</div>'
BARE = '<div class="math notranslate nohighlight amsmath">\n\\begin{align}\na &amp;= b\n\\end{align}</div>'
WITH_GLYPHS = "chapters/04_norms"


@pytest.mark.parametrize("body", [INLINE, LINES, BARE, INLINE + LINES + INLINE])
def test_every_formula_is_drawn_and_what_it_refers_to_is_there(body: str) -> None:
    html = drawn(body, "a page")
    assert html.count("<mjx-container") == body.count('class="math') == html.count("<math ")
    assert "\\" not in html and "merror" not in html
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(re.findall(r'<path id="([^"]+)"', html))
    assert len(re.findall(r"<defs>", html)) == 1


def test_text_and_numbers_around_a_formula_stay() -> None:
    assert re.search(
        r"<p>where <span class=\"math[^>]*><mjx-container.*</mjx-container></span> holds</p>", drawn(INLINE, "")
    )
    numbered = LINES.replace("\n\\[", '\n<span class="eqno">(3)</span>\\[')
    assert '<span class="eqno">(3)</span><mjx-container' in drawn(numbered, "")


def test_only_what_stands_alone_is_displayed() -> None:
    assert 'display="true"' not in drawn(INLINE, "") and 'display="true"' in drawn(LINES, "")


def test_what_is_no_formula_ends_the_build_and_is_named() -> None:
    with pytest.raises(ExtensionError, match=r"chapters/04_norms: .* 1 formulas: Missing close brace"):
        drawn(r'<span class="math">\(\frac{1\)</span>', "chapters/04_norms")


def test_no_page_brings_mathjax_along(book: Book) -> None:
    page = book.open(WITH_GLYPHS).page
    scripts = page.evaluate("performance.getEntriesByType('resource').map(it => it.name)")
    assert not [name for name in scripts if "mathjax" in name.lower()]
    assert page.evaluate("typeof MathJax") == "undefined"


def test_whoever_listens_gets_the_words(book: Book) -> None:
    page = book.open(WITH_GLYPHS).page
    tree = page.locator("span.math").first.aria_snapshot()
    assert "math" in tree and "img" not in tree
