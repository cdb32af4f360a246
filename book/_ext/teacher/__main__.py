"""Make the teacher's edition: slides, handouts, and the book with the answers. `make teacher` calls it."""

import sys
from pathlib import Path

from book._ext.browser import NoBrowser, opened
from book._ext.coursebook import chapter

from .edition import ANSWERS, build_book
from .handouts import TEMPLATES, print_sheet, write_handout
from .shared import copy_shared
from .slides import write_slides

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "_build" / "teacher"


def main() -> None:
    notebooks = sorted((ROOT / "chapters").glob("[0-9]*.ipynb"))
    copy_shared(FOLDER / "shared")
    for notebook in notebooks:
        print(f"slides and handout of chapter {notebook.stem}", flush=True)
        write_slides(notebook, FOLDER / "slides")
        write_handout(notebook, ROOT / "book" / "teach" / "boards", FOLDER / "handouts")
    print_sheets(sorted((FOLDER / "handouts").glob("*.html")))
    print("the book with the answers, which takes minutes", flush=True)
    build_book(ROOT, FOLDER)
    page = TEMPLATES.get_template("index.html.j2").render(
        chapters=[(notebook.stem, chapter.read(notebook)) for notebook in notebooks], answers=ANSWERS.as_posix()
    )
    (FOLDER / "index.html").write_text(page, encoding="utf-8")
    print(f"Open {(FOLDER / 'index.html').as_uri()}")


def print_sheets(pages: list[Path]) -> None:
    """Print the handouts, where there is a browser that can."""
    try:
        with opened() as browser:
            for page in pages:
                print_sheet(page, browser)
    except NoBrowser as error:
        print(f"No PDF of the handouts: {error}")


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(str(error))
