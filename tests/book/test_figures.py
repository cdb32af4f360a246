"""Figures are drawn in the page's own ink, say what is found in them, and printed columns are tables."""

import io
import re

import pytest
from PIL import Image

from advlib import plots
from book._ext.coursebook import figures, tables
from tests.book.pages import PAGES, Book

CHAPTERS = [page for page in PAGES if page.startswith("chapters/")]
DRAWN = """() => [...document.querySelectorAll('.drawn')].map(it => ({
    alt: it.getAttribute('aria-label'), names: [...it.querySelectorAll('[id]')].map(one => one.id),
    lost: [...it.querySelectorAll('[style="fill: currentColor"]')].filter(letters => {
        const { x, y, width, height } = letters.getBoundingClientRect();
        return [...it.querySelectorAll('image')].map(one => one.getBoundingClientRect()).some(picture =>
            picture.left < x + width / 2 && x + width / 2 < picture.right &&
            picture.top < y + height / 2 && y + height / 2 < picture.bottom);
    }).length,
    broken: [...it.querySelectorAll('use')].filter(one => !it.querySelector(one.getAttribute('xlink:href'))).length,
}))"""
# A figure's letters and lines, and what lies behind them.
INK = """() => { const letters = document.querySelector('.cell_output > .drawn [style="fill: currentColor"]');
    return [getComputedStyle(letters).color, getComputedStyle(document.body).backgroundColor]; }"""


@pytest.mark.parametrize("page", CHAPTERS)
def test_each_figure_is_whole_and_named(book: Book, page: str) -> None:
    drawn = book.open(page).page.evaluate(DRAWN)
    for figure in drawn:
        assert figure["alt"] and figure["names"] and not figure["broken"], figure["alt"]
        assert not figure["lost"], f"letters over a picture must not change with the page: {figure['alt']}"
    # A name that two figures share is of the same figure, which a slider shows twice.
    by_name = {name: figure["alt"] for figure in drawn for name in figure["names"]}
    assert all(by_name[name] == figure["alt"] for figure in drawn for name in figure["names"])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_figure_has_the_page_s_ink_and_no_plate(book: Book, theme: str) -> None:
    page = book.open("chapters/06_fgsm", theme=theme).page
    letters, paper = ([int(level) for level in re.findall(r"\d+", colour)[:3]] for colour in page.evaluate(INK))
    assert (min(letters) > 150 and max(paper) < 60) if theme == "dark" else (max(letters) < 80 and min(paper) > 200)
    figure = page.locator(".cell_output > .drawn").nth(1)
    shot = Image.open(io.BytesIO(figure.screenshot())).convert("RGB")
    assert shot.getpixel((2, 2)) == tuple(paper)


def test_captions_are_numbered_through_and_have_an_address(book: Book) -> None:
    captions = book.open("chapters/06_fgsm").page.locator("p.finding").all()
    assert [one.get_attribute("id") for one in captions] == [f"figure-6-{number}" for number in range(1, 6)]
    assert captions[1].inner_text().startswith("Figure 6.2. ")


def test_only_letters_and_lines_take_on_the_page_s_colour() -> None:
    with plots.style():
        figure = plots.Picture(figsize=(2, 2))
        axes = figure.subplots()
        axes.imshow([[0.0, 1.0]], cmap="gray")
        axes.text(0, 0, "on a picture", color="black")
        axes.text(1, 0, "on a picture", color="white")
        axes.plot([0, 1], [0, 0], color=plots.PALETTE["blue"])
    drawn = figures.drawn(plots.svg_of(figure), 'a "line"')
    assert 'aria-label="a &quot;line&quot;"' in drawn and "<style" not in drawn and "<!--" not in drawn
    assert plots.INK not in drawn and "currentColor" in drawn and "var(--course-grid)" in drawn
    assert "#0072b2" in drawn and 'style="fill: #ffffff"' in drawn
    assert 'style="fill: #ffffff"/>' not in drawn, "the figure's paper is the page's"


@pytest.mark.parametrize("page", CHAPTERS[5:8])
def test_printed_columns_are_a_table(book: Book, page: str) -> None:
    for table in book.open(page).page.locator("table.printed").all():
        heads, rows = table.locator("thead tr").all(), table.locator("tbody tr").all()
        wide = sum(int(one.get_attribute("colspan") or 1) for one in heads[0].locator("th").all())
        assert len(rows) >= 2 and all(row.locator("td").count() == wide for row in rows)


# Of each printed table that is wider than the phone: how much wider a column is than its longest entry below the head.
SLACK = """() => [...document.querySelectorAll('table.printed')]
    .filter(it => it.parentElement.scrollWidth > it.parentElement.clientWidth)
    .flatMap(it => [...it.tBodies[0].rows[0].cells].map((_, column) => Math.min(...[...it.tBodies[0].rows].map(row => {
        const cell = row.cells[column], text = document.createRange();
        text.selectNodeContents(cell.querySelector('p') ?? cell);
        return cell.getBoundingClientRect().width - text.getBoundingClientRect().width;
    }))))"""


@pytest.mark.parametrize("page", ["chapters/16_adversarial_training", *CHAPTERS[5:8]])
def test_a_printed_table_takes_no_more_of_a_phone_than_its_entries(book: Book, page: str) -> None:
    assert all(slack < 60 for slack in book.open(page, width=375).page.evaluate(SLACK))


PRINTED = """\
three seeds
              clean                PGD
not at all    93% (90% to 95%)     4% ( 2% to  7%)
anew          90% (86% to 93%)    55% (49% to 61%)
p = 0.02"""


def test_a_table_keeps_its_numbers_and_the_words_around_it() -> None:
    above, table, below = tables.parts(PRINTED)
    assert (above, below) == ("three seeds", "p = 0.02")
    assert [[name.text for name in line] for line in table.heads] == [["", "clean", "PGD"]]
    assert table.rows == [
        ["not at all", "93% (90% to 95%)", "4% (2% to 7%)"],
        ["anew", "90% (86% to 93%)", "55% (49% to 61%)"],
    ]


def test_a_name_may_reach_over_several_columns_and_take_two_lines() -> None:
    (table,) = tables.parts(
        "    drawn    lost to PGD\nn            at once  later\n1    yes         5%    10%\n20   no          6%     9%"
    )
    assert [[(name.text, name.columns) for name in line] for line in table.heads] == [
        [("", 1), ("drawn", 1), ("lost to PGD", 2)],
        [("n", 1), ("", 1), ("at once", 1), ("later", 1)],
    ]
    assert table.rows == [["1", "yes", "5%", "10%"], ["20", "no", "6%", "9%"]]


def test_an_empty_place_stays_empty() -> None:
    (table,) = tables.parts("passes   1    2    4\nPGD    56%  71%  82%\nBIM    56%       79%")
    assert table.rows == [["PGD", "56%", "71%", "82%"], ["BIM", "56%", "", "79%"]]


@pytest.mark.parametrize(
    "text, said",
    [
        ("one line", "prints no columns"),
        ("a  1%\nb  2%\nc  3%", "prints no columns"),
        ("x  clean  PGD  more\na  1%     2%\nb  1%     2%", "“more” stands above no column of its own"),
    ],
)
def test_what_is_no_table_is_named(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tables.parts(text)
