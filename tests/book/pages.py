"""The book's pages, known before it is built, and how a test opens one in a browser that has no network."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from playwright.sync_api import Browser, BrowserContext, Page

ROOT = Path(__file__).resolve().parents[2]
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def toc_pages(root: Path = ROOT) -> list[str]:
    """Every page that `_toc.yml` lists, as a path without its ending, the landing page first."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *(page["file"] for one in chapters for page in [one, *one.get("sections", [])])]


def widgets_of(page: str, root: Path = ROOT) -> int:
    """How many widgets the page's notebook shows (0 for a page that is no notebook)."""
    notebook = root / f"{page}.ipynb"
    if not notebook.is_file():
        return 0
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return sum(WIDGET_VIEW in out.get("data", {}) for cell in cells for out in cell.get("outputs", []))


# `make test-all` tests the whole book, the notebooks among its pages with their widgets. The pages for teachers of
# chapters come from one mould (tests/teacher/guard.py): the browser looks at two of them.
PAGES = toc_pages()
FOR_TEACHERS = [page for page in PAGES if re.match(r"book/teach/\d\d_", page)]
SEEN = [page for page in PAGES if page not in FOR_TEACHERS or page in FOR_TEACHERS[5::18]]
LIVE_PAGES = [page for page in PAGES if widgets_of(page)]

# Written by the widgets' own JSON-schema check when it loads; nothing on the page is amiss.
HARMLESS = re.compile(r"strict mode: use allowUnionTypes")


@dataclass
class Book:
    """The built book, served from a folder and over http, opened in one browser."""

    folder: Path
    address: str
    browser: Browser
    contexts: list[BrowserContext] = field(default_factory=list)

    def open(self, page: str, *, over: str = "http", theme: str = "light", width: int = 1280) -> "Visit":
        context = self.browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        context.set_default_timeout(120_000)  # a busy machine is slow, not wrong
        self.contexts.append(context)
        base = self.folder.as_uri() if over == "file" else self.address
        visit = Visit(context.new_page(), base)
        visit.page.goto(f"{base}/{page}.html", wait_until="load")
        # Widgets are drawn after loading: wait until they are there.
        visit.page.wait_for_function(
            "document.querySelectorAll('.widget-subarea').length"
            " === document.querySelectorAll('.widget-subarea > .lm-Widget').length"
        )
        return visit

    def close_pages(self) -> None:
        for context in self.contexts:
            context.close()
        self.contexts.clear()


@dataclass
class Visit:
    """One page in one tab, and all that went wrong in it."""

    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.route(lambda url: not self._ours(url), lambda route: route.abort())
        self.page.on("request", lambda sent: self._ours(sent.url) or self._note("left the book", sent.url))
        self.page.on("requestfailed", lambda request: self._note("failed request", request.url))
        self.page.on("response", lambda r: r.status < 400 or self._note(f"status {r.status}", r.url))
        self.page.on("pageerror", lambda error: self._note("script error", str(error)))
        self.page.on("console", self._listen)

    def _ours(self, url: str) -> bool:
        return url.startswith((f"{self.base}/", "data:", "blob:"))

    def _note(self, what: str, where: str) -> None:
        self.complaints.append(f"{what}: {where[:300]}")

    def _listen(self, message) -> None:
        if message.type in ("error", "warning") and not HARMLESS.search(message.text):
            self._note(f"console {message.type}", message.text)
