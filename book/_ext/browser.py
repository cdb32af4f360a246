"""The browser that prints the book and its handouts, photographs the first page and tests. It has no network."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Error, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
# Even a request that slipped past the tests' own gate would find no host: no name resolves.
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


class NoBrowser(Exception):
    """There is none here; the message says why, and how to get one."""


@contextmanager
def opened() -> Iterator[Browser]:
    """An installed browser, or the one that `playwright install chromium` fetched; else `NoBrowser`."""
    installed = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=installed, args=SWITCHES)
        except Error as error:
            why = str(error).splitlines()[0]
            raise NoBrowser(f"no Chromium or Chrome here ({why}): run `playwright install chromium`") from None
        yield browser
        browser.close()
