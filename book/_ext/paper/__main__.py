"""Print the book that `make book` built as one PDF (`make pdf`), or some pages: `python -m book._ext.paper PAGE …`."""

import sys
from pathlib import Path

import yaml
from playwright.sync_api import Error, sync_playwright

from book._ext.browser import launched

from .edition import listed, print_book
from .sheets import Book

ROOT = Path(__file__).resolve().parents[3]


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
