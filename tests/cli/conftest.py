"""What the tests of the command line share: photos to attack, and a way to run it."""

import pytest

from advlib import cli
from advlib.data import load_images, save_png


@pytest.fixture
def signs(tmp_path):
    """Three generated signs as files: 30, 50 and 60."""
    folder = tmp_path / "photos"
    images = load_images("signs", "test", n=3)
    for k in range(3):
        save_png(images.x[k : k + 1], folder / f"{k}.png")
    return sorted(str(path) for path in folder.iterdir())


@pytest.fixture
def run(tmp_path, capsys):
    """Run `advlib` with these words: (exit status, stdout, stderr); results go to tmp_path/out."""

    def run(*words):
        out = ["--out", str(tmp_path / "out")] if words[0] in ("attack", "train") and "--out" not in words else []
        try:
            status = cli.main([*map(str, words), *out])
        except SystemExit as stop:  # argparse
            status = stop.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def chdir(tmp_path, monkeypatch):
    """A folder of the test's own, to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
