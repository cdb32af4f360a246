"""The chapter on ImageNet where its one line is changed, and where there are no weights."""

import urllib.error
from itertools import takewhile
from pathlib import Path

import nbformat
import pytest
import torch
from torchvision.models import ResNet18_Weights, resnet18

from advlib.data import save_png

CHAPTER = Path(__file__).resolve().parents[2] / "chapters" / "23_imagenet.ipynb"
CHANGED = 'name, photo = "imagenet:squeezenet1_1", None'


@pytest.fixture
def cells(tmp_path, monkeypatch) -> list[str]:
    """The chapter's code after the setup cell; there is an empty hub folder, and no network."""

    def no_network(*args, **kwargs):
        raise urllib.error.URLError("no network in this test")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    notebook = nbformat.read(CHAPTER, as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"][1:]


def test_without_weights_the_first_cell_stops_with_one_message(cells: list[str], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as stopped:
        exec(cells[0], {})
    said = str(stopped.value)
    assert "Looked for" in said and str(tmp_path) in said and "To get them" in said and "TORCH_HOME" in said


@pytest.mark.slow
def test_resnet18_on_a_goldfish_is_one_changed_line(cells: list[str], tmp_path: Path, capsys) -> None:
    pytest.importorskip("skimage")
    torch.manual_seed(0)
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    torch.save(
        resnet18().state_dict(), tmp_path / "hub/checkpoints" / ResNet18_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[-1]
    )
    photo = tmp_path / "goldfish.png"
    save_png(torch.nn.functional.interpolate(torch.rand(1, 3, 8, 11), (263, 376), mode="bilinear"), photo)
    assert cells[0].count(CHANGED) == 1
    cells[0] = cells[0].replace(CHANGED, f'name, photo = "imagenet:resnet18", {str(photo)!r}')
    names: dict = {}
    for source in takewhile(lambda source: "attacks.bim" not in source, cells):
        exec(source, names)
    said = capsys.readouterr().out
    assert "photo: (1, 3, 263, 376)" in said and "ε = 2/255: " in said
    model, x, aimed, target = (names[name] for name in ("model", "x", "aimed", "target"))
    assert x.shape == (1, 3, 224, 224) and 0 < (aimed - x).abs().max() <= 2 / 255 + 1e-6
    assert model(aimed).softmax(1)[0, target] > model(x).softmax(1)[0, target]
