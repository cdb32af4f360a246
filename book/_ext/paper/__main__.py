"""Print the book that `make book` built as one PDF. `make pdf` calls it."""

import sys
from pathlib import Path

import yaml
from playwright.sync_api import Browser, Error, sync_playwright

from book._ext.teacher.browser import launched

from .binding import Printed, bind
from .printer import Printer
from .sheets import Book, Sheet, gathered, sheet

ROOT = Path(__file__).resolve().parents[3]
LEFT_OUT = {"book/lab"}  # nothing of it is left on paper


def listed(toc: dict, pages: set[str] | None = None) -> list[tuple[str, str, int]]:
    """The pages of a table of contents, or those of them that ``pages`` names: (name, part, depth below the part).

    >>> listed({"root": "index", "parts": [{"caption": "I", "chapters": [{"file": "a", "sections": [{"file": "b"}]}]}]})
    [('index', '', 0), ('a', 'I', 0), ('b', 'I', 1)]
    """
    found = [(toc["root"], "", 0)]
    for part in toc["parts"]:
        for page in part["chapters"]:
            found.append((page["file"], part["caption"], 0))
            found += [(below["file"], part["caption"], 1) for below in page.get("sections", [])]
    return [one for one in found if one[0] not in LEFT_OUT and (pages is None or one[0] in pages)]


def read_sheets(book: Book, found: list[tuple[str, str, int]]) -> list[Sheet]:
    sheets = []
    for name, part, depth in found:
        made = sheet(book, name)
        made.part, made.depth = part, depth
        made.opens_part = bool(part) and (not sheets or sheets[-1].part != part)
        sheets.append(made)
    return sheets


def print_book(book: Book, found: list[tuple[str, str, int]], config: dict, folder: Path, browser: Browser):
    """The bound book: (what pypdf writes). ``folder`` takes the pages that are printed."""
    sheets = read_sheets(book, found)
    printer = Printer(book, folder, browser)
    wanted = {place for one in sheets for address in one.leads_to() if (place := book.place(address))}
    rest: list[Printed] = []
    page_of: dict[tuple[str, str], int] = {}

    def take(one: Sheet) -> None:
        before = sum(len(printed.pages.pages) for printed in rest)
        noted = {anchor for name, anchor in wanted if name == one.name}
        one.show_anchors(noted | {anchor for anchor, _ in one.headings} | {asked.anchor for asked in one.solutions})
        print(f"page {before + 1}: {one.title}", flush=True)
        rest.append(printer.print(one, printer.write(one, before)))
        for anchor, (number, _) in rest[-1].places().items():
            page_of[one.name, anchor] = before + number + 1

    for one in sheets:
        take(one)
    solutions = gathered(sheets, book, page_of)
    wanted |= {(solutions.name, anchor) for anchor in solutions.anchors}
    take(solutions)
    home = book.home(sheets[0].name)
    front = Sheet("front", config["title"], sheets[0].body, sheets[0].head)
    page = printer.write_front(
        head=front.head,
        title=config["title"],
        author=config["author"],
        licence=config["html"]["extra_footer"],
        logo=(ROOT / "book" / "_static" / "logo.svg").as_uri(),
        home=home,
        sheets=[*sheets, solutions],
        page_of=page_of,
    )
    return bind(printer.print(front, page), rest, book, home, {"Title": config["title"], "Author": config["author"]})


def main() -> None:
    toc, config = (yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in ("_toc.yml", "_config.yml"))
    book = Book(ROOT / "_build" / "html")
    found = listed(toc, set(sys.argv[1:]) or None)
    with sync_playwright() as playwright:
        try:
            browser = launched(playwright)
        except Error as error:
            why = str(error).splitlines()[0]
            sys.exit(f"No Chromium or Chrome here to print with ({why}). `playwright install chromium` fetches one.")
        bound = print_book(book, found, config, ROOT / "_build" / "paper", browser)
    target = ROOT / "_build" / "course.pdf"
    bound.write(target)
    print(f"{target.relative_to(ROOT)}: {len(bound.pages)} pages, {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
