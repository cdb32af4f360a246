"""The book as one PDF: what is on its pages, that nothing leaves them, and where its links and bookmarks lead."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, Page
from pypdf import PdfReader

from book._ext.paper.edition import listed, print_book
from book._ext.paper.sheets import Book as BuiltBook
from book._ext.paper.sheets import sheet
from tests.book.pages import LIVE_PAGES, ROOT, Book, widgets_of

TOC, CONFIG = (yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in ("_toc.yml", "_config.yml"))
PARTS = [part["caption"] for part in TOC["parts"]]
CHAPTER = "6. FGSM: one step that fools a network"
# The first page, the chapter, and a short page of each other part: sixty pages to print and not five hundred.
PRINTED = [
    "book/index",
    "book/cheat_sheet",
    "chapters/01_threat_models",
    "chapters/06_fgsm",
    "chapters/17_distillation",
]
PRINTED += ["chapters/22_mnist", "book/sources"]
WIDTH = 657  # of what is printed on, in CSS pixels: 210 mm less two margins of 18 mm
OUTSIDE = """width => [...document.querySelectorAll('body *')].filter(one => {
    const box = one.getBoundingClientRect();
    if (!box.width || one.closest('mjx-container, .glyphs, .noUi-target')) return false;
    return box.left < -1 || box.right > width + 2 || (one.clientWidth && one.scrollWidth > one.clientWidth + 2);
}).map(one => `${one.tagName}.${one.className}: ${one.textContent.trim().slice(0, 60)}`)"""


@dataclass(frozen=True)
class Bound:
    """The bound document, and the folder of what was printed."""

    reader: PdfReader
    folder: Path

    @cache  # noqa: B019
    def text(self, number: int) -> str:
        """A page's text in one line."""
        return " ".join(self.reader.pages[number].extract_text().split())

    def bookmarks(self) -> list[tuple[int, str, int]]:
        """(depth, title, page from 0)"""

        def below(outline: list, depth: int) -> Iterator[tuple[int, str, int]]:
            for one in outline:
                if isinstance(one, list):
                    yield from below(one, depth + 1)
                else:
                    yield depth, one.title, self.reader.get_destination_page_number(one)

        return list(below(self.reader.outline, 0))

    def pages_of(self, title: str) -> range:
        """The pages of a bookmark, from 0, up to the next one that is not below it."""
        marks = self.bookmarks()
        place = next(number for number, mark in enumerate(marks) if mark[1] == title)
        depth, _, first = marks[place]
        return range(
            first, next((page for deep, _, page in marks[place + 1 :] if deep <= depth), len(self.reader.pages))
        )

    def text_of(self, title: str) -> str:
        return " ".join(self.text(number) for number in self.pages_of(title))


@pytest.fixture(scope="module")
def bound(built_book: Path, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Bound:
    folder = tmp_path_factory.mktemp("paper")
    print_book(BuiltBook(built_book), listed(TOC, set(PRINTED)), CONFIG, folder, browser).write(folder / "course.pdf")
    return Bound(PdfReader(folder / "course.pdf"), folder)


@pytest.fixture
def on_paper(bound: Bound, browser: Browser) -> Iterator[Page]:
    """The chapter's sheet in the browser, as wide as paper."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 900})
    page.emulate_media(media="print")
    page.goto((bound.folder / "chapters_06_fgsm.html").as_uri())
    yield page
    page.close()


def test_bookmarks_name_every_part_page_and_section(bound: Bound) -> None:
    marks = bound.bookmarks()
    assert [title for depth, title, _ in marks if depth == 0] == [
        "Title page", "Contents", CONFIG["title"], *PARTS, "Solutions",
    ]  # fmt: skip
    pages = [page for _, _, page in marks]
    assert pages == sorted(pages)
    sections = [title for _, title, page in marks if page in bound.pages_of(CHAPTER)]
    assert sections[0] == "Part II. Attacks" and sections[1] == CHAPTER
    assert {"The question", "The idea in mathematics", "Measure", "Exercises", "Further reading"} < set(sections)
    text = bound.text_of(CHAPTER)
    places = [
        text.index(title) for title in ("The question", "The idea in mathematics", "Take-away", "Further reading")
    ]
    assert places == sorted(places)


def test_pages_are_numbered_through_and_the_contents_say_so(bound: Bound) -> None:
    first = len(bound.pages_of("Title page")) + len(bound.pages_of("Contents"))
    assert bound.reader.page_labels[: first + 1] == [*["i", "ii", "iii"][:first], "1"]
    assert bound.reader.page_labels[-1] == str(len(bound.reader.pages) - first)
    for title in (CHAPTER, "Solutions"):
        for number in bound.pages_of(title):
            assert bound.text(number).startswith(f"{number - first + 1}{title} "), bound.text(number)
    contents = bound.text_of("Contents")
    for title in (CHAPTER, "Cheat sheet", "Solutions"):
        assert contents.split(title)[1].split()[0] == str(bound.pages_of(title)[0] - first + 1)


def test_a_chapter_has_a_sane_number_of_pages(bound: Bound) -> None:
    assert 10 <= len(bound.pages_of(CHAPTER)) <= 22
    assert not [number for number in bound.pages_of(CHAPTER) if len(bound.text(number)) < 100], "pages without text"


def test_nothing_is_wider_than_the_page(on_paper: Page) -> None:
    assert on_paper.evaluate(OUTSIDE, WIDTH) == []


def test_all_text_lies_on_its_page(bound: Bound) -> None:
    outside = []

    def look(text: str, place: list[float], in_it: list[float], *_: object) -> None:
        x = place[0] * in_it[4] + place[2] * in_it[5] + place[4]
        y = place[1] * in_it[4] + place[3] * in_it[5] + place[5]
        if text.strip() and not (50 < x < 545 and 20 < y < 800):
            outside.append((text, x, y))

    for number in bound.pages_of(CHAPTER)[::3]:
        bound.reader.pages[number].extract_text(visitor_text=look)
    assert outside == []


def test_a_slider_is_a_strip_of_frames(bound: Bound, on_paper: Page) -> None:
    labels = ["ε = 0/255", "ε = 2/255", "ε = 4/255", "ε = 8/255", "ε = 16/255", "ε = 32/255"]
    frames = on_paper.locator(".strip > figure")
    assert frames.locator("figcaption").all_inner_texts() == labels
    assert [frame.locator("img").count() for frame in frames.all()] == [3] * 6
    assert all(label in bound.text_of(CHAPTER) for label in labels)


def test_solutions_stand_at_the_end_and_not_in_the_text(bound: Bound) -> None:
    text, solutions = bound.text_of(CHAPTER), bound.text_of("Solutions")
    for said in ("✓ Right.", "✗ Not quite.", "Nudge", "def my_fgsm(model, x, y, eps): x = x.clone()"):
        assert said not in text
    assert "A. rises all the way" in text and "✓ Right. The direction is right near x." in solutions
    assert "Exercise 6.1: the solution stands at the end" in text and "Exercise 6.1. Write FGSM" in solutions
    assert "Nudge" not in solutions
    page = int(solutions.split("Exercise 6.1. Write FGSM page ")[1].split()[0])
    first = len(bound.reader.pages) - int(bound.reader.page_labels[-1])
    assert "Exercise 1. Write FGSM" in bound.text(first + page - 1)


@pytest.mark.parametrize("name", [page for page in LIVE_PAGES if page.startswith("chapters/")])
def test_each_slider_quiz_and_solution_of_a_chapter_finds_its_place(built_book: Path, name: str) -> None:
    book = BuiltBook(built_book)
    found, page = sheet(book, name), (built_book / f"{name}.html").read_text(encoding="utf-8")
    assert not found.body.select("script, details, summary, .still")
    strips = [len(strip.select("figure")) for strip in found.body.select(".strip")]
    assert strips and all(3 <= many <= 6 for many in strips) and max(strips) >= 4
    quizzes = len(found.body.select(".quiz"))
    assert len(strips) + quizzes == widgets_of(name)
    assert len(found.solutions) == quizzes + page.count("<summary>Solution</summary>")
    assert {solution.anchor for solution in found.solutions} <= set(found.anchors)


def test_links_lead_to_pages_of_the_document_or_to_the_web(bound: Bound) -> None:
    inside = 0
    for page in bound.reader.pages:
        for link in page.get("/Annots", ()):
            link = link.get_object()
            if "/Dest" in link:
                inside += 1
                assert bound.reader._get_page_number_by_indirect(link["/Dest"][0]) is not None
            else:
                assert link["/A"]["/URI"].startswith(("https://", "mailto:"))
    assert inside > 50


def test_a_page_printed_from_the_browser_is_white_and_only_the_text(built_book: Path, browser: Browser) -> None:
    book = Book(built_book, built_book.as_uri(), browser)
    page = book.open("chapters/06_fgsm", over="file", theme="dark", width=WIDTH).page
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    seen = [page.locator(part).first for part in ("body", ".cell_input pre")]
    white, grey = (one.evaluate("one => getComputedStyle(one).backgroundColor") for one in seen)
    assert (white, grey) == ("rgb(255, 255, 255)", "rgb(247, 246, 243)")
    assert page.locator(".bd-article h1").is_visible()
    for part in (".bd-sidebar-primary", ".bd-header-article", ".prev-next-footer", "details.hide", "#pst-back-to-top"):
        assert not any(one.is_visible() for one in page.locator(part).all()), part
    assert page.evaluate(OUTSIDE, WIDTH) == []
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    book.close_pages()
