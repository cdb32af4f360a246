"""The browser that prints the book and its handouts, photographs the first page and tests. It has no network."""

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
# Even a request that slipped past the tests' own gate would find no host: no name resolves.
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def launched(playwright: "Playwright") -> "Browser":
    """An installed browser, or the one that `playwright install chromium` fetched."""
    installed = next(filter(None, map(shutil.which, BROWSERS)), None)
    return playwright.chromium.launch(executable_path=installed, args=SWITCHES)
