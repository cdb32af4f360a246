"""Many small steps instead of one: BIM, PGD, MI-FGSM and Auto-PGD, all the same ascent with other settings."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from advlib import losses
from advlib.attacks.ascent import Adaptive, Constant, Fixed, Iterate, Linear, ascend
from advlib.contract import check_ball, check_count, check_step
from advlib.norms import Ball

__all__ = ["bim", "pgd", "mifgsm", "apgd"]


def bim(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    within: Ball,
    *,
    steps: int = 10,
    step: float | None = None,
    target: int | Tensor | None = None,
    loss: Callable = losses.log_odds,
    keep: str = "best",
    early_stop: bool = True,
    mask: Tensor | None = None,
    batch_size: int | None = None,
    fast: bool | str = True,
    callback: Callable[[Iterate], object] | None = None,
) -> Tensor:
    """Basic iterative method: FGSM repeated with a small step, clipped back into the ball each time.

    Kurakin, Goodfellow & Bengio (2017), "Adversarial examples in the physical world", Section 2.2:
    x₀ = x, xₖ₊₁ = clip(xₖ + α · sign(∇ₓ loss(xₖ, y))) for L∞; other balls take their own steepest step. The direction
    of the paper's cross-entropy is computed from the log-odds, which do not round.

    Deviations: the paper's α is one grey level of 255, and the number of steps follows from ε; it keeps the last
    iterate and takes all steps (here ``keep="last", early_stop=False``).

    step        α, in the units of the ball's ε; None for 2.5 · ε / steps, which reaches the ball's surface and
                leaves some steps to move along it (Madry et al. 2018, Appendix A).
    model, within, steps, target, loss, keep, early_stop, mask, batch_size, fast, callback: as in
    ``advlib.attacks.ascend``.
    Shapes: x (N, C, H, W) in [0, 1], y (N,); returns images like x.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract; a step that is not positive.

    >>> import torch
    >>> from advlib.norms import Linf
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> x, y = torch.rand(5, 1, 2, 2), torch.zeros(5, dtype=torch.long)
    >>> bool(((bim(model, x, y, Linf(0.1), steps=3) - x).abs() < 0.1 + 1e-6).all())
    True
    """
    return ascend(
        model,
        x,
        y,
        within,
        target=target,
        steps=steps,
        schedule=_constant(within, step, 2.5, steps),
        loss=loss,
        keep=keep,
        early_stop=early_stop,
        mask=mask,
        batch_size=batch_size,
        fast=fast,
        callback=callback,
    )


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    within: Ball,
    *,
    steps: int = 40,
    step: float | None = None,
    restarts: int = 1,
    random_start: bool = True,
    momentum: float = 0.3,
    target: int | Tensor | None = None,
    loss: Callable = losses.log_odds,
    keep: str = "best",
    early_stop: bool = True,
    seed: int = 0,
    mask: Tensor | None = None,
    batch_size: int | None = None,
    fast: bool | str = True,
    callback: Callable[[Iterate], object] | None = None,
) -> Tensor:
    """Projected gradient descent (ascent, here) from a random start: the standard attack inside a ball.

    Madry et al. (2018), Section 2.1. The textbook's form, for L∞ and no target::

        x_adv = x + Linf(eps).sample(x, torch.Generator().manual_seed(seed))
        for _ in range(steps):
            x_adv = x_adv.detach().requires_grad_()
            loss = F.cross_entropy(model(x_adv), y, reduction="sum")
            (grad,) = torch.autograd.grad(loss, x_adv)
            x_adv = x_adv + step * grad.sign()
            x_adv = (x + (x_adv - x).clamp(-eps, eps)).clamp(0, 1)
        x_adv = x_adv.detach()

    is ``pgd(model, x, y, Linf(eps), steps=steps, step=step, momentum=0, keep="last", early_stop=False, seed=seed)``, up
    to rounding, for a model in eval mode. Begun at ``x_adv = x``, these lines are
    ``bim(model, x, y, Linf(eps), steps=steps, step=step, keep="last", early_stop=False)``.

    The log-odds have cross-entropy's direction, so that the two agree where that loss does not round; with
    ``loss=losses.cross_entropy`` they do on every image that has a gradient.

    By default the step shrinks in a straight line from 1.5 ε to 0 and the gradient carries momentum 0.3 (with 40 steps
    that finds more than constant steps of any size), the best iterate is kept, and a fooled image is left alone.

    step        a constant α in the units of the ball's ε; None for the shrinking one.
    momentum    share of the sum of earlier gradients that is added to each (μ of MI-FGSM).
    restarts    runs from other random starts on the images that still stand; the best outcome is kept.
    model, within, steps, random_start, target, loss, keep, early_stop, seed, mask, batch_size, fast, callback: as
    in ``advlib.attacks.ascend``.
    Shapes: x (N, C, H, W) in [0, 1], y (N,); returns images like x.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract; a step that is not positive.

    >>> import torch
    >>> from advlib.norms import L2
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> x, y = torch.rand(5, 1, 2, 2), torch.zeros(5, dtype=torch.long)
    >>> bool((L2(0.5).size(pgd(model, x, y, L2(0.5), steps=5, restarts=2) - x) < 0.5 + 1e-6).all())
    True
    """
    schedule = Linear(1.5) if step is None else _constant(within, step)
    return ascend(
        model,
        x,
        y,
        within,
        target=target,
        steps=steps,
        schedule=schedule,
        loss=loss,
        momentum=momentum,
        random_start=random_start,
        restarts=restarts,
        keep=keep,
        early_stop=early_stop,
        seed=seed,
        mask=mask,
        batch_size=batch_size,
        fast=fast,
        callback=callback,
    )


def mifgsm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    within: Ball,
    *,
    steps: int = 10,
    step: float | None = None,
    momentum: float = 1.0,
    target: int | Tensor | None = None,
    loss: Callable = losses.log_odds,
    keep: str = "best",
    early_stop: bool = True,
    mask: Tensor | None = None,
    batch_size: int | None = None,
    fast: bool | str = True,
    callback: Callable[[Iterate], object] | None = None,
) -> Tensor:
    """Momentum iterative FGSM: steps follow gₖ₊₁ = μ·gₖ + ∇/‖∇‖₁, a memory that transfers better to other models.

    Dong et al. (2018), "Boosting adversarial attacks with momentum", Eq. 6 and 7, with cross-entropy's direction
    computed from the log-odds.

    Deviations: the paper keeps the last iterate and takes all steps (here ``keep="last", early_stop=False``), as
    ``transfer`` does; an image that only has to fool the model at hand can stop. Other balls than L∞ take their own
    steepest step.

    step        α, in the units of the ball's ε; None for ε / steps, as in the paper.
    model, within, steps, target, loss, keep, early_stop, mask, batch_size, fast, callback: as in
    ``advlib.attacks.ascend``.
    Shapes: x (N, C, H, W) in [0, 1], y (N,); returns images like x.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract; a step that is not positive.

    >>> import torch
    >>> from advlib.norms import Linf
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> x, y = torch.rand(5, 1, 2, 2), torch.zeros(5, dtype=torch.long)
    >>> bool(((mifgsm(model, x, y, Linf(0.1)) - x).abs() < 0.1 + 1e-6).all())
    True
    """
    return ascend(
        model,
        x,
        y,
        within,
        target=target,
        steps=steps,
        schedule=_constant(within, step, 1.0, steps),
        loss=loss,
        momentum=momentum,
        keep=keep,
        early_stop=early_stop,
        mask=mask,
        batch_size=batch_size,
        fast=fast,
        callback=callback,
    )


def apgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    within: Ball,
    *,
    steps: int = 100,
    restarts: int = 1,
    target: int | Tensor | None = None,
    loss: Callable = losses.log_odds,
    random_start: bool = True,
    early_stop: bool = True,
    seed: int = 0,
    mask: Tensor | None = None,
    batch_size: int | None = None,
    fast: bool | str = True,
    callback: Callable[[Iterate], object] | None = None,
) -> Tensor:
    """Auto-PGD: no step size to choose; it is halved image by image as the loss stops rising.

    Croce & Hein (2020), Algorithm 1, with α = 0.75 and the direction of cross-entropy computed from the log-odds,
    which do not round. ``loss=losses.dlr`` gives APGD-DLR, and with ``target`` the targeted DLR attack.

    Deviations: the first step has no earlier move to repeat and is 0.75 of a step, where the paper's is a whole one.
    The random start is a point of the ball; the authors' code begins on the surface in L∞ and L2. In L1 and L0 it is
    the same algorithm with the ball's own steepest step. The authors' attack for L1 is another (Croce & Hein 2021,
    "Mind the box": its first step is ε, and the number of values that a step changes adapts), and for L0 there is none.

    model, within, steps, restarts, target, loss, random_start, early_stop, seed, mask, batch_size, fast, callback: as
    in ``advlib.attacks.ascend``.
    Shapes: x (N, C, H, W) in [0, 1], y (N,); returns images like x.

    Raises
        TypeError, ValueError: input that breaks the pixel-space contract.

    >>> import torch
    >>> from advlib.norms import Linf
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> x, y = torch.rand(5, 1, 2, 2), torch.zeros(5, dtype=torch.long)
    >>> bool(((apgd(model, x, y, Linf(0.1), steps=10) - x).abs() < 0.1 + 1e-6).all())
    True
    """
    return ascend(
        model,
        x,
        y,
        within,
        target=target,
        steps=steps,
        schedule=Adaptive(2.0),
        loss=loss,
        inertia=0.25,
        random_start=random_start,
        restarts=restarts,
        early_stop=early_stop,
        seed=seed,
        mask=mask,
        batch_size=batch_size,
        fast=fast,
        callback=callback,
    )


def _constant(within: Ball, step: float | None, reach: float = 1.0, steps: int = 1) -> Constant | Fixed:
    """The step α, the same for all images; where it is None, ``steps`` of them go ``reach`` · ε far."""
    check_ball(within)
    check_count(steps, "steps")
    if step is None:
        return Constant(reach / steps)
    check_step(step)
    return Fixed(step)
