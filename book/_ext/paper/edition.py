"""The whole document: which pages, in what order, and what stands before and behind them."""

from pathlib import Path

from playwright.sync_api import Browser
from pypdf import PdfWriter

from .binding import Printed, bind
from .printer import Printer
from .sheets import Book, Sheet, gathered, sheet

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


def print_book(
    book: Book, found: list[tuple[str, str, int]], config: dict, folder: Path, browser: Browser
) -> PdfWriter:
    """Print the pages ``found`` of a book, its solutions and its contents, and bind them.

    ``config`` is `_config.yml`; ``folder`` takes each sheet as it is printed. The sheets are printed in the order of
    their page numbers, so that each knows its first one; the contents last, with numbers of their own.
    """
    sheets = read_sheets(book, found)
    printer = Printer(book, folder, browser)
    rest: list[Printed] = []
    page_of: dict[tuple[str, str], int] = {}

    def take(one: Sheet) -> None:
        before = sum(len(printed.pages.pages) for printed in rest)
        print(f"page {before + 1}: {one.title}", flush=True)
        rest.append(printer.print(one, printer.write(one, before)))
        for anchor, (number, _) in rest[-1].places().items():
            page_of[one.name, anchor] = before + number + 1

    linked = {place for one in sheets for link in one.links() if (place := book.place(link))}
    for one in sheets:
        one.show_anchors({anchor for name, anchor in linked if name == one.name})
        take(one)
    solutions = gathered(sheets, book, page_of)
    solutions.show_anchors(set(solutions.anchors))
    take(solutions)

    front = Sheet("front", config["title"], sheets[0].body, sheets[0].head)
    page = printer.write_front(
        head=front.head,
        title=config["title"],
        author=config["author"],
        licence=config["html"]["extra_footer"],
        logo=(book.folder / "_static" / "logo.svg").as_uri(),
        home=(home := book.home(sheets[0].name)),
        sheets=[*sheets, solutions],
        page_of=page_of,
    )
    return bind(printer.print(front, page), rest, book, home, {"Title": config["title"], "Author": config["author"]})
