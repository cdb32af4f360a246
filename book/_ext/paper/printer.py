"""The browser as a printer: sheets in, PDF out."""

import re
from pathlib import Path

import jinja2
from markupsafe import Markup
from playwright.sync_api import Browser

from .binding import Printed
from .sheets import Book, Sheet

HERE = Path(__file__).parent


def css_string(text: str) -> str:
    r"""A text as CSS writes it.

    >>> print(css_string('Is it "<b>"?'))
    "Is it \22 \3c b>\22 ?"
    """
    return '"' + re.sub(r'["\\<\n]', lambda found: f"\\{ord(found[0]):x} ", text) + '"'


TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True)
TEMPLATES.filters["css"] = lambda text: Markup(css_string(text))


class Printer:
    """Prints the sheets of a book in its own style, each from a file in ``folder``."""

    def __init__(self, book: Book, folder: Path, browser: Browser) -> None:
        self.book, self.folder = book, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.tab = browser.new_page()
        self.tab.emulate_media(media="print")
        self.tab.set_default_timeout(300_000)  # a busy machine is slow, not wrong

    def write(self, sheet: Sheet, pages_before: int) -> Path:
        """The sheet as a page that prints with its page numbers."""
        return self._file(
            sheet.name,
            "sheet.html.j2",
            sheet=sheet,
            head=sheet.head,
            body=sheet.body.decode_contents(),
            pages_before=pages_before,
        )

    def write_front(self, **contents: object) -> Path:
        return self._file("front", "front.html.j2", book=self.book, **contents)

    def print(self, sheet: Sheet, page: Path) -> Printed:
        self.tab.goto(page.as_uri())
        self.tab.evaluate("document.fonts.ready.then(() => true)")
        return Printed.from_bytes(sheet, self.tab.pdf(prefer_css_page_size=True, print_background=True))

    def _file(self, name: str, template: str, **contents: object) -> Path:
        target = self.folder / f"{name.replace('/', '_')}.html"
        html = TEMPLATES.get_template(template).render(style=(HERE / "paper.css").as_uri(), **contents)
        target.write_text(html, encoding="utf-8")
        return target
