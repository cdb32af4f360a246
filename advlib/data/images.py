"""`Images`: pictures, their labels and the names of their classes, as one value."""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from advlib.contract import (
    check_count,
    check_device,
    check_images,
    check_labels,
    check_seed,
    check_tensor,
    check_text,
    shown,
)
from advlib.data import signs
from advlib.names import unknown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = ("signs", "mnist", "cifar10", "gtsrb", "gtsrb-signs")
GENERATED = {"test": 1_000, "train": 10_000}  # how many signs there are where nobody says


@dataclass(frozen=True, eq=False)
class Images:
    """Images `x` (N, C, H, W) float32 in [0, 1], labels `y` (N,) int64, and the names of the K `classes`.

    A value like a tuple: `len()`, and indexing or slicing as with a tensor, which gives `Images` again (one index
    gives a batch of one).

    Raises `TypeError` or `ValueError` where the two tensors break the contract or do not fit each other.

    >>> images = Images(torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 0, 1, 0, 1]), ("cat", "dog"))
    >>> images, len(images[:4]), images[images.y == 1].y
    (Images(6 of 3×8×8 pixels, 2 classes), 4, tensor([1, 1, 1]))
    """

    x: Tensor
    y: Tensor
    classes: tuple[str, ...]

    def __post_init__(self):
        classes = self.classes
        names = isinstance(classes, Sequence) and all(isinstance(name, str) for name in classes)
        if isinstance(classes, str) or not names or not classes:
            raise TypeError(
                f"classes is {shown(classes)}; expected the names of the classes, such as ('stop', 'yield')"
            )
        object.__setattr__(self, "classes", tuple(classes))
        if isinstance(self.x, Tensor) and isinstance(self.y, Tensor):
            check_tensor(self.x, "x")
            check_tensor(self.y, "y")
            if self.x.ndim and self.y.ndim and len(self.x) == len(self.y) == 0:
                return  # a selection may come out empty; an attack on it will say so
        check_images(self.x)
        check_labels(self.y, len(self.x), len(classes))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, which) -> Images:
        if isinstance(which, numbers.Integral):
            which = range(len(self))[which]  # raises IndexError, and counts -1 from the end
            which = slice(which, which + 1)
        return Images(self.x[which], self.y[which], self.classes)

    def __repr__(self) -> str:
        shape = "×".join(str(side) for side in self.x.shape[1:])
        return f"Images({len(self)} of {shape} pixels, {len(self.classes)} classes)"

    def to(self, device: str | torch.device) -> Images:
        """The same images on another device."""
        check_device(device)
        return Images(self.x.to(device), self.y.to(device), self.classes)

    def batches(self, size: int = 256) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs (x, y) of at most `size` images, in order.

        >>> images = Images(torch.rand(5, 1, 8, 8), torch.arange(5), tuple("abcde"))
        >>> [len(x) for x, y in images.batches(2)]
        [2, 2, 1]
        """
        check_count(size, "size")
        return zip(self.x.split(size), self.y.split(size))

    def show(self, n: int = 16, columns: int = 8) -> Figure:
        """A figure of the first `n` images with their class names.

        >>> len(Images(torch.rand(3, 1, 8, 8), torch.arange(3), ("a", "b", "c")).show().axes)
        3
        """
        import matplotlib.pyplot as plt  # a third of a second that those who show nothing save

        check_count(n, "n")
        check_count(columns, "columns")
        if not len(self):
            raise ValueError("there are no images here to show")
        shown = self[:n]
        columns = min(columns, len(shown))
        rows = -(-len(shown) // columns)
        figure, axes = plt.subplots(
            rows, columns, squeeze=False, figsize=(1.3 * columns, 1.6 * rows), layout="constrained"
        )
        plt.close(figure)  # pyplot forgets it, so that a notebook shows it once: where it is a cell's result
        for ax in axes.flat[len(shown) :]:
            ax.remove()
        for image, label, ax in zip(shown.x.cpu(), shown.y.tolist(), axes.flat):
            ax.imshow(image.permute(1, 2, 0).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            ax.set_title(self.classes[label], fontsize=8)
            ax.set_axis_off()
        return figure


def load_images(name: str, split: str = "test", n: int | None = None, seed: int = 0) -> Images:
    """The images of a data set: "signs", "mnist", "cifar10", "gtsrb" or "gtsrb-signs".

    "signs" are generated: `n` of them (1,000 for "test", 10,000 for "train" where `n` is None), the classes in
    turn, 48×48. The two splits never share an image, and another `seed` gives other images.

    "mnist", "cifar10" and "gtsrb" (real traffic signs in 43 classes, resized to 48×48) are real: all of a split,
    or the first `n` in its published order. GTSRB's is by class, so it is shuffled first, by `seed`. "gtsrb-signs"
    is the part of GTSRB that shows one of the generated classes, labelled like "signs": a model of the generated
    signs can be measured on it. Both also have a split "sample": a folder of a few photos (see `advlib.data.real`).

    Raises `ValueError` for an unknown name or split, or more images than there are, and `FileNotFoundError`, which
    says where it looked, if real data is neither on disk nor to be downloaded.

    >>> load_images("signs", "test", n=32)
    Images(32 of 3×48×48 pixels, 16 classes)
    """
    if name not in NAMES:
        raise ValueError(unknown("data set", name, NAMES))
    if n is not None:
        check_count(n, "n")
    check_seed(seed)
    check_text(split, "split")
    if name == "signs":
        return _generated_signs(split, n, seed)
    from advlib.data import real  # needs torchvision, a second's import that the core course does without

    return Images(*real.LOADERS[name](split, n, seed))


def on_disk(name: str) -> bool:
    """Is "mnist", "cifar10" or "gtsrb" on this machine, so that `load_images` needs no network for it?

    Raises ValueError for any other name.

    >>> on_disk("mnist") in (True, False)
    True
    """
    from advlib.data import real  # as above

    return real.on_disk(name)


def _generated_signs(split: str, n: int | None, seed: int) -> Images:
    if split not in GENERATED:
        raise ValueError(unknown("split of 'signs'", split, GENERATED))
    n = GENERATED[split] if n is None else n
    labels = torch.arange(n) % len(signs.CLASSES)
    # Even seeds render the test split and odd ones the training split, so that no seed gives both the same images.
    x = signs.render(labels, seed=2 * seed + (split == "train"))
    return Images(x, labels, tuple(sign.label for sign in signs.CLASSES))


def check_some(images) -> None:
    """`images` is an `Images` value with at least one image in it; else TypeError or ValueError."""
    if not isinstance(images, Images):
        raise TypeError(
            f"images is a {type(images).__name__}; expected an Images value: "
            "load_images('signs', 'train') or Images(x, y, classes)."
        )
    if not len(images):
        raise ValueError("images is empty; expected at least one image.")
