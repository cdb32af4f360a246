"""Losses an attacker climbs, one value per image: the higher, the better for the attack.

Each takes logits (N, K), labels y (N,) and, for a targeted attack, target classes (N,). Untargeted, it grows
as the label loses; targeted, as the target wins. All raise TypeError or ValueError for logits, labels and targets that
are none, or do not fit each other.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from advlib.device import at_least_float32
from advlib.tensors import check_labels, check_logits_of

__all__ = ["cross_entropy", "log_odds", "margin", "dlr"]


def cross_entropy(logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """−log softmax(z)_y; targeted, +log softmax(z)_t. Shapes: (N, K), (N,) → (N,).

    exp(−loss) is the probability of the label. On a confident model that probability rounds to exactly 1, and with it
    the gradient's direction goes wrong before it becomes exactly 0: ``log_odds`` has the same direction, unrounded.

    >>> cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([0]))
    tensor([0.6931])
    """
    logits, goal = _checked(logits, y, target)
    _of(logits, goal)
    value = F.cross_entropy(logits, goal, reduction="none")
    return value if target is None else -value


def log_odds(logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """The log-odds of being wrong, u = log Σ_{i≠y} exp z_i − z_y = log((1 − p_y) / p_y). Shapes: (N, K), (N,) → (N,).

    Cross-entropy is ℓ = log(1 + exp u), so ∇ℓ = σ(u) ∇u with σ(u) = 1 − p_y > 0: the same direction for each image, and
    the same order of values. In float32 p_y rounds to 1 on a confident image: the term −∇z_y of ∇ℓ is lost, then all of
    it. u has no such rounding. Targeted: −u of the target, the log-odds that it wins.

    The rounding is analysed by Yu et al. (2025), "Theoretical analysis of relative errors in gradient computations for
    adversarial attacks with CE loss", who scale the logits against it.

    >>> log_odds(torch.tensor([[40.0, 0.0]]), torch.tensor([0]))
    tensor([-40.])
    """
    logits, goal = _checked(logits, y, target)
    chosen = _of(logits, goal)
    others = logits.scatter(1, goal[:, None], -torch.inf).logsumexp(1)
    return others - chosen if target is None else chosen - others


def margin(logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """max_{j≠y} z_j − z_y; targeted, z_t − max_{j≠t} z_j. Positive exactly where the attack has won.

    The f of Carlini & Wagner (2017), "Towards evaluating the robustness of neural networks",
    Eq. f₆, without its cut at −κ.

    >>> margin(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]))
    tensor([-1.])
    """
    logits, goal = _checked(logits, y, target)
    chosen = _of(logits, goal)
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
    logits, _ = _checked(logits, y, target)
    needed = 3 if target is None else 4
    if logits.shape[1] < needed:
        raise ValueError(f"dlr got {logits.shape[1]} classes; its denominator needs at least {needed}. Use margin.")
    ranked = logits.topk(needed, dim=1).values
    if target is None:
        return margin(logits, y) / (ranked[:, 0] - ranked[:, 2]).clamp_min(1e-12)
    gap = _of(logits, target.long()) - _of(logits, y.long())
    return gap / (ranked[:, 0] - (ranked[:, 2] + ranked[:, 3]) / 2).clamp_min(1e-12)


def _checked(logits: Tensor, y: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor]:
    """The logits in at least float32, and the classes that a loss is about: the targets, or else the labels."""
    check_logits_of(logits, y, target)
    return at_least_float32(logits), (y if target is None else target).long()


def _of(logits: Tensor, classes: Tensor) -> Tensor:
    """Each image's logit of its class; ValueError for a class that is none."""
    try:
        return logits.gather(1, classes[:, None])[:, 0]
    except RuntimeError:
        check_labels(classes, len(logits), logits.shape[1], name="y or target")
        raise
