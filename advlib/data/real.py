"""Real data sets through torchvision: MNIST, CIFAR-10 and GTSRB, from a folder of yours, a cache or the network.

They are looked for in the folder that the environment variable ``ADVLIB_DATA`` names, which is only ever read, then
in a cache folder. Archives found in the first are unpacked into the second; what is in neither is downloaded there,
from ``ADVLIB_MIRROR``, the publisher, or another source where that is down. Each has to have its published hash.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision import datasets
from torchvision.transforms.functional import to_tensor

from advlib.data import signs
from advlib.data.fetch import MIRROR, Remote, fetch
from advlib.data.gtsrb import GTSRB_CLASSES
from advlib.data.photos import fit_square
from advlib.names import unknown
from advlib.progress import progress

Loaded = tuple[Tensor, Tensor, tuple[str, ...]]  # images, labels, names of the classes

SIGN_SIZE = 48  # of the generated signs, to which real ones are resized
# The one that torchvision asks first, and the one that TensorFlow's data sets come from; the files are the same.
MNIST_SOURCES = (datasets.MNIST.mirrors[0], "https://storage.googleapis.com/cvdf-datasets/mnist/")
GTSRB_SOURCE = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/"
GTSRB_HASHES = {
    "GTSRB-Training_fixed.zip": "513f3c79a4c5141765e10e952eaa2478",
    "GTSRB_Final_Test_Images.zip": "c7e4e6327067d32654124b0fe9e82185",
    "GTSRB_Final_Test_GT.zip": "fe31e9c9270bbcd7b84b7f21a9d9d9e5",
}


class MissingData(FileNotFoundError):
    """What is asked for is neither on disk nor to be fetched: where it was sought, how to get it, how to point to it.

    A notebook shows these words alone: the call stack would bury them.
    """

    def _render_traceback_(self) -> list[str]:  # asked for by IPython
        return str(self).splitlines()


@dataclass(frozen=True)
class Source:
    """How torchvision opens one set, and how it names the archives below its root, with where they come from."""

    title: str
    folder: str  # in the cache: torchvision's root
    archives: Mapping[str, Remote]
    open: Callable[..., datasets.VisionDataset]  # open(root, download=bool)


def data_folder() -> Path | None:
    """The folder that ``ADVLIB_DATA`` names, or None."""
    named = os.environ.get("ADVLIB_DATA")
    return Path(named).expanduser() if named else None


def cache_folder() -> Path:
    """Where downloads are kept: the platform's cache folder for advlib (not created here)."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "advlib"


def find_source(source: Source) -> Path | None:
    """The folder on disk that has a set, unpacked or as archives; None where there is none."""
    given, cached = data_folder(), cache_folder() / source.folder
    for root in filter(None, (given, cached)):
        if _opened(source, root) or all(root.joinpath(archive).is_file() for archive in source.archives):
            return root
    return None


def on_disk(name: str) -> bool:
    """See `advlib.data.on_disk`."""
    if name not in (known := ("mnist", "cifar10", "gtsrb")):
        raise ValueError(unknown("real data set", name, known))
    return all(find_source(source(name, split)) for split in ("train", "test"))


def open_source(source: Source) -> datasets.VisionDataset:
    """The torchvision data set, unpacked or downloaded first where need be.

    Raises `MissingData`, a `FileNotFoundError` that says where it looked, why the download failed and what to do.
    """
    cached = cache_folder() / source.folder
    for root in filter(None, (data_folder(), cached)):
        if data := _opened(source, root):
            return data
    _fetch(source, cached)
    return source.open(cached, download=False)


def _opened(source: Source, root: Path) -> datasets.VisionDataset | None:
    with contextlib.suppress(RuntimeError, OSError):  # what torchvision says of a set that is not there
        return source.open(root, download=False)
    return None


def _fetch(source: Source, cached: Path) -> None:
    """Unpack or download into a folder beside `cached`, then move it there: whole or not at all."""
    damaged: list[str] = []
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cached.parent, prefix=".fetching-") as folder:
            root = Path(folder, "root")
            root.mkdir()
            damaged += _copy_archives(source, root)
            for archive, remote in source.archives.items():
                if not root.joinpath(archive).exists():
                    fetch(remote, root / archive)
            source.open(root, download=True)  # unpacks them
            for archive in source.archives:
                root.joinpath(archive).unlink(missing_ok=True)
            if not _opened(source, cached):  # another process may have been quicker
                shutil.rmtree(cached, ignore_errors=True)
                os.replace(root, cached)
    except Exception as error:  # no network, a wrong hash, a full disk, a broken archive: each its own type
        raise MissingData(_not_found(source, cached, damaged, error)) from None


def _copy_archives(source: Source, root: Path) -> list[str]:
    """Copy the archives that ``ADVLIB_DATA`` has to `root`; return those that have another hash than is published."""
    given = data_folder()
    if given is None:
        return []
    damaged = []
    for archive, remote in source.archives.items():
        if not given.joinpath(archive).is_file():
            continue
        if not datasets.utils.check_md5(given / archive, remote.digest):
            damaged.append(archive)
            continue
        root.joinpath(archive).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(given / archive, root / archive)
    return damaged


def _not_found(source: Source, cached: Path, damaged: list[str], error: Exception) -> str:
    given = data_folder()
    looked = [f"{given} (the folder that ADVLIB_DATA names)"] if given else ["ADVLIB_DATA (not set)"]
    reason = " ".join(str(error).split())[:400] or type(error).__name__
    found = f"\n  Found {', '.join(damaged)}, but incomplete or not with the published hash." if damaged else ""
    first = next(iter(source.archives))
    return (
        f"{source.title} is not on disk and could not be fetched ({reason}).\n"
        f"  Looked in: {'; '.join([*looked, str(cached)])}.{found}\n"
        f"  To get it: call this once with a network, and it is kept in {cached}; or download "
        f"{', '.join(source.archives)} as torchvision does.\n"
        f"  To point to it: set the environment variable ADVLIB_DATA to the folder with {first} in it, or {MIRROR} to "
        "an address that serves the files by their names."
    )


def source(name: str, split: str) -> Source:
    """How torchvision opens "mnist", "cifar10" or "gtsrb", in its "train" or "test" split."""
    is_train = split == "train"
    if name == "mnist":
        archives = {
            f"MNIST/raw/{file}": Remote(tuple(address + file for address in MNIST_SOURCES), md5)
            for file, md5 in datasets.MNIST.resources
        }
        return Source("MNIST", "mnist", archives, partial(datasets.MNIST, train=is_train))
    if name == "cifar10":
        archives = {datasets.CIFAR10.filename: Remote((datasets.CIFAR10.url,), datasets.CIFAR10.tgz_md5)}
        return Source("CIFAR-10", "cifar10", archives, partial(datasets.CIFAR10, train=is_train))
    zips = [file for file in GTSRB_HASHES if ("Training" in file) == is_train]
    archives = {f"gtsrb/{file}": Remote((GTSRB_SOURCE + file,), GTSRB_HASHES[file]) for file in zips}
    return Source("GTSRB", f"gtsrb-{split}", archives, partial(datasets.GTSRB, split=split))


# -- the sets --------------------------------------------------------------------------------------------------------


def _mnist(split: str, n: int | None, seed: int) -> Loaded:
    data = open_source(source("mnist", _split("mnist", split)))
    chosen = _first("mnist", split, n, len(data))
    return data.data[chosen].unsqueeze(1) / 255, data.targets[chosen], tuple("0123456789")


def _cifar10(split: str, n: int | None, seed: int) -> Loaded:
    data = open_source(source("cifar10", _split("cifar10", split)))
    chosen = _first("cifar10", split, n, len(data))
    x = torch.from_numpy(data.data[chosen]).permute(0, 3, 1, 2) / 255
    return x.contiguous(), torch.tensor(data.targets[chosen]), tuple(data.classes)


def _gtsrb(split: str, n: int | None, seed: int) -> Loaded:
    x, y = _read_signs("gtsrb", split, _gtsrb_files("gtsrb", split), n, seed)
    return x, y, GTSRB_CLASSES


def _gtsrb_signs(split: str, n: int | None, seed: int) -> Loaded:
    """The photos of generated classes, under the generated classes' labels."""
    ours = {sign.gtsrb: label for label, sign in enumerate(signs.CLASSES)}
    files = [(path, ours[theirs]) for path, theirs in _gtsrb_files("gtsrb-signs", split) if theirs in ours]
    x, y = _read_signs("gtsrb-signs", split, files, n, seed)
    return x, y, tuple(sign.label for sign in signs.CLASSES)


LOADERS: dict[str, Callable[[str, int | None, int], Loaded]] = {
    "mnist": _mnist,
    "cifar10": _cifar10,
    "gtsrb": _gtsrb,
    "gtsrb-signs": _gtsrb_signs,
}


def _gtsrb_files(name: str, split: str) -> list[tuple[Path, int]]:
    """Every photo's path and its class in GTSRB's numbering."""
    if _split(name, split, ("test", "train", "sample")) == "sample":
        return _sample_files()
    data = open_source(source("gtsrb", split))
    return [(Path(path), label) for path, label in data._samples]  # torchvision has no public way to the labels


def _sample_files() -> list[tuple[Path, int]]:
    given = data_folder()
    folder = given / "gtsrb_sample" if given else None
    if not folder or not folder.is_dir():
        raise MissingData(
            f"there is no sample of GTSRB photos. Looked in: {folder or 'ADVLIB_DATA (not set)'}.\n"
            "  To get one: put some of GTSRB's photos into gtsrb_sample/CCCCC/, CCCCC being the number of the class "
            'in five digits; or use split="test", which can be downloaded.\n'
            "  To point to it: set the environment variable ADVLIB_DATA to the folder with gtsrb_sample in it."
        )
    photos = (path for path in folder.glob("[0-9]*/*") if path.suffix.lower() in {".png", ".ppm", ".jpg", ".jpeg"})
    return sorted((path, int(path.parent.name)) for path in photos)


def _read_signs(name: str, split: str, files: list, n: int | None, seed: int) -> tuple[Tensor, Tensor]:
    if n is not None:
        _first(name, split, n, len(files))
        order = torch.randperm(len(files), generator=torch.Generator().manual_seed(seed))
        files = [files[i] for i in order[:n].tolist()]
    x = torch.empty(len(files), 3, SIGN_SIZE, SIGN_SIZE)
    for i, (path, _) in enumerate(progress(files, desc=f"reading {name}")):
        with Image.open(path) as photo:
            x[i] = fit_square(to_tensor(photo.convert("RGB"))[None], SIGN_SIZE)[0]
    return x, torch.tensor([label for _, label in files])


def _split(name: str, split: str, known: tuple[str, ...] = ("test", "train")) -> str:
    if split not in known:
        raise ValueError(unknown(f"split of {name!r}", split, known))
    return split


def _first(name: str, split: str, n: int | None, available: int) -> slice:
    if n is not None and n > available:
        raise ValueError(f"n is {n}, but {name!r} has {available} images in its split {split!r}")
    return slice(n)
