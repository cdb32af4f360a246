"""Builds the book once for all workers, serves it, and opens a browser that has no network."""

import functools
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, Error, sync_playwright

from tests.book.pages import ROOT, Book, launched


@pytest.fixture(scope="session")
def built_book(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder of a clean build of the book; one build for all workers."""
    return built_once(ROOT, shared_folder(tmp_path_factory, worker_id) / "book")


def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A temporary folder that all workers have in common."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


def built_once(root: Path, out: Path) -> Path:
    """Build the book that lies at ``root`` unless another worker has; every warning is an error."""
    log = out.with_suffix(".log")
    with FileLock(f"{out}.lock"):
        if not log.is_file():
            tool = Path(sys.executable).with_name("jupyter-book")
            command = [tool, "build", "-W", "--keep-going", "--path-output", str(out), str(root)]
            done = subprocess.run(command, capture_output=True, text=True)
            log.write_text("" if done.returncode == 0 else done.stdout[-4000:] + done.stderr[-4000:])
    assert not (failure := log.read_text()), f"the book does not build without warnings:\n{failure}"
    return out / "_build" / "html"


@pytest.fixture(scope="session")
def address(built_book: Path) -> Iterator[str]:
    """An http server's address for the built book."""
    handler = functools.partial(QuietHandler, directory=str(built_book))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        try:
            browser = launched(playwright)
        except Error as error:
            if os.environ.get("BOOK_TESTS_NEED_BROWSER"):
                raise
            why = str(error).splitlines()[0]
            pytest.skip(f"no Chromium or Chrome here ({why}): run `playwright install chromium`")
        yield browser
        browser.close()


@pytest.fixture
def book(built_book: Path, address: str, browser: Browser) -> Iterator[Book]:
    book = Book(built_book, address, browser)
    yield book
    book.close_pages()
