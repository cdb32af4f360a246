"""How a picture may be seen: one view of it, by ``warp``, and ``Views``, which draws one for each picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from advlib import contract

__all__ = ["Views", "warp"]

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

    Raises
        TypeError, ValueError: no pictures, numbers that are not finite, a scale that is not above 0, another ``onto``.

    >>> warp(torch.tensor([[[[1.0, 2], [3, 4]]]]), rotation=90)
    tensor([[[[3., 1.],
              [4., 2.]]]])
    """
    contract.check_change(x, "x", some=True)
    n, height, width = len(x), *x.shape[2:]
    for value, name in ((rotation, "rotation"), (turn, "turn"), (scale, "scale")):
        _check_each(value, name, n)
    _check_centre(centre, n)
    if onto is not None:
        contract.check_pair(onto, "onto", f"({height}, {width})", whole=True)
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


def _check_each(value, name: str, n: int) -> None:
    """A number, or one for each of n pictures. What is in a tensor is looked at where ``Views`` did not draw it."""
    if not isinstance(value, Tensor):
        if name == "scale":
            contract.check_number(value, name, positive=True)
        else:
            contract.check_number(value, name, least=-math.inf)
        return
    contract.check_tensor(value, name)
    if value.is_complex() or value.dtype == torch.bool:
        raise TypeError(f"{name} has dtype {contract.dtype_of(value)}; expected numbers, one for each picture.")
    if value.ndim > 1 or value.numel() not in (1, n):
        raise ValueError(f"{name} has shape {tuple(value.shape)}; expected a number, or ({n},): one for each picture.")
    if not bool(((value > 0) & value.isfinite() if name == "scale" else value.isfinite()).all()):
        raise ValueError(
            f"{name} contains {float(value.min()):g}; expected finite numbers{' > 0' if name == 'scale' else ''}."
        )


def _check_centre(centre, n: int) -> None:
    """Two shares of height and width, the same for all n pictures or two for each."""
    if not isinstance(centre, Tensor):
        contract.check_pair(centre, "centre", "(0.5, 0.5)")
        return
    contract.check_tensor(centre, "centre")
    if centre.is_complex() or tuple(centre.shape) not in ((2,), (1, 2), (n, 2)):
        raise ValueError(
            f"centre has shape {tuple(centre.shape)}; expected (2,) or ({n}, 2): two shares for each picture."
        )
    if not bool(centre.isfinite().all()):
        raise ValueError("centre contains NaN or infinity; expected shares of height and width.")


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
        TypeError, ValueError: a spread that is no number or negative, or scales that are not 0 < smallest ≤ largest.

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
            contract.check_number(getattr(self, name), name, most=most)
        contract.check_scales(self.scale)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        contract.check_change(x, "x", some=True)
        return self.light(warp(x, **self.draw(len(x), generator)), generator)

    def draw(self, n: int, generator: torch.Generator) -> dict[str, Any]:
        """Arguments of ``warp`` for n pictures, by chance."""
        contract.check_count(n, "n")
        contract.check_generator(generator)
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
        contract.check_change(x, "x", some=True)
        contract.check_generator(generator)
        gain = 1 + self.brightness * (2 * torch.rand(len(x), 1, 1, 1, generator=generator) - 1)
        x = x * gain.to(x)
        if self.noise:
            x = x + self.noise * torch.randn(x.shape, generator=generator).to(x)
        return x.clamp(0, 1)
