"""A page of the built book, made ready for paper: what only a screen can use goes, and what answers goes to the end."""

import html
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urldefrag, urljoin

from bs4 import BeautifulSoup, Tag

from book._ext.coursebook.folds import STEPS
from book._ext.coursebook.stills import VIEW, models_of

from . import widgets

# For fingers alone, and code that is folded because it only draws or installs.
SCREEN_ONLY = ".headerlink, details.hide, fieldset, .landing-ways, button, noscript, script, .predict > summary"
NUMBER = re.compile(r"(\d+)\. ")
EXERCISE = re.compile(r"Exercise (\d+)\. (.+)")
SHORT = 24  # lines of code that no page breaks: a third of a page
SOLUTIONS = "solutions"  # the name of the sheet that gathers them


@dataclass(frozen=True)
class Solution:
    """What answers an exercise or a quiz: "Exercise 6.1", its title, where it is asked, and the answer as HTML."""

    label: str
    title: str
    anchor: str
    body: str


@dataclass
class Sheet:
    """One page for the printer: its name (`chapters/06_fgsm`), its title, its HTML, the styles of this, and its place
    in the book."""

    name: str
    title: str
    body: Tag
    head: list[str]
    part: str = ""
    opens_part: bool = False
    depth: int = 0
    solutions: list[Solution] = field(default_factory=list)

    @property
    def headings(self) -> list[tuple[str, str]]:
        """The sections: (anchor, title)."""
        found = ((heading, heading.find_parent("section")) for heading in self.body.select("h2"))
        return [(section["id"], words(heading)) for heading, section in found if section]

    @property
    def anchors(self) -> list[str]:
        return [tag["id"] for tag in self.body.select("[id]:not(.glyphs *)")]

    def links(self) -> set[str]:
        return {link["href"] for link in self.body.select("a[href]")}

    def show_anchors(self, linked: set[str]) -> None:
        """Let the browser note where these places, the sections and what is solved come to lie.

        It notes what a link on the same page leads to, be that link hidden.
        """
        wanted = linked | {anchor for anchor, _ in self.headings} | {asked.anchor for asked in self.solutions}
        for anchor in sorted(wanted.intersection(self.anchors)):
            self.body.append(BeautifulSoup(f'<a hidden href="#{quote(anchor)}"></a>', "html.parser"))


@dataclass(frozen=True)
class Book:
    """The built book: the folder of its pages."""

    folder: Path

    def page(self, name: str) -> BeautifulSoup:
        return BeautifulSoup((self.folder / f"{name}.html").read_text(encoding="utf-8"), "html.parser")

    def address(self, name: str, anchor: str = "") -> str:
        """Where a page, or a place on it, lies before it is bound."""
        uri = (self.folder / f"{name}.html").as_uri()
        return f"{uri}#{quote(anchor)}" if anchor else uri

    def home(self, name: str) -> str:
        """Where the book lives on the web, as one of its pages says."""
        return self.page(name).find("link", rel="canonical")["href"].removesuffix(f"{name}.html")

    def place(self, address: str) -> tuple[str, str] | None:
        """The page and anchor of an address within the book; None for one outside of it.

        >>> built = Book(Path.cwd())
        >>> built.place(built.address("chapters/06_fgsm", "play"))
        ('chapters/06_fgsm', 'play')
        """
        uri, anchor = urldefrag(address)
        root = self.folder.as_uri() + "/"
        if not uri.startswith(root) or not uri.endswith(".html"):
            return None
        return unquote(uri.removeprefix(root).removesuffix(".html")), unquote(anchor)


def sheet(book: Book, name: str) -> Sheet:
    """Read a page of the built book and make it ready."""
    page = book.page(name)
    body = page.select_one("article.bd-article")
    _write_addresses_out(page, book.address(name))
    head = [str(tag) for tag in page.head.select("link[rel=stylesheet]")]
    found = Sheet(name, words(body.h1), body, head)
    number = NUMBER.match(found.title)
    chapter = number[1] if number else name.rpartition("/")[2]
    _print_widgets(found, chapter, book)
    _gather_solutions(found, chapter, book)
    for tag in body.select(SCREEN_ONLY):
        tag.decompose()
    _unfold(body)
    for code in body.select("pre"):
        if code.get_text().count("\n") <= SHORT:
            code["class"] = "whole"
    for cell in body.select(".cell"):
        if not cell.get_text(strip=True) and not cell.find(["img", "svg"]):
            cell.decompose()
    return found


def words(heading: Tag) -> str:
    """A heading's text, without the sign that links to it."""
    return "".join(text for text in heading.find_all(string=True) if text.parent.get("class") != ["headerlink"]).strip()


def _write_addresses_out(body: Tag, base: str) -> None:
    for tag in body.select("a[href], link[href], [src]"):
        attribute = "src" if tag.has_attr("src") else "href"
        if not tag[attribute].startswith("data:"):
            tag[attribute] = urljoin(base, tag[attribute])


def _print_widgets(found: Sheet, chapter: str, book: Book) -> None:
    models = models_of(book.folder, found.name)
    quizzes = 0
    for view in found.body.find_all("script", type=VIEW):
        widget = widgets.read(models, json.loads(view.string)["model_id"])
        view.find_next_sibling(class_="still").decompose()
        if isinstance(widget, widgets.Slider):
            view.replace_with(BeautifulSoup(widget.strip(), "html.parser"))
            continue
        letter = "abcdefghijklmnopqrstuvwxyz"[quizzes]
        quizzes += 1
        asked = Solution(f"Quiz {chapter}{letter}", "", f"quiz-{letter}", widget.answered())
        box = f'<div class="quiz" id="{asked.anchor}">{widget.asked()}{_where(asked, found.name, book)}</div>'
        view.replace_with(BeautifulSoup(box, "html.parser"))
        found.solutions.append(asked)


def _gather_solutions(found: Sheet, chapter: str, book: Book) -> None:
    """Take the solutions out of their exercises, and leave out the hints before them."""
    for step in found.body.select("details.step"):
        if step.summary.get_text(strip=True) != STEPS[-1]:
            step.decompose()
            continue
        card = step.find_parent("section")
        number, title = EXERCISE.fullmatch(words(card.h3)).groups()
        step.summary.decompose()
        solution = Solution(f"Exercise {chapter}.{number}", title, card["id"], step.decode_contents())
        step.replace_with(BeautifulSoup(_where(solution, found.name, book), "html.parser"))
        found.solutions.append(solution)


def _where(solution: Solution, name: str, book: Book) -> str:
    there = book.address(SOLUTIONS, f"{name}:{solution.anchor}")
    return f'<p class="see"><a href="{there}">{solution.label}: the solution</a> stands at the end of the book.</p>'


def _unfold(body: Tag) -> None:
    """Paper cannot be opened: what a fold holds stands there."""
    for fold in body.select("details"):
        fold.name = "div"
        fold["class"] = ["unfolded"]
        if fold.summary:
            fold.summary["class"] = "title"
            fold.summary.name = "p"


def gathered(sheets: list[Sheet], book: Book, page_of: dict[tuple[str, str], int]) -> Sheet:
    """The sheet of all solutions, in the order of the book, each with the page on which it is asked for."""
    body = BeautifulSoup("<article><h1>Solutions</h1></article>", "html.parser").article
    head = list(dict.fromkeys(tag for asking in sheets for tag in asking.head))
    for asking in filter(lambda one: one.solutions, sheets):
        order = asking.anchors
        parts = [f'<section id="{asking.name}"><h2>{html.escape(asking.title)}</h2>']
        for one in sorted(asking.solutions, key=lambda one: order.index(one.anchor)):
            title = html.escape(f"{one.label}. {one.title}" if one.title else f"{one.label}.")
            back = f'<a href="{book.address(asking.name, one.anchor)}">page {page_of[asking.name, one.anchor]}</a>'
            parts.append(
                f'<section class="solution" id="{asking.name}:{one.anchor}"><h3>{title} {back}</h3>{one.body}</section>'
            )
        body.append(BeautifulSoup("".join([*parts, "</section>"]), "html.parser"))
    # What formulas are made of, which each page defines once.
    glyphs = {glyph["id"]: str(glyph) for asking in sheets for glyph in asking.body.select(".glyphs [id]")}
    drawn = f'<svg class="glyphs" width="0" height="0"><defs>{"".join(glyphs.values())}</defs></svg>'
    body.append(BeautifulSoup(drawn, "html.parser"))
    return Sheet(SOLUTIONS, "Solutions", body, head)
