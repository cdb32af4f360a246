"""Attacks that outlive the camera: views drawn by chance, the expectation over them, and patches to stick on.

A view says how a thing may be seen; ``Views`` draws one for each image. ``eot`` makes a model of the average over
views, to be attacked like any other. ``patch`` finds a sticker that works wherever and however it is stuck on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advlib import contract
from advlib.attacks.chance import ByChance
from advlib.attacks.together import climb_together
from advlib.norms import Linf

__all__ = ["warp", "Views", "eot", "Patch", "patch"]

DISTANCE = 3.0  # from the camera to the picture, in half widths: what makes the far side look smaller


def warp(
    x: Tensor,
    *,
    rotation: float | Tensor = 0.0,
    scale: float | Tensor = 1.0,
    turn: float | Tensor = 0.0,
    centre: tuple | Tensor = (0.5, 0.5),
    onto: Sequence[int] | None = None,
) -> Tensor:
    """The pictures x (N, C, h, w) as seen from elsewhere, differentiably; what lies outside of them is 0.

    rotation    degrees, clockwise as one sees it.
    scale       1 keeps a pixel a pixel; 0.5 is seen from twice as far.
    turn        degrees about the vertical axis: the view from the side, in perspective.
    centre      where the picture's centre goes, as shares of height and width: (0.5, 0.5) is the middle.
    onto        (H, W) of the result; None for that of the pictures.

    Each is a number, or a tensor (N,), one per picture; ``centre`` may be (N, 2). Returns (N, C, H, W).

    >>> warp(torch.tensor([[[[1.0, 2], [3, 4]]]]), rotation=90)
    tensor([[[[3., 1.],
              [4., 2.]]]])
    """
    n, height, width = len(x), *x.shape[2:]
    rows, columns = onto or (height, width)
    wide = torch.promote_types(x.dtype, torch.float32)  # half precision would move pixels by as much as their size
    each = lambda value: torch.as_tensor(value, dtype=wide, device=x.device).expand(n)
    angle, side, scale = each(rotation) * math.pi / 180, each(turn) * math.pi / 180, each(scale)
    down, across = torch.as_tensor(centre, dtype=wide, device=x.device).expand(n, 2).unbind(1)

    # Where each pixel of the result comes from. In pixels, seen from the picture's centre:
    at = lambda count: torch.arange(count, dtype=wide, device=x.device) + 0.5
    v = at(rows)[None, :, None] - (down * rows)[:, None, None]
    u = at(columns)[None, None, :] - (across * columns)[:, None, None]
    cos, sin, far = (value[:, None, None] for value in (side.cos(), side.sin(), DISTANCE * scale * width / 2))
    # A point p of the turned picture is seen at u = p·cos / (1 + p·sin / distance): solved for p.
    p = u / (cos - u * sin / far)
    v = v * (1 + p * sin / far)
    cos, sin, scale = (value[:, None, None] for value in (angle.cos(), angle.sin(), scale))
    from_u, from_v = (cos * p + sin * v) / scale, (cos * v - sin * p) / scale
    grid = torch.stack((from_u * 2 / width, from_v * 2 / height), dim=-1)
    return F.grid_sample(x.to(wide), grid.expand(n, rows, columns, 2), align_corners=False).to(x.dtype)


@dataclass(frozen=True)
class Views:
    """Ways in which a thing may be seen; ``views(x, generator)`` sees each image (N, C, H, W) in a way of its own.

    rotation    degrees, up to so many either way.
    scale       the smallest and the largest.
    turn        degrees about the vertical axis, up to so many either way: the view from the side.
    shift       how far the centre may move, in shares of height and width, either way; 0.5 is anywhere.
    brightness  pixels are multiplied by 1 − brightness to 1 + brightness.
    noise       standard deviation of Gaussian noise on each pixel.

    Raises
        ValueError: a negative spread, or scales that are not 0 < smallest ≤ largest.

    >>> x = torch.rand(2, 3, 8, 8)
    >>> Views()(x, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 8, 8])
    """

    rotation: float = 15.0
    scale: tuple[float, float] = (0.8, 1.2)
    turn: float = 0.0
    shift: float = 0.05
    brightness: float = 0.2
    noise: float = 0.0

    def __post_init__(self):
        limits = {"rotation": 180, "turn": 60, "shift": 0.5, "brightness": 1, "noise": 1}
        for name, most in limits.items():
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a spread from 0 to {most}.")
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < math.inf:
            raise ValueError(f"scale is {self.scale}; expected (smallest, largest) such as (0.8, 1.2).")

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return self.light(warp(x, **self.draw(len(x), generator)), generator)

    def draw(self, n: int, generator: torch.Generator) -> dict[str, Any]:
        """Arguments of ``warp`` for n pictures, by chance."""
        spread = 2 * torch.rand(n, 5, generator=generator) - 1
        low, high = (math.log(scale) for scale in self.scale)
        return {
            "rotation": self.rotation * spread[:, 0],
            "turn": self.turn * spread[:, 1],
            "scale": ((low + high) / 2 + (high - low) / 2 * spread[:, 2]).exp(),
            "centre": 0.5 + self.shift * spread[:, 3:],
        }

    def light(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """The pictures in another light, with noise, still in [0, 1]."""
        gain = 1 + self.brightness * (2 * torch.rand(len(x), 1, 1, 1, generator=generator) - 1)
        x = x * gain.to(x)
        if self.noise:
            x = x + self.noise * torch.randn(x.shape, generator=generator).to(x)
        return x.clamp(0, 1)


class _Expectation(ByChance):
    calls: Tensor

    def __init__(self, model: nn.Module, transform: Callable, samples: int, seed: int):
        super().__init__()
        self.model, self.transform, self.samples, self.seed = model, transform, samples, seed
        # A buffer, which attacks put back: so each attack meets the same views, whatever went before.
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * int(self.calls))
        self.calls += 1
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

    Measure success on other views than those attacked: ``eot(model, transform, seed=1)``.

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
    contract.check_count(seed, "seed", least=0)
    if not callable(transform):
        raise TypeError(
            f"transform is a {type(transform).__name__}; expected a function (x, generator) -> x', such "
            "as Views(rotation=30)."
        )
    return _Expectation(model, transform, samples, seed)


@dataclass(frozen=True, eq=False)
class Patch:
    """A sticker: what is printed on it, ``image`` (C, h, w) in [0, 1], and its shape, ``mask`` (1, h, w) of 0 and 1."""

    image: Tensor
    mask: Tensor

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
        _check_fits(self.mask, x)
        both = torch.cat((self.image * self.mask, self.mask)).to(x)
        seen = warp(
            both.expand(len(x), *both.shape), rotation=rotation, scale=scale, turn=turn, centre=centre, onto=x.shape[2:]
        )
        return (x * (1 - seen[:, -1:]) + seen[:, :-1]).clamp(0, 1)

    def scatter(self, x: Tensor, views: Views, seed: int = 0) -> Tensor:
        """The images with the patch on each of them in a way drawn from ``views``: how it fares in the world."""
        contract.check_images(x)
        return _stick(self.image, self.mask, x, views, torch.Generator().manual_seed(seed))


def patch(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    size: int | Tensor,
    *,
    target: int | Tensor | None = None,
    views: Views = Views(shift=0.25),
    steps: int = 200,
    samples: int = 1,
    seed: int = 0,
    batch_size: int = 64,
) -> Patch:
    """Find the patch that fools the model on as many images as possible, however it is stuck on them.

    Brown et al. (2017), "Adversarial patch", Section 2: maximise E[log P(target | A(p, x, place, t))] over the
    picture p on the patch, the expectation being over images x, places and transformations t. Its pixels are free,
    only its size is limited. Without ``target`` it hides what there is to see (E[−log P(y | …)]). Deviation: the paper
    knows targets only.

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
    mask = _mask(size).to(x)
    _check_fits(mask, x)
    if not isinstance(views, Views):
        raise TypeError(f"views is a {type(views).__name__}; expected Views(...), such as Views(rotation=30).")
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
    if size.ndim != 2 or 0 in size.shape or not bool(((size == 0) | (size == 1)).all()) or not bool(size.any()):
        raise ValueError(
            f"size is a tensor of shape {tuple(size.shape)}; expected the shape of the patch as a mask "
            "(h, w) of 0 and 1, with at least one 1."
        )
    return size[None]


def _check_fits(mask: Tensor, x: Tensor) -> None:
    if mask.shape[1] > x.shape[2] or mask.shape[2] > x.shape[3]:
        raise ValueError(
            f"the patch is {mask.shape[1]}×{mask.shape[2]} pixels, larger than the images of "
            f"{x.shape[2]}×{x.shape[3]}; choose a smaller size."
        )
