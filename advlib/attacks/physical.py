"""Attacks that outlive the camera: the expectation over views drawn by chance, and patches to stick on.

A view says how a thing may be seen (``advlib.attacks.views``). ``eot`` makes a model of the average over
views, to be attacked like any other. ``patch`` finds a sticker that works wherever and however it is stuck on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advlib import contract
from advlib.attacks.chance import ByChance
from advlib.attacks.together import climb_together
from advlib.attacks.views import Views, warp
from advlib.norms import Linf

__all__ = ["Patch", "eot", "patch"]


class _Expectation(ByChance):
    calls: Tensor

    def __init__(self, model: nn.Module, transform: Callable, samples: int, seed: int):
        super().__init__()
        self.model, self.transform, self.samples, self.seed = model, transform, samples, seed
        # A buffer, which attacks put back: so each attack meets the same views, whatever went before.
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * int(self.calls))
        self.calls = self.calls + 1  # one made in inference mode could not be added to
        seen = self.transform(x.repeat_interleave(self.samples, dim=0), generator)
        return self.model(seen).unflatten(0, (len(x), self.samples)).mean(1)


def eot(model: nn.Module, transform: Callable, samples: int = 10, seed: int = 0) -> nn.Module:
    """Expectation over transformations: a model whose logits are the mean over ``samples`` transformed images.

    Athalye et al. (2018), "Synthesizing robust adversarial examples", Section 2.1: maximise E[log P(y | t(x))] over
    the transformations t. Each call draws anew, so each step of an attack sees other views.

    Deviations: the paper holds the distance in LAB colours down by a penalty; here a ball does. And only with
    ``samples=1`` is the gradient of cross-entropy on this model the paper's, on average. With more, the log-probability
    is that of the *mean logits*, which is at least the mean of log-probabilities (log Σ exp is convex), and its
    gradient weighs all views by one set of probabilities, where the paper's weighs each by its own.

    transform   ``transform(x, generator) -> x'``, such as ``Views(...)``: each image in a way of its own,
                differentiable, drawing from the generator (which lives on the CPU) and from nothing else.

    Which views an image is seen in depends on the images it comes with: another ``batch_size`` of an attack is another
    draw. Measure success on other views than those attacked: ``eot(model, transform, seed=1)``.

    Raises
        TypeError, ValueError: a model or a transform that cannot be called, samples below 1.

    >>> from advlib.attacks import fgsm
    >>> from advlib.norms import Linf
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    >>> x, y = torch.rand(2, 1, 8, 8), torch.tensor([0, 1])
    >>> fgsm(eot(model, Views(rotation=30)), x, y, Linf(0.1)).shape
    torch.Size([2, 1, 8, 8])
    """
    contract.check_model(model)
    contract.check_count(samples, "samples")
    contract.check_seed(seed)
    contract.check_function(transform, "transform", "(x, generator) -> x', such as Views(rotation=30)")
    return _Expectation(model, transform, samples, seed)


@dataclass(frozen=True, eq=False)
class Patch:
    """A sticker: what is printed on it, ``image`` (C, h, w) in [0, 1], and its shape, ``mask`` (1, h, w) of 0 and 1.

    Raises
        TypeError, ValueError: an image that is none, a mask of another size or without a 1.
    """

    image: Tensor
    mask: Tensor

    def __post_init__(self):
        for value, name in ((self.image, "image"), (self.mask, "mask")):
            contract.check_tensor(value, name)
            if value.ndim != 3:
                raise ValueError(f"{name} has shape {tuple(value.shape)}; expected one (C, h, w), without a batch.")
        if not self.image.requires_grad:  # one that is still being made is looked at by who makes it
            contract.check_images(self.image[None], "image")
            _check_mask(self.mask[0], "mask")
        if self.mask.shape != (1, *self.image.shape[1:]):
            size = (1, *self.image.shape[1:])
            raise ValueError(f"mask has shape {tuple(self.mask.shape)}; expected {size}: one value for each pixel.")

    def apply(
        self,
        x: Tensor,
        *,
        rotation: float | Tensor = 0.0,
        scale: float | Tensor = 1.0,
        turn: float | Tensor = 0.0,
        centre: tuple | Tensor = (0.5, 0.5),
    ) -> Tensor:
        """The images (N, C, H, W) with the patch on them, placed as ``warp`` says; differentiable in both.

        >>> dot = Patch(torch.ones(1, 2, 2), torch.ones(1, 2, 2))
        >>> dot.apply(torch.zeros(1, 1, 4, 4), centre=(0.25, 0.75))[0, 0]
        tensor([[0., 0., 1., 1.],
                [0., 0., 1., 1.],
                [0., 0., 0., 0.],
                [0., 0., 0., 0.]])
        """
        contract.check_images(x)
        if len(self.image) != x.shape[1]:
            raise ValueError(f"x has {x.shape[1]} channels; expected the patch's {len(self.image)}.")
        _check_fits(self.mask, x)
        both = torch.cat((self.image * self.mask, self.mask)).to(x)
        seen = warp(
            both.expand(len(x), *both.shape), rotation=rotation, scale=scale, turn=turn, centre=centre, onto=x.shape[2:]
        )
        return (x * (1 - seen[:, -1:]) + seen[:, :-1]).clamp(0, 1)

    def scatter(self, x: Tensor, views: Views, seed: int = 0) -> Tensor:
        """The images with the patch on each of them in a way drawn from ``views``: how it fares in the world."""
        contract.check_images(x)
        contract.check_seed(seed)
        _check_views(views)
        return _stick(self.image, self.mask, x, views, torch.Generator().manual_seed(seed))


def patch(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    size: int | Tensor,
    *,
    target: int | Tensor | None = None,
    views: Views = Views(shift=0.25),  # noqa: B008 - a value that nothing can change
    steps: int = 200,
    samples: int = 1,
    seed: int = 0,
    batch_size: int = 64,
) -> Patch:
    """Find the patch that fools the model on as many images as possible, however it is stuck on them.

    Brown et al. (2017), "Adversarial patch", Section 2: maximise E[log P(target | A(p, x, place, t))] over the
    picture p on the patch, the expectation being over images x, places and transformations t. The logarithm is
    computed from the log-odds, which do not round. The patch's pixels are free, only its size is limited. Without
    ``target`` it hides what there is to see (E[−log P(y | …)]). Deviation: the paper knows targets only.

    size        of the square patch in pixels; or its shape, a mask (h, w) of 0 and 1.
    views       how it may be stuck on; its light and noise fall on the patched image. ``Views(0, (1, 1), shift=0)``
                is one fixed place in the middle.
    steps       each on a minibatch; ``seed`` decides their order and all views.
    samples     ways to stick it on that each image of a step is tried with.
    batch_size  images in each step; it changes the result.
    Shapes: x (N, C, H, W) in [0, 1], y (N,). Kept is the patch that fools most of all images.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract, and a patch that does not fit.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    >>> x, y = torch.rand(6, 1, 8, 8), torch.zeros(6).long()
    >>> found = patch(model, x, y, 3, target=2, steps=5)
    >>> found.image.shape, found.apply(x, centre=(0.3, 0.3)).shape
    (torch.Size([1, 3, 3]), torch.Size([6, 1, 8, 8]))
    """
    contract.check_images(x)
    with torch.inference_mode(False):  # what is made in it, no gradient goes through
        mask = _mask(size).to(x, copy=True)
    _check_fits(mask, x)
    _check_views(views)
    stick = lambda picture, images, generator: _stick(picture[0], mask.to(images), images, views, generator)
    grey = torch.full((1, x.shape[1], *mask.shape[1:]), 0.5)
    found = climb_together(
        model, x, y, stick, grey, Linf(1), target=target, steps=steps, seed=seed, batch_size=batch_size, samples=samples
    )
    return Patch(found[0].to(x), mask)


def _stick(image: Tensor, mask: Tensor, x: Tensor, views: Views, generator: torch.Generator) -> Tensor:
    return views.light(Patch(image, mask).apply(x, **views.draw(len(x), generator)), generator)


def _mask(size: int | Tensor) -> Tensor:
    if not isinstance(size, Tensor):
        contract.check_count(size, "size")
        return torch.ones(1, size, size)
    _check_mask(size, "size")
    return size[None]


def _check_mask(mask: Tensor, name: str) -> None:
    """The shape of a patch: (h, w) of 0 and 1, with at least one 1."""
    contract.check_tensor(mask, name)
    if mask.ndim != 2 or 0 in mask.shape or not bool(((mask == 0) | (mask == 1)).all()) or not bool(mask.any()):
        raise ValueError(
            f"{name} is a tensor of shape {tuple(mask.shape)}; expected the shape of the patch as a mask "
            "(h, w) of 0 and 1, with at least one 1."
        )


def _check_views(views) -> None:
    if not isinstance(views, Views):
        raise TypeError(f"views is a {type(views).__name__}; expected Views(...), such as Views(rotation=30).")


def _check_fits(mask: Tensor, x: Tensor) -> None:
    if mask.shape[1] > x.shape[2] or mask.shape[2] > x.shape[3]:
        raise ValueError(
            f"the patch is {mask.shape[1]}×{mask.shape[2]} pixels, larger than the images of "
            f"{x.shape[2]}×{x.shape[3]}; choose a smaller size."
        )
