"""The fast gradient (sign) method: the exact answer for a linear loss."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from advlib import losses
from advlib.attacks.ascent import Constant, ascend
from advlib.norms import Ball

__all__ = ["fgsm"]


def fgsm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    within: Ball,
    *,
    target: int | Tensor | None = None,
    loss: Callable = losses.log_odds,
    mask: Tensor | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """x + argmax ⟨∇ₓ loss, δ⟩ over the δ of ``within`` that stay in the pixel box: one step, one gradient.

    In an L∞ ball this is clip(x + ε · sign(∇ₓ loss)), the fast gradient sign method of Goodfellow et al. (2015),
    Section 4. In an L2 ball δ runs along the gradient, in an L1 or L0 ball it fills the pixels with the largest
    one. With ``target`` it steps towards that class: the one-step target class method of Kurakin, Goodfellow & Bengio
    (2017), "Adversarial machine learning at scale".

    Deviation: the paper leaves out the pixel box. Here the step is the best one that stays in it.

    The loss of the paper is cross-entropy. Its direction is computed by way of the log-odds, which have the same sign
    in every pixel and do not round: on confident images cross-entropy itself, in float32, steps elsewhere.

    model, within, target, loss, mask, batch_size: as in ``advlib.attacks.ascend``.
    Shapes: x (N, C, H, W) in [0, 1], y (N,) class indices; returns images like x.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract.

    >>> import torch
    >>> from advlib.norms import Linf
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[1.0, 1, 0, 0], [0.0, 0, 1, 1]]))
    >>> x = torch.full((1, 1, 2, 2), 0.5)
    >>> (fgsm(model, x, torch.tensor([0]), Linf(0.1)) - x).flatten()
    tensor([-0.1000, -0.1000,  0.1000,  0.1000])
    """
    return ascend(
        model,
        x,
        y,
        within,
        target=target,
        loss=loss,
        steps=1,
        schedule=Constant(1.0),
        keep="last",
        early_stop=False,
        mask=mask,
        batch_size=batch_size,
        fast=False,
    )
