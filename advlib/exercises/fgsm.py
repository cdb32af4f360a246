"""Checkers for the chapter on FGSM."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advlib.exercises import expect, specimens
from advlib.exercises.expect import CLIPPED_LAST
from advlib.exercises.frame import Attempt, Mistake, checks_function, checks_value
from advlib.exercises.specimens import Specimen


Attack = Callable[..., Tensor]
Size = Callable[[Tensor], Tensor]
Suspects = list[tuple[Tensor, Mistake]]


def clip(x: Tensor) -> Tensor:
    return x.clamp(0, 1)


def _gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x), y, reduction="sum"), x)[0]


def _fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    return clip(x + eps * _gradient(model, x, y).sign())


def _l2_norm(g: Tensor) -> Tensor:
    """Per image, shaped to divide a batch; never zero."""
    return g.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)


def _fgm_l2(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    g = _gradient(model, x, y)
    return clip(x + eps * g / _l2_norm(g))


# --- my_fgsm(model, x, y, eps) ---------------------------------------------------------------------------------


@checks_function
def fgsm(attempt: Attempt) -> str:
    """``my_fgsm(model, x, y, eps)`` is clip(x + ε · sign(∇ₓ loss), 0, 1), on any model and batch."""
    for specimen in _specimens((8 / 255, 0.1, 0.25, 0.03)):
        _compare(attempt, specimen, _fgsm, _fgsm_mistakes, "L∞", lambda d: d.abs().flatten(1).max(1).values)
    return "the same images as the formula, on four models, four ε, one and three channels, batches of 1 to 6"


@checks_function
def fgm_l2(attempt: Attempt) -> str:
    """``my_fgm_l2(model, x, y, eps)`` is clip(x + ε · g / ‖g‖₂, 0, 1) with g = ∇ₓ loss, each image by itself."""
    for specimen in (*_specimens((1.0, 0.5, 3.0, 2.0)), _dead_specimen()):
        _compare(attempt, specimen, _fgm_l2, _l2_mistakes, "L2", lambda d: d.flatten(1).norm(dim=1))
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
            f"on {specimen.name}, {(off > 1e-5).float().mean().item():.0%} of the pixels differ from the formula, "
            f"by up to {off.max().item():.4f}",
            "another loss, another step, or a variable of the notebook used instead of an argument",
            "use model, x, y and eps as they are passed, and the cross-entropy of the logits",
        )


def _common_mistakes(model: nn.Module, x: Tensor, y: Tensor, step: Callable[[Tensor], Tensor]) -> Suspects:
    """What goes wrong alike whatever the norm: the loss, the direction of the step, and the clipping around it."""
    g = _gradient(model, x, y)
    delta = step(g)
    guess = model(x).argmax(1)

    def along(loss: Callable[[Tensor], Tensor]) -> Tensor:
        z = x.detach().clone().requires_grad_()
        return clip(x + step(torch.autograd.grad(loss(model(z)), z)[0]))

    reach = f"pixels reach from {(x + delta).min().item():.2f} to {(x + delta).max().item():.2f}"
    units = "eps already is in pixel units, in which white is 1: use it as it is"
    return [
        (x + delta, Mistake(
            f"{reach}, but an image lies in [0, 1]", "the result is not clipped", CLIPPED_LAST)),
        (clip(x - delta), Mistake(
            "the loss went down: this is a step downhill",
            "the sign is flipped: training descends, an attack ascends",
            "add the step instead of subtracting it")),
        ((x + delta).clamp(-1, 1), Mistake(
            "negative pixels are let through", "clipped to [-1, 1], the range of normalised images",
            "pixels lie in [0, 1] here: .clamp(0, 1)")),
        (x + delta.clamp(0, 1), Mistake(
            "pixels only ever get brighter, and some leave [0, 1]", "the perturbation was clipped, not the image",
            "clip last: (x + perturbation).clamp(0, 1)")),
        (clip(x + delta.clamp(0, 1)), Mistake(
            "pixels only ever get brighter", "the perturbation was clipped to [0, 1] as if it were an image",
            "a perturbation may be negative: clip only the sum")),
        (delta, Mistake(
            "the result is the perturbation, not the image", "x was not added",
            "return (x + perturbation).clamp(0, 1)")),
        (clip(delta), Mistake(
            "the result is the perturbation, clipped to [0, 1], not the image", "x was not added",
            "return (x + perturbation).clamp(0, 1)")),
        (x, Mistake(
            "the result is x itself", "the step is zero, or the wrong variable is returned",
            "check that the gradient is not zero, and return x plus the step")),
        (clip(x + delta / 2), Mistake(
            "each step is half as long as it may be", "ε is taken for the width of the interval, from end to end",
            "ε is the largest change in either direction")),
        (clip(x + delta / 255), Mistake(
            "the step is 255 times too short", "ε was divided by 255 once more", units)),
        (clip(x + delta * 255), Mistake(
            "the step is 255 times too long", "ε was multiplied by 255", units)),
        (along(lambda z: F.cross_entropy(z, guess)), Mistake(
            "the step raises the loss of the model's own prediction, not of the label y",
            "y was replaced by model(x).argmax(1): a cure for label leaking, but another attack",
            "use the y that is passed")),
        (along(lambda z: F.cross_entropy(z.softmax(1), y)), Mistake(
            "the gradient is that of cross-entropy applied to probabilities",
            "softmax twice: cross_entropy contains one", "give cross_entropy the logits, model(x)")),
        (along(lambda z: F.nll_loss(z, y)), Mistake(
            "the gradient is that of the label's logit alone", "nll_loss was given logits without log_softmax",
            "use cross_entropy, or log_softmax before nll_loss")),
        (clip(x + step(g.mean(0, keepdim=True))), Mistake(
            "every image gets the same perturbation", "the gradient was averaged or summed over the batch",
            "each image has its own gradient: keep the first axis")),
    ]


def _fgsm_mistakes(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Suspects:
    g = _gradient(model, x, y)
    no_sign = Mistake(
        "pixels change by different amounts, in proportion to the gradient", "the sign is missing",
        "FGSM steps by ε in every pixel: eps * gradient.sign()")
    return [
        *_common_mistakes(model, x, y, lambda g: eps * g.sign()),
        (g.sign(), Mistake(
            "the result holds -1, 0 and 1 only: the sign of the gradient", "ε and x are missing",
            "return (x + eps * sign).clamp(0, 1)")),
        # With the loss summed over the batch, or averaged; clipped or not.
        *((wrong, no_sign) for raw in (g, g / len(x)) for wrong in (x + eps * raw, clip(x + eps * raw))),
        (_fgm_l2(model, x, y, eps), Mistake(
            "the step is ε long in the L2 norm", "the gradient was divided by its length",
            "for an L∞ ball take the sign of every entry: eps * gradient.sign()")),
        (clip(x + eps * g / g.abs().amax((1, 2, 3), keepdim=True)), Mistake(
            "only the pixel with the steepest gradient moves by ε",
            "the gradient was divided by its largest entry instead of taking its sign",
            "every pixel may move by ε: eps * gradient.sign()")),
    ]


def _l2_mistakes(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Suspects:
    g = _gradient(model, x, y)
    undivided = Mistake(
        "the step grows with the gradient", "the gradient was not divided by its length",
        "every image's step has length ε: eps * g / ‖g‖₂")
    return [
        *_common_mistakes(model, x, y, lambda g: eps * g / _l2_norm(g)),
        (_fgsm(model, x, y, eps), Mistake(
            "every pixel moves by ε: this is the step for an L∞ ball", "the sign of the gradient was taken",
            "for an L2 ball divide the gradient by its length")),
        (clip(x + eps * g / g.norm()), Mistake(
            "the whole batch shares one budget", "the norm was taken over all images at once",
            "one norm per image: g.flatten(1).norm(dim=1)")),
        (clip(x + eps * g / g.norm(dim=1, keepdim=True).clamp_min(1e-12)), Mistake(
            "every pixel gets a step of length ε", "the norm was taken over the colour channels only",
            "flatten each image before taking its norm: g.flatten(1).norm(dim=1)")),
        (clip(x + eps * g / g.abs().sum((1, 2, 3), keepdim=True).clamp_min(1e-12)), Mistake(
            "the step has length ε in the L1 norm", "divided by the sum of the absolute values",
            "the L2 norm is the root of the sum of squares")),
        *((clip(x + eps * raw / _l2_norm(raw) ** 2), Mistake(
            "the step gets shorter where the gradient gets longer", "divided by the squared norm: the root is missing",
            "the L2 norm is the root of the sum of squares")) for raw in (g, g / len(x))),
        *((wrong, undivided) for raw in (g, g / len(x)) for wrong in (x + eps * raw, clip(x + eps * raw))),
    ]


# --- numbers that the learner finds out ------------------------------------------------------------------------


@checks_value
def smallest_eps(eps: float, model: nn.Module, x: Tensor, y: Tensor, *, tolerance: float = 1e-3) -> str:
    """``eps`` is the smallest ε (to 1/1000) at which FGSM fools ``model`` on the one image ``x`` with label ``y``."""
    eps = _number(eps, "ε")
    if eps > 1:
        raise Mistake(f"ε is {eps:g}, but pixels lie in [0, 1]", "ε in steps of 0 to 255", "divide it by 255")
    if eps <= 0:
        raise Mistake(f"ε is {eps:g}", "no change fools nobody", "find the first ε above 0 that does")

    direction = _gradient(model, x, y).sign()

    def fooled(candidates: Tensor) -> Tensor:
        with torch.no_grad():
            parts = [model(clip(x + c.view(-1, 1, 1, 1) * direction)) for c in candidates.split(64)]
        return torch.cat(parts).argmax(1) != y

    clean, at_eps = fooled(torch.tensor([0.0, eps])).tolist()
    if clean:
        raise Mistake("the model misreads the clean image already", mend="choose an image that it reads rightly")
    if not at_eps:
        raise Mistake(f"at ε = {eps:.4f} the model still gives the right label", "ε is too small, or rounded down",
                      "keep the upper end of the last interval, the one that fools the model")
    # FGSM is not monotone in ε, so every smaller ε is tried, not only the one just below.
    smaller = torch.arange(1, math.floor(eps / tolerance - 1 + 1e-6) + 1) * tolerance
    first = smaller[fooled(smaller)].tolist() if len(smaller) else []
    if first:
        raise Mistake(f"ε = {first[0]:.3f} fools the model already; you have {eps:.4f}",
                      "the search stopped early, or jumped over a smaller one: FGSM is not monotone in ε",
                      f"halve the interval until it is shorter than {tolerance:.2g}, or try one ε after the other")
    return f"at ε = {eps:.4f} ({eps * 255:.1f}/255) the model is fooled, and at no ε that is {tolerance:.2g} smaller"


@checks_value
def fooling_rate(rate: float, model: nn.Module, x: Tensor, y: Tensor, eps: float) -> str:
    """``rate`` is the share of images that FGSM at ``eps`` turns from right to wrong, among those that were right."""
    rate = _number(rate, "the rate")
    with torch.no_grad():
        was_right = model(x).argmax(1) == y
    x_adv = _fgsm(model, x, y, eps)
    with torch.no_grad():
        is_wrong = model(x_adv).argmax(1) != y
    true = (was_right & is_wrong).sum().item() / max(was_right.sum().item(), 1)
    near = 0.5 / len(x) + 5e-4  # an answer rounded to three digits is right
    if abs(rate - true) <= near:
        return f"{true:.1%} of the images that were read rightly are fooled at ε = {eps * 255:.1f}/255"
    if abs(rate - 100 * true) <= 100 * near and rate > 1:
        raise Mistake(f"got {rate:.4g}, but a rate lies in [0, 1]", "given in per cent", "divide by 100")
    for value, seen, cause in (
        (1 - true, "this is the share that was not fooled", "accuracy and fooling rate were exchanged"),
        (1 - is_wrong.float().mean().item(), "this is the accuracy under attack", "1 - accuracy counts images, too, "
         "that were wrong before the attack"),
        (is_wrong.float().mean().item(), "this is the share of wrong answers after the attack",
         "images that were wrong without any attack are counted as fooled"),
        ((was_right & is_wrong).float().mean().item(), "the fooled are counted rightly, but divided by all images",
         "the images that were wrong anyway are in the denominator"),
    ):
        if abs(rate - value) <= near:
            raise Mistake(f"got {rate:.4g}: {seen}", cause,
                          "divide the number of images right before and wrong after by the number right before")
    raise Mistake(f"got {rate:.4g}, which is off by {abs(rate - true):.3f}", "another ε, another set of images, or a "
                  "model in training mode", "use the same model, images and ε as the check is given")


def _number(value: object, name: str) -> float:
    """A finite number, also out of a tensor with one entry."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, RuntimeError):
        number = math.nan
    if not math.isfinite(number):
        raise Mistake(f"{name} is {value!r:.40}, expected one finite number", mend="pass a float")
    return number
