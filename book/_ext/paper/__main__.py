"""Print the book that `make book` built as one PDF (`make pdf`), or some pages: `python -m book._ext.paper PAGE …`."""

import sys
from pathlib import Path

import yaml

from book._ext.browser import NoBrowser, opened

from .edition import listed, print_book
from .sheets import Book

ROOT = Path(__file__).resolve().parents[3]


def main() -> None:
    toc, config = (yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in ("_toc.yml", "_config.yml"))
    book = Book(ROOT / "_build" / "html")
    found = listed(toc, set(sys.argv[1:]) or None)
    try:
        with opened() as browser:
            bound = print_book(book, found, config, ROOT / "_build" / "paper", browser)
    except NoBrowser as error:
        sys.exit(f"No book on paper: {error}")
    target = ROOT / "_build" / "course.pdf"
    bound.write(target)
    print(f"{target.relative_to(ROOT)}: {len(bound.pages)} pages, {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
