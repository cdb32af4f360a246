"""The README's picture, light and dark: what the first page of the built book shows. `make picture` takes it."""

from pathlib import Path

from playwright.sync_api import Browser

from book._ext.browser import opened
from tests.book.pages import ROOT

FOLDER = ROOT / ".github"


def take(browser: Browser, built: Path, folder: Path) -> list[Path]:
    """Write `first_page_light.jpg` and `first_page_dark.jpg`, for screens of two dots to a pixel."""
    taken = []
    for theme in ("light", "dark"):
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=theme, device_scale_factor=2)
        page.goto((built / "book" / "index.html").as_uri())
        shown = page.locator(".widget-subarea > .lm-Widget").first
        shown.wait_for()
        taken.append(folder / f"first_page_{theme}.jpg")
        shown.screenshot(path=taken[-1], type="jpeg", quality=85)
        page.close()
    return taken


if __name__ == "__main__":
    with opened() as browser:
        print(*take(browser, ROOT / "_build" / "html", FOLDER), sep="\n")
