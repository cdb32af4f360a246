"""One pixel, or a few: bred by differential evolution from the victim's scores. All channels count once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from advlib import contract
from advlib.attacks.blackbox import Attacked, BlackBox, black_box, draws_for_each

__all__ = ["one_pixel"]


def one_pixel(
    victim: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    pixels: int = 1,
    *,
    target: int | Tensor | None = None,
    queries: int = 4000,
    population: int = 100,
    seed: int = 0,
    batch_size: int | None = None,
    return_queries: bool = False,
) -> Attacked:
    """Breed the one pixel (or the few) that fools, from the victim's scores: differential evolution.

    Su, Vargas & Sakurai (2019), Section III: a candidate is a place and a colour for each pixel; children are a + F ·
    (b − c) of three parents with F = 0.5, and a child that does better takes its parent's place. Deviations: the first
    colours are uniform (theirs: normal around grey), and fitness is the margin, no probability.

    victim      an ``nn.Module`` or any callable that answers images (N, C, H, W) with scores (N, K).
    target      a class index, or one per image (N,).
    queries     the most images the victim is shown for each image of x; an image stops once it is won.
    population  candidates in a generation (Su et al.: 400, in at most 100 generations).
    seed, batch_size  of the draws, each image having its own; and how many images the victim is shown at once.
    Shapes: x (N, C, H, W) in [0, 1], y (N,); returns images like x with at most ``pixels`` changed, the best
    found where none fools. With ``return_queries`` the result is (x_adv, queries used (N,)).

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract; fewer than 5 in a population.

    >>> victim = lambda images: torch.stack([images.amax((1, 2, 3)), torch.full((len(images),), 0.5)], dim=1)
    >>> x = torch.zeros(1, 1, 3, 3)
    >>> x[0, 0, 1, 2] = 1.0                                      # one bright pixel decides: put it out
    >>> one_pixel(victim, x, torch.tensor([0]), queries=2000).max().item() < 0.5
    True
    """
    contract.check_count(pixels, "pixels")
    contract.check_count(population, "population", least=5)
    with black_box(victim, x, y, target, queries, batch_size, seed, return_queries) as box:
        adv = box.clean.clone()
        standing = box.rows[box.margins(box.clean, box.rows) <= 0]
        draws = draws_for_each(box.clean, seed)
        for row in standing.tolist():
            adv[row] = _breed(box, row, pixels, population, draws[row])
        return box.result(adv, return_queries)


def _breed(box: BlackBox, row: int, pixels: int, population: int, draw: torch.Generator) -> Tensor:
    """The image ``row`` with the best few pixels that differential evolution finds within the budget."""
    clean = box.clean[row]
    c, h, w = clean.shape
    best, best_margin = clean, -torch.inf
    refused: Exception | None = None

    def painted(genes: Tensor) -> Tensor:
        """Candidates (S, pixels, 2 + C) in [0, 1], each pixel a row, a column and a colour, as images."""
        down, right = ((genes[:, :, i] * size).long().clamp_max(size - 1) for i, size in enumerate((h, w)))
        images = clean.repeat(len(genes), 1, 1, 1)
        index = (down * w + right)[:, None, :].expand(-1, c, -1)
        return images.flatten(2).scatter_(2, index, genes[:, :, 2:].mT.to(images)).view_as(images)

    def energy(genes: np.ndarray) -> np.ndarray:
        """What SciPy minimises: minus the margin. Nothing is asked after a success or beyond the budget."""
        nonlocal best, best_margin, refused
        energies = np.full(genes.shape[1], np.inf)
        affordable = min(genes.shape[1], int(box.left(row)))
        if best_margin > 0 or not affordable:
            return energies
        candidates = torch.from_numpy(genes.T[:affordable].copy()).view(affordable, pixels, 2 + c)
        images = painted(candidates.to(clean.device))
        try:
            margins = box.margins(images, torch.full((affordable,), row, device=clean.device))
        except Exception as error:
            refused = error
            raise
        if margins.max() > best_margin:
            best, best_margin = images[margins.argmax()], float(margins.max())
        energies[:affordable] = -margins.double().cpu().numpy()
        return energies

    from scipy.optimize import differential_evolution  # a second to import, and nothing else here asks for it

    size = min(population, max(5, int(box.left(row))))  # SciPy wants five at least
    first = torch.rand(size, pixels * (2 + c), generator=draw, dtype=torch.float64)
    try:
        differential_evolution(
            energy,
            [(0, 1)] * first.shape[1],
            init=first.numpy(),
            mutation=0.5,
            recombination=1.0,
            strategy="rand1bin",
            maxiter=box.queries // size + 1,
            tol=0,
            polish=False,
            vectorized=True,
            updating="deferred",
            seed=int(torch.randint(2**31, (), generator=draw)),
            callback=lambda *_, **__: best_margin > 0 or not int(box.left(row)),
        )
    except Exception:
        if refused is None:
            raise
    if refused is not None:  # SciPy takes some of the victim's errors for its caller's, and puts one of its own instead
        raise refused
    return best
