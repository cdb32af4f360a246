"""Folders of photos and other streams: read part by part, labelled right, refused in words."""

import subprocess
import sys

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from advlib.attacks import fgsm
from advlib.data import Folder, Images
from advlib.data.photos import PhotoError, fit_square
from advlib.evaluate import robust_accuracy
from advlib.norms import Linf

NAMES = ("black", "grey", "white bear")


def small(photo):
    return fit_square(photo, 16)


def paint(root, name, levels, side=20):
    """Photos of one brightness each."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    for k, level in enumerate(levels):
        Image.new("RGB", (side, side + k), (level,) * 3).save(folder / f"{k}.png")


@pytest.fixture
def shades(tmp_path):
    """Seven photos of three classes, one of which is called as a folder may be."""
    for name, levels in {"black": (0, 10, 20), "grey": (120, 130), "White_Bear": (250, 255)}.items():
        paint(tmp_path / "shades", name, levels)
    return tmp_path / "shades"


class ByBrightness(nn.Module):
    """Black, grey or white, by the mean."""

    def forward(self, x):
        mean = x.mean((1, 2, 3))
        return torch.stack([-mean * 10, -((mean - 0.5) ** 2) * 40 - 3, mean * 10 - 10], 1)


def test_a_folder_gives_every_photo_once_with_its_label(shades):
    folder = Folder(shades, NAMES, small, size=3)
    parts = list(folder)
    assert [len(part) for part in parts] == [3, 3, 1] and len(folder) == 3 and folder.n == 7
    levels = torch.cat([part.x.mean((1, 2, 3)) for part in parts]) * 255
    labels = torch.cat([part.y for part in parts])
    assert sorted(levels.round().int().tolist()) == [0, 10, 20, 120, 130, 250, 255]
    assert torch.equal(labels, torch.bucketize(levels, torch.tensor([64.0, 192.0])))
    assert parts[0].classes == NAMES and labels.tolist() != sorted(labels.tolist()), "the classes come one by one"


def test_some_are_drawn_by_chance_and_read_by_workers_too(shades):
    few, again, others = (
        Folder(shades, NAMES, small, n=4, seed=seed, workers=w) for seed, w in ((0, 0), (0, 1), (5, 0))
    )
    one, same, other = (torch.cat([part.x for part in folder]) for folder in (few, again, others))
    assert len(one) == 4 and torch.equal(one, same) and not torch.equal(one, other)


def test_the_shares_of_several_processes_are_all_the_parts(shades):
    folder = Folder(shades, NAMES, small, size=2)
    dealt = [[part.x for part in folder.share(rank, 3)] for rank in range(3)]
    whole = [part.x for part in folder]
    assert [len(one) for one in dealt] == [2, 1, 1]
    assert all(torch.equal(dealt[k % 3][k // 3], part) for k, part in enumerate(whole))


def test_imagenets_own_folders_are_its_classes_in_order(tmp_path):
    for name in ("n03000000", "n01000000", "n02000000"):
        paint(tmp_path, name, (int(name[2]) * 80,))
    images = next(iter(Folder(tmp_path, NAMES, small)))
    assert ((images.x.mean((1, 2, 3)) * 255 / 80).round().long() - 1).tolist() == images.y.tolist()
    with pytest.raises(ValueError, match="has 3 of ImageNet's folders, and the model 4 classes.*such as 'black'"):
        Folder(tmp_path, (*NAMES, "more"), small)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda root: root / "nowhere", "nowhere: there is no such folder; expected one with a folder of photos"),
        (lambda root: root / "black" / "0.png", "0.png: is a file"),
        (lambda root: root / "black", "there is no folder in it; expected.*black/black"),
        (lambda root: (root / "empty").mkdir() or root, "unknown class 'empty'. Known: black, grey, white bear"),
        (lambda root: paint(root, "blakc", (3,)) or root, "unknown class 'blakc': did you mean 'black'"),
        (lambda root: paint(root, "3", (3,)) or root, "unknown class '3'"),
    ],
    ids=["missing", "a file", "no classes", "no such class", "misspelt", "a number too high"],
)
def test_a_folder_that_cannot_be_meant_is_refused_with_its_name(shades, change, words):
    with pytest.raises(ValueError, match=words):
        Folder(change(shades), NAMES, small)


def test_numbers_name_classes_and_tell_two_of_one_name_apart(tmp_path):
    paint(tmp_path, "2", (3,))
    assert next(iter(Folder(tmp_path, NAMES, small))).y.tolist() == [2]
    paint(tmp_path, "crane", (3,))
    with pytest.raises(ValueError, match="classes 0 and 2 of the model are both called so.*number"):
        Folder(tmp_path, ("crane", "grey", "Crane"), small)


def test_an_empty_class_too_many_photos_and_uneven_ones(shades):
    with pytest.raises(ValueError, match="n is 8, but .*shades has 7 photos; expected at most as many"):
        Folder(shades, NAMES, small, n=8)
    with pytest.raises(ValueError, match="preprocess made images of .*expected one size"):
        list(Folder(shades, NAMES, lambda photo: photo))
    for photo in (shades / "grey").iterdir():
        photo.unlink()
    with pytest.raises(ValueError, match="grey: there is no photo in it"):
        Folder(shades, NAMES, small)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_photo_is_named(shades, workers):
    (shades / "grey" / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(PhotoError, match=r"^[^\n]*broken.jpg: is not an image[^\n]*$"):
        list(Folder(shades, NAMES, small, workers=workers))


def test_robust_accuracy_takes_folders_loaders_and_pairs(shades):
    model, settings = ByBrightness(), dict(within=Linf(0.02), attack=fgsm)
    folder = Folder(shades, NAMES, small, size=3)
    images = list(folder)
    x, y = torch.cat([part.x for part in images]), torch.cat([part.y for part in images])
    expected = robust_accuracy(model, x, y, **settings)
    loader = DataLoader(TensorDataset(x, y), batch_size=2)
    for stream in (folder, loader, iter([(x[:2], y[:2]), (x[2:], y[2:])]), Images(x, y, NAMES)):
        found = robust_accuracy(model, stream, **settings)
        assert (found, found.low, found.n) == (expected, expected.low, 7)


@pytest.mark.parametrize(
    "stream, words",
    [
        ([], "no parts at all"),
        (3, "images is 3; expected images .*DataLoader"),
        (torch.rand(2, 1, 4, 4), "expected images .* with labels"),
        ([torch.rand(2, 1, 4, 4)], "expected parts that are pairs"),
        ([(torch.rand(2, 1, 4, 4) * 255, torch.zeros(2).long())], "0 to 1|\\[0, 1\\]"),
    ],
    ids=["none", "a number", "no labels", "no pairs", "other pixels"],
)
def test_a_stream_that_is_none_is_refused(stream, words):
    with pytest.raises((TypeError, ValueError), match=words):
        robust_accuracy(ByBrightness(), stream, within=Linf(0.1), attack=fgsm)
    with pytest.raises(ValueError, match="one ε for all"):
        robust_accuracy(ByBrightness(), stream, within=Linf(torch.tensor([0.1, 0.2])))


MEASURED = """
import resource, sys
import torch
from torch import nn
from advlib.attacks import fgsm
from advlib.data import Folder
from advlib.data.photos import fit_square
from advlib.evaluate import robust_accuracy
from advlib.norms import Linf

torch.set_num_threads(1)
model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 160 * 160, 2))
folder = Folder(sys.argv[1], ("left", "right"), lambda photo: fit_square(photo, 160), n=int(sys.argv[2]), size=16)
robust_accuracy(model, folder, within=Linf(0.01), attack=fgsm)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux alone")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    """320 images of 160 × 160 are 98 MB in memory, and as much again for each copy; of 32 they are a tenth."""
    for name in ("left", "right"):
        paint(tmp_path, name, range(160), side=170)
    peak = [
        int(subprocess.run([sys.executable, "-c", MEASURED, tmp_path, str(n)], capture_output=True, check=True).stdout)
        for n in (32, 320)
    ]
    assert peak[1] - peak[0] < 30, f"{peak[0]} MB for 32 images, {peak[1]} MB for 320"
