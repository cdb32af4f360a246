"""For all tests, the notebooks' cells (nbval) among them: no progress bars, no run without what a notebook needs.

What is tried on every chapter and every page, `make test` tries on a sample of them, and `make test-all` on all.
"""

import os
import re
from pathlib import Path

import pytest

os.environ["ADVLIB_PROGRESS"] = os.devnull  # what this machine's owner has solved is none of the tests' business
os.environ["TQDM_DISABLE"] = "1"  # bars come and go with the machine's pace

# The chapter that is the pattern for all, and one that trains networks; and a page of each other kind.
SAMPLE = {"06_fgsm", "20_certified"}
PAGES = {"book/index", "book/lab", "book/cheat_sheet"} | {f"chapters/{name}" for name in SAMPLE}
CHAPTER = re.compile(r"\d\d_[a-z]\w*")


def in_sample(about: object) -> bool:
    """Whether a test about this is one of the sample: a page of the book, a notebook's file, or anything else."""
    if isinstance(about, tuple):
        return all(map(in_sample, about))
    if isinstance(about, Path) and about.suffix == ".ipynb":
        return about.stem in SAMPLE or not CHAPTER.fullmatch(about.stem)
    return not isinstance(about, str) or not re.match(r"(book|chapters)/\w", about) or about in PAGES


@pytest.hookimpl(tryfirst=True)  # before pytest looks for marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, and what of it is thorough; skip cells that need what is not on this machine."""
    for item in items:
        is_cell = hasattr(item, "cell")
        about = [item.path] if is_cell else item.callspec.params.values() if hasattr(item, "callspec") else []
        if is_cell or "built_book" in getattr(item, "fixturenames", ()) or item.get_closest_marker("thorough"):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("slow") and not all(map(in_sample, about)):
            item.add_marker(pytest.mark.thorough)
    cells = [item for item in items if hasattr(item, "cell")]
    if not cells:
        return
    from tests.notebooks.needs import missing, needs  # brings torchvision, which other tests do without

    # Of a figure as of a photo, nbval compares the words alone: coordinates are another machine's in the last digit.
    for notebook in {item.parent for item in cells}:
        notebook.skip_compare += ("image/svg+xml",)
    for item in cells:
        reasons = map(missing, needs(item.parent.nb.metadata, item.cell.metadata))
        if reason := next(filter(None, reasons), None):
            item.add_marker(pytest.mark.skip(reason=reason))
