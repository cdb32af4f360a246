"""Checkers for the chapter on the loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from advlib import losses
from advlib.exercises import expect
from advlib.exercises import loss_mistakes as mistakes
from advlib.exercises.frame import Attempt, Mistake, Suspects, checks_function, checks_value

# --- my_logsumexp(z), my_cross_entropy(z, y) and my_margin_loss(z, y) -------------------------------------


@checks_function
def logsumexp(attempt: Attempt) -> str:
    """``my_logsumexp(z)`` is log Σⱼ exp zⱼ for each row, whatever the size of the logits."""
    for z, _ in _batches():
        before = z.clone()
        result = attempt(z)
        _intact(z, before)
        expect.one_per_image(result, z)
        _compare(result, z.logsumexp(1), mistakes.of_logsumexp(z))
    return "right on five batches, with logits from -1000 to 1000 side by side"


@checks_function
def cross_entropy(attempt: Attempt) -> str:
    """``my_cross_entropy(z, y)`` is log Σⱼ exp zⱼ − z_y for each row, and can be differentiated."""
    for z, y in _batches():
        _judge(attempt, z, y, losses.cross_entropy(z, y), mistakes.of_cross_entropy(z, y))
    _differentiable(attempt, losses.cross_entropy)
    return "right on five batches, with logits from -1000 to 1000; its gradient is p - e_y"


@checks_function
def margin_loss(attempt: Attempt) -> str:
    """``my_margin_loss(z, y)`` is the largest wrong logit minus the true one for each row."""
    for z, y in _batches():
        _judge(attempt, z, y, losses.margin(z, y), mistakes.of_margin(z, y))
    _differentiable(attempt, losses.margin)
    return "right on five batches, rows read rightly and wrongly; its gradient is 1 and -1 at two classes"


def _batches() -> list[tuple[Tensor, Tensor]]:
    """Logits and labels: ordinary ones first, then those on which only a careful answer survives."""

    def drawn(n: int, k: int, seed: int, scale: float = 3.0, shift: float = 0.0) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        y = torch.randint(k, (n,), generator=generator)
        return shift + scale * torch.randn(n, k, generator=generator), y

    far, y = drawn(6, 5, seed=4, scale=100)
    far += torch.tensor([1000.0, -1000.0, 0.0, 500.0, -500.0, 0.0])[:, None]
    return [drawn(7, 5, seed=0), drawn(6, 6, seed=1), drawn(1, 16, seed=2), drawn(5, 4, seed=3, shift=-9), (far, y)]


def _judge(attempt: Attempt, z: Tensor, y: Tensor, right: Tensor, suspects: Suspects) -> None:
    before = z.clone()
    result = attempt(z, y)
    _intact(z, before)
    expect.one_per_image(result, z)
    _compare(result, right, suspects)


def _compare(result: Tensor, right: Tensor, suspects: Suspects) -> None:
    """Raise what is wrong with one batch's result, a known mistake by its name."""
    result = result.detach()
    if mistakes.alike(result, right):
        return
    expect.no_known_mistake(result, suspects, right, same=mistakes.alike)
    if not result.isfinite().all():
        raise Mistake(
            f"{int((~result.isfinite()).sum())} of {len(result)} results are nan or infinite; "
            f"the right ones reach from {right.min().item():.0f} to {right.max().item():.0f}",
            "exp of a large number, log of one that rounded to 0, or infinity minus infinity",
            "exponentiate only differences to each row's own maximum",
        )
    first = (result - right).abs().argmax()
    raise Mistake(
        f"for one image the result is {result[first].item():.4f}, expected {right[first].item():.4f}",
        "another formula than the one asked for",
        "try it on z = [[0., 0.]], where log-sum-exp is log 2, and compare by hand",
    )


def _intact(z: Tensor, before: Tensor) -> None:
    if not torch.equal(z, before):
        raise Mistake(
            "the caller's z was changed",
            "an assignment into z, or an operation in place",
            "work on a copy: others = z.clone()",
        )


def _differentiable(attempt: Attempt, loss) -> None:
    """The gradient in the logits, on which chapter 3 and every attack depend; also where logits are large."""
    for z, y in _batches():
        z.requires_grad_()
        (right,) = torch.autograd.grad(loss(z, y).sum(), z)
        result = attempt(z, y)
        if not result.requires_grad:
            raise Mistake(
                "the values are right, but the result records no gradient",
                "the graph was cut: .item(), .detach(), .data, numpy, torch.no_grad or torch.tensor(…)",
                "compute with the tensor z itself from beginning to end",
            )
        (grad,) = torch.autograd.grad(result.sum(), z, allow_unused=True)
        if grad is None or not mistakes.alike(grad.flatten(), right.flatten()):
            raise Mistake(
                "the values are right, but the gradient in z is not",
                "a part of the formula was detached, or a branch gives nan where it is not used",
                "compute with the tensor z itself, by one formula for all rows",
            )


# --- the factor at which half of the images lose their gradient -------------------------------------------


@checks_value
def flat_factor(factor: float, z: Tensor, y: Tensor) -> str:
    """``factor`` · z leaves half of the rows without any cross-entropy gradient; 5 % less does not."""
    factor = expect.number(factor, "the factor")
    if factor <= 0:
        raise Mistake(
            f"the factor is {factor:g}",
            "logits times zero or less are another network",
            "look among the numbers above 0",
        )

    def silent(scale: float) -> float:
        logits = (scale * z.detach()).requires_grad_()
        (grad,) = torch.autograd.grad(F.cross_entropy(logits, y, reduction="sum"), logits)
        return (grad == 0).all(1).float().mean().item()

    if silent(1.05 * factor) < 0.5:
        no_loss = (F.cross_entropy(factor * z, y, reduction="none") == 0).float().mean().item()
        cause = "the loss was looked at, or the slope at the true class alone" if no_loss >= 0.5 else "it is too small"
        raise Mistake(
            f"times {factor:.3g}, {silent(factor):.0%} of the images have no gradient left "
            f"({no_loss:.0%} have a loss of 0)",
            cause,
            "count the images for which all entries of the gradient are exactly 0",
        )
    if silent(0.95 * factor) >= 0.5:
        raise Mistake(
            f"times {0.95 * factor:.3g}, already {silent(0.95 * factor):.0%} of the images have no gradient",
            "the search stopped early, or its steps are too long",
            "try smaller factors, in steps of a twentieth",
        )
    return f"times {factor:.3g}, half of the {len(z)} images have no gradient left; with 5 % less, fewer"
