"""For all tests, the notebooks' cells (nbval) among them: no progress bars, no run without what a notebook needs."""

import os

import pytest

os.environ["TQDM_DISABLE"] = "1"  # bars come and go with the machine's pace


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the cells whose notebook needs what is not on this machine."""
    cells = [item for item in items if hasattr(item, "cell")]
    if not cells:
        return
    from tests.notebooks.needs import missing, needs  # brings torchvision, which other tests do without

    for item in cells:
        reasons = map(missing, needs(item.parent.nb.metadata, item.cell.metadata))
        if reason := next(filter(None, reasons), None):
            item.add_marker(pytest.mark.skip(reason=reason))
