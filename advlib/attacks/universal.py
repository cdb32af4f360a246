"""One perturbation for all images: found once, then added to whatever comes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advlib import contract
from advlib.attacks.together import climb_together
from advlib.attacks.victim import round_towards
from advlib.norms import L0, Ball

__all__ = ["universal"]


def universal(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    within: Ball,
    *,
    target: int | Tensor | None = None,
    steps: int = 200,
    seed: int = 0,
    batch_size: int = 128,
) -> Tensor:
    """The one δ in ``within`` that fools the model on as many of the images as possible: clip(x + δ).

    That there is such a δ was shown by Moosavi-Dezfooli et al. (2017), "Universal adversarial perturbations". It is
    found as in Shafahi et al. (2020), "Universal adversarial training": by stochastic gradient ascent on the mean
    of cross-entropies, each cut off at an upper bound, and each computed from the log-odds u as log(1 + exp u), which
    does not round.

    Returns δ (1, C, H, W) and not attacked images, because δ is what is universal: it belongs on images that it has
    never seen. Use ``(x + delta).clamp(0, 1)``. The δ kept is the one that fools most of *all* the images, among the
    iterates at the start of each pass through them and the last one.

    steps       each on a minibatch; ``seed`` decides their order.
    batch_size  images in each step. Other attacks only save memory by it; here it changes the result.
    Shapes: x (N, C, H, W) in [0, 1], y (N,), target an int or (N,).

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract, and a model that gives NaN.

    >>> from advlib.norms import Linf
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[1.0, 1, 0, 0], [0.0, 0, 1, 1]]))
    >>> x = torch.tensor([0.55, 0.5, 0.5, 0.45]).view(1, 1, 2, 2).repeat(6, 1, 1, 1)
    >>> universal(model, x, torch.zeros(6).long(), Linf(0.1), steps=10).flatten()
    tensor([-0.1000, -0.1000,  0.1000,  0.1000])
    """
    contract.check_images(x)
    contract.check_ball(within)
    contract.check_one_eps(within, "universal")
    # δ lives in [-1, 1]. As a picture it is (1 + δ) / 2, where grey means "no change": the engine keeps pictures in
    # [0, 1] and in a ball around their start, which is the same ball in half units. (A count of pixels has no units.)
    grey = torch.full_like(x[:1], 0.5)
    half = within if isinstance(within, L0) else within.scaled(0.5)
    add = lambda picture, images, generator: images + (2 * picture - 1)
    delta = (
        2 * climb_together(model, x, y, add, grey, half, target=target, steps=steps, seed=seed, batch_size=batch_size)
        - 1
    )
    return round_towards(torch.zeros_like(delta), delta.abs(), x.dtype).to(x.device) * delta.sign().to(x)
