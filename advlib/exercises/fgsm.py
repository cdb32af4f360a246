"""Checkers for the chapter on FGSM."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from advlib.contract import frozen
from advlib.evaluate import predict
from advlib.exercises import expect, specimens
from advlib.exercises import fgsm_mistakes as mistakes
from advlib.exercises.frame import Attempt, Mistake, Suspects, checks_function, checks_value
from advlib.exercises.specimens import Specimen

Attack = Callable[..., Tensor]
Size = Callable[[Tensor], Tensor]


# --- my_fgsm(model, x, y, eps) and my_fgm_l2(model, x, y, eps) -----------------------------------------


@checks_function
def fgsm(attempt: Attempt) -> str:
    """``my_fgsm(model, x, y, eps)`` is clip(x + ε · sign(∇ₓ loss), 0, 1), on any model and batch."""
    for specimen in _specimens((8 / 255, 0.1, 0.25, 0.03)):
        _compare(
            attempt, specimen, mistakes.fgsm, mistakes.fgsm_mistakes, "L∞", lambda d: d.abs().flatten(1).max(1).values
        )
    return "the same images as the formula, on four models, four ε, one and three channels, batches of 1 to 6"


@checks_function
def fgm_l2(attempt: Attempt) -> str:
    """``my_fgm_l2(model, x, y, eps)`` is clip(x + ε · g / ‖g‖₂, 0, 1) with g = ∇ₓ loss, each image by
    itself."""
    for specimen in (*_specimens((1.0, 0.5, 3.0, 2.0)), _dead_specimen()):
        _compare(attempt, specimen, mistakes.fgm_l2, mistakes.l2_mistakes, "L2", lambda d: d.flatten(1).norm(dim=1))
    return "the same images as the formula, on five models, also where a gradient is exactly zero"


def _specimens(budgets: tuple[float, float, float, float]) -> list[Specimen]:
    kinds = [
        ("a linear model of 3×48×48 images", specimens.linear(3, 48, 10, seed=1), (5, 3, 48)),
        ("a network of 1×28×28 images", specimens.mlp(1, 28, 7, seed=2), (6, 1, 28)),
        ("a convolutional network, batch of 1", specimens.conv(3, 5, seed=3), (1, 3, 32)),
        ("a network of 3×48×48 images", specimens.mlp(3, 48, 16, seed=4), (4, 3, 48)),
    ]
    classes = (10, 7, 5, 16)
    return [
        Specimen(name, model, specimens.images(*shape, seed=i), specimens.labels(shape[0], k, seed=i), eps)
        for i, ((name, model, shape), k, eps) in enumerate(zip(kinds, classes, budgets, strict=True))
    ]


def _dead_specimen() -> Specimen:
    """A black image silences every ReLU: its gradient is exactly zero."""
    model = specimens.linear(1, 8, 6, seed=5)
    model[1].bias.data.fill_(-0.01)
    model[1].weight.data.abs_()
    model.extend([nn.ReLU(), nn.Linear(6, 4)])
    x = specimens.images(3, 1, 8, seed=5)
    x[1] = 0
    return Specimen("a network whose gradient is zero at one image", model, x, torch.tensor([0, 1, 2]), 1.0)


def _compare(
    attempt: Attempt, specimen: Specimen, formula: Attack, known: Callable[..., Suspects], norm: str, size: Size
) -> None:
    """One call of the learner's function: first the known mistakes, then the properties, then the formula."""
    model, x, y, eps = specimen
    right, before = formula(*specimen), x.clone()
    result = attempt(*specimen)
    expect.untouched(x, before, attempt)
    expect.image_batch(result, x)
    expect.tidy(result, model, attempt)
    result = result.detach()
    if expect.same(result, right, share=1.0):
        return
    expect.no_known_mistake(result, known(model, x, y, eps), right)
    expect.inside_box(result)
    expect.inside_ball(size(result - x), eps, norm)
    expect.whole_budget(size(result - x), size(right - x), eps, norm)
    expect.climbs(model, x, y, result)
    off = (result - right).abs()
    if not expect.same(result, right):
        raise Mistake(
            f"on {specimen.name}, {(off > 1e-5).float().mean().item():.0%} of the pixels differ "
            f"from the formula, by up to {off.max().item():.4f}",
            "another loss, another step, or a variable of the notebook used instead of an argument",
            "use model, x, y and eps as they are passed, and the cross-entropy of the logits",
        )


# --- numbers that the learner finds out -----------------------------------------------------------------


@checks_value
def smallest_eps(eps: float, model: nn.Module, x: Tensor, y: Tensor, *, tolerance: float = 1e-3) -> str:
    """``eps`` is, to 1/1000, the smallest ε at which FGSM fools ``model`` on one image ``x``, label ``y``."""
    eps = expect.number(eps, "ε")
    if eps > 1:
        raise Mistake(f"ε is {eps:g}, but pixels lie in [0, 1]", "ε in steps of 0 to 255", "divide it by 255")
    if eps <= 0:
        raise Mistake(f"ε is {eps:g}", "no change fools nobody", "find the first ε above 0 that does")

    with frozen(model):
        direction = mistakes.gradient(model, x, y).sign()

    def fooled(candidates: Tensor) -> Tensor:
        steps = candidates.view(-1, 1, 1, 1).to(x) * direction
        return (predict(model, (x + steps).clamp(0, 1))[0] != y).cpu()

    clean, at_eps = fooled(torch.tensor([0.0, eps])).tolist()
    if clean:
        raise Mistake("the model misreads the clean image already", mend="choose an image that it reads rightly")
    if not at_eps:
        raise Mistake(
            f"at ε = {eps:.4f} the model still gives the right label",
            "ε is too small, or rounded down",
            "keep the upper end of the last interval, the one that fools the model",
        )
    # FGSM is not monotone in ε, so every smaller ε is tried, not only the one just below.
    smaller = torch.arange(1, math.floor(eps / tolerance - 1 + 1e-6) + 1) * tolerance
    first = smaller[fooled(smaller)].tolist() if len(smaller) else []
    if first:
        raise Mistake(
            f"ε = {first[0]:.3f} fools the model already; you have {eps:.4f}",
            "the search stopped early, or jumped over a smaller one: FGSM is not monotone in ε",
            f"halve the interval until it is shorter than {tolerance:.2g}, or try one ε after the other",
        )
    return f"ε = {eps:.4f} ({eps * 255:.1f}/255) fools the model, and no ε that is {tolerance:.2g} smaller does"


_RATE = "divide the number of images right before and wrong after by the number right before"


@checks_value
def fooling_rate(rate: float, model: nn.Module, x: Tensor, y: Tensor, eps: float) -> str:
    """``rate`` is the share of the rightly read images that FGSM at ``eps`` turns wrong, to three digits."""
    rate = expect.number(rate, "the rate")
    with frozen(model):
        x_adv = mistakes.fgsm(model, x, y, eps)
    was_right, is_wrong = predict(model, x)[0] == y, predict(model, x_adv)[0] != y
    true = (was_right & is_wrong).sum().item() / max(was_right.sum().item(), 1)
    near = 1e-3  # an answer rounded to three digits is right
    if abs(rate - true) <= near:
        return f"{true:.1%} of the images that were read rightly are fooled at ε = {eps * 255:.1f}/255"
    if not 0 <= rate <= 1:
        raise Mistake(f"got {rate:.4g}, but a rate lies in [0, 1]", "a number in per cent, or a count", _RATE)
    for value, seen, cause in (
        (1 - true, "this is the share that was not fooled", "accuracy and fooling rate were exchanged"),
        (
            1 - is_wrong.float().mean().item(),
            "this is the accuracy under attack",
            "1 - accuracy counts images, too, that were wrong before the attack",
        ),
        (
            is_wrong.float().mean().item(),
            "this is the share of wrong answers after the attack",
            "images that were wrong without any attack are counted as fooled",
        ),
        (
            (was_right & is_wrong).float().mean().item(),
            "the fooled are counted rightly, but divided by all images",
            "the images that were wrong anyway are in the denominator",
        ),
    ):
        if abs(rate - value) <= near:
            raise Mistake(f"got {rate:.4g}: {seen}", cause, _RATE)
    raise Mistake(
        f"got {rate:.4g}, which is off by {abs(rate - true):.3f}",
        "another ε, another set of images, or a model in training mode",
        "use the same model, images and ε as the check is given",
    )
