"""Losses an attacker climbs, one value per image: the higher, the better for the attack.

Each takes logits (N, K), labels y (N,) and, for a targeted attack, target classes (N,). Untargeted, it grows
as the label loses; targeted, as the target wins.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from advlib.device import at_least_float32

__all__ = ["cross_entropy", "margin", "dlr"]


def cross_entropy(logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """−log softmax(z)_y; targeted, +log softmax(z)_t. Shapes: (N, K), (N,) → (N,).

    exp(−loss) is the probability of the label. On a confident model that probability rounds to exactly 1,
    and the gradient to exactly 0: use ``margin`` there.

    >>> cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([0]))
    tensor([0.6931])
    """
    if target is None:
        return F.cross_entropy(at_least_float32(logits), y, reduction="none")
    return -F.cross_entropy(at_least_float32(logits), target, reduction="none")


def margin(logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """max_{j≠y} z_j − z_y; targeted, z_t − max_{j≠t} z_j. Positive exactly where the attack has won.

    The f of Carlini & Wagner (2017), Eq. f₆, without its cut at −κ.

    >>> margin(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]))
    tensor([-1.])
    """
    logits = at_least_float32(logits)
    goal = y if target is None else target
    chosen = logits.gather(1, goal[:, None])[:, 0]
    best_other = logits.scatter(1, goal[:, None], -torch.inf).amax(1)
    return best_other - chosen if target is None else chosen - best_other


def dlr(logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """Difference of logits ratio, Croce & Hein (2020), Eq. 6: the margin in units of z_π₁ − z_π₃.

    Shifting or scaling the logits leaves it as it is. Targeted (Eq. 7): −(z_y − z_t) / (z_π₁ − ½(z_π₃ + z_π₄)).

    Raises
        ValueError: fewer than 3 classes (4 when targeted), for which the ratio is not defined.

    >>> dlr(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]))
    tensor([-0.5000])
    """
    logits = at_least_float32(logits)
    needed = 3 if target is None else 4
    if logits.shape[1] < needed:
        raise ValueError(f"dlr got {logits.shape[1]} classes; its denominator needs at least {needed}. Use margin.")
    ranked = logits.topk(needed, dim=1).values
    if target is None:
        return margin(logits, y) / (ranked[:, 0] - ranked[:, 2]).clamp_min(1e-12)
    gap = (logits.gather(1, target[:, None]) - logits.gather(1, y[:, None]))[:, 0]
    return gap / (ranked[:, 0] - (ranked[:, 2] + ranked[:, 3]) / 2).clamp_min(1e-12)
