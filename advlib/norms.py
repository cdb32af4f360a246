"""Norm balls as values: ``Linf(8/255)``, ``L2(0.5)``, ``L1(12)``, ``L0(20)``.

A ball is the perturbation set Δ = {δ : ‖δ‖ ≤ ε} of the formulas. It knows how to measure a perturbation
(``size``), put it back inside (``project``), choose the best one for a linear loss (``steepest``) and draw a
random one (``sample``). An attack that asks these four things of its ball serves every norm.

All methods take batches of shape (N, C, H, W) and treat every image on its own. Pixels are in [0, 1] and so
is ε. Where an image ``x`` is given, the pixel box is part of the problem: ``x + δ`` stays in [0, 1].

With a tensor (N,) each of N images has an ε of its own: ``Linf(torch.tensor([4, 8]) / 255)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from advlib.ball import Ball, readable, wide
from advlib.checks import check_number

__all__ = ["Ball", "Linf", "L2", "L1", "L0", "readable"]

ROUNDS = 20  # of finding the pixels at the box; a handful is the rule, and the loop ends by itself
BISECTIONS = 40  # of the L1 threshold: past float32's 24 bits of precision


@dataclass(frozen=True, eq=False)
class Linf(Ball):
    """max |δᵢ| ≤ ε: every pixel may change, none by more than ε.

    >>> Linf(8/255).size(torch.full((1, 3, 4, 4), -0.02))
    tensor([0.0200])
    """

    symbol = "L∞"
    _example = "8/255"

    def __post_init__(self):
        super().__post_init__()
        self._refuse(lambda eps: eps > 1, lambda eps: f"pixels run from 0 to 1. Did you mean Linf({eps:g}/255)?")

    def scaled(self, factor):
        check_number(factor, "factor")
        eps = self.eps * factor  # beyond 1 the box decides anyway
        return Linf(eps.clamp_max(1.0) if self.per_image else min(1.0, eps))

    def size(self, delta):
        self._check(delta, "delta")
        return delta.abs().amax(dim=(1, 2, 3))

    def project(self, delta, x=None, radius=None):
        self._check(delta, "delta", x, radius)
        radius = self.factor(delta) if radius is None else self._radius(radius, delta)
        return _boxed(delta.clamp(-radius, radius), x)

    def steepest(self, grad, x=None, radius=None):
        self._check(grad, "grad", x, radius)
        # Each pixel contributes gᵢδᵢ on its own, so each goes all the way: δᵢ = ε · sign(gᵢ).
        return _boxed(self._radius(radius, grad) * grad.sign(), x)

    def sample(self, x, generator, mask=None):
        self._check_draw(x, generator, mask)
        return _boxed(self.factor(x) * _only(mask, 2 * _rand(x, generator) - 1), x)


@dataclass(frozen=True, eq=False)
class L2(Ball):
    """√(Σ δᵢ²) ≤ ε: the Euclidean length of the change.

    >>> L2(0.5).size(torch.full((1, 1, 2, 2), 0.25))
    tensor([0.5000])
    """

    symbol = "L2"
    _example = "0.5"

    def size(self, delta):
        self._check(delta, "delta")
        return delta.flatten(1).norm(dim=1)

    def project(self, delta, x=None, radius=None):
        self._check(delta, "delta", x, radius)
        radius = self._radius(radius, delta)
        if x is None:
            return delta * (radius / wide(self.size(delta).clamp_min(_tiny(delta)))).clamp_max(1.0)
        return _stretch(delta, x, radius, most=1.0)

    def steepest(self, grad, x=None, radius=None):
        self._check(grad, "grad", x, radius)
        # Cauchy–Schwarz: ⟨g, δ⟩ is largest along g itself.
        # The largest entry is divided out first: squares of tiny gradients would underflow.
        direction = grad / grad.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(_tiny(grad))
        direction = direction / wide(self.size(direction).clamp_min(_tiny(grad)))
        radius = self._radius(radius, grad)
        return radius * direction if x is None else _stretch(direction, x, radius)

    def sample(self, x, generator, mask=None):
        self._check_draw(x, generator, mask)
        direction = L2(1).steepest(_only(mask, torch.randn(x.shape, generator=generator).to(x)))
        return _boxed(self.factor(x) * _uniform_radius(x, generator, mask) * direction, x)


@dataclass(frozen=True, eq=False)
class L1(Ball):
    """Σ |δᵢ| ≤ ε: the sum of all changes; few pixels may change a lot.

    >>> L1(12).size(torch.full((1, 1, 2, 2), -0.25))
    tensor([1.])
    """

    symbol = "L1"
    _example = "12"

    def size(self, delta):
        self._check(delta, "delta")
        return delta.abs().sum(dim=(1, 2, 3))

    def project(self, delta, x=None, radius=None):
        self._check(delta, "delta", x, radius)
        # Every change shrinks by the same λ and stops at zero (Duchi et al. 2008); the box may cut more. The size
        # falls as λ grows: bisect for the smallest λ that is inside the ball.
        shrunk = lambda by: _boxed(delta.sign() * (delta.abs() - by).clamp_min(0), x)
        fits = lambda by: wide(self.size(shrunk(by))) <= radius
        radius = self._radius(radius, delta)
        low = torch.zeros_like(delta[:, :1, :1, :1])
        high = delta.abs().amax(dim=(1, 2, 3), keepdim=True)
        high = torch.where(fits(low), low, high)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            inside = fits(middle)
            low, high = torch.where(inside, low, middle), torch.where(inside, middle, high)
        return shrunk(high)

    def steepest(self, grad, x=None, radius=None):
        self._check(grad, "grad", x, radius)
        # One unit of change earns |gᵢ| in pixel i: spend all on the best pixel, then (it is full) on the next.
        if x is None:
            room = torch.full_like(grad, torch.inf)
        else:
            room = torch.where(grad > 0, 1 - x, x)
        room = torch.where(grad == 0, 0, room).flatten(1)
        order = grad.abs().flatten(1).argsort(dim=1, descending=True, stable=True)
        radius = self._radius(radius, grad)[:, :, 0, 0]
        room = torch.minimum(room.gather(1, order), radius)
        spent_before = room.cumsum(1) - room
        spend = torch.minimum(room, (radius - spent_before).clamp_min(0))
        return torch.zeros_like(room).scatter(1, order, spend).view_as(grad) * grad.sign()

    def sample(self, x, generator, mask=None):
        self._check_draw(x, generator, mask)
        # |δᵢ| ~ exponential gives a uniform direction on the simplex; the signs are coin flips.
        weight = _only(mask, -_rand(x, generator).clamp_min(1e-12).log())
        sign = torch.randint(0, 2, x.shape, generator=generator).to(x) * 2 - 1
        direction = sign * weight / weight.sum(dim=(1, 2, 3), keepdim=True).clamp_min(_tiny(x))
        return _boxed(self.factor(x) * _uniform_radius(x, generator, mask) * direction, x)


@dataclass(frozen=True, eq=False)
class L0(Ball):
    """At most ε pixels change, each as much as the box allows. A pixel is a position: its channels count once.

    >>> L0(20).size(torch.zeros(1, 3, 8, 8))
    tensor([0.])

    Raises
        ValueError: ε is not a whole number of pixels.
    """

    symbol = "L0"
    _example = "20"

    def __post_init__(self):
        super().__post_init__()
        self._refuse(lambda k: k != int(k), "expected a whole number: L0 counts changed pixels.")

    def scaled(self, factor):
        check_number(factor, "factor")
        count = self.eps * factor
        return L0(count.ceil() if self.per_image else math.ceil(count))

    def size(self, delta):
        self._check(delta, "delta")
        return (delta != 0).any(dim=1).sum(dim=(1, 2)).to(delta.dtype)

    def project(self, delta, x=None, radius=None):
        self._check(delta, "delta", x, radius)
        kept = _boxed(delta, x)
        # Keeping a pixel saves δ² of squared distance, less what the box cuts off it anyway.
        count = self.eps_for(delta) if radius is None else radius
        return kept * self._best_pixels((2 * delta * kept - kept.square()).sum(1), count)

    def steepest(self, grad, x=None, radius=None):
        self._check(grad, "grad", x, radius)
        # A chosen pixel goes to the end of its range: ±1 where no image says how much room there is.
        full = torch.sign(grad) if x is None else torch.where(grad > 0, 1 - x, torch.where(grad < 0, -x, 0))
        most = torch.as_tensor(self.eps_for(grad), device=grad.device)
        count = most if radius is None else torch.as_tensor(radius, device=grad.device).ceil().minimum(most)
        return full * self._best_pixels((grad * full).sum(1), count)

    def sample(self, x, generator, mask=None):
        self._check_draw(x, generator, mask)
        score = torch.rand(x[:, 0].shape, generator=generator).to(x)
        score = score if mask is None else score.where(mask.any(1), -1)
        return _only(mask, (_rand(x, generator) - x) * self._best_pixels(score, self.eps_for(x)))

    def _best_pixels(self, score: Tensor, count) -> Tensor:
        """A mask (N, 1, H, W) of the ``count`` (one, or (N,)) positions with the highest score (N, H, W)."""
        flat = score.flatten(1)
        rank = flat.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        count = torch.as_tensor(count, device=flat.device).expand(len(flat))[:, None]
        return (rank < count).to(flat).view_as(score)[:, None]


def _boxed(delta: Tensor, x: Tensor | None) -> Tensor:
    """δ cut so that x + δ stays in [0, 1]. Cutting moves δ towards 0, so it never leaves a ball."""
    return delta if x is None else (x + delta).clamp_(0, 1).sub_(x)


def _stretch(direction: Tensor, x: Tensor, radius: float | Tensor, most: float = 1e12) -> Tensor:
    """clip(u · direction) to the box, with the largest u ≤ ``most`` (per image) whose L2 norm is within ``radius``.

    By Lagrange this is the solution both of projecting onto ball ∩ box (direction = δ, u ≤ 1) and of the steepest
    step (direction = gradient). Pixels at the box stay put and the others share what is left of the radius:
    u² = (radius² − Σ_boxed δ²) / Σ_free direction². Each round finds more pixels at the box, so u grows from below
    and the result is inside the ball after every round.
    """
    low, high, squared = -x, 1 - x, direction.square()
    free = torch.ones_like(x)
    u = used = x.new_zeros(len(x), 1, 1, 1)
    for _ in range(ROUNDS):
        share = (squared * free).sum(dim=(1, 2, 3), keepdim=True).clamp_min(_tiny(x))
        u = torch.maximum(u, ((radius**2 - used).clamp_min(0) / share).sqrt().clamp_max(most))
        wanted = u * direction
        delta = torch.minimum(torch.maximum(wanted, low), high)
        still_free = (delta == wanted).to(x)
        if torch.equal(still_free, free):
            break
        free, used = still_free, (delta.square() * (1 - still_free)).sum(dim=(1, 2, 3), keepdim=True)
    return delta


def _rand(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(x.shape, generator=generator).to(x)


def _only(mask: Tensor | None, delta: Tensor) -> Tensor:
    return delta if mask is None else delta * mask


def _uniform_radius(x: Tensor, generator: torch.Generator, mask: Tensor | None) -> Tensor:
    """A radius in [0, 1] for each image such that its point is uniform in a ball of n dimensions: U^(1/n).

    n is the number of values in an image, or of those that the mask allows (of none, the radius is zero)."""
    n = x[0].numel() if mask is None else wide(mask.sum((1, 2, 3))).cpu()
    return (torch.rand(len(x), 1, 1, 1, generator=generator) ** (1 / n)).to(x)


def _tiny(grad: Tensor) -> float:
    return torch.finfo(grad.dtype).tiny
