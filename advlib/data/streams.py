"""More images than memory holds: parts of a set, one after the other, from a folder or from anybody's loader."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from advlib import contract, distributed
from advlib.data.images import Images
from advlib.data.photos import SUFFIXES, PhotoError, load_photo
from advlib.names import unknown
from advlib.progress import progress

__all__ = ["Folder", "Stream", "parts_done"]

Found = TypeVar("Found")
Stream = Iterable[Images | tuple[Tensor, Tensor] | list[Tensor]]
WORDNET = re.compile(r"n\d{8}")  # how ImageNet's folders are called
SHOWN = 3  # names in an error's text


class Folder:
    """Photos in a folder for each class, ``root/class/photo``, read when they are wanted: a part at a time.

    root        as for torchvision's ImageFolder. Sub-folders are called as the model calls its classes, or by their
                numbers; those of the whole of ImageNet may have their WordNet numbers, n01440764 to n15075141
    classes     the names of the model's classes, in the order of its logits: ``model.classes``
    preprocess  brings a photo (1, 3, H, W) in [0, 1] of any size to the model's: ``model.preprocess``
    n           so many of the photos, drawn by chance by ``seed``; None takes all. In either case they come mixed
    size        images in a part: what is in memory at once
    workers     processes that read ahead

    Iterating gives ``Images``, ``len()`` the number of parts, and ``.n`` that of the images.

    Raises
        TypeError, ValueError: no such folder, none in it, a class that the model does not have, an empty one, fewer
            photos than n; while iterating, a photo that cannot be read (with its name), or that comes out unlike the
            others.

    >>> Folder("no-such-folder", ("cat", "dog"), lambda photo: photo)
    Traceback (most recent call last):
    ...
    ValueError: folder no-such-folder: there is no such folder; expected one with a folder of photos for each class
    """

    def __init__(
        self,
        root: str | os.PathLike,
        classes: Sequence[str],
        preprocess: Callable[[Tensor], Tensor],
        *,
        n: int | None = None,
        seed: int = 0,
        size: int = 100,
        workers: int = 0,
    ):
        contract.check_path(root, "root")
        if isinstance(classes, str) or not isinstance(classes, Sequence) or not all(map(_is_text, classes)):
            raise TypeError(f"classes is {contract.shown(classes)}; expected the names of the classes: model.classes")
        contract.check_function(preprocess, "preprocess", "photo -> image of the model's size: model.preprocess")
        if n is not None:
            contract.check_count(n, "n")
        contract.check_seed(seed)
        contract.check_count(size, "size")
        contract.check_count(workers, "workers", least=0)
        self.root, self.classes, self.preprocess = Path(root), tuple(classes), preprocess
        self.size, self.workers = size, workers
        labelled = _labelled(self.root, self.classes)
        if n is not None and n > len(labelled):
            raise ValueError(f"n is {n}, but {root} has {len(labelled)} photos; expected at most as many.")
        order = torch.randperm(len(labelled), generator=torch.Generator().manual_seed(seed))
        self.photos = [labelled[k] for k in order[:n].tolist()]

    @property
    def n(self) -> int:
        """How many images there are."""
        return len(self.photos)

    def __len__(self) -> int:
        return -(-self.n // self.size)

    def __repr__(self) -> str:
        return f"Folder({self.n:,} photos in {self.root})"

    def __iter__(self) -> Iterator[Images]:
        return self.share(0, 1)

    def share(self, rank: int, world: int) -> Iterator[Images]:
        """Every ``world``-th part, from part ``rank`` on: what one of several processes reads. Raises as iterating."""
        contract.check_count(world, "world")
        contract.check_count(rank, "rank", least=0)
        parts = list(torch.arange(self.n).split(self.size))[rank::world]
        photos = _Photos(self.photos, self.preprocess)
        for read in DataLoader(photos, batch_sampler=[part.tolist() for part in parts], num_workers=self.workers,
                               collate_fn=list):  # fmt: skip
            for one in read:
                if isinstance(one, Exception):  # raised here, and not in a worker, whose errors come with its traces
                    raise one
            x, y = zip(*read)
            if unlike := [k for k, image in enumerate(x) if image.shape != x[0].shape]:
                raise ValueError(
                    f"preprocess made images of {tuple(x[0].shape)} and of {tuple(x[unlike[0]].shape)}; expected one "
                    "size for all photos: model.preprocess"
                )
            yield Images(torch.stack(x), torch.tensor(y), self.classes)


class _Photos(Dataset):
    """Each photo with its label; where it cannot be read, the error."""

    def __init__(self, photos: list[tuple[Path, int]], preprocess: Callable[[Tensor], Tensor]):
        self.photos, self.preprocess = photos, preprocess

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, k: int) -> tuple[Tensor, int] | PhotoError:
        path, label = self.photos[k]
        try:
            with torch.no_grad():
                return self.preprocess(load_photo(path))[0], label
        except PhotoError as error:
            return error


def _is_text(name) -> bool:
    return isinstance(name, str)


def _labelled(root: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """The photos below ``root`` with the numbers of their classes, sorted by name."""
    wanted = "expected one with a folder of photos for each class"
    if not root.is_dir():
        raise ValueError(f"folder {root}: {'is a file' if root.exists() else 'there is no such folder'}; {wanted}")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    if not folders:
        raise ValueError(f"folder {root}: there is no folder in it; {wanted}: {root / classes[0]}")
    labels = _classes_of([folder.name for folder in folders], classes, root)
    found = []
    for folder, label in zip(folders, labels):
        photos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not photos:
            raise ValueError(f"folder {folder}: there is no photo in it; expected some, or no such folder")
        found += [(photo, label) for photo in photos]
    return found


def _classes_of(names: list[str], classes: tuple[str, ...], root: Path) -> list[int]:
    """The class that each sub-folder means: by its name, by its number, or as one of all of ImageNet's."""
    if all(map(WORDNET.fullmatch, names)):
        if len(names) != len(classes):
            raise ValueError(
                f"folder {root} has {len(names)} of ImageNet's folders, and the model {len(classes)} classes: which "
                f"is which shows only where all are there. Give {names[0]} and the others the names of their classes; "
                f"expected names such as {', '.join(map(repr, classes[:SHOWN]))}, or 0 to {len(classes) - 1}"
            )
        return list(range(len(names)))  # torchvision's classes are in the order of the WordNet numbers
    plain = lambda name: name.casefold().replace("_", " ")
    known: dict[str, list[int]] = {}
    for number, name in enumerate(classes):
        known.setdefault(plain(name), []).append(number)
    labels = []
    for name in names:
        meant = known.get(plain(name), [])
        if not meant and name.isdecimal() and int(name) < len(classes):
            meant = [int(name)]
        if len(meant) > 1:
            raise ValueError(
                f"folder {root / name}: classes {' and '.join(map(str, meant))} of the model are both called so; "
                "expected the number of one as the folder's name"
            )
        if not meant:
            raise ValueError(f"folder {root / name}: {unknown('class', name, classes)}; expected a class of the model")
        labels += meant
    return labels


def parts_done(work: Callable[[Images], Found], stream: Stream) -> Iterator[Found]:
    """``work(images)`` for each part of a stream, in order; where there are several processes, each does some."""
    if isinstance(stream, (str, Tensor)) or not isinstance(stream, Iterable):
        raise TypeError(
            f"images is {contract.shown(stream)}; expected images (N, C, H, W) with labels, or parts of them: an "
            "iterable of pairs (x, y), such as a DataLoader."
        )
    count = 0
    done = distributed.in_rounds(lambda part: work(_images(part)), stream)
    for found in progress(done, total=len(stream) if isinstance(stream, Sized) else None, unit="part"):
        count += 1
        yield found
    if not count:
        raise ValueError("images came in no parts at all; expected at least one image. (An iterator read before?)")


def _images(part) -> Images:
    if isinstance(part, Images):
        return part
    if not (isinstance(part, (tuple, list)) and len(part) == 2 and isinstance(part[1], Tensor)):
        raise TypeError(f"images came as {contract.shown(part)}; expected parts that are pairs (x, y) or Images.")
    contract.check_images(part[0])
    contract.check_labels(part[1], len(part[0]))
    return Images(part[0], part[1], tuple(f"class {k}" for k in range(int(part[1].max()) + 1)))
