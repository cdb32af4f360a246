"""A chapter on one sheet of paper, made of what the chapter and its board say; nothing is written for it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import jinja2
import nbformat
from nbconvert.filters import Highlight2HTML, markdown2html
from nbformat import NotebookNode
from playwright.sync_api import Browser

from book._ext.coursebook import chapter

from .blocks import Block, sentences
from .deck import Section, opening, sections
from .exhibits import functions, packed

TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
TEMPLATES.filters |= {"markdown": markdown2html, "code": Highlight2HTML()}
FORMULAS = 4  # that a sheet bears
ASKED = 200  # characters of a question with the sentence before it


def write_handout(notebook: Path, boards: Path, folder: Path) -> Path:
    """Write the handout of one chapter into ``folder``, as a page that prints on one sheet."""
    board = boards / f"{notebook.stem}.svg"
    drawn = board.read_text(encoding="utf-8") if board.is_file() else ""
    page = TEMPLATES.get_template("handout.html.j2").render(
        **contents(nbformat.read(notebook, as_version=4)), board=drawn
    )
    target = folder / f"{notebook.stem}.html"
    folder.mkdir(parents=True, exist_ok=True)
    target.write_text(page, encoding="utf-8")
    return target


def contents(notebook: NotebookNode) -> dict:
    """The chapter's question, aims, formulas, function and take-away, as Markdown."""
    about, found = chapter.of_notebook(notebook), sections(notebook.cells[1:])
    aims = [text for slide in opening(notebook, about)[1:] for text in slide.text]
    return {
        "chapter": about,
        "questions": asked(found),
        "aims": "\n".join(aims),
        "formulas": formulas(found)[:FORMULAS],
        "function": next(functions_of(found), ""),
        "takeaway": "\n\n".join(of_kind("list", [one for one in found if one.heading == "Take-away"])),
    }


def asked(found: list[Section]) -> list[str]:
    """What the section `The question` asks, the last two questions of it, each behind the sentence before it."""
    questions = []
    for text in of_kind("paragraph", [one for one in found if one.heading == "The question"]):
        parts = sentences(text)
        for before, one in zip(["", *parts], parts):
            if one.rstrip('*"”').endswith("?"):
                fits = not before.endswith(("?", ":")) and len(before) + len(one) <= ASKED
                questions.append(f"{before} {one}".strip() if fits else one)
    return questions[-2:]


def formulas(found: list[Section]) -> list[str]:
    """Those of the section in mathematics, else of the first section that has any."""
    each = [of_kind("formula", [one]) for one in sorted(found, key=lambda one: "mathematics" not in one.heading)]
    return next(filter(None, each), [])


def of_kind(kind: str, found: Iterable[Section]) -> list[str]:
    return [item.text for one in found for item in one.items if isinstance(item, Block) and item.kind == kind]


def functions_of(found: list[Section]) -> Iterator[str]:
    """The short functions of the sections in code, such as `The idea in code`, as many together as a slide has."""
    cells = [item for one in found if one.heading.endswith("code") for item in one.items]
    for cell in cells:
        yield from packed(functions(cell)) if isinstance(cell, NotebookNode) else ()


def print_sheet(page: Path, browser: Browser) -> Path:
    """Print a handout as a PDF beside it."""
    tab = browser.new_page()
    tab.goto(page.as_uri())
    tab.locator("html[data-ready]").wait_for(state="attached")
    target = page.with_suffix(".pdf")
    tab.pdf(path=target, prefer_css_page_size=True, print_background=True)
    tab.close()
    return target
