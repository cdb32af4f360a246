"""NES: the engine's ascent along a gradient that is estimated from a black box's scores."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from advlib import contract
from advlib.attacks.ascent import Linear, climb
from advlib.attacks.blackbox import Attacked, BlackBox, black_box, draws_for_each
from advlib.device import VALUES_AT_ONCE, width
from advlib.norms import Ball

__all__ = ["nes"]


def nes(
    victim: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    within: Ball,
    *,
    target: int | Tensor | None = None,
    queries: int = 5000,
    samples: int = 50,
    sigma: float = 0.01,
    momentum: float = 0.9,
    seed: int = 0,
    batch_size: int | None = None,
    return_queries: bool = False,
) -> Attacked:
    """Projected gradient ascent along a gradient that is estimated from the victim's scores.

    Natural evolution strategies, Ilyas et al. (2018), Algorithm 1: ∇ ≈ 1/(σn) Σ f(x + σuᵢ) uᵢ with Gaussian uᵢ, drawn
    in antithetic pairs ±u. f is the margin. The ascent is the engine's: (queries − 1) / (samples + 1) steps that
    shrink in a straight line, since each also costs the query that tells whether the image fools by now.
    (The paper's f is the class's probability, which goes flat where the victim is sure.)

    victim      an ``nn.Module`` that gives logits, or any callable that gives logits or probabilities (N, K).
    queries     the most images the victim is shown for each image of x; one that fools is asked about no more.
    within      any ball; one made of a tensor (N,) gives each image an ε of its own.
    target      a class index, or one per image (N,).
    momentum    share of the sum of earlier estimates that is added to each.
    samples     probes for each gradient, an even number.
    sigma       standard deviation of a probe, in pixel units; larger ones survive a victim that rounds its input.
    seed, batch_size  of the probes, each image having its own; and how many images the victim is shown at once.
    Shapes: x (N, C, H, W) in [0, 1], y (N,); returns images like x, or with ``return_queries`` also the queries used
    (N,).

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract; too few queries for one step.

    >>> from advlib.norms import Linf
    >>> victim = lambda images: images.flatten(1)[:, :2]
    >>> x = torch.tensor([0.6, 0.5, 0.0, 0.0]).view(1, 1, 2, 2)
    >>> x_adv, asked = nes(victim, x, torch.tensor([0]), Linf(0.1), queries=100, samples=10, return_queries=True)
    >>> int(victim(x_adv).argmax()), int(asked)
    (1, 12)
    """
    contract.check_images(x)
    contract.check_ball(within, x)
    contract.check_count(samples, "samples", least=2)
    contract.check_count(queries, "queries", least=samples + 2)
    if samples % 2:
        raise ValueError(f"samples is {samples}; expected an even number: probes come in pairs ±u.")
    contract.check_number(sigma, "sigma", positive=True)
    contract.check_number(momentum, "momentum")
    with black_box(victim, x, y, target, queries, batch_size, seed, return_queries) as box:
        draws = draws_for_each(box.clean, seed)

        def gradient(adv: Tensor, rows: Tensor):
            margin = box.margins(adv, rows)
            direction = torch.zeros_like(adv)
            standing = (margin <= 0).nonzero().flatten()  # nobody asks for a way on who is there
            at_once = max(1, VALUES_AT_ONCE.get(adv.device.type, 2**22) // (samples * width(victim, adv[0])))
            for part in standing.split(at_once) if len(standing) else ():
                direction[part] = _estimate(box, adv[part], rows[part], draws, samples, sigma)
            return margin, margin, direction

        adv, _ = climb(
            gradient,
            box.margins,
            box.clean,
            box.clean,
            within,
            steps=(queries - 1) // (samples + 1),
            schedule=Linear(2.0),
            momentum=momentum,
        )
        return box.result(adv, return_queries)


def _estimate(box: BlackBox, adv: Tensor, rows: Tensor, draws: list, samples: int, sigma: float) -> Tensor:
    """Σ (f(x + σu) − f(x − σu)) u over half as many u as samples. Probes are pictures, so they end at 0 and 1."""
    half = samples // 2
    u = torch.stack([torch.randn((half, *adv.shape[1:]), generator=draws[row]) for row in rows]).to(adv)
    pairs = torch.stack([adv[:, None] + sigma * u, adv[:, None] - sigma * u]).clamp_(0, 1)
    margins = box.margins(pairs.flatten(0, 2), rows.repeat_interleave(half).repeat(2)).view(2, len(rows), half)
    # Where the caller has autocast on, the sum comes in half precision.
    return torch.einsum("nh,nhcij->ncij", margins[0] - margins[1], u).to(adv) / (sigma * samples)
