"""For all tests, the notebooks' cells (nbval) among them: no progress bars, no run without what a notebook needs."""

import os

import pytest

os.environ["ADVLIB_PROGRESS"] = os.devnull  # what this machine's owner has solved is none of the tests' business
os.environ["TQDM_DISABLE"] = "1"  # bars come and go with the machine's pace


@pytest.hookimpl(tryfirst=True)  # before pytest looks for marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what runs a notebook or reads the built book; skip cells that need what is not on this machine."""
    cells = [item for item in items if hasattr(item, "cell")]
    for item in items:
        if hasattr(item, "cell") or "built_book" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
    if not cells:
        return
    from tests.notebooks.needs import missing, needs  # brings torchvision, which other tests do without

    for item in cells:
        reasons = map(missing, needs(item.parent.nb.metadata, item.cell.metadata))
        if reason := next(filter(None, reasons), None):
            item.add_marker(pytest.mark.skip(reason=reason))
