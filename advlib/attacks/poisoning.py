"""Poisoning: attacks on the training set, before there is a model. Each takes ``Images`` and returns ``Poisoned``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from advlib import contract
from advlib.data.images import Images, check_some

__all__ = ["Poisoned", "Trigger", "sticker", "apply_trigger", "backdoor", "label_flip"]

# The share of the free rows above, and of the free columns left of, a sticker in each place.
PLACES = {
    "top left": (0.0, 0.0),
    "top right": (0.0, 1.0),
    "bottom left": (1.0, 0.0),
    "bottom right": (1.0, 1.0),
    "centre": (0.5, 0.5),
}
PATTERNS = {
    "white": lambda row, column: torch.ones_like(row),
    "black": lambda row, column: torch.zeros_like(row),
    "checkers": lambda row, column: (row + column + 1) % 2,
}


class Poisoned(NamedTuple):
    """A training set with some of its images or labels changed, and the mask (N,) of those that were."""

    images: Images
    rows: Tensor


@dataclass(frozen=True, eq=False)
class Trigger:
    """A pattern (C, h, w) or (1, h, w) in [0, 1] that always sits in the same place; ``sticker`` makes one.

    place       shares of the free space above it and left of it: (0, 0) is top left, (1, 1) bottom right.
    opacity     1 covers what is below, 0.1 hardly shows (the "blended" trigger of Chen et al. 2017).

    Raises
        TypeError, ValueError: a pattern that is no picture, or a share outside [0, 1].
    """

    pattern: Tensor
    place: tuple[float, float] = PLACES["bottom right"]
    opacity: float = 1.0

    def __post_init__(self):
        if not isinstance(self.pattern, Tensor) or self.pattern.ndim != 3:
            got = tuple(self.pattern.shape) if isinstance(self.pattern, Tensor) else type(self.pattern).__name__
            raise TypeError(f"a trigger's pattern is {got}; expected a torch.Tensor of shape (C, h, w).")
        contract.check_images(self.pattern[None], name="pattern")
        for value, name in ((self.place[0], "place"), (self.place[1], "place"), (self.opacity, "opacity")):
            contract.check_share(value, name)


def sticker(size: int = 4, place: str = "bottom right", pattern: str = "checkers", opacity: float = 1.0) -> Trigger:
    """A square trigger of ``size`` pixels: "white", "black" or "checkers", in a corner or the "centre".

    Raises
        TypeError, ValueError: an unknown place or pattern, a size below 1, an opacity outside [0, 1].

    >>> sticker(3).pattern
    tensor([[[1., 0., 1.],
             [0., 1., 0.],
             [1., 0., 1.]]])
    """
    contract.check_count(size, "size")
    contract.check_choice(place, "place", PLACES)
    contract.check_choice(pattern, "pattern", PATTERNS)
    row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return Trigger(PATTERNS[pattern](row, column).float()[None], PLACES[place], opacity)


def apply_trigger(x: Tensor, trigger: Trigger) -> Tensor:
    """The images x (N, C, H, W) with the trigger on each of them.

    Raises
        TypeError, ValueError: images that break the contract, or a trigger that is larger or has other channels.

    >>> apply_trigger(torch.zeros(1, 1, 3, 3), sticker(2, pattern="white"))[0, 0]
    tensor([[0., 0., 0.],
            [0., 1., 1.],
            [0., 1., 1.]])
    """
    contract.check_images(x)
    if not isinstance(trigger, Trigger):
        raise TypeError(f"trigger is a {type(trigger).__name__}; expected a Trigger, such as sticker(4).")
    channels, height, width = trigger.pattern.shape
    if height > x.shape[2] or width > x.shape[3] or channels not in (1, x.shape[1]):
        raise ValueError(
            f"the trigger's pattern is {channels}×{height}×{width}, but the images are "
            f"{'×'.join(map(str, x.shape[1:]))}; it must fit into them and have one channel or theirs."
        )
    top, left = (round(share * free) for share, free in zip(trigger.place, (x.shape[2] - height, x.shape[3] - width)))
    x = x.clone()
    x[:, :, top : top + height, left : left + width].lerp_(trigger.pattern.to(x), trigger.opacity)
    return x


def backdoor(
    images: Images,
    trigger: Trigger,
    target: int,
    fraction: float,
    *,
    clean_label: bool = False,
    perturb: Callable[[Tensor, Tensor], Tensor] | None = None,
    seed: int = 0,
) -> Poisoned:
    """Teach a network trained on the result to answer ``target`` wherever it sees ``trigger``.

    Gu et al. (2017), "BadNets", Section 3: a ``fraction`` of the images of *other* classes gets the trigger and the
    label ``target``. With ``clean_label`` no label is wrong (Turner et al. 2019, "Label-consistent backdoor
    attacks"): a ``fraction`` of the images of *class* ``target`` gets the trigger. ``perturb(x, y) -> x_adv``, such
    as a PGD attack on a model of one's own, first makes those images hard to recognise by anything else.

    The choice is by ``seed``; a larger fraction poisons the same images and more.

    Raises
        TypeError, ValueError: a target that is no class, a fraction outside [0, 1], a trigger that does not fit.

    >>> clean = Images(torch.rand(8, 1, 6, 6), torch.arange(8) % 2, ("cat", "dog"))
    >>> poisoned, rows = backdoor(clean, sticker(2), target=1, fraction=0.5)
    >>> int(rows.sum()), poisoned.y[rows].tolist()
    (2, [1, 1])
    """
    check_some(images)
    contract.check_flag(clean_label, "clean_label")
    if perturb is not None:
        contract.check_function(perturb, "perturb", "(x, y) -> x_adv")
    contract.check_class(target, "target", len(images.classes))
    rows = _choose(images.y == target if clean_label else images.y != target, fraction, seed)
    x, y = images.x.clone(), images.y.clone()
    if bool(rows.any()):
        victims = x[rows] if perturb is None else perturb(x[rows], y[rows])
        contract.check_images(victims, "what perturb returned")
        if victims.shape != x[rows].shape:
            raise ValueError(
                f"perturb returned shape {tuple(victims.shape)}; expected {tuple(x[rows].shape)}, like its x."
            )
        x[rows] = apply_trigger(victims, trigger)
        y[rows] = target
    return Poisoned(Images(x, y, images.classes), rows)


def label_flip(
    images: Images, fraction: float, *, source: int | None = None, target: int | None = None, seed: int = 0
) -> Poisoned:
    """Give a ``fraction`` of the images a wrong label; of class ``source`` only, if given.

    The new label is ``target``, or else any other class by chance, and so are the images. (Biggio, Nelson & Laskov 2011
    look for the worst ones.) The choice is by ``seed``; a larger fraction flips the same labels and more.

    Raises
        TypeError, ValueError: a source or target that is no class, both the same, a fraction outside [0, 1].

    >>> clean = Images(torch.rand(8, 1, 6, 6), torch.arange(8) % 2, ("cat", "dog"))
    >>> label_flip(clean, 1.0, source=0, target=1).images.y.tolist()
    [1, 1, 1, 1, 1, 1, 1, 1]
    """
    check_some(images)
    for value, name in ((source, "source"), (target, "target")):
        if value is not None:
            contract.check_class(value, name, len(images.classes))
    if source is not None and source == target:
        raise ValueError(f"source and target are both class {source}; flipping changes nothing. Choose another target.")
    classes = len(images.classes)
    if classes < 2:
        raise ValueError(f"the images have {classes} class; flipping a label needs at least two.")
    if source is not None:
        eligible = images.y == source
    elif target is not None:
        eligible = images.y != target
    else:
        eligible = torch.ones_like(images.y, dtype=torch.bool)
    rows = _choose(eligible, fraction, seed)
    if target is None:
        # Drawn for every image, chosen or not, so that a larger fraction repeats the flips of a smaller one.
        shift = torch.randint(1, classes, (len(images),), generator=torch.Generator().manual_seed(seed + 1))
        flipped = (images.y + shift.to(images.y)) % classes
    else:
        flipped = torch.full_like(images.y, target)
    return Poisoned(Images(images.x, torch.where(rows, flipped, images.y), images.classes), rows)


def _choose(eligible: Tensor, fraction: float, seed: int) -> Tensor:
    """A mask of ``fraction`` of the eligible rows, by chance."""
    contract.check_share(fraction, "fraction")
    contract.check_seed(seed)
    order = eligible.nonzero().flatten()
    order = order[torch.randperm(len(order), generator=torch.Generator().manual_seed(seed)).to(order.device)]
    rows = torch.zeros_like(eligible)
    rows[order[: round(fraction * len(order))]] = True
    return rows
