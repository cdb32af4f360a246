"""Linear relaxation: bounds that remember how the entries of a layer move together.

Where intervals push a box forwards, CROWN pulls one linear function of the output back to the pixels. An affine layer
takes it along exactly; a ReLU is caught between two lines. At the pixels its least value over the box is plain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advlib import contract
from advlib.defenses.certificates.intervals import (
    Bounds,
    box,
    check_box,
    check_fits,
    differences,
    layers_of,
    least,
    step,
)
from advlib.device import in_batches, width
from advlib.distributed import share
from advlib.norms import Ball
from advlib.progress import progress

__all__ = ["crown_bounds", "crown_margins"]

INTERMEDIATE = ("crown", "interval")
NARROWEST = 1e-12  # range of an entry that counts as one


class _Lines(NamedTuple):
    """ReLU between two lines, for z between l and u: slope_low · z ≤ max(z, 0) ≤ slope_up · z + offset."""

    slope_low: Tensor
    slope_up: Tensor
    offset: Tensor

    @classmethod
    def around(cls, z: Bounds) -> _Lines:
        """As Zhang et al. (2018) do: above, the chord; below, z or 0, whichever leaves the smaller area."""
        lower, upper = z
        rise, run = upper.clamp_min(0), upper.clamp_min(0) - lower.clamp_max(0)  # where the sign is open, u and u − l
        slope_up = rise / run.clamp_min(torch.finfo(run.dtype).tiny)  # 1 where z ≥ 0, and 0 where z ≤ 0
        unstable = (lower < 0) & (upper > 0)
        slope_low = torch.where(unstable, (upper > -lower).to(lower), slope_up)
        return cls(slope_low, slope_up, torch.where(unstable, -slope_up * lower, 0))

    def back(self, c: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        up, down = c.clamp_min(0), c.clamp_max(0)
        through = up * self.slope_low[rows] + down * self.slope_up[rows]
        return through, (down * self.offset[rows]).flatten(1).sum(1)


class _Largest(NamedTuple):
    """MaxPool over entries zᵢ between lᵢ and uᵢ: z_likeliest ≤ max zᵢ ≤ Σ slopeᵢ zᵢ + offset."""

    places: Tensor  # (1, 1, h, w, entries): which entries are in a window, as indices into H · W
    likeliest: Tensor  # (N, C, h, w): the entry with the highest middle, as such an index
    slopes: Tensor  # (N, C, h, w, entries)
    offset: Tensor  # (N, C, h, w)
    shape: torch.Size  # of what goes in, (C, H, W)

    @classmethod
    def around(cls, z: Bounds, pool: nn.MaxPool2d) -> _Largest:
        """Above, a hyperplane of Boopathy et al. (2019), "CNN-Cert": γ + Σ slopeᵢ (zᵢ − lᵢ) with
        slopeᵢ = max(uᵢ − γ, 0) / (uᵢ − lᵢ).

        It is right for every γ ≥ max lᵢ: where zᵢ = lᵢ ≤ γ the constant does, and at zᵢ = uᵢ > γ entry i alone makes it
        uᵢ. As theirs, this γ makes the slopes add up to 1, or is max lᵢ. What wins for certain is then exact.
        """
        positions = torch.arange(z.lower[0, 0].numel(), device=z.lower.device).view(1, 1, *z.lower.shape[2:])
        places = _windows(positions.to(z.lower), pool).clamp_min(0).long()
        lower, upper = _windows(z.lower, pool), _windows(z.upper, pool)
        likeliest = (lower + upper).argmax(-1, keepdim=True)
        # Padding becomes an entry that is never above γ: without a slope.
        least, padding = lower.amax(-1, keepdim=True), lower == -torch.inf
        lower, upper = torch.where(padding, least, lower), torch.where(padding, least, upper)
        steepness = 1 / (upper - lower).clamp_min(NARROWEST)
        # Σ over the m highest uᵢ of (uᵢ − γ) / (uᵢ − lᵢ) = 1 solved for γ: of all m, the largest is the root for all.
        order = upper.argsort(-1, descending=True)
        high, steep = upper.gather(-1, order), steepness.gather(-1, order)
        gamma = (((high * steep).cumsum(-1) - 1) / steep.cumsum(-1)).amax(-1, keepdim=True).maximum(least)
        slopes = (upper - gamma).clamp_min(0) * steepness
        offset = gamma[..., 0] - (slopes * lower).sum(-1)
        return cls(places, places.expand_as(lower).gather(-1, likeliest)[..., 0], slopes, offset, z.lower.shape[1:])

    def back(self, c: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        up, down = c.clamp_min(0), c.clamp_max(0)
        spread = down[..., None] * self.slopes[rows]
        through = c.new_zeros(len(c), self.shape[0], self.shape[1:].numel())
        through = through.scatter_add(2, self.likeliest[rows].flatten(2), up.flatten(2))
        through = through.scatter_add(2, self.places.expand_as(spread).flatten(2), spread.flatten(2))
        return through.view(len(c), *self.shape), (down * self.offset[rows]).flatten(1).sum(1)


class _Exactly(NamedTuple):
    """An affine layer z → Az + b: ⟨c, Az + b⟩ = ⟨Aᵀc, z⟩ + ⟨c, b⟩."""

    layer: nn.Module
    shape: torch.Size  # of what goes in, without N

    def back(self, c: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            zero = c.new_zeros(len(c), *self.shape, requires_grad=True)
            made = self.layer(zero)
            (through,) = torch.autograd.grad(made, zero, c)
        return through, (c * made.detach()).flatten(1).sum(1)


Relaxation = _Lines | _Largest | _Exactly


def crown_bounds(
    model: nn.Module, x: Tensor, within: Ball, *, intermediate: str = "crown", batch_size: int | None = None
) -> Bounds:
    """Bounds of the logits, each (N, K), over the L∞ ball around each image, cut to the box: by linear relaxation.

    CROWN, Zhang et al. (2018), "Efficient neural network robustness certification with general activation functions",
    Theorem 3.2, with the lower slope of each ReLU chosen by its area. Max-pooling is held between its
    likeliest entry and a hyperplane. Never looser than ``interval_bounds``: where that is tighter, it is taken.

    intermediate  how the bounds that lines are fitted to come about: "crown", a pass back for each ReLU whose sign is
                  open, for small networks; "interval", in no time, from the tightest known before (CROWN-IBP's way,
                  Zhang et al. 2020).
    Model, shapes and errors: as in ``interval_bounds``; besides, SiLU and max-pooling with dilation or ceil_mode are
    refused.

    >>> from advlib.norms import Linf
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2, bias=False))
    >>> model[1].weight.data, model[1].bias.data = torch.tensor([[1.0], [1]]), torch.tensor([0.0, 1])
    >>> _ = model[3].weight.data.copy_(torch.tensor([[-1.0, 1], [0, 0]]))  # the same pixel twice: always 1
    >>> from advlib.defenses.certificates.intervals import interval_bounds
    >>> for bounds in (interval_bounds, crown_bounds):
    ...     lower, upper = bounds(model, torch.full((1, 1, 1, 1), 0.5), Linf(0.2))
    ...     print(f"{lower[0, 0]:.1f} to {upper[0, 0]:.1f}")
    0.6 to 1.4
    1.0 to 1.0
    """
    lower, upper = _least(model, x, within, _logits, intermediate, batch_size).chunk(2, dim=1)
    return Bounds(lower, -upper)


def crown_margins(
    model: nn.Module, x: Tensor, y: Tensor, within: Ball, *, intermediate: str = "crown", batch_size: int | None = None
) -> Tensor:
    """Lower bounds of z_y − z_j over the ball, (N, K), 0 where j is y: each difference relaxed as a whole.

    That is tighter than to take bounds of two logits apart. All else as in ``crown_bounds``.

    >>> from advlib.norms import Linf
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> crown_margins(model, torch.rand(2, 1, 2, 2), torch.tensor([0, 2]), Linf(0.1)).shape
    torch.Size([2, 3])
    """
    wanted = lambda rows, logits: differences(y.to(rows.device)[rows], logits.shape[1], logits)
    return _least(model, x, within, wanted, intermediate, batch_size)


def _least(model, x: Tensor, within: Ball, functions: Callable, intermediate: str, batch_size: int | None) -> Tensor:
    """Lower bounds (N, S) of linear functions of the logits, ``functions(rows, logits)`` (n, S, K), over each ball."""
    contract.check_choice(intermediate, "intermediate", INTERMEDIATE)
    layers = layers_of(model)
    _check_relaxed(layers)
    check_box(x, within)
    check_fits(model, x)
    with contract.frozen(model), torch.no_grad(), progress(total=share(len(x)), unit="image") as bar:
        images = x.detach().to(contract.model_device(model))

        def run(rows: Tensor) -> Tensor:
            start = box(images[rows], within.rows(rows))
            relaxed, before, widest = _relax(layers, start, intermediate)
            logits = step(layers[-1], before).lower
            contract.check_logits(logits, len(rows))
            wanted = functions(rows, logits)
            of = torch.arange(len(rows), device=rows.device).repeat_interleave(wanted.shape[1])
            pull = lambda part: _back(relaxed, start, wanted.flatten(0, 1)[part], of[part])
            parts = in_batches(pull, torch.arange(len(of), device=rows.device), widest)
            by_lines = torch.cat(parts).view(wanted.shape[:2])
            bar.update(len(rows))
            return torch.maximum(by_lines, least(wanted, layers[-1], before))

        found = in_batches(run, torch.arange(len(x), device=images.device), width(model, x[0]), batch_size)
    return torch.cat(found).to(x.device)


def _logits(rows: Tensor, logits: Tensor) -> Tensor:
    """Each logit and its negative: the least of the one is the lower bound, that of the other minus the upper."""
    one_hot = torch.eye(logits.shape[1]).to(logits)
    return torch.cat((one_hot, -one_hot)).expand(len(rows), -1, -1)


def _relax(layers: list[nn.Module], start: Bounds, intermediate: str) -> tuple[list[Relaxation], Bounds, int]:
    """Each layer's relaxation over the box ``start``, bounds of what the last one is given, the widest layer's size."""
    relaxed: list[Relaxation] = []
    z, bent, widest = start, False, start.lower[0].numel()
    for i, layer in enumerate(layers):
        z = step(layers[i - 1], z) if i else z
        widest = max(widest, z.lower[0].numel())
        if isinstance(layer, nn.ReLU):
            if bent and intermediate == "crown":
                z = _tightened(relaxed, start, z, widest)
            relaxed.append(_Lines.around(z))
        elif isinstance(layer, nn.MaxPool2d):
            relaxed.append(_Largest.around(z, layer))
        else:
            relaxed.append(_Exactly(layer, z.lower.shape[1:]))
        bent = bent or isinstance(layer, (nn.ReLU, nn.MaxPool2d))
    return relaxed, z, widest


def _tightened(relaxed: list[Relaxation], start: Bounds, z: Bounds, widest: int) -> Bounds:
    """The bounds ``z`` of the relaxed layers' output, by CROWN where its sign is open; where it is not, they do."""
    lower, upper = (end.flatten(1).clone() for end in z)
    of, entry = ((lower < 0) & (upper > 0)).nonzero(as_tuple=True)
    one_hot = lambda part: F.one_hot(entry[part], lower.shape[1]).to(lower).view(len(part), *z.lower.shape[1:])

    def run(part: Tensor) -> None:
        rows, at = of[part], entry[part]
        lower[rows, at] = torch.maximum(lower[rows, at], _back(relaxed, start, one_hot(part), rows))
        upper[rows, at] = torch.minimum(upper[rows, at], -_back(relaxed, start, -one_hot(part), rows))

    in_batches(run, torch.arange(len(of), device=of.device), widest)
    return Bounds(lower.view_as(z.lower), torch.maximum(lower, upper).view_as(z.upper))


def _back(relaxed: list[Relaxation], start: Bounds, c: Tensor, rows: Tensor) -> Tensor:
    """Lower bounds (P,) of ⟨c, z⟩, z what the relaxed layers make of the images ``rows`` (P,) of the box ``start``."""
    constant = c.new_zeros(len(c))
    for relaxation in reversed(relaxed):
        c, more = relaxation.back(c, rows)
        constant = constant + more
    # Each pixel goes to the end of its range that makes ⟨c, x⟩ smallest.
    return constant + torch.where(c > 0, c * start.lower[rows], c * start.upper[rows]).flatten(1).sum(1)


def _windows(z: Tensor, pool: nn.MaxPool2d) -> Tensor:
    """The entries under each position of the pool, (N, C, h, w, entries); −∞ in the padding."""
    (rows, columns), (down, across), (top, left) = map(_pair, (pool.kernel_size, pool.stride, pool.padding))
    z = F.pad(z, (left, left, top, top), value=-torch.inf)
    return z.unfold(2, rows, down).unfold(3, columns, across).flatten(4)


def _pair(value) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _check_relaxed(layers: list[nn.Module]) -> None:
    for layer in layers:
        odd_pool = isinstance(layer, nn.MaxPool2d) and (_pair(layer.dilation) != (1, 1) or layer.ceil_mode)
        if odd_pool or isinstance(layer, nn.SiLU):
            expected = "dilation=1 and ceil_mode=False" if odd_pool else "ReLU"
            raise ValueError(
                f"{layer} has no linear relaxation here; expected {expected}. "
                'Use interval bounds: interval_bounds(…), or certified(…, method="interval").'
            )
