"""Slides and handouts of three chapters, made once, and how a browser without a network opens them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from book._ext.teacher.handouts import write_handout
from book._ext.teacher.shared import copy_shared
from book._ext.teacher.slides import write_slides
from tests.book.conftest import built_book, shared_folder  # noqa: F401 - the fixture of the public book

ROOT = Path(__file__).resolve().parents[2]
# Long tables and small figures; a formula on every slide; sliders of several pictures.
SAMPLE = ("02_loss", "06_fgsm", "16_adversarial_training")
HARMLESS = "allowUnionTypes"


@pytest.fixture(scope="module")
def edition(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    folder = shared_folder(tmp_path_factory, worker_id) / f"teacher-{worker_id}"
    copy_shared(folder / "shared")
    for stem in SAMPLE:
        notebook = ROOT / "chapters" / f"{stem}.ipynb"
        write_slides(notebook, folder / "slides")
        write_handout(notebook, ROOT / "book" / "teach" / "boards", folder / "handouts")
    return folder


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., tuple[Page, list[str]]]]:
    """Open a file; also what it asked of the network, and what else went wrong in it."""
    contexts = []

    def open_file(path: Path, width: int = 1280, height: int = 720) -> tuple[Page, list[str]]:
        contexts.append(browser.new_context(viewport={"width": width, "height": height}))
        contexts[-1].set_default_timeout(60_000)  # a busy machine is slow, not wrong
        page, complaints = contexts[-1].new_page(), []
        local = ("file:", "data:", "blob:")
        page.on("request", lambda sent: None if sent.url.startswith(local) else complaints.append(sent.url))
        page.on("requestfailed", lambda request: complaints.append(request.url[:200]))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: (
                complaints.append(said.text)
                if said.type in ("error", "warning") and HARMLESS not in said.text
                else None
            ),
        )
        page.goto(path.as_uri())
        page.locator("html[data-ready]").wait_for(state="attached")
        return page, complaints

    yield open_file
    for context in contexts:
        context.close()
