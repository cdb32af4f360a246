"""Real data: found where it is, unpacked without touching what was given, refused when damaged, and where to get it."""

import gzip
import os
import struct
import sys
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from PIL import Image
from torchvision import datasets

from advlib.data import load_images, real, signs


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty cache, no folder given, and no network, whatever this machine has."""
    monkeypatch.delenv("ADVLIB_DATA", raising=False)
    monkeypatch.setattr(real, "cache_folder", lambda: tmp_path / "cache")

    def no_network(*args, **kwargs):
        raise urllib.error.URLError("no network in this test")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    return tmp_path


def given_data() -> Path:
    """The folder that ADVLIB_DATA named when the tests were started."""
    if not GIVEN:
        pytest.skip("ADVLIB_DATA is not set: no real data here")
    return Path(GIVEN)


GIVEN = os.environ.get("ADVLIB_DATA")


def write_mnist(folder: Path, monkeypatch, count=12) -> None:
    """Four archives in MNIST's format, and torchvision made to expect their hashes."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    resources = []
    for split in ("train", "t10k"):
        pixels = np.random.default_rng(len(split)).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        for kind, header, content in [
            ("images-idx3", struct.pack(">IIII", 2051, count, 28, 28), pixels),
            ("labels-idx1", struct.pack(">II", 2049, count), np.arange(count, dtype=np.uint8) % 10),
        ]:
            path = raw / f"{split}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(header + content.tobytes()))
            resources.append((path.name, datasets.utils.calculate_md5(path)))
    monkeypatch.setattr(datasets.MNIST, "resources", resources)


def files_below(folder: Path) -> dict:
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


# -- archives in a folder that is given ------------------------------------------------------------------------------


def test_archives_are_unpacked_into_the_cache_and_left_as_they_are(elsewhere, monkeypatch):
    write_mnist(elsewhere / "given", monkeypatch)
    monkeypatch.setenv("ADVLIB_DATA", str(elsewhere / "given"))
    before = files_below(elsewhere / "given")
    images = load_images("mnist")
    assert images.x.shape == (12, 1, 28, 28) and images.x.dtype == torch.float32 and images.x.max() <= 1
    assert images.y.tolist() == [*range(10), 0, 1] and images.classes == tuple("0123456789")
    assert files_below(elsewhere / "given") == before
    assert [path.name for path in (elsewhere / "cache").iterdir()] == ["mnist"]  # no temporary folder is left
    assert not list((elsewhere / "cache").rglob("*.gz"))


def test_once_unpacked_it_needs_neither_folder_nor_network(elsewhere, monkeypatch):
    write_mnist(elsewhere / "given", monkeypatch)
    monkeypatch.setenv("ADVLIB_DATA", str(elsewhere / "given"))
    first = load_images("mnist", "train")
    monkeypatch.delenv("ADVLIB_DATA")
    assert torch.equal(load_images("mnist", "train").x, first.x)


def test_an_unpacked_set_is_read_where_it_lies(elsewhere, monkeypatch):
    write_mnist(elsewhere / "given", monkeypatch)
    for archive in (elsewhere / "given").rglob("*.gz"):
        archive.with_suffix("").write_bytes(gzip.decompress(archive.read_bytes()))
    monkeypatch.setenv("ADVLIB_DATA", str(elsewhere / "given"))
    assert len(load_images("mnist")) == 12
    assert not (elsewhere / "cache").exists()


@pytest.mark.parametrize("damage", ["changed", "cut short", "missing"])
def test_a_damaged_archive_is_refused_and_named(elsewhere, monkeypatch, damage):
    write_mnist(elsewhere / "given", monkeypatch)
    archive = elsewhere / "given/MNIST/raw/t10k-images-idx3-ubyte.gz"
    content = archive.read_bytes()
    if damage == "missing":
        archive.unlink()
    else:
        archive.write_bytes(content[:-9] if damage == "cut short" else content[:50] + b"\0" + content[51:])
    monkeypatch.setenv("ADVLIB_DATA", str(elsewhere / "given"))
    said = "no network in this test" if damage == "missing" else "images.*incomplete or not with the published hash"
    with pytest.raises(FileNotFoundError, match=said):
        load_images("mnist")
    assert not [*(elsewhere / "cache").iterdir()]  # nothing half unpacked is left to be taken for the set


def test_the_first_n_come_in_published_order(elsewhere, monkeypatch):
    write_mnist(elsewhere / "given", monkeypatch)
    monkeypatch.setenv("ADVLIB_DATA", str(elsewhere / "given"))
    assert torch.equal(load_images("mnist", n=5, seed=4).x, load_images("mnist").x[:5])
    with pytest.raises(ValueError, match="n is 13, but 'mnist' has 12 images in its split 'test'"):
        load_images("mnist", n=13)


# -- nowhere ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, archive",
    [
        ("mnist", "MNIST/raw/train-images-idx3-ubyte.gz"),
        ("cifar10", "cifar-10-python.tar.gz"),
        ("gtsrb", "gtsrb/GTSRB_Final_Test_Images.zip"),
        ("gtsrb-signs", "gtsrb/GTSRB_Final_Test_GT.zip"),
    ],
)
def test_where_it_looked_how_to_get_it_and_how_to_point_to_it(elsewhere, monkeypatch, name, archive):
    monkeypatch.setenv("ADVLIB_DATA", str(elsewhere / "given"))
    with pytest.raises(FileNotFoundError) as error:
        load_images(name)
    said = str(error.value)
    assert str(elsewhere / "given") in said and str(elsewhere / "cache") in said
    assert archive in said and "set the environment variable ADVLIB_DATA" in said
    assert "no network in this test" in said or "Error downloading" in said  # which is all that torchvision 0.20 says
    assert "incomplete" not in said


def test_a_notebook_shows_the_message_without_a_traceback(elsewhere, capsys):
    shell = InteractiveShell()
    shell.push({"load_images": load_images})
    shell.run_cell("load_images('mnist')")
    said = capsys.readouterr().out.strip()
    assert said.splitlines()[-4].startswith("MNIST is not on disk") and "Traceback" not in said


def test_without_a_folder_it_says_so(elsewhere):
    with pytest.raises(FileNotFoundError, match=r"ADVLIB_DATA \(not set\)"):
        load_images("mnist")


def test_a_cache_that_cannot_be_written_is_the_reason_given(elsewhere):
    (elsewhere / "cache").write_text("a file where a folder should be")
    with pytest.raises(FileNotFoundError, match="could not be fetched .*cache"):
        load_images("mnist")


def test_what_another_process_unpacked_meanwhile_is_kept(elsewhere, monkeypatch):
    write_mnist(elsewhere / "given", monkeypatch)
    monkeypatch.setenv("ADVLIB_DATA", str(elsewhere / "given"))
    copy = real._copy_archives
    theirs = elsewhere / "cache" / "mnist" / "MNIST" / "raw"

    def slowly(source, root):
        theirs.mkdir(parents=True)
        for archive in (elsewhere / "given").rglob("*.gz"):
            theirs.joinpath(archive.stem).write_bytes(gzip.decompress(archive.read_bytes()))
        (theirs / "mark").touch()
        return copy(source, root)

    monkeypatch.setattr(real, "_copy_archives", slowly)
    assert len(load_images("mnist")) == 12
    assert (theirs / "mark").exists()


def test_a_half_unpacked_set_is_replaced_whole(elsewhere, monkeypatch):
    write_mnist(elsewhere / "given", monkeypatch)
    monkeypatch.setenv("ADVLIB_DATA", str(elsewhere / "given"))
    (elsewhere / "cache/mnist/MNIST/raw").mkdir(parents=True)
    (elsewhere / "cache/mnist/MNIST/raw/train-images-idx3-ubyte").write_bytes(b"half")
    assert len(load_images("mnist")) == 12


def test_find_source_says_where_a_set_lies(elsewhere, monkeypatch):
    assert real.find_source(real.source("mnist", "test")) is None
    write_mnist(elsewhere / "given", monkeypatch)
    monkeypatch.setenv("ADVLIB_DATA", str(elsewhere / "given"))
    assert real.find_source(real.source("mnist", "test")) == elsewhere / "given"


@pytest.mark.parametrize(
    "platform, variable, expected",
    [
        ("linux", "XDG_CACHE_HOME", "{value}/advlib"),
        ("win32", "LOCALAPPDATA", "{value}/advlib"),
        ("linux", None, "~/.cache/advlib"),
        ("darwin", None, "~/Library/Caches/advlib"),
        ("win32", None, "~/AppData/Local/advlib"),
    ],
)
def test_the_cache_is_where_the_platform_has_it(monkeypatch, tmp_path, platform, variable, expected):
    monkeypatch.undo()
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path))
    assert real.cache_folder() == Path(expected.format(value=tmp_path)).expanduser()


# -- CIFAR-10 and GTSRB in torchvision's layout ----------------------------------------------------------------------


def test_cifar10_becomes_channels_first(monkeypatch):
    class Four:
        data = np.arange(4 * 32 * 32 * 3, dtype=np.uint32).reshape(4, 32, 32, 3).astype(np.uint8)
        targets = [3, 1, 4, 1]
        classes = [*"abcdefghij"]

        def __len__(self):
            return 4

    monkeypatch.setattr(real, "open_source", lambda source: Four())
    images = load_images("cifar10", n=3)
    assert images.x.shape == (3, 3, 32, 32) and images.y.tolist() == [3, 1, 4] and images.classes == (*"abcdefghij",)
    assert images.x[1, 2, 5, 7] == Four.data[1, 5, 7, 2] / np.float32(255)


def write_sample(folder: Path, classes: dict[int, int]) -> None:
    for number, count in classes.items():
        (folder / "gtsrb_sample" / f"{number:05}").mkdir(parents=True)
        for k in range(count):
            colour = (number, k, 0)
            Image.new("RGB", (30, 33), colour).save(folder / "gtsrb_sample" / f"{number:05}" / f"{k:05}.png")


def test_gtsrb_as_torchvision_downloads_it(elsewhere, monkeypatch):
    for number in range(43):
        folder = elsewhere / f"given/gtsrb/GTSRB/Training/{number:05}"
        folder.mkdir(parents=True)
        Image.new("RGB", (15, 17), (5 * number, 0, 0)).save(folder / "00000_00000.ppm")
    monkeypatch.setenv("ADVLIB_DATA", str(elsewhere / "given"))
    theirs, ours = load_images("gtsrb", "train"), load_images("gtsrb-signs", "train")
    assert theirs.x.shape == (43, 3, 48, 48) and theirs.y.tolist() == [*range(43)]
    assert [ours.classes[label] for label in ours.y] == [
        real.GTSRB_CLASSES[k] for k in (ours.x[:, 0, 0, 0] * 51).round().int()
    ]


def test_the_sample_keeps_gtsrbs_numbers_or_takes_ours(elsewhere, monkeypatch):
    write_sample(elsewhere, {0: 2, 14: 3, 42: 1})
    monkeypatch.setenv("ADVLIB_DATA", str(elsewhere))
    theirs = load_images("gtsrb", "sample")
    assert theirs.y.tolist() == [0, 0, 14, 14, 14, 42] and len(theirs.classes) == 43
    ours = load_images("gtsrb-signs", "sample")
    stop = [sign.gtsrb for sign in signs.CLASSES].index(14)
    assert ours.y.tolist() == [stop] * 3 and ours.classes == load_images("signs", n=1).classes
    assert torch.equal(ours.x, theirs.x[2:5])


def test_names_agree_between_gtsrb_and_the_generated_signs():
    assert len(real.GTSRB_CLASSES) == len(set(real.GTSRB_CLASSES)) == 43
    assert [real.GTSRB_CLASSES[sign.gtsrb] for sign in signs.CLASSES] == [sign.label for sign in signs.CLASSES]


def test_part_of_the_sample_is_drawn_by_seed(elsewhere, monkeypatch):
    write_sample(elsewhere, dict.fromkeys(range(8), 5))
    monkeypatch.setenv("ADVLIB_DATA", str(elsewhere))
    first, again, other = (load_images("gtsrb", "sample", n=10, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.x, again.x) and not torch.equal(first.x, other.x)
    assert len(set(first.y.tolist())) > 2  # not the first classes alone
    with pytest.raises(ValueError, match="n is 41, but 'gtsrb' has 40 images"):
        load_images("gtsrb", "sample", n=41)


def test_a_missing_sample_says_what_to_do(elsewhere, monkeypatch):
    with pytest.raises(FileNotFoundError, match="gtsrb_sample/CCCCC"):
        load_images("gtsrb", "sample")
    monkeypatch.setenv("ADVLIB_DATA", str(elsewhere))
    with pytest.raises(FileNotFoundError, match=str(elsewhere / "gtsrb_sample")):
        load_images("gtsrb-signs", "sample")


# -- with real data --------------------------------------------------------------------------------------------------


def test_real_mnist(elsewhere, monkeypatch):
    folder = given_data()
    if not (folder / "MNIST").is_dir():
        pytest.skip("no MNIST in ADVLIB_DATA")
    monkeypatch.setenv("ADVLIB_DATA", str(folder))
    test = load_images("mnist")
    assert len(test) == 10_000 and test.y[:5].tolist() == [7, 2, 1, 0, 4]
    assert test.x.mean().item() == pytest.approx(0.1325, abs=1e-3)
    assert len(load_images("mnist", "train")) == 60_000


def test_real_photos_of_signs(elsewhere, monkeypatch):
    folder = given_data()
    if not (folder / "gtsrb_sample").is_dir():
        pytest.skip("no gtsrb_sample in ADVLIB_DATA")
    monkeypatch.setenv("ADVLIB_DATA", str(folder))
    theirs, ours = load_images("gtsrb", "sample"), load_images("gtsrb-signs", "sample")
    covered = sum(int(label) in {sign.gtsrb for sign in signs.CLASSES} for label in theirs.y)
    assert len(ours) == covered > 0 and ours.x.shape[1:] == (3, 48, 48)


# -- is it here? -----------------------------------------------------------------------------------------------------


def test_nothing_is_on_an_empty_machine():
    assert not any(real.on_disk(name) for name in ("mnist", "cifar10", "gtsrb"))


def test_archives_are_on_disk_once_both_splits_are(tmp_path, monkeypatch):
    monkeypatch.setenv("ADVLIB_DATA", str(tmp_path))
    *first, last = real.source("mnist", "train").archives
    for archive in first:
        tmp_path.joinpath(archive).parent.mkdir(parents=True, exist_ok=True)
        tmp_path.joinpath(archive).touch()
    assert not real.on_disk("mnist")
    tmp_path.joinpath(last).touch()
    assert real.on_disk("mnist")


def test_an_unknown_set_is_an_error_not_absent():
    with pytest.raises(ValueError, match="letters"):
        real.on_disk("letters")
