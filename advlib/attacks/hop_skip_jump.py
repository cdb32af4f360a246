"""HopSkipJump: the smallest perturbation that fools a victim which tells its labels and nothing else."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from advlib import contract
from advlib.attacks.blackbox import Attacked, BlackBox, black_box, check_start, draws_for_each
from advlib.ball import wide
from advlib.norms import L2, Ball, Linf

__all__ = ["hop_skip_jump"]

TRIES = 50  # pictures of noise shown in search of one that the victim gets wrong
FEWEST = 8  # probes from which an average direction is worth taking


def hop_skip_jump(
    victim: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    *,
    norm: type[Ball] = L2,
    target: int | Tensor | None = None,
    start: Tensor | None = None,
    queries: int = 5000,
    probes: int = 100,
    seed: int = 0,
    batch_size: int | None = None,
    return_queries: bool = False,
) -> Attacked:
    """The smallest perturbation that fools a victim which tells its label and nothing else.

    HopSkipJump: Chen, Jordan & Wainwright (2020), Algorithm 2. From an image that is far away but fools the victim,
    each round goes (1) straight towards x by bisection until just before the decision boundary, (2) along the
    boundary's normal, which is the mean of those directions in which a tiny step still fools (Eq. 16), (3) as far as
    a step that is halved until it fools. Untargeted it starts from noise; targeted it needs ``start``.

    Deviations: the authors' code draws fine uniform noise up to 10,000 times for a start. Here it is at most 50 times,
    in four grains and any brightness: a victim that calls all fine noise alike errs on some. A probe is never shorter
    than rounding lets a victim see. The closest image that fooled comes back, not the last.

    victim      an ``nn.Module`` or any callable; it answers with labels (N,), or with scores (N, K) of which only the
                argmax is used.
    norm        the distance to make small: ``L2`` or ``Linf``.
    start       images like x that fool the victim already: for a target, images of that class.
    queries     the most images the victim is shown for each image of x; one that needs fewer stops earlier.
    probes      directions in the first round's mean (B₀); √t times as many in round t.
    seed, batch_size  of the draws, each image having its own; and how many images the victim is shown at once.
    Shapes: x (N, C, H, W) in [0, 1], y (N,). An image that never fooled the victim comes back as it was. With
    ``return_queries`` the result is (x_adv, queries used (N,)).

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract; another norm; a start that does not fool;
        a target without start.

    >>> victim = lambda images: (images.mean((1, 2, 3)) > 0.4).long()
    >>> x_adv, asked = hop_skip_jump(victim, torch.full((2, 1, 4, 4), 0.5), torch.ones(2).long(), queries=200,
    ...                              return_queries=True)
    >>> victim(x_adv), bool((asked <= 200).all())
    (tensor([0, 0]), True)
    """
    contract.check_norm(norm, (L2, Linf), "hop_skip_jump")
    contract.check_count(probes, "probes")
    contract.check_images(x)
    if start is not None:
        check_start(start, x)
    elif target is not None:
        raise ValueError(
            "a targeted hop_skip_jump got no start; noise is hardly ever taken for a given class. Pass "
            "start=, images like x that the victim takes for their target."
        )
    with black_box(victim, x, y, target, queries, batch_size, seed, return_queries) as box:
        walk = _Walk(box, norm, probes, seed)
        rows = walk.begin(None if start is None else start.to(box.clean))
        walk.search(rows)
        for t in itertools.count(1):
            rows = rows[box.left(rows) > walk.bisections + FEWEST]
            if not len(rows):
                break
            walk.jump(rows, t)
            walk.search(rows)
        return box.result(walk.closest, return_queries)


# --------------------------------------------------------------------------------------- walking the boundary
class _Walk:
    """HopSkipJump's walk along the decision boundary: where each image is, and the closest place it has been."""

    def __init__(self, box: BlackBox, norm: type[Ball], probes: int, seed: int):
        self.box, self.unit, self.probes, self.draws = box, norm(1), probes, draws_for_each(box.clean, seed)
        self.at, self.closest = box.clean.clone(), box.clean.clone()
        self.distance = box.clean.new_full((len(box.clean),), torch.inf)  # of the closest; ∞ before there is one
        self.reach = torch.zeros_like(self.distance)  # δ, how far the probes go
        self.values = box.clean[0].numel()
        # A probe must move pixels by more than their rounding, or the victim sees no difference.
        self.least = 8 * torch.finfo(box.x.dtype).eps * self.values**0.5
        self.bisections = math.ceil(math.log2(self.values) * (1.5 if norm is L2 else 2))  # θ = d^(−3/2) or d^(−2)

    def begin(self, start: Tensor | None) -> Tensor:
        """Put each image that the victim gets right where it gets it wrong; returns the rows that are there."""
        rows = self.box.rows[~self._show(self.box.clean, self.box.rows)]
        missing = rows
        for k in range(TRIES if start is None else 1):
            missing = missing[self.box.left(missing) > 0]
            if not len(missing):
                break
            far = self._noise(missing, grain=2 ** (k % 4)) if start is None else start[missing]
            missing = missing[~self._show(far, missing)]
        if start is not None and len(missing):
            raise ValueError(
                f"start does not fool the victim for image {int(missing[0])} and {len(missing) - 1} more; "
                "expected images that it takes for their target, or for anything but their label."
            )
        return rows[self.distance[rows].isfinite()]

    def _noise(self, rows: Tensor, grain: int) -> Tensor:
        """Noise with pixels of ``grain``² and any brightness: a victim that calls all fine noise alike errs on some."""
        channels, height, width = self.at.shape[1:]
        small = (channels, -(-height // grain), -(-width // grain))
        coarse = (
            torch.stack(
                [
                    torch.rand(1, 1, 1, generator=self.draws[row])
                    - 1
                    + 2 * torch.rand(small, generator=self.draws[row])
                    for row in rows
                ]
            )
            .clamp(0, 1)
            .to(self.at)
        )
        return coarse.repeat_interleave(grain, 2).repeat_interleave(grain, 3)[:, :, :height, :width]

    def search(self, rows: Tensor) -> None:
        """Bisect the way from the clean image to where each is, and go to just beyond the boundary."""
        clean, way = self.box.clean[rows], self.at[rows] - self.box.clean[rows]
        far = self.unit.size(way)
        first = self.reach[rows] == 0
        self.reach[rows] = torch.where(first, 0.1, far / self.values).clamp_min(self.least)
        low, high = torch.zeros_like(far), far.clone()
        for _ in range(self.bisections):
            paying = (self.box.left(rows) > 0).nonzero().flatten()
            if not len(paying):
                return
            radius = (low + high)[paying] / 2
            between = clean[paying] + self.unit.project(way[paying], radius=radius)
            fooled = self._show(between.clamp_(0, 1), rows[paying])
            low[paying] = torch.where(fooled, low[paying], radius)
            high[paying] = torch.where(fooled, radius, high[paying])

    def jump(self, rows: Tensor, t: int) -> None:
        """Step away from the boundary along its normal, half as far again and again until the victim is fooled."""
        here, normal = self.at[rows], self.unit.steepest(self._normal(rows, round(self.probes * t**0.5)))
        step = self.unit.size(here - self.box.clean[rows]) / t**0.5
        trying = torch.arange(len(rows), device=rows.device)
        while len(trying := trying[self.box.left(rows[trying]) > self.bisections]):
            there = here[trying] + wide(step[trying]) * normal[trying]
            trying = trying[~self._show(there.clamp_(0, 1), rows[trying])]
            step /= 2

    def _normal(self, rows: Tensor, wanted: int) -> Tensor:
        """Eq. 16: the mean of random directions, each signed by whether a tiny step along it
        fools; the mean sign is taken off first, which lowers the variance."""
        counts = (self.box.left(rows) - self.bisections - 1).clamp_max(wanted).tolist()
        normals = []
        for row, count in zip(rows, counts):
            here, reach = self.at[row], self.reach[row]
            direction = L2(1).steepest(self._draw(row, count))
            shown = (here + reach * direction).clamp_(0, 1)
            sign = 2 * self.box.fooled(shown, row.expand(count)).to(here) - 1
            if bool((sign != sign[0]).any()):
                sign -= sign.mean()
            normals.append((wide(sign) * (shown - here) / reach).mean(0))
        return torch.stack(normals)

    def _draw(self, row: Tensor, count: int) -> Tensor:
        shape = (count, *self.at.shape[1:])
        if isinstance(self.unit, L2):
            return torch.randn(shape, generator=self.draws[row]).to(self.at)
        return (2 * torch.rand(shape, generator=self.draws[row]) - 1).to(self.at)

    def _show(self, images: Tensor, rows: Tensor) -> Tensor:
        """Ask about one image per row; go where the victim was fooled, and remember it if it is the closest."""
        fooled = self.box.fooled(images, rows)
        rows, images = rows[fooled], images[fooled]
        self.at[rows] = images
        distance = self.unit.size(images - self.box.clean[rows])
        closer = distance < self.distance[rows]
        self.closest[rows[closer]], self.distance[rows[closer]] = images[closer], distance[closer]
        return fooled
