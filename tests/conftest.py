"""Two published networks and their images, where ADVLIB_DATA has them; and a browser that has no network."""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from advlib.models import nets

DATA = Path(os.environ.get("ADVLIB_DATA", ""))


@pytest.fixture(scope="session")
def lenet():
    """``lenet("clntrained")`` or ``lenet("advtrained")``: advertorch's LeNet5 networks."""

    def load(name: str) -> torch.nn.Module:
        path = DATA / "models" / f"mnist_lenet5_{name}.pt"
        if not path.is_file():
            pytest.skip(f"no {path.name}: ADVLIB_DATA points to no folder with models/")
        model = nets.mnist_cnn()
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return model.eval()

    return load


@pytest.fixture(scope="session")
def mnist():
    """``mnist(n)``: the first n images of the test set and their labels."""

    def load(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        raw = DATA / "MNIST" / "raw"
        if not raw.is_dir():
            pytest.skip("no MNIST/raw in ADVLIB_DATA")
        read = lambda name, offset: np.frombuffer(gzip.open(raw / name).read(), np.uint8, offset=offset)
        x = read("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)[:n]
        y = read("t10k-labels-idx1-ubyte.gz", 8)[:n]
        return torch.tensor(x / 255, dtype=torch.float32), torch.tensor(y, dtype=torch.int64)

    return load


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Chromium or Chrome; one for all tests of a worker."""
    from book._ext.browser import NoBrowser, opened

    try:
        with opened() as browser:
            yield browser
    except NoBrowser as error:
        if os.environ.get("BOOK_TESTS_NEED_BROWSER"):
            raise
        pytest.skip(str(error))
