"""Notebooks run as tests (nbval) without progress bars: these depend on the machine's speed, and so differ every time."""

import os
from collections.abc import Iterator
from unittest import mock

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """nbval starts a notebook's kernel here, with the environment of this moment."""
    if item.path.suffix != ".ipynb":
        return (yield)
    with mock.patch.dict(os.environ, TQDM_DISABLE="1"):
        return (yield)
